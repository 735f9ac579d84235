package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// stopWait is how long a server that ends waits for pages to get the end.
const stopWait = 3 * time.Second

// Serve answers requests on the host:port until stop is called, which lets those
// that are under way end. On the loopback interface it answers to no other name
// than its own.
func Serve(addr string, h http.Handler, log *slog.Logger) (url string, stop func(), err error) {
	l, err := net.Listen("tcp", addr) //nolint:noctx // it does not block
	if err != nil {
		return "", nil, fmt.Errorf("listen for HTTP: %w", err)
	}
	if at, ok := l.Addr().(*net.TCPAddr); ok && at.IP.IsLoopback() {
		h = Local(h)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Warn("HTTP server ended", "err", err)
		}
	}()
	return "http://" + l.Addr().String() + "/", func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopWait)
		defer cancel()
		if s.Shutdown(ctx) != nil {
			_ = s.Close()
		}
		<-done
	}, nil
}
