package run_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/cli/clitest"
	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/fleet"
	"github.com/pgconvoy/pgconvoy/internal/ledger"
	"github.com/pgconvoy/pgconvoy/internal/natstest"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/queue"
	"github.com/pgconvoy/pgconvoy/internal/run"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// build returns the path of the command of the name.
func build(t *testing.T, name string) string {
	t.Helper()
	dir, err := clitest.Commands()
	require.NoError(t, err)
	return filepath.Join(dir, name)
}

// external are the options of a run whose queue is on a server of its own.
func external(t *testing.T, src, dst *pgtest.Database) (run.Options, *natstest.Server) {
	t.Helper()
	server := natstest.Start(t)
	o := options(t, src, dst)
	o.Config.NATS.URL = config.Secret(server.URL())
	return o, server
}

// process is a worker process.
type process struct {
	*exec.Cmd
	mu  sync.Mutex
	log bytes.Buffer
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

func (p *process) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// startWorker starts a worker process that is configured by environment alone.
func startWorker(t *testing.T, binary string, o run.Options, extra ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.CommandContext(context.WithoutCancel(t.Context()), binary)}
	p.Env = append(workerEnv(o), extra...)
	return p.launch(t)
}

// workerEnv is the environment of a worker process.
func workerEnv(o run.Options) []string {
	return append(os.Environ(),
		"PGCONVOY_SOURCE_URI="+string(o.Config.Source.URI), "PGCONVOY_TARGET_URI="+string(o.Config.Target.URI),
		"PGCONVOY_NATS_URL="+string(o.Config.NATS.URL), "PGCONVOY_RUN="+o.Config.Run)
}

// launch starts the process, which ends with the test.
func (p *process) launch(t *testing.T) *process {
	t.Helper()
	p.Stderr = p
	require.NoError(t, p.Start())
	t.Cleanup(func() {
		_ = p.Process.Kill()
		_ = p.Wait()
		if t.Failed() {
			t.Logf("%s %d said:\n%s", filepath.Base(p.Path), p.Process.Pid, p.String())
		}
	})
	return p
}

func TestExternalQueueWithThreeWorkers(t *testing.T) {
	t.Parallel()
	src := pgtest.Source(t).Museum(t)
	dst := pgtest.Target(t).Database(t)
	dst.Server.MuseumRoles(t)
	o, _ := external(t, src, dst)
	o.Config.KeepLedger = true
	binary := build(t, "worker")
	for range 3 {
		startWorker(t, binary, o)
	}
	copyAll(t, o)
	workers := dst.Column(t, "SELECT DISTINCT worker FROM pgconvoy.task ORDER BY 1")
	require.NotContains(t, workers, fmt.Sprint(os.Getpid()), "the planner runs no workers unless asked to")
	require.NotEmpty(t, workers)
	pgtest.RequireEqual(t, src, dst, pgtest.IgnoreSchemas("pgconvoy"))
}

// A worker writes nothing to a disk: one that may write no byte, to no folder,
// does all that there is to do.
func TestWorkerNeedsNoDisk(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Museum(t), pgtest.Target(t).Database(t)
	dst.Server.MuseumRoles(t)
	o, _ := external(t, src, dst)
	shell, err := exec.LookPath("sh")
	require.NoError(t, err)
	p := &process{Cmd: exec.CommandContext(context.WithoutCancel(t.Context()), shell, "-c", `ulimit -f 0; exec "$0"`, build(t, "worker"))}
	p.Dir, p.Env = "/", append(workerEnv(o), "TMPDIR=/nowhere", "HOME=/nowhere")
	p.launch(t)
	copyAll(t, o)
	pgtest.RequireEqual(t, src, dst)
}

// gated makes a table on src whose rows wait, when they are copied to dst, at
// every 5,000th one for a lock that the returned function releases. It lets a
// test stop a COPY in its middle.
func gated(t *testing.T, src, dst *pgtest.Database, rows int) (release func()) {
	t.Helper()
	src.Exec(t, fmt.Sprintf(`CREATE FUNCTION gate(i int8) RETURNS bool LANGUAGE plpgsql AS
			'BEGIN IF i %% 5000 = 0 THEN PERFORM pg_advisory_xact_lock_shared(42); END IF; RETURN true; END';
		CREATE TABLE big (id int8 PRIMARY KEY CHECK (public.gate(id)), pad text);
		INSERT INTO big SELECT i, repeat(md5(i::text), 10) FROM generate_series(1, %d) i; CREATE INDEX ON big (pad)`, rows))
	gate := dst.Connect(t)
	_, err := gate.Exec(t.Context(), "SELECT pg_advisory_lock(42)")
	require.NoError(t, err)
	return func() {
		_, err := gate.Exec(context.WithoutCancel(t.Context()), "SELECT pg_advisory_unlock(42)")
		require.NoError(t, err)
	}
}

// awaitGate waits until n tasks stand at the gate.
func awaitGate(t *testing.T, dst *pgtest.Database, n int) {
	t.Helper()
	awaitQuery(t, dst, fmt.Sprint(n), `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 42 AND NOT granted
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)
}

// start is [run.Run] in the background.
func start(ctx context.Context, o run.Options) (wait func() (tasks.Report, error)) {
	return background(ctx, o, run.Run)
}

// background begins to do something, such as run.Run, with o and returns a function
// that waits for its end.
func background[T any](ctx context.Context, o run.Options, do func(context.Context, run.Options) (T, error)) (wait func() (T, error)) {
	var result T
	ended := make(chan error, 1)
	go func() {
		var err error
		result, err = do(ctx, o)
		ended <- err
	}()
	return func() (T, error) {
		err := <-ended
		return result, err
	}
}

func TestWorkerKilledInTheMiddleOfAPart(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	release := gated(t, src, dst, 30_000)
	o, _ := external(t, src, dst)
	o.Config.Split.LargerThan = 4 << 20
	o.Config.KeepLedger = true
	o.AckWait = 2 * time.Second
	binary := build(t, "worker")
	wait := start(t.Context(), o)
	victim := startWorker(t, binary, o, "PGCONVOY_SLOTS_COPY=2")
	awaitGate(t, dst, 2)
	require.NoError(t, victim.Process.Signal(syscall.SIGKILL))
	_ = victim.Wait()
	release()
	heir := startWorker(t, binary, o)
	report, err := wait()
	require.NoError(t, err)
	require.Equal(t, int64(30_000), report.Rows)
	require.Contains(t, heir.String(), `COPY`)
	pgtest.RequireEqual(t, src, dst, pgtest.IgnoreSchemas("pgconvoy"))
}

// awaitQuery waits until the query yields the value.
func awaitQuery(t *testing.T, db *pgtest.Database, want, query string) {
	t.Helper()
	db.Await(t, want, query)
}

func TestQueueServerIsAwayForAWhile(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	release := gated(t, src, dst, 10_000)
	o, server := external(t, src, dst)
	o.Config.Workers = config.Yes
	o.Config.Bundle.MaxTable, o.Config.Split.LargerThan = 0, 1<<30
	o.AckWait = 2 * time.Second
	wait := start(t.Context(), o)
	awaitGate(t, dst, 1)
	server.Stop()
	release()
	awaitQuery(t, dst, "1", "SELECT count(*) FROM pgconvoy.task WHERE id = 'copy.public.big.all' AND state = 'done'")
	server.Restart()
	_, err := wait()
	require.NoError(t, err)
	pgtest.RequireEqual(t, src, dst)
}

// The queue outlives no run, not even if its server is away when the run ends.
func TestQueueServerIsAwayAtTheEnd(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	release := gated(t, src, dst, 10)
	src.Exec(t, "CREATE MATERIALIZED VIEW late AS SELECT gate(5000) AS passed")
	o, server := external(t, src, dst)
	o.Config.Verify = config.VerifyNone
	wait := start(t.Context(), o)
	startWorker(t, build(t, "worker"), o)
	awaitGate(t, dst, 1)
	awaitQuery(t, dst, "1", "SELECT count(*) FROM pgconvoy.task WHERE state <> 'done'")
	server.Stop()
	release()
	awaitQuery(t, dst, "complete", "SELECT state FROM pgconvoy.run")
	server.Restart()
	_, err := wait()
	require.NoError(t, err)
	pgtest.RequireEqual(t, src, dst)
	awaitQuery(t, dst, "0", "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'pgconvoy%'")

	// If it stays away, cleanup is what takes the queue away.
	conn, err := queue.Connect(t.Context(), queue.Options{URL: server.URL()})
	require.NoError(t, err)
	_, err = conn.Create(t.Context(), tasks.RunID{Name: o.Config.Run, UID: "0198c0de-1"}, fleet.StageNumbers(o.Config.Caps))
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	require.NoError(t, run.Cleanup(t.Context(), o))
	require.ErrorIs(t, run.Cleanup(t.Context(), o), ledger.ErrNoRun, "nothing is left")
}

// A task whose failure was the target's, which lost rows in a crash, is done in the
// end: its letter goes with the queue.
func TestCompleteRunLeavesNoLetters(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	release := gated(t, src, dst, 10_000)
	o, server := external(t, src, dst)
	o.Config.Workers = config.Yes
	wait := start(t.Context(), o)
	awaitQuery(t, dst, "t", sqlHeld)
	conn, err := queue.Connect(t.Context(), queue.Options{URL: server.URL()})
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	q, err := conn.Open(t.Context(), o.Config.Run)
	require.NoError(t, err)
	id := tasks.RunID{Name: o.Config.Run, UID: dst.Query(t, "SELECT uid FROM pgconvoy.run")}
	require.NoError(t, q.Bury(t.Context(), tasks.DeadLetter{Envelope: id.Envelope(tasks.KindVerify, "misc.verify.v0001"), Reason: "no rows", Attempts: 1}))
	require.Len(t, letters(t, conn, o), 1)
	release()
	_, err = wait()
	require.NoError(t, err)
	require.Empty(t, letters(t, conn, o))
}

func letters(t *testing.T, conn *queue.Conn, o run.Options) []tasks.DeadLetter {
	t.Helper()
	list, err := conn.Dead(t.Context(), o.Config.Run)
	require.NoError(t, err)
	return list
}

// An interrupted planner waits for workers elsewhere, too, and they get nothing
// new meanwhile.
func TestInterruptDrainsTheFleet(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	release := gated(t, src, dst, 10_000)
	o, _ := external(t, src, dst)
	o.Config.Bundle.MaxTable, o.Config.Split.LargerThan = 0, 1<<30
	ctx, interrupt := context.WithCancel(t.Context())
	wait := start(ctx, o)
	startWorker(t, build(t, "worker"), o)
	awaitGate(t, dst, 1)
	interrupt()
	require.Never(t, func() bool { return dst.Query(t, "SELECT state FROM pgconvoy.run") != "running" }, 500*time.Millisecond, 50*time.Millisecond,
		"the planner does not give up while a worker has a task in hand")
	release()
	_, err := wait()
	require.ErrorIs(t, err, context.Canceled)
	var hinted *tasks.HintError
	require.ErrorAs(t, err, &hinted)
	require.Contains(t, hinted.Hint(), "planner resume")
	s, err := run.Status(t.Context(), o)
	require.NoError(t, err)
	require.Empty(t, s.Planner)
	require.Contains(t, fmt.Sprint(s.Warnings), "planner resume goes on with it")
	require.Equal(t, "cancelled", dst.Query(t, "SELECT state FROM pgconvoy.run"))
	require.Equal(t, []string{"copy.public.big.all"}, dst.Column(t, "SELECT id FROM pgconvoy.task WHERE state = 'done' AND wave = 'wave:data'"))
	require.Equal(t, 10_000, dst.Count(t, "big"))
}
