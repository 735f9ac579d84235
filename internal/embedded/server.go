package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// AckWait is the lease for queues on an embedded server. Holder and server
// share a process or a network, and the server is never replaced by another
// one, so it may be shorter than on a cluster.
const AckWait = 15 * time.Second

const (
	startTimeout = 10 * time.Second
	readyStep    = 100 * time.Millisecond
	maxStorage   = 4 << 30 // bytes; a bound, nothing is reserved
)

// Options says how the server is reached.
type Options struct {
	// Listen is the address, host:port, that other processes may connect to; a
	// port of 0 takes a free one. "" means that no port is opened at all.
	Listen string

	// User and Password are what a server that listens wants from everybody.
	// Both are needed then.
	User, Password string

	// Log gets what the server reports. Default: discarded.
	Log *slog.Logger
}

// Server is a NATS server with JetStream, which keeps everything in memory: a
// run is resumed from the ledger, not from the queue.
type Server struct {
	ns       *server.Server
	dir      string
	user     string
	password string
	stop     sync.Once
	stopErr  error
}

// Start starts a server and waits, bounded by ctx, until it takes connections.
// A server that listens wants the credentials of [Server.Credentials] from
// everybody, the process itself included. The caller ends it with Stop.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	opts, err := serverOptions(o)
	if err != nil {
		return nil, err
	}
	// The server wants a directory even for streams that are in memory.
	dir, err := os.MkdirTemp("", "pgconvoy-nats-")
	if err != nil {
		return nil, fmt.Errorf("make directory for the embedded NATS server: %w", err)
	}
	opts.StoreDir = dir
	s := &Server{dir: dir, user: opts.Username, password: opts.Password}
	if s.ns, err = server.NewServer(opts); err != nil {
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("start embedded NATS server: %w", err)
	}
	logger := &logAdapter{log: o.Log}
	s.ns.SetLoggerV2(logger, false, false, false)
	s.ns.Start()
	if err := s.awaitReady(ctx); err != nil {
		_ = s.Stop()
		if reason := logger.fatal(); reason != "" {
			err = fmt.Errorf("%s", reason)
		}
		return nil, tasks.WithHint(fmt.Errorf("start embedded NATS server: %w", err), "if it listens, check that the address is of this host and the port is free")
	}
	return s, nil
}

func serverOptions(o Options) (*server.Options, error) {
	opts := &server.Options{
		ServerName:             "pgconvoy-embedded",
		JetStream:              true,
		DontListen:             o.Listen == "",
		NoSigs:                 true,
		DisableJetStreamBanner: true,
		JetStreamMaxMemory:     maxStorage,
		JetStreamMaxStore:      maxStorage,
	}
	if o.Listen == "" {
		return opts, nil
	}
	host, text, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return nil, badListen(o.Listen)
	}
	port, err := strconv.Atoi(text)
	if err != nil || port < 0 || port > 65535 {
		return nil, badListen(o.Listen)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	opts.Host, opts.Port = host, port
	if o.User == "" || o.Password == "" {
		return nil, errors.New("embedded NATS server: a server that listens needs a user and a password")
	}
	opts.Username, opts.Password = o.User, o.Password
	return opts, nil
}

func badListen(listen string) error {
	return tasks.WithHint(fmt.Errorf("%q is not an address to listen on", listen), "write host:port, for example 127.0.0.1:4222")
}

// awaitReady waits for connections to be taken. The server offers a poll with
// a timeout and no context, so it is asked in short steps.
func (s *Server) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for !s.ns.ReadyForConnections(readyStep) {
		if ctx.Err() != nil {
			return fmt.Errorf("wait until it is ready: %w", ctx.Err())
		}
	}
	return nil
}

// InProcess returns what [queue.Options.InProcess] wants.
func (s *Server) InProcess() nats.InProcessConnProvider { return s.ns }

// URL returns where other processes connect to, without credentials; "" if the
// server does not listen.
func (s *Server) URL() string {
	if s.user == "" {
		return ""
	}
	return "nats://" + s.ns.Addr().String()
}

// Credentials returns the user and the password that the server wants, random
// both are "" if it does not listen.
func (s *Server) Credentials() (user, password string) { return s.user, s.password }

// Stop ends the server and removes its directory. Connections are closed, the
// streams are lost. A second Stop does nothing.
func (s *Server) Stop() error {
	s.stop.Do(func() {
		s.ns.Shutdown()
		s.ns.WaitForShutdown()
		if err := os.RemoveAll(s.dir); err != nil {
			s.stopErr = fmt.Errorf("remove directory of the embedded NATS server: %w", err)
		}
	})
	return s.stopErr
}
