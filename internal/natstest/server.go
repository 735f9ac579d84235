package natstest

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/pgconvoy/pgconvoy/internal/nettest"
)

const (
	host         = nettest.Host
	readyTimeout = 20 * time.Second
	maxStorage   = 1 << 40 // bytes; a bound, nothing is reserved
)

// Server is a NATS server in this process.
type Server struct {
	t    testing.TB
	opts *server.Options
	ns   *server.Server
}

// Start starts a server with JetStream, its files in a directory of the test,
// and without authentication. The edits change its options before it starts.
// It is stopped when the test ends.
func Start(t testing.TB, edits ...func(*server.Options)) *Server {
	t.Helper()
	opts := &server.Options{
		ServerName:             "natstest",
		Host:                   host,
		Port:                   nettest.Port(t),
		JetStream:              true,
		StoreDir:               t.TempDir(),
		JetStreamMaxMemory:     maxStorage,
		JetStreamMaxStore:      maxStorage,
		NoSigs:                 true,
		NoLog:                  true,
		DisableJetStreamBanner: true,
	}
	wait(opts)
	for _, edit := range edits {
		edit(opts)
	}
	s := &Server{t: t, opts: opts}
	s.start()
	t.Cleanup(s.Stop)
	return s
}

// start starts the server with its own copy of the options, which it changes.
func (s *Server) start() {
	s.t.Helper()
	ns, err := server.NewServer(s.opts.Clone())
	if err != nil {
		s.t.Fatalf("make nats-server: %v", err)
	}
	ns.Start()
	s.ns = ns
	if !ns.ReadyForConnections(readyTimeout) {
		s.Stop()
		s.t.Fatalf("nats-server is not ready after %v", readyTimeout)
	}
}

// URL returns where the server listens; it stays the same after a restart.
func (s *Server) URL() string { return s.ns.ClientURL() }

// InProcess connects without the network. It is of the server that runs now,
// not of one that Restart starts.
func (s *Server) InProcess() nats.InProcessConnProvider { return s.ns }

// Stop shuts the server down and waits for that. Streams in files are kept; Restart
// brings it back on the same port.
func (s *Server) Stop() {
	s.ns.Shutdown()
	s.ns.WaitForShutdown()
}

// Restart stops the server, if it runs, and starts it again on the same port
// and with the same files.
func (s *Server) Restart() {
	s.t.Helper()
	if s.ns.Running() {
		s.Stop()
	}
	s.start()
}
