package run_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/run"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// wide makes a table of so many rows of 1 kB.
func wide(t *testing.T, db *pgtest.Database, name string, rows int) {
	t.Helper()
	db.Exec(t, fmt.Sprintf("CREATE TABLE %s (id int PRIMARY KEY, pad text); INSERT INTO %[1]s SELECT i, repeat(md5(i::text), 31) FROM generate_series(1, %d) i", name, rows))
}

// awaitLedger waits until there is one.
func awaitLedger(t *testing.T, db *pgtest.Database) {
	t.Helper()
	awaitQuery(t, db, "t", "SELECT to_regclass('pgconvoy.run') IS NOT NULL")
}

// taken is how many bytes the COPYs have brought to the database that are under way.
func taken(t *testing.T, db *pgtest.Database) int64 {
	t.Helper()
	n, err := strconv.ParseInt(db.Query(t, "SELECT coalesce(sum(bytes_processed), 0)::int8 FROM pg_stat_progress_copy WHERE datname = current_database()"), 10, 64)
	require.NoError(t, err)
	return n
}

// TestRateOfTheFleet: two worker processes together move as many bytes per second as
// they may, and as many as they can once nobody minds any more.
func TestRateOfTheFleet(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	wide(t, src, "a", 27_000)
	wide(t, src, "b", 27_000)
	o, _ := external(t, src, dst)
	o.Config.KeepLedger = true
	o.Config.Split.LargerThan, o.Config.Verify = 1<<30, config.VerifyRows
	const rate, window = 2 << 20, 10.0 // seconds
	o.Config.Limits.Source.BytesPerSecond = rate
	wait := start(t.Context(), o)
	for range 2 {
		startWorker(t, build(t, "worker"), o, "PGCONVOY_SLOTS_COPY=1")
	}
	awaitLedger(t, dst)
	awaitQuery(t, dst, "2", fmt.Sprintf("SELECT count(*) FROM pgconvoy.worker WHERE share BETWEEN %d AND %d", rate*45/100, rate*55/100))
	awaitQuery(t, dst, "2", "SELECT count(*) FROM pg_stat_progress_copy WHERE datname = current_database() AND bytes_processed > 0")

	began, before := time.Now(), taken(t, dst)
	require.Eventually(t, func() bool { return taken(t, dst) >= before+int64(window)*rate }, time.Minute, 20*time.Millisecond)
	took := time.Since(began).Seconds()
	require.GreaterOrEqual(t, took, window*0.9)
	require.LessOrEqual(t, took, window*2.0, "a busy machine may be slower than it may be")

	require.NoError(t, run.Limit(t.Context(), o, tasks.Limits{tasks.SourceRate: 0}))
	lifted := time.Now()
	awaitQuery(t, dst, "2", "SELECT count(*) FROM pgconvoy.task WHERE kind = 'copy' AND state = 'done'")
	require.Less(t, time.Since(lifted), 9*time.Second, "at the old pace it would have been more than 12")
	_, err := wait()
	require.NoError(t, err)
	pgtest.RequireEqual(t, src, dst, pgtest.IgnoreSchemas("pgconvoy"))
}

// TestReplicaLagHoldsCopies: a replica of the target that replays nothing makes the
// run wait, which says for what, and goes on when the replica does.
func TestReplicaLagHoldsCopies(t *testing.T) {
	t.Parallel()
	src, server := pgtest.Source(t).Database(t), pgtest.Start(t, pgtest.Options{})
	standby := server.Standby(t, nil)
	dst := server.Database(t)
	wide(t, src, "a", 48_000)
	src.Exec(t, "CREATE TABLE after (id int PRIMARY KEY); INSERT INTO after VALUES (1)")
	o := options(t, src, dst)
	o.Config.Bundle.MaxTable, o.Config.Split.LargerThan, o.Config.Verify = 0, 1<<30, config.VerifyRows
	o.Config.Limits.Source.BytesPerSecond, o.Config.Limits.Target.MaxReplicaLag = 2<<20, 4<<20
	standby.AwaitReplay(t, server)
	standby.Exec(t, "SELECT pg_wal_replay_pause()")
	wait := start(t.Context(), o)
	awaitLedger(t, dst)
	awaitQuery(t, dst, "true", "SELECT coalesce(throttle ->> 'held', 'false') FROM pgconvoy.run")
	var stood int64
	require.Eventually(t, func() bool { // workers know of it with their next sign of life
		before := stood
		stood = taken(t, dst)
		return stood > 0 && stood == before
	}, time.Minute, time.Second)
	s, err := run.Status(t.Context(), o)
	require.NoError(t, err)
	require.Regexp(t, `^throttled: target replica lag [0-9.]+ MB > 4.00 MB, .*copy 4 → 0.*; copies stand still until that is over$`, s.Throttle.Text)
	require.Equal(t, tasks.ByLimits, s.Bottleneck)
	require.Empty(t, s.Stalls())

	standby.Exec(t, "SELECT pg_wal_replay_resume()")
	awaitQuery(t, dst, "false", "SELECT coalesce(throttle ->> 'held', 'false') FROM pgconvoy.run")
	require.NoError(t, run.Limit(t.Context(), o, tasks.Limits{tasks.SourceRate: 0, tasks.TargetReplicaLag: 1 << 30}))
	report, err := wait()
	require.NoError(t, err)
	require.Equal(t, tasks.RunComplete, report.State)
	pgtest.RequireEqual(t, src, dst)
}

// TestLimitsOutliveAPlanner: what a planner has done to the queue for the sake of
// limits, the next one undoes when they are lifted.
func TestLimitsOutliveAPlanner(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	release := gated(t, src, dst, 10_000)
	o, _ := external(t, src, dst)
	o.Config.Workers, o.Config.Grace, o.AckWait = config.Yes, 100*time.Millisecond, 2*time.Second
	o.Config.Limits.Target.Connections = 7
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	caps := func() (copies int) {
		s, err := run.Status(context.WithoutCancel(t.Context()), o)
		if err != nil || len(s.Stages) == 0 {
			return 0
		}
		return s.Stages[0].Cap
	}
	wait := start(ctx, o)
	awaitGate(t, dst, 1)
	require.Less(t, caps(), o.Config.Caps.Copy)
	awaitQuery(t, dst, "t", `SELECT count(*) <= 7 + 1 FROM pg_stat_activity WHERE application_name LIKE 'pgconvoy worker%' AND datname = current_database()`)
	interrupt()
	_, err := wait()
	require.ErrorIs(t, err, context.Canceled)

	require.NoError(t, run.Limit(t.Context(), o, tasks.Limits{tasks.TargetConnections: 0}), "although no planner is there")
	resumed := make(chan error, 1)
	go func() {
		_, err := run.Resume(t.Context(), o, run.Resumption{Recopy: true})
		resumed <- err
	}()
	require.Eventually(t, func() bool { return caps() == o.Config.Caps.Copy }, time.Minute, 50*time.Millisecond)
	release()
	require.NoError(t, <-resumed)
	pgtest.RequireEqual(t, src, dst)
}
