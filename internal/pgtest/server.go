package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgconvoy/pgconvoy/internal/nettest"
)

const (
	host         = nettest.Host
	superuser    = "postgres"
	startTimeout = 60 * time.Second
	stopTimeout  = 20 * time.Second
	portAttempts = 10
)

// Options of a private cluster.
type Options struct {
	Major      int               // 0 means DefaultMajor
	Settings   map[string]string // added to, or in place of, the defaults
	InitdbArgs []string          // added to initdb's arguments
	HBA        []string          // lines of pg_hba.conf, before those that trust everybody
	Files      map[string][]byte // contents of files to put beside postgresql.conf, by name
}

// Server is one throwaway cluster. Its methods may be called by many tests at
// once, except Stop and Launch, which belong to the owner of a private cluster.
type Server struct {
	Major int // major version, such as 15
	Port  int // TCP port on 127.0.0.1

	reg      *registry
	in       install // programs it runs
	clients  string  // folder of its client programs, empty for none
	dir      string  // parent of data, log and socket
	settings map[string]string
	owner    *syscall.Credential // nil: this process' own user
	release  func()              // gives the port away

	databases atomic.Int64 // serial of database names

	mu      sync.Mutex // guards what follows
	process *os.Process
	exited  chan struct{}

	rolesOnce func() error
	museum    museumTemplate
}

// Start runs a private cluster, stopped and removed at the end of the test.
// Settings are postgresql.conf parameters. Without binaries of the major the
// test is skipped as Major does.
func Start(t testing.TB, opts Options) *Server {
	t.Helper()
	if opts.Major == 0 {
		opts.Major = DefaultMajor(t)
	}
	requireMajor(t, opts.Major)
	s, err := processRegistry().startServer(context.Background(), "private", opts)
	if err != nil {
		t.Fatalf("start postgres %d: %v", opts.Major, err)
	}
	t.Cleanup(func() {
		if err := s.remove(); err != nil {
			t.Errorf("remove postgres in %s: %v", s.dir, err)
		}
	})
	return s
}

// remove ends a private cluster for good.
func (s *Server) remove() error {
	err := errors.Join(s.stop(syscall.SIGQUIT), os.RemoveAll(s.dir))
	s.release()
	return err
}

// startServer makes a cluster and waits until it answers.
func (r *registry) startServer(ctx context.Context, role string, opts Options) (*Server, error) {
	found, err := serverInstall(opts.Major)
	if err != nil {
		return nil, err
	}
	owner, err := serverOwner()
	if err != nil {
		return nil, err
	}
	in, err := r.relocated(found, owner)
	if err != nil {
		return nil, err
	}
	dir, err := r.workDir(role + strconv.Itoa(opts.Major))
	if err != nil {
		return nil, err
	}
	s := &Server{Major: opts.Major, reg: r, in: in, dir: dir, owner: owner, settings: defaultSettings(dir)}
	s.rolesOnce = sync.OnceValue(s.createRoles)
	s.museum = newMuseumTemplate(s)
	maps.Copy(s.settings, opts.Settings)
	if clients, err := clientInstall(opts.Major); err == nil {
		s.clients = clients.bin
	}
	if err := s.initdb(ctx, opts.InitdbArgs); err != nil {
		return nil, err
	}
	if err := s.putFiles(opts); err != nil {
		return nil, err
	}
	return s, s.launchAnywhere(ctx)
}

// launchAnywhere starts the postmaster on a port of its own.
func (s *Server) launchAnywhere(ctx context.Context) (err error) {
	for range portAttempts {
		if s.Port, s.release, err = nettest.Reserve(); err != nil {
			return err
		}
		// Who is no test may take the port before the postmaster does.
		if err = s.launch(ctx); !errors.Is(err, errPortTaken) {
			return err
		}
		s.release()
	}
	return err
}

// defaultSettings favour speed: nothing here survives a crash of the machine.
// wal_level=logical keeps CREATE PUBLICATION from warning.
func defaultSettings(dir string) map[string]string {
	return map[string]string{
		"listen_addresses":          host,
		"unix_socket_directories":   dir,
		"fsync":                     "off",
		"full_page_writes":          "off",
		"wal_init_zero":             "off",
		"autovacuum":                "off",
		"max_connections":           "200",
		"max_locks_per_transaction": "256",
		"max_prepared_transactions": "10",
		"shared_buffers":            "64MB",
		"wal_level":                 "logical",
		"max_wal_size":              "2GB",
		"timezone":                  "UTC",
		"lc_messages":               "C",
		"log_line_prefix":           "%m [%p] %q%a %d ",
		"max_replication_slots":     "10",
	}
}

// putFiles writes the rules of authentication and other files, which only the
// cluster's owner may read, as the server wants it for a key.
func (s *Server) putFiles(opts Options) error {
	files := maps.Clone(opts.Files)
	if len(opts.HBA) > 0 {
		name := filepath.Join(s.data(), "pg_hba.conf")
		rules, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if files == nil {
			files = map[string][]byte{}
		}
		files["pg_hba.conf"] = append([]byte(strings.Join(opts.HBA, "\n")+"\n"), rules...)
	}
	for name, contents := range files {
		path := filepath.Join(s.data(), name)
		if err := errors.Join(os.WriteFile(path, contents, 0o600), s.own(path)); err != nil {
			return err
		}
	}
	return nil
}

// command prepares a server program to run as the cluster's owner.
func (s *Server) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.in.bin, name), args...)
	cmd.Env = append(s.in.env(), "LC_ALL=C.UTF-8", "PGTZ=UTC")
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.owner}
	return cmd
}

// own gives a file to the user the server runs as.
func (s *Server) own(path string) error {
	if s.owner == nil {
		return nil
	}
	return os.Chown(path, int(s.owner.Uid), int(s.owner.Gid))
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) logFile() string { return filepath.Join(s.dir, "log") }

var errPortTaken = errors.New("the port is taken")

// launch starts the postmaster on s.Port and waits until it accepts connections.
func (s *Server) launch(ctx context.Context) error {
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	args := []string{"-D", s.data(), "-c", "port=" + strconv.Itoa(s.Port)}
	for _, name := range slices.Sorted(maps.Keys(s.settings)) {
		args = append(args, "-c", name+"="+s.settings[name])
	}
	cmd := s.command(context.Background(), "postgres", args...)
	cmd.Stdout, cmd.Stderr = log, log
	dieWithParent(cmd.SysProcAttr)
	if err := s.reg.spawner().start(cmd); err != nil {
		return fmt.Errorf("run postgres: %w", err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(exited)
	}()
	s.mu.Lock()
	s.process, s.exited = cmd.Process, exited
	s.mu.Unlock()
	s.reg.mu.Lock()
	s.reg.running[s] = struct{}{}
	s.reg.mu.Unlock()
	return s.awaitReady(ctx, exited)
}

// awaitReady connects through the socket in the cluster's own folder: on the TCP
// port another test's server might answer.
func (s *Server) awaitReady(ctx context.Context, exited <-chan struct{}) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("postgres did not answer in %s", startTimeout))
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	dsn := fmt.Sprintf("host=%s port=%d user=%s dbname=postgres", s.dir, s.Port, superuser)
	for {
		conn, err := pgx.Connect(ctx, dsn)
		if err == nil {
			return end(ctx, conn)
		}
		select {
		case <-exited:
			return s.explainExit()
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err, s.stop(syscall.SIGQUIT))
		case <-tick.C:
		}
	}
}

func (s *Server) explainExit() error {
	s.forget()
	log, _ := os.ReadFile(s.logFile())
	if bytes.Contains(log, []byte("Address already in use")) {
		return errPortTaken
	}
	return fmt.Errorf("postgres ended:\n%s", log)
}

// stop sends the postmaster a signal and waits for its end. A stopped server is
// no error.
func (s *Server) stop(sig os.Signal) error {
	s.mu.Lock()
	process, exited := s.process, s.exited
	s.mu.Unlock()
	if process == nil {
		return nil
	}
	defer s.forget()
	if err := process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal postgres %d: %w", process.Pid, err)
	}
	select {
	case <-exited:
		return nil
	case <-time.After(stopTimeout):
	}
	_ = process.Kill()
	<-exited
	return fmt.Errorf("postgres %d ignored %s for %s", process.Pid, sig, stopTimeout)
}

func (s *Server) forget() {
	s.mu.Lock()
	s.process = nil
	s.mu.Unlock()
	s.reg.mu.Lock()
	delete(s.reg.running, s)
	s.reg.mu.Unlock()
}

// Stop ends a private cluster with SIGINT (fast: sessions are ended, data is
// safe) or SIGQUIT (immediate: as after a crash). Launch starts it again.
func (s *Server) Stop(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if err := s.stop(sig); err != nil {
		t.Fatal(err)
	}
}

// Launch starts a private cluster again after Stop, on the same port and with
// the same data.
func (s *Server) Launch(t testing.TB) {
	t.Helper()
	if err := s.launch(context.Background()); err != nil {
		t.Fatalf("start postgres again: %v", err)
	}
}

// Freeze makes a private cluster a standby that follows nobody: it can be read,
// and never changes.
func (s *Server) Freeze(t testing.TB) {
	t.Helper()
	s.Stop(t, syscall.SIGINT)
	if err := os.WriteFile(filepath.Join(s.DataDir(), "standby.signal"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s.Launch(t)
}

// Pid is the process id of the postmaster, 0 when the server is stopped.
func (s *Server) Pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return 0
	}
	return s.process.Pid
}

// URI is the connection string of a database for the superuser. It needs no
// password.
func (s *Server) URI(db string) string { return s.URIAs(superuser, db) }

// URIAs is the connection string of a database for a role. Authentication is
// trust: any role that exists and may log in gets in.
func (s *Server) URIAs(role, db string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.User(role),
		Host:     net.JoinHostPort(host, strconv.Itoa(s.Port)),
		Path:     "/" + db,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Bin is the path of a program of the server's own installation, or of a client
// of a major not older than the server. There is no file at the path of a program
// that is missing.
func (s *Server) Bin(name string) string {
	for _, dir := range []string{s.in.bin, s.in.original} {
		if executable(dir, name) {
			return filepath.Join(dir, name)
		}
	}
	return filepath.Join(s.clients, name)
}

// BinDir is the folder of pg_dump, pg_restore and psql for this server, empty if
// there is none.
func (s *Server) BinDir() string { return s.clients }

// DataDir is the folder of the cluster's data. As root the files belong to
// another user.
func (s *Server) DataDir() string { return s.data() }

// Log returns what the server has logged since it was started.
func (s *Server) Log(t testing.TB) string {
	t.Helper()
	log, err := os.ReadFile(s.logFile())
	if err != nil {
		t.Fatal(err)
	}
	return string(log)
}

// serverOwner is the user a server runs as when this process is root, because
// postgres refuses to run as root.
func serverOwner() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("running as root, and neither user postgres nor nobody exists to run the server")
}
