// Package pgtest is the test ground: throwaway Postgres clusters, databases in
// them, a museum of object kinds, and the oracle that says whether two
// databases are equal. It is imported by tests only and never linked into a
// binary.
//
// A package that uses it has
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
//
// Where a new line goes: finding server programs in install.go and tree.go,
// making clusters in initdb.go, running them in server.go and spawn.go, helpers on
// one database in database.go, certificates in tls.go, comparing two in oracle.go
// (rows), dump.go (schema) and facts.go (what pg_dump does not show), fixtures in
// museum.sql.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/pgconvoy/pgconvoy/internal/leaktest"
)

// registry holds what this test process has started. There is one per process;
// clusters are expensive, so tests of a package share them.
type registry struct {
	mu      sync.Mutex
	dir     string   // parent of every cluster's folder, empty until the first one
	lock    *os.File // flock on it tells other test processes that dir is in use
	shared  map[clusterKey]func() (*Server, error)
	running map[*Server]struct{}
	serial  int
	spawn   *spawner
	trees   map[string]func() (install, error)
	// templates are the folders that clusters are copied from, by how they were made
	templates map[string]func() (string, error)
}

// clusterKey names a cluster that the tests of one process share.
type clusterKey struct {
	major int
	role  string
}

var processRegistry = sync.OnceValue(func() *registry {
	return &registry{
		shared:    map[clusterKey]func() (*Server, error){},
		running:   map[*Server]struct{}{},
		trees:     map[string]func() (install, error){},
		templates: map[string]func() (string, error){},
	}
})

// Main runs the tests of a package, stops every cluster that they started and
// removes its folder, and then fails if a goroutine is still running. It returns
// the exit code for os.Exit. Options of goleak name goroutines that may stay.
func Main(m interface{ Run() int }, ignore ...goleak.Option) int {
	code := m.Run()
	if err := processRegistry().close(); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
		code = max(code, 1)
	}
	if code != 0 {
		return code
	}
	if err := leaktest.Find(ignore...); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest: goroutines outlive the tests:", err)
		return 1
	}
	return 0
}

// Source returns the cluster that plays the source: default major, shared by all
// tests of the process, started by the first caller.
func Source(t testing.TB) *Server {
	t.Helper()
	return sharedServer(t, clusterKey{DefaultMajor(t), "source"})
}

// Target returns the cluster that plays the target: default major, shared as
// Source is, with another system identifier.
func Target(t testing.TB) *Server {
	t.Helper()
	return sharedServer(t, clusterKey{DefaultMajor(t), "target"})
}

// Major returns a shared cluster of one major version. Without binaries of that
// major the test is skipped, or fails if PGCONVOY_TEST_MAJORS (a list such as
// "14 18") names it.
func Major(t testing.TB, major int) *Server {
	t.Helper()
	requireMajor(t, major)
	return sharedServer(t, clusterKey{major, "major"})
}

// Pair returns a source and a target of two majors, which may be the same, shared
// and skipped as Major does.
func Pair(t testing.TB, from, to int) (source, target *Server) {
	t.Helper()
	requireMajor(t, from)
	requireMajor(t, to)
	return sharedServer(t, clusterKey{from, "source"}), sharedServer(t, clusterKey{to, "target"})
}

func sharedServer(t testing.TB, key clusterKey) *Server {
	t.Helper()
	reg := processRegistry()
	reg.mu.Lock()
	start, ok := reg.shared[key]
	if !ok {
		start = sync.OnceValues(func() (*Server, error) {
			return reg.startServer(context.Background(), key.role, Options{Major: key.major})
		})
		reg.shared[key] = start
	}
	reg.mu.Unlock()
	s, err := start()
	if err != nil {
		t.Fatalf("start postgres %d as %s: %v", key.major, key.role, err)
	}
	return s
}

// workDir returns a new folder for one cluster. Folders of test processes that
// died are removed on the way.
func (r *registry) workDir(name string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dir == "" {
		parent := parentDir()
		removeAbandoned(parent)
		dir, err := os.MkdirTemp(parent, "pgtest-")
		if err != nil {
			return "", err
		}
		// A server that runs as another user has to reach its folder.
		if err := os.Chmod(dir, 0o755); err != nil {
			return "", err
		}
		lock, err := lockFolder(dir)
		if err != nil {
			return "", err
		}
		r.dir, r.lock = dir, lock
	}
	r.serial++
	dir := filepath.Join(r.dir, fmt.Sprintf("%s-%d", name, r.serial))
	return dir, os.Mkdir(dir, 0o755)
}

// parentDir is where this process makes its folder: where TMPDIR says, else in
// memory if that has room.
func parentDir() string {
	if os.Getenv("TMPDIR") == "" {
		if dir := inMemory(); dir != "" {
			return dir
		}
	}
	return os.TempDir()
}

// spawner returns the process's only spawner, started at the first use.
func (r *registry) spawner() *spawner {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.spawn == nil {
		r.spawn = newSpawner()
	}
	return r.spawn
}

// close stops what runs and removes the folders. It is called once, after the
// tests.
func (r *registry) close() error {
	r.mu.Lock()
	servers := make([]*Server, 0, len(r.running))
	for s := range r.running {
		servers = append(servers, s)
	}
	dir, lock, spawn := r.dir, r.lock, r.spawn
	r.mu.Unlock()

	var errs []error
	var wg sync.WaitGroup
	stopped := make([]error, len(servers))
	for i, s := range servers {
		wg.Go(func() { stopped[i] = s.stop(syscall.SIGQUIT) })
	}
	wg.Wait()
	errs = append(errs, stopped...)
	if spawn != nil {
		spawn.close()
	}
	if dir != "" {
		errs = append(errs, os.RemoveAll(dir), lock.Close())
	}
	return errors.Join(errs...)
}

// lockFolder takes an exclusive lock that lives as long as this process. The file
// gets its name only once it is locked: an unlocked one marks an abandoned folder.
func lockFolder(dir string) (*os.File, error) {
	fresh := filepath.Join(dir, "lock.new")
	f, err := os.OpenFile(fresh, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		err = os.Rename(fresh, filepath.Join(dir, "lock"))
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return f, nil
}

// removeAbandoned removes folders whose test process was killed before it could
// tidy up. Whoever gets the lock knows that the owner is gone. A folder without
// a lock file is being made at this moment and is left alone, and so is another
// user's.
func removeAbandoned(parent string) {
	dirs, _ := filepath.Glob(filepath.Join(parent, "pgtest-*", "lock"))
	for _, name := range dirs {
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = os.RemoveAll(filepath.Dir(name))
		}
		_ = f.Close()
	}
}
