// Package httpd is the one HTTP server that a process may have: where it listens, whom
// it answers, and how it ends. What it serves is given to it.
package httpd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// stopWait is how long a server that ends waits for pages to get the end.
const stopWait = 3 * time.Second

// Serve answers requests on the host:port until stop is called, which lets those
// that are under way end. On the loopback interface it answers to no other name
// than its own.
func Serve(addr string, h http.Handler, log *slog.Logger) (url string, stop func(), err error) {
	l, err := net.Listen("tcp", addr) //nolint:noctx // it does not block
	if err != nil {
		return "", nil, tasks.WithHint(fmt.Errorf("listen for HTTP: %w", err), "set http.listen to a host:port that is free, such as 127.0.0.1:8080")
	}
	if at, ok := l.Addr().(*net.TCPAddr); ok && at.IP.IsLoopback() {
		h = local(h)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Warn("HTTP server ended", "err", err)
		}
	}()
	url = "http://" + l.Addr().String() + "/"
	log.Info("HTTP is served", "url", url)
	return url, func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopWait)
		defer cancel()
		if s.Shutdown(ctx) != nil {
			_ = s.Close()
		}
		<-done
	}, nil
}

// local refuses requests that were not meant for a server on the loopback
// interface: a page from elsewhere may have its own name point there.
func local(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			http.Error(w, "this server answers to localhost only", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}
