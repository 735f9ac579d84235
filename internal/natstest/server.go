package natstest

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	host         = "127.0.0.1"
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
		Port:                   server.RANDOM_PORT,
		JetStream:              true,
		StoreDir:               t.TempDir(),
		JetStreamMaxMemory:     maxStorage,
		JetStreamMaxStore:      maxStorage,
		NoSigs:                 true,
		NoLog:                  true,
		DisableJetStreamBanner: true,
	}
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

// Stop shuts the server down and waits for that. Streams in files are kept.
func (s *Server) Stop() {
	s.ns.Shutdown()
	s.ns.WaitForShutdown()
}

// Restart stops the server, if it runs, and starts it again on the same port
// and with the same files.
func (s *Server) Restart() {
	s.t.Helper()
	if s.ns.Running() {
		s.pin()
		s.Stop()
	}
	s.start()
}

// Pause stops the server; Restart brings it back on the same port.
func (s *Server) Pause() {
	s.pin()
	s.Stop()
}

// pin keeps the port for the next start.
func (s *Server) pin() { s.opts.Port = port(s.ns.Addr()) }
