package run_test

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/natstest"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/run"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
	"github.com/pgconvoy/pgconvoy/internal/ui"
)

// underWay is a run of a planner in this process, with workers in it, whose
// copies of table big wait at the gate.
type underWay struct {
	src, dst *pgtest.Database
	o        run.Options
	js       jetstream.JetStream
	release  func()
	wait     func() (tasks.Report, error)
}

func begin(t *testing.T) *underWay {
	t.Helper()
	r := &underWay{src: pgtest.Source(t).Database(t), dst: pgtest.Target(t).Database(t)}
	r.release = gated(t, r.src, r.dst, 10_000)
	r.src.Exec(t, "CREATE TABLE other (id int PRIMARY KEY); INSERT INTO other VALUES (1)")
	server := natstest.Start(t)
	var err error
	r.js, err = jetstream.New(natstest.Connect(t, server.URL()))
	require.NoError(t, err)
	r.o = options(t, r.src, r.dst)
	r.o.Config.NATS.URL = config.Secret(server.URL())
	runs, err := run.Runs(t.Context(), r.o)
	require.NoError(t, err, "a server that no planner has ever come to")
	require.Empty(t, runs)
	r.o.Config.Workers = config.Yes
	r.o.AckWait = 2 * time.Second
	r.wait = start(t.Context(), r.o)
	awaitGate(t, r.dst, 2)
	return r
}

// finish opens the gate and expects the copy to be whole.
func (r *underWay) finish(t *testing.T) {
	t.Helper()
	r.release()
	_, err := r.wait()
	require.NoError(t, err)
	pgtest.RequireEqual(t, r.src, r.dst)
}

// TestQueueIsDisposable: what happens to the queue by hand costs time only.
func TestQueueIsDisposable(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(ctx context.Context, js jetstream.JetStream) error{
		"purged": func(ctx context.Context, js jetstream.JetStream) error {
			s, err := js.Stream(ctx, "PGCONVOY-main")
			if err != nil {
				return err
			}
			return s.Purge(ctx)
		},
		"deleted":   func(ctx context.Context, js jetstream.JetStream) error { return js.DeleteStream(ctx, "PGCONVOY-main") },
		"no bucket": func(ctx context.Context, js jetstream.JetStream) error { return js.DeleteKeyValue(ctx, "pgconvoy") },
		"no consumer": func(ctx context.Context, js jetstream.JetStream) error {
			return js.DeleteConsumer(ctx, "PGCONVOY-main", "index")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := begin(t)
			require.NoError(t, harm(t.Context(), r.js))
			r.finish(t)
		})
	}
}

// config returns the configuration of a stage's consumer.
func (r *underWay) consumer(t *testing.T, stage string) *jetstream.ConsumerInfo {
	t.Helper()
	c, err := r.js.Consumer(t.Context(), "PGCONVOY-main", stage)
	require.NoError(t, err)
	return c.CachedInfo()
}

func TestPauseScaleAndStatus(t *testing.T) {
	t.Parallel()
	r := begin(t)
	require.NoError(t, run.Pause(t.Context(), r.o))
	require.NoError(t, run.Scale(t.Context(), r.o, map[tasks.Stage]int{tasks.StageCopy: 9, tasks.StageIndex: 3}))
	require.Eventually(t, func() bool {
		return r.consumer(t, "index").Paused && r.consumer(t, "copy").Config.MaxAckPending == 9 && r.consumer(t, "index").Config.MaxAckPending == 3
	}, time.Minute, 20*time.Millisecond, "the planner does what is wanted")
	var s tasks.RunStatus
	require.Eventually(t, func() bool { // it waits half a second for what workers say
		var err error
		s, err = run.Status(t.Context(), r.o)
		return err == nil && len(s.Workers) == 1 && len(s.Stages) == len(tasks.Stages())
	}, time.Minute, 50*time.Millisecond)
	require.True(t, s.Paused)
	require.Equal(t, tasks.RunRunning, s.State)
	require.True(t, s.Snapshot.Held)
	require.GreaterOrEqual(t, s.Snapshot.XminAge, int64(0))
	var told tasks.RunStatus // from the queue alone, as the planner told it
	blind := r.o
	blind.Config.Source.URI, blind.Config.Target.URI = "", ""
	require.Eventually(t, func() bool {
		var err error
		told, err = run.Status(context.Background(), blind)
		return err == nil && told.Paused
	}, time.Minute, 50*time.Millisecond)
	require.Equal(t, s.RunUID, told.RunUID)
	list, err := run.Runs(t.Context(), r.o)
	require.NoError(t, err)
	require.Len(t, list, 1)

	r.release()
	awaitQuery(t, r.dst, "0", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 42 AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")
	require.Never(t, func() bool {
		return r.dst.Query(t, "SELECT count(*) FROM pgconvoy.task WHERE stage = 'index' AND state = 'done'") != "0"
	},
		300*time.Millisecond, 30*time.Millisecond, "nothing new is given out")
	require.NoError(t, run.Unpause(t.Context(), r.o))
	_, err = r.wait()
	require.NoError(t, err)
	pgtest.RequireEqual(t, r.src, r.dst)
	require.Error(t, run.Pause(t.Context(), r.o), "there is no run any more")

	var text, out bytes.Buffer
	require.NoError(t, ui.Status(&text, "table", s))
	require.Contains(t, text.String(), "run main")
	require.NoError(t, ui.Status(&out, ui.JSON, s))
	var back tasks.RunStatus
	require.NoError(t, json.Unmarshal(out.Bytes(), &back))
	require.Equal(t, s.Tasks, back.Tasks)
}

// TestStatusFromTheLedgerAlone: NATS is gone, and the planner too.
func TestStatusFromTheLedgerAlone(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	src.Exec(t, "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (1)")
	o := options(t, src, dst)
	o.Config.KeepLedger = true
	copyAll(t, o)
	dst.Exec(t, "UPDATE pgconvoy.run SET state = 'running'")
	o.Config.NATS.URL = "nats://127.0.0.1:1"
	s, err := run.Status(t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, int64(1), s.Rows)
	require.Len(t, s.Warnings, 2)
	require.Contains(t, s.Warnings[0], "no planner owns the run")
	require.Contains(t, s.Warnings[1], "the queue cannot be reached")
}

func TestCancelLeavesNothing(t *testing.T) {
	t.Parallel()
	for name, how := range map[string]run.Cancellation{"now": {Now: true}, "drain": {}, "keep": {Now: true, Keep: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := begin(t)
			cancelled := make(chan error, 1)
			go func() { cancelled <- run.Cancel(t.Context(), r.o, how) }()
			if !how.Now {
				awaitQuery(t, r.dst, "drain", "SELECT wish FROM pgconvoy.run")
				r.release()
			}
			report, err := r.wait()
			require.ErrorContains(t, err, "cancelled")
			require.NotEqual(t, tasks.RunComplete, report.State)
			require.NoError(t, <-cancelled)
			_, err = r.js.Stream(t.Context(), "PGCONVOY-main")
			require.ErrorIs(t, err, jetstream.ErrStreamNotFound)
			for _, db := range []*pgtest.Database{r.src, r.dst} {
				awaitQuery(t, db, "0", "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pgconvoy%' AND datname = current_database()")
			}
			if !how.Keep {
				require.Equal(t, "0", r.dst.Query(t, "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname IN ('public', 'pgconvoy')"))
				return
			}
			r.release()
			_, err = run.Resume(t.Context(), r.o, run.Resumption{Recopy: true})
			require.NoError(t, err)
			pgtest.RequireEqual(t, r.src, r.dst)
		})
	}
}

// TestStallsAreExplained: a copy that waits says for what.
func TestStallsAreExplained(t *testing.T) {
	t.Parallel()
	r := begin(t)
	awaitQuery(t, r.dst, "t", "SELECT count(*) > 0 FROM pgconvoy.lease")
	// Nobody waits a minute: the lease says that nothing moved for that long.
	r.dst.Exec(t, `CREATE FUNCTION pgconvoy.still() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.moved_at = NEW.moved_at - interval ''1 hour''; RETURN NEW; END';
		CREATE TRIGGER still BEFORE INSERT OR UPDATE ON pgconvoy.lease FOR EACH ROW EXECUTE FUNCTION pgconvoy.still()`)
	var s tasks.RunStatus
	require.Eventually(t, func() bool {
		var err error
		s, err = run.Status(context.Background(), r.o)
		return err == nil && len(s.Running) > 0 && s.Running[0].Stall != ""
	}, time.Minute, 100*time.Millisecond)
	require.Contains(t, s.Running[0].Stall, "waits on the target for a lock (advisory) that is held by process")
	require.Contains(t, s.Running[0].SQL, "pg_advisory_lock(42)")
	require.Contains(t, s.Stalls()[0], "stalled: copy.public.big.")
	r.dst.Exec(t, "DROP TRIGGER still ON pgconvoy.lease")
	r.finish(t)
}
