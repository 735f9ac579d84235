package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/natstest"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

// natsServer is one server in a process, or a cluster of them.
type natsServer interface{ URL() string }

// scene is one run: its servers, its processes, and what is expected of it.
type scene struct {
	t     *testing.T
	rng   *rand.Rand
	begun time.Time
	dir   string // of logs and temporary files
	child child  // what planner and workers have in common

	src, dst         *pgtest.Database
	ownSrc, ownDst   bool // the servers are this scene's alone
	nats             *natstest.Process
	natsDown         bool
	proxies          []*proxy // to source, target and NATS, if workers go through them
	workerURIs       [3]string
	writer           *writer
	watching         *pgx.Conn      // for progress
	expected         *pgtest.Record // what the run's snapshot showed, if the source is written to
	mayLose, mustNot bool           // what the faults say of the loss of the snapshot
	mortal           bool           // workers that are killed are not replaced

	closed chan struct{} // when the scene is over

	mu       sync.Mutex
	planner  *process
	workers  []*process
	all      []*process
	hold     bool // no process is started
	closing  bool
	lost     bool // the snapshot was lost and the run went on in another
	problems []string
	disturb  time.Time // until when a fault lasts
	supports sync.WaitGroup
}

// setup says what a scene is made of.
type setup struct {
	ownSource, ownTarget bool
	unlogged, writes     bool
	proxied              bool
	settings             settings
	nats                 natsServer // nil: a process of its own
}

// newScene makes the servers and the source.
func newScene(t *testing.T, rng *rand.Rand, o setup) *scene {
	t.Helper()
	s := &scene{t: t, rng: rng, begun: time.Now(), dir: t.TempDir(), closed: make(chan struct{}), ownSrc: o.ownSource, ownDst: o.ownTarget}
	source, target := pgtest.Source, pgtest.Target
	own := func(testing.TB) *pgtest.Server {
		return pgtest.Start(t, pgtest.Options{Settings: map[string]string{"shared_buffers": "16MB", "max_connections": "100"}})
	}
	if o.ownSource {
		source = own
	}
	if o.ownTarget {
		target = own
	}
	s.src, s.dst = appDatabase(t, source(t)), appDatabase(t, target(t))
	stockShop(t, s.src, o.unlogged)
	if o.nats == nil {
		s.nats = natstest.StartProcess(t)
		o.nats = s.nats
	}
	s.child = child{
		Source: s.src.URIAs(app), Target: s.dst.URIAs(app), NATS: o.nats.URL(), Run: fmt.Sprintf("chaos-%d", rng.IntN(1e9)),
		BinDir: pgtest.ClientDir(t, s.dst.Server.Major), Settings: o.settings,
	}
	s.workerURIs = [3]string{s.child.Source, s.child.Target, s.child.NATS}
	if o.proxied {
		for i, uri := range s.workerURIs {
			_, rest, _ := strings.Cut(uri, "//")
			if _, host, found := strings.Cut(rest, "@"); found {
				rest = host
			}
			server, _, _ := strings.Cut(rest, "/")
			p := startProxy(t, server)
			s.proxies = append(s.proxies, p)
			s.workerURIs[i] = strings.Replace(uri, server, p.addr(), 1)
		}
	}
	t.Cleanup(s.close)
	if o.writes {
		s.writer = startWriter(t, s.src, rand.New(rand.NewPCG(rng.Uint64(), 0)))
	}
	return s
}

// close ends every process, and shows their logs if the test has failed.
func (s *scene) close() {
	s.mu.Lock()
	s.closing = true
	all := slices.Clone(s.all)
	s.mu.Unlock()
	close(s.closed)
	for _, p := range all {
		if p.running() {
			p.kill()
		}
	}
	s.supports.Wait()
	if s.watching != nil {
		_ = s.watching.Close(context.Background())
	}
	if !s.t.Failed() {
		return
	}
	logs, _ := filepath.Glob(filepath.Join(s.dir, "*.log"))
	for _, name := range logs {
		text, _ := os.ReadFile(name)
		s.t.Logf("%s:\n%s", filepath.Base(name), tail(text, 60<<10))
	}
	if keep := os.Getenv("PGCONVOY_TEST_CHAOS_LOGS"); keep != "" {
		to := filepath.Join(keep, strings.ReplaceAll(s.t.Name(), "/", "-"))
		if err := errors.Join(os.RemoveAll(to), os.CopyFS(to, os.DirFS(s.dir))); err != nil {
			s.t.Logf("keep the logs: %v", err)
		}
	}
}

func tail(text []byte, most int) []byte { return text[max(0, len(text)-most):] }

// wait waits, or until the scene is over.
func (s *scene) wait(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.closed:
	}
}

// say logs with the time since the scene began.
func (s *scene) say(format string, args ...any) {
	s.t.Helper()
	s.t.Logf("%6.2f s: %s", time.Since(s.begun).Seconds(), fmt.Sprintf(format, args...))
}

// problem notes something that a run must not do, and that does not end it.
func (s *scene) problem(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.say("PROBLEM: %s", text)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.problems = append(s.problems, text)
}

// disturbed notes that a fault lasts for so long: what gives up meanwhile, or
// shortly after, is excused.
func (s *scene) disturbed(lasts time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if until := time.Now().Add(lasts); until.After(s.disturb) {
		s.disturb = until
	}
}

// excused reports whether a fault explains that a process gives up now.
func (s *scene) excused() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(s.disturb) < 15*time.Second
}

// start starts a process, unless the scene closes.
func (s *scene) start(name string, c child) *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return nil
	}
	p, err := spawn(s.dir, name, c)
	if err != nil {
		s.t.Errorf("start %s: %v", name, err)
		return nil
	}
	s.all = append(s.all, p)
	return p
}

// staff starts n worker processes and replaces each that dies, as an
// orchestrator does. The first ones to be started may have a crash each.
func (s *scene) staff(n int, crashes []*crash) {
	s.mu.Lock()
	s.workers = make([]*process, n)
	s.mu.Unlock()
	for i := range n {
		var mine []*crash
		for j := i; j < len(crashes); j += n {
			mine = append(mine, crashes[j])
		}
		pause := time.Duration(s.rng.IntN(1000)) * time.Millisecond
		s.supports.Go(func() { s.support(i, mine, pause) })
	}
}

// support keeps the worker of the number running until the scene closes.
func (s *scene) support(i int, crashes []*crash, pause time.Duration) {
	for life := 1; ; life++ {
		c := s.child
		c.Verb, c.Source, c.Target, c.NATS = "work", s.workerURIs[0], s.workerURIs[1], s.workerURIs[2]
		if len(crashes) > 0 {
			c.Crash, crashes = crashes[0], crashes[1:]
		}
		if !s.awaitRelease() {
			return
		}
		p := s.start(fmt.Sprintf("worker-%d-%d", i+1, life), c)
		if p == nil {
			return
		}
		s.mu.Lock()
		s.workers[i] = p
		s.mu.Unlock()
		killed, status := p.end()
		s.mu.Lock()
		closing := s.closing
		s.mu.Unlock()
		switch {
		case closing:
			return
		case killed && s.mortal:
			s.say("%s was killed for good", p.name)
			return
		case killed:
			s.say("%s was killed", p.name)
		case s.excused():
			s.say("%s gave up with status %d", p.name, status)
		default:
			s.problem("%s gave up with status %d: %s", p.name, status, lastLine(p.log))
		}
		s.wait(pause)
	}
}

func lastLine(file string) string {
	text, _ := os.ReadFile(file)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}

// awaitRelease waits while no process is to be started; it reports false when
// the scene closes.
func (s *scene) awaitRelease() bool {
	for {
		s.mu.Lock()
		hold, closing := s.hold, s.closing
		s.mu.Unlock()
		if closing || !hold {
			return !closing
		}
		s.wait(20 * time.Millisecond)
	}
}

// setHold stops, or lets go on, the start of processes.
func (s *scene) setHold(hold bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hold = hold
}

// runningWorkers returns the workers that are alive.
func (s *scene) runningWorkers() []*process {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*process
	for _, p := range s.workers {
		if p != nil && p.running() {
			list = append(list, p)
		}
	}
	return list
}

func (s *scene) runningPlanner() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.planner == nil || !s.planner.running() {
		return nil
	}
	return s.planner
}

// ask asks a database for one value within a short time; it fails while the
// server is down.
func ask[T any](db *pgtest.Database, sql string, args ...any) (value T, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, db.URI())
	if err != nil {
		return value, err
	}
	defer func() { _ = c.Close(ctx) }()
	err = c.QueryRow(ctx, sql, args...).Scan(&value)
	return value, err
}

// planned reports whether the target has a ledger.
func (s *scene) planned() (bool, error) {
	return ask[bool](s.dst, "SELECT to_regclass('pgconvoy.run') IS NOT NULL")
}

// progress returns the share of the tasks that are done, -1 while there is no
// plan; the last known one while the target does not answer. It is asked all the
// time, on a session of its own.
func (s *scene) progress(last float64) float64 {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if s.watching == nil || s.watching.IsClosed() {
		var err error
		if s.watching, err = pgx.Connect(ctx, s.dst.URI()); err != nil {
			return last
		}
	}
	var share float64
	err := s.watching.QueryRow(ctx, "SELECT (count(*) FILTER (WHERE state = 'done'))::float8 / greatest(count(*), 1) FROM pgconvoy.task").Scan(&share)
	if err != nil { // no ledger yet, or none any more
		return last
	}
	return share
}

// recorded returns what the source shows in the snapshot whose name the target
// answers to the query, or now if that is empty. It is nil if nobody holds the
// snapshot any more.
func (s *scene) recorded(query string) *pgtest.Record {
	var name string
	var err error
	if query != "" {
		name, err = ask[string](s.dst, query)
	}
	var r *pgtest.Record
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		r, err = pgtest.Recorded(ctx, s.src, name)
	}
	if err != nil {
		s.say("the snapshot cannot be read: %v", err)
		return nil
	}
	return r
}

// drawSettings draws a configuration.
func drawSettings(rng *rand.Rand) settings {
	return settings{
		PlannerWorks: rng.IntN(4) == 0, KeepLedger: rng.IntN(2) == 0, BundleTables: 4 + rng.IntN(12), Slots: 1 + rng.IntN(4),
		Verify: []config.VerifyLevel{config.VerifyNone, config.VerifyRows, config.VerifyDigest}[rng.IntN(3)],
	}
}
