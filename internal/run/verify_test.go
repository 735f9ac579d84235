package run_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/natstest"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/run"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// requireEqualSides compares and asserts that nothing differs.
func requireEqualSides(t *testing.T, o run.Options) tasks.Comparison {
	t.Helper()
	result, err := run.Verify(t.Context(), o)
	require.NoError(t, err, "%v", result.Differences)
	require.Empty(t, result.Differences)
	return result
}

// requireDifferences compares and returns what differs.
func requireDifferences(t *testing.T, o run.Options) []tasks.Difference {
	t.Helper()
	result, err := run.Verify(t.Context(), o)
	var differ *run.DifferenceError
	require.ErrorAs(t, err, &differ)
	require.Equal(t, 4, differ.ExitCode())
	require.Len(t, result.Differences, differ.Tables)
	return result.Differences
}

func requireNoLedger(t *testing.T, db *pgtest.Database) {
	t.Helper()
	require.Equal(t, "0", db.Query(t, "SELECT count(*) FROM pg_namespace WHERE nspname = 'pgconvoy'"))
}

// TestVerifyTheMuseum compares every kind of table, in parts and through roots,
// and finds what is then changed in some of them.
func TestVerifyTheMuseum(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Museum(t), pgtest.Target(t).Database(t)
	dst.Server.MuseumRoles(t)
	o := options(t, src, dst)
	copyAll(t, o)
	result := requireEqualSides(t, o)
	require.Equal(t, "digest", result.Level)
	require.Greater(t, result.Tables, 50)
	require.Greater(t, result.Rows, int64(10_000))
	requireNoLedger(t, dst)
	o.Config.Verify = config.VerifyRows
	counted := requireEqualSides(t, o)
	require.Equal(t, result.Rows, counted.Rows)

	dst.Exec(t, `UPDATE museum.big SET id = -id WHERE id = (SELECT max(id) FROM museum.big); 
		DROP TABLE annex.refers CASCADE`)
	o.Config.Verify = config.VerifyNone
	found := requireDifferences(t, o)
	require.Len(t, found, 1, "the numbers of rows are the same: %v", found)
	require.Equal(t, tasks.Name{Schema: "annex", Name: "refers"}, found[0].Table)
	o.Config.Verify = config.VerifyDigest
	dst.Exec(t, "INSERT INTO museum.by_mood VALUES ('sad', 99)")
	found = requireDifferences(t, o)
	require.Len(t, found, 3)
	require.Equal(t, tasks.Name{Schema: "annex", Name: "refers"}, found[0].Table)
	require.Equal(t, tasks.Name{Schema: "museum", Name: "big"}, found[1].Table)
	highest := src.Query(t, "SELECT max(id) FROM museum.big")
	require.Equal(t, []tasks.RowDifference{{Finding: tasks.RowExtra, Key: []string{"-" + highest}}, {Finding: tasks.RowMissing, Key: []string{highest}}}, found[1].Rows)
	require.False(t, found[1].More)
	require.Equal(t, tasks.Name{Schema: "museum", Name: "by_mood"}, found[2].Table)
	require.Equal(t, []tasks.RowDifference{{Finding: tasks.RowExtra, CTID: dst.Query(t, "SELECT tableoid::regclass || ' ' || ctid FROM museum.by_mood WHERE v = 99")}}, found[2].Rows)
	requireNoLedger(t, dst)
}

// TestVerifyByThreeWorkers has the comparison done by processes that did the
// copy, and wait for the next run of that name.
func TestVerifyByThreeWorkers(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	src.Exec(t, `CREATE TABLE big (id int PRIMARY KEY, pad text); INSERT INTO big SELECT i, repeat(md5(i::text), 5) FROM generate_series(1, 20000) i;
		CREATE TABLE small (id int PRIMARY KEY); INSERT INTO small VALUES (1)`)
	o, _ := external(t, src, dst)
	o.Config.KeepLedger = true
	binary := build(t, "worker")
	var workers []*process
	for range 3 {
		workers = append(workers, startWorker(t, binary, o, "PGCONVOY_SLOTS_COPY=1"))
	}
	copyAll(t, o)
	kept := dst.Rows(t, "SELECT to_jsonb(x)::text FROM pgconvoy.task x ORDER BY 1")
	requireEqualSides(t, o)
	dst.Exec(t, "UPDATE big SET pad = '' WHERE id = 12345; INSERT INTO small VALUES (2)")
	found := requireDifferences(t, o)
	require.Len(t, found, 2)
	require.Equal(t, []string{"id"}, found[0].Key)
	require.Equal(t, []tasks.RowDifference{{Finding: tasks.RowDifferent, Key: []string{"12345"}}}, found[0].Rows)
	require.Equal(t, []tasks.RowDifference{{Finding: tasks.RowExtra, Key: []string{"2"}}}, found[1].Rows)
	require.Equal(t, kept, dst.Rows(t, "SELECT to_jsonb(x)::text FROM pgconvoy.task x ORDER BY 1"), "the kept ledger is as it was")

	log := ""
	for _, w := range workers {
		log += w.String()
	}
	require.Contains(t, log, `digest of \"public\".\"big\" part 1 on the source`)
	require.Contains(t, log, `digest of \"public\".\"big\" part 2 on the target`)
	require.NotContains(t, log, "12345", "keys are data, and not for the log")
}

// TestRunFindsADifference has a row deleted between its copy and the comparison
// that ends the run.
func TestRunFindsADifference(t *testing.T) {
	t.Parallel()
	for level, want := range map[config.VerifyLevel]string{config.VerifyRows: "source has 100 rows, target has 99 rows", config.VerifyDigest: "source has 100 rows, "} {
		t.Run(string(level), func(t *testing.T) {
			t.Parallel()
			src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
			release := gated(t, src, dst, 10_000)
			src.Exec(t, "CREATE TABLE small (id int PRIMARY KEY); INSERT INTO small SELECT generate_series(1, 100)")
			o := options(t, src, dst)
			o.Config.Verify = level
			o.Config.Split.LargerThan = 1 << 30
			wait := start(t.Context(), o)
			awaitGate(t, dst, 1)
			awaitQuery(t, dst, "100", "SELECT coalesce(sum(rows), 0) FROM pgconvoy.copied WHERE name = 'small'")
			dst.Exec(t, "DELETE FROM small WHERE id = 5")
			release()
			_, err := wait()
			var incomplete *run.IncompleteError
			require.ErrorAs(t, err, &incomplete)
			require.Equal(t, 4, incomplete.ExitCode())
			require.Len(t, incomplete.Report.Failures, 1)
			require.Contains(t, incomplete.Report.Failures[0].Reason, want)
			require.Contains(t, incomplete.Report.Failures[0].Reason, "hint: planner verify --verify digest")
			require.Empty(t, incomplete.Report.Verified)

			// The rows that differ are found although the ledger of the run is still there.
			o.Config.Verify = config.VerifyDigest
			found := requireDifferences(t, o)
			require.Equal(t, []tasks.RowDifference{{Finding: tasks.RowMissing, Key: []string{"5"}}}, found[0].Rows)
			require.Equal(t, "main failed", dst.Query(t, "SELECT string_agg(run || ' ' || state, ', ') FROM pgconvoy.run"))
		})
	}
}

// The source is read once: the snapshot is released when the rows are copied,
// although digests are compared later.
func TestDigestsDoNotKeepTheSnapshot(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	src.Exec(t, `CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a SELECT generate_series(1, 100);
		CREATE FUNCTION waits() RETURNS int LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN 1; END';
		CREATE MATERIALIZED VIEW late AS SELECT public.waits()`)
	gate := dst.Connect(t)
	_, err := gate.Exec(t.Context(), "SELECT pg_advisory_lock(42)")
	require.NoError(t, err)
	o := options(t, src, dst)
	o.Config.KeepLedger = true
	wait := start(t.Context(), o)
	awaitGate(t, dst, 1)
	awaitQuery(t, src, "0", "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_xmin IS NOT NULL AND pid <> pg_backend_pid()")
	src.Exec(t, "TRUNCATE a")
	_, err = gate.Exec(t.Context(), "SELECT pg_advisory_unlock(42)")
	require.NoError(t, err)
	report, err := wait()
	require.NoError(t, err)
	require.Equal(t, "digest", report.Verified)
	require.Equal(t, "100", dst.Query(t, "SELECT sum(rows) FROM pgconvoy.measured WHERE side = 'target'"))
	require.Equal(t, "0", dst.Query(t, "SELECT count(*) FROM pgconvoy.measured WHERE side = 'source'"))
}

func TestVerifyRefusesAnUnfinishedRun(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	src.Exec(t, "CREATE TABLE a (id int PRIMARY KEY)")
	o := options(t, src, dst)
	o.Config.KeepLedger = true
	copyAll(t, o)
	dst.Exec(t, "UPDATE pgconvoy.run SET state = 'failed'; UPDATE pgconvoy.task SET state = 'failed' WHERE kind = 'bundle'")
	_, err := run.Verify(t.Context(), o)
	require.ErrorContains(t, err, "holds a ledger")
	var hinted *tasks.HintError
	require.ErrorAs(t, err, &hinted)
	require.Contains(t, hinted.Hint(), "planner cleanup")
	require.Equal(t, "main", dst.Query(t, "SELECT string_agg(run, ' ') FROM pgconvoy.run"))
}

// TestVerifyThatFails has a role that may not read one of the tables.
func TestVerifyThatFails(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	for _, db := range []*pgtest.Database{src, dst} {
		db.Exec(t, "CREATE TABLE a (id int); CREATE TABLE secret (id int)")
	}
	role := dst.Name + "_reader"
	dst.Exec(t, "CREATE ROLE "+role+" LOGIN; GRANT SELECT ON a TO "+role)
	t.Cleanup(func() { dst.Exec(t, "DROP OWNED BY "+role+"; DROP ROLE "+role) })
	o := options(t, src, dst)
	o.Config.Target.URI = config.Secret(dst.URIAs(role))
	_, err := run.Verify(t.Context(), o)
	var hinted *tasks.HintError
	require.ErrorAs(t, err, &hinted)
	require.Contains(t, hinted.Hint(), "GRANT CREATE ON DATABASE")

	dst.Exec(t, fmt.Sprintf(`GRANT CREATE ON DATABASE "%s" TO %s`, dst.Name, role))
	_, err = run.Verify(t.Context(), o)
	var failed *run.ComparisonError
	require.ErrorAs(t, err, &failed)
	require.Len(t, failed.Failures, 1)
	require.Contains(t, failed.Failures[0].Reason, "secret")
	require.Contains(t, failed.Failures[0].Reason, "42501")
	var lines []string
	for line := range failed.Lines() {
		lines = append(lines, line)
	}
	require.Len(t, lines, 2)
	require.Contains(t, lines[0], "secret")
	requireNoLedger(t, dst)
}

// TestInterruptedVerifyLeavesNothing interrupts a comparison that waits for
// workers.
func TestInterruptedVerifyLeavesNothing(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	src.Exec(t, "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (1); CREATE TABLE b (id int PRIMARY KEY)")
	o := options(t, src, dst)
	copyAll(t, o)
	o.Config.NATS.URL = config.Secret(natstest.Start(t).URL())
	ctx, interrupt := context.WithCancel(t.Context())
	wait := background(ctx, o, run.Verify)
	awaitQuery(t, dst, "t", "SELECT to_regclass('pgconvoy.run') IS NOT NULL")
	interrupt()
	_, err := wait()
	require.ErrorIs(t, err, context.Canceled)
	requireNoLedger(t, dst)
}

// awaitMessages waits until the stream of the run holds n tasks.
func awaitMessages(t *testing.T, url string, n uint64) {
	t.Helper()
	js, err := jetstream.New(natstest.Connect(t, url))
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		stream, err := js.Stream(t.Context(), "PGCONVOY-main")
		return err == nil && stream.CachedInfo().State.Msgs == n
	}, 60*time.Second, 10*time.Millisecond)
}

// TestVerifyAfterAKilledPlanner finds a ledger and a stream that nobody will go
// on with.
func TestVerifyAfterAKilledPlanner(t *testing.T) {
	t.Parallel()
	binary := build(t, "planner")
	for name, next := range map[string]func(*testing.T, run.Options){
		"verify": func(t *testing.T, o run.Options) {
			o.Config.Workers = config.Yes
			requireEqualSides(t, o)
		},
		"cleanup": func(t *testing.T, o run.Options) {
			require.NoError(t, run.Cleanup(t.Context(), o))
			require.ErrorContains(t, run.Cleanup(t.Context(), o), "no ledger of this run")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
			for _, db := range []*pgtest.Database{src, dst} {
				db.Exec(t, "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (1)")
			}
			o := options(t, src, dst)
			server := natstest.Start(t)
			o.Config.NATS.URL = config.Secret(server.URL())
			p := newPlanner(t, binary, src.URI(), dst.URI(), "verify", "--verify", "digest", "--nats-url", server.URL())
			require.NoError(t, p.Start())
			awaitQuery(t, dst, "t", "SELECT to_regclass('pgconvoy.run') IS NOT NULL")
			awaitMessages(t, server.URL(), 2) // it has published all that is ready
			require.NoError(t, p.Process.Kill())
			_ = p.Wait()
			require.Equal(t, "main:verify", dst.Query(t, "SELECT run FROM pgconvoy.run"))
			awaitQuery(t, dst, "0", "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pgconvoy%' AND datname = current_database()")
			next(t, o)
			requireNoLedger(t, dst)
			require.Equal(t, "1", dst.Query(t, "SELECT count(*) FROM a"))
			o.Config.Workers = config.Yes
			requireEqualSides(t, o)
		})
	}
}

// TestVerifyLogsNoKeys has a key that must not reach the log, at any level that
// is on without being asked for.
func TestVerifyLogsNoKeys(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	src.Exec(t, "CREATE TABLE a (id text PRIMARY KEY); INSERT INTO a VALUES ('confidential')")
	dst.Exec(t, "CREATE TABLE a (id text PRIMARY KEY)")
	var log strings.Builder
	var mu sync.Mutex
	o := options(t, src, dst)
	o.Log = slog.New(slog.NewTextHandler(writerFunc(func(b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return log.Write(b)
	}), nil))
	found := requireDifferences(t, o)
	require.Equal(t, []tasks.RowDifference{{Finding: tasks.RowMissing, Key: []string{"confidential"}}}, found[0].Rows)
	require.Contains(t, log.String(), "table differs")
	require.NotContains(t, log.String(), "confidential")
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
