package run_test

import (
	"context"
	"fmt"
	"regexp"
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

const sqlTaken = "SELECT coalesce(sum(bytes_processed), 0)::int8 FROM pg_stat_progress_copy WHERE datname = current_database()"

// taken is how many bytes the COPYs have brought to the database that are under way.
func taken(t *testing.T, db *pgtest.Database) int64 {
	t.Helper()
	n, err := strconv.ParseInt(db.Query(t, sqlTaken), 10, 64)
	require.NoError(t, err)
	return n
}

// TestRateOfTheFleet: two worker processes together move as many bytes per second as
// they may, and as many as they can once nobody minds any more.
func TestRateOfTheFleet(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	wide(t, src, "a", 54_000)
	wide(t, src, "b", 54_000)
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
	dst.Await(t, "t", fmt.Sprintf("SELECT (%s) >= %d", sqlTaken, before+int64(window)*rate))
	took := time.Since(began).Seconds()
	require.GreaterOrEqual(t, took, window*0.75, "some had been sent before, and was not yet counted")
	require.LessOrEqual(t, took, window*4.0, "a busy machine may be slower than it may be")

	require.NoError(t, run.Limit(t.Context(), o, tasks.Limits{tasks.SourceRate: 0}))
	lifted := time.Now()
	awaitQuery(t, dst, "2", "SELECT count(*) FROM pgconvoy.task WHERE kind = 'copy' AND state = 'done'")
	require.Less(t, time.Since(lifted), 25*time.Second, "at the old pace it would have been more than 35")
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

// TestAutomaticLimits: where limits are automatic, sessions of others that wait for a
// row on the source slow copies down to one at a time, which goes on, and copies are as
// many as before some time after they have got it.
func TestAutomaticLimits(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	src.Exec(t, `CREATE FUNCTION gate(n int) RETURNS bool LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(n); RETURN true; END'`)
	const tables = 6
	gate := dst.Connect(t)
	for n := 1; n <= tables; n++ { // each table waits at a gate of its own; the largest comes first
		src.Exec(t, fmt.Sprintf("CREATE TABLE t%d (n int CHECK (public.gate(n)), pad text); INSERT INTO t%[1]d SELECT %[1]d, repeat('x', 500) FROM generate_series(1, %d)", n, (tables-n)*50+1))
		_, err := gate.Exec(t.Context(), "SELECT pg_advisory_lock($1)", n)
		require.NoError(t, err)
	}
	o := options(t, src, dst)
	o.Config.Bundle.MaxTable, o.Config.Split.LargerThan, o.Config.Verify = 0, 1<<30, config.VerifyRows
	o.Config.Caps.Copy, o.Config.Caps.Index = 2, 2
	o.Config.Limits.Automatic, o.Config.Limits.Target.MaxCheckpoints = true, 1<<20 // other tests cause some
	wait := start(t.Context(), o)
	awaitAt := func(want string) { // which gates copies wait at
		t.Helper()
		awaitQuery(t, dst, want, `SELECT coalesce(string_agg(objid::text, ' ' ORDER BY objid), '') FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND objid BETWEEN 1 AND 6`)
	}
	open := func(n int) {
		t.Helper()
		_, err := gate.Exec(t.Context(), "SELECT pg_advisory_unlock($1)", n)
		require.NoError(t, err)
	}
	awaitAt("1 2")

	release := contend(t, src, "t6", 6)
	var s tasks.RunStatus
	// Other tests may wait, too; and a source that stood still has copies lowered for that at first.
	said := regexp.MustCompile(`^throttled: source lock waits \d+ > 5, copy 2 → 1$`)
	require.Eventually(t, func() bool {
		var err error
		s, err = run.Status(t.Context(), o)
		return err == nil && len(s.Throttle.Warnings()) == 1 && said.MatchString(s.Throttle.Warnings()[0])
	}, time.Minute, 50*time.Millisecond)
	require.False(t, s.Throttle.Held)
	open(1)
	open(2)
	awaitAt("3")
	now := src.Query(t, "SELECT clock_timestamp()") // a bound that people have set would hold copies from the next look on
	awaitQuery(t, src, "t", fmt.Sprintf(`SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database()
		AND application_name = 'pgconvoy planner' AND query LIKE '%%pg_locks%%' AND query_start > '%s' AND state = 'idle'`, now))
	open(3)
	awaitAt("4")

	release()
	awaitAt("4 5")
	awaitQuery(t, dst, "", "SELECT coalesce(throttle ->> 'text', '') FROM pgconvoy.run")
	for n := 4; n <= tables; n++ {
		open(n)
	}
	report, err := wait()
	require.NoError(t, err)
	require.Equal(t, tasks.RunComplete, report.State)
	requireOneAtATime(t, report, "copy.public.t3.all", "copy.public.t4.all")
	pgtest.RequireEqual(t, src, dst)
}

// contend has so many sessions wait for the first row of a table, which another one has
// locked, until the returned function is called.
func contend(t *testing.T, db *pgtest.Database, table string, sessions int) (release func()) {
	t.Helper()
	lock := "SELECT FROM " + table + " FOR UPDATE"
	holder := db.Connect(t)
	tx, err := holder.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), lock)
	require.NoError(t, err)
	waiting := make(chan error, sessions)
	for range sessions {
		conn := db.Connect(t)
		go func() {
			_, err := conn.Exec(t.Context(), lock)
			waiting <- err
		}()
	}
	return func() {
		require.NoError(t, tx.Rollback(t.Context()))
		for range sessions {
			require.NoError(t, <-waiting)
		}
	}
}

// requireOneAtATime asserts that the second task began when the first one was done.
func requireOneAtATime(t *testing.T, report tasks.Report, first, second tasks.ID) {
	t.Helper()
	spans := map[tasks.ID]tasks.Span{}
	for _, s := range report.Timeline {
		spans[s.Task] = s
	}
	require.Positive(t, spans[first].Took)
	require.GreaterOrEqual(t, spans[second].Start, spans[first].Start+spans[first].Took)
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
	awaitQuery(t, dst, "t", sqlHeld)
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
