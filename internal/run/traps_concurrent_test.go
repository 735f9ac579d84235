package run_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/check"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/run"
)

// TestPlanWaitsForDDL has another session in the middle of a change when the
// planner comes: the plan is of what the source is when that has committed.
func TestPlanWaitsForDDL(t *testing.T) {
	t.Parallel()
	const setup = `CREATE TABLE a (id int PRIMARY KEY, x text, y text); INSERT INTO a SELECT i, 'x' || i, 'y' || i FROM generate_series(1, 100) i;
		CREATE INDEX a_x ON a (x); CREATE TABLE b (LIKE a INCLUDING ALL); INSERT INTO b SELECT id + 1000, y, x FROM a; CREATE SCHEMA s; CREATE TABLE s.c AS SELECT * FROM a;
		CREATE TABLE p (id int, x text) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (1000); INSERT INTO p SELECT id, x FROM a`
	for name, change := range map[string]string{
		"truncated":           "TRUNCATE a",
		"rewritten":           "ALTER TABLE a ALTER id TYPE bigint, ADD z int DEFAULT 7, DROP y; UPDATE a SET x = 'new'",
		"dropped with schema": "DROP SCHEMA s CASCADE; DROP TABLE p",
		"renamed":             "ALTER TABLE a RENAME TO n; ALTER TABLE b RENAME TO a; ALTER TABLE n RENAME TO b; ALTER TABLE p DETACH PARTITION p1; DROP INDEX a_x",
		"columns swapped":     "ALTER TABLE a RENAME x TO n; ALTER TABLE a RENAME y TO x; ALTER TABLE a RENAME n TO y",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
			src.Exec(t, setup)
			other := src.Connect(t)
			_, err := other.Exec(t.Context(), "BEGIN; "+change)
			require.NoError(t, err)
			wait := start(t.Context(), options(t, src, dst))
			awaitQuery(t, src, "t", "SELECT count(*) > 0 FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT granted AND application_name = 'pgconvoy planner' AND datname = current_database()")
			_, err = other.Exec(t.Context(), "COMMIT")
			require.NoError(t, err)
			_, err = wait()
			require.NoError(t, err)
			pgtest.RequireEqual(t, src, dst)
		})
	}
}

// TestFindingsDoNotWaitForTheSource: the plan waits for a session that changes
// the source, and what the preflight finds meanwhile is said at once.
func TestFindingsDoNotWaitForTheSource(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	src.Exec(t, "CREATE TABLE a (id int)")
	dst.Exec(t, "CREATE TABLE already_there (id int)")
	other := src.Connect(t)
	_, err := other.Exec(t.Context(), "BEGIN; TRUNCATE a")
	require.NoError(t, err)
	_, err = run.Prepare(t.Context(), options(t, src, dst))
	var failed *check.FailedError
	require.ErrorAs(t, err, &failed, "not that the lock could not be had")
	require.ErrorContains(t, err, "already_there")
}

// sqlContents digests the rows that a source under load changes all the time.
const sqlContents = `SELECT (SELECT md5(string_agg(a::text, E'\n' ORDER BY a::text)) FROM accounts a) || (SELECT count(*) || md5(string_agg(l::text, E'\n' ORDER BY l::text)) FROM log l)
	|| (SELECT count(*) FROM big) || (SELECT string_agg(oid || encode(lo_get(oid), 'escape'), ',' ORDER BY oid) FROM pg_largeobject_metadata)`

// TestSourceInUse copies a source that is written to all the while: the target
// gets what the snapshot shows, and no sequence is behind it. What would change
// a table under the copy has to wait, what would not goes through.
func TestSourceInUse(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	release := gated(t, src, dst, 10_000)
	src.Exec(t, `CREATE TABLE accounts (id int PRIMARY KEY, balance int, pad text DEFAULT repeat('p', 200)); INSERT INTO accounts SELECT i, 100 FROM generate_series(1, 3000) i;
		CREATE INDEX accounts_balance ON accounts (balance); CREATE TABLE log (id serial PRIMARY KEY, account int); INSERT INTO log (account) SELECT i FROM generate_series(1, 500) i;
		SELECT lo_from_bytea(7001, 'before'), lo_from_bytea(7002, 'gone')`)
	stop, stopped := make(chan struct{}), make(chan error, 1)
	writer := src.Connect(t)
	_, err := writer.Exec(t.Context(), "CREATE TEMP TABLE late_temporary AS SELECT 1 AS x")
	require.NoError(t, err)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			if _, err := writer.Exec(t.Context(), fmt.Sprintf(`UPDATE accounts SET balance = balance + 1 WHERE id %% 100 = %[1]d %% 100;
				DELETE FROM accounts WHERE id = 3001 + %[1]d - 20; INSERT INTO accounts VALUES (3001 + %[1]d, 0); INSERT INTO log (account) VALUES (%[1]d);
				DELETE FROM log WHERE id IN (SELECT id FROM log LIMIT 1)`, i)); err != nil {
				stopped <- err
				return
			}
		}
	}()
	o := options(t, src, dst)
	o.Config.KeepLedger = true
	wait := start(t.Context(), o)
	awaitQuery(t, dst, "t", sqlHeld)

	seen := src.Connect(t)
	_, err = seen.Exec(t.Context(), "BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT '"+dst.Query(t, "SELECT name FROM pgconvoy.snapshot")+"'")
	require.NoError(t, err)
	var want string
	require.NoError(t, seen.QueryRow(t.Context(), sqlContents).Scan(&want))
	require.NoError(t, seen.Close(t.Context()))
	for _, blocked := range []string{
		"TRUNCATE accounts", "ALTER TABLE accounts ADD late int", "ALTER TABLE log ALTER account TYPE bigint", "DROP TABLE big", "DROP INDEX accounts_balance",
		"VACUUM FULL accounts", "CLUSTER accounts USING accounts_pkey", "ALTER TABLE log RENAME account TO a",
	} {
		settings, statement, _ := strings.Cut("SET lock_timeout = '50ms'\n"+blocked, "\n")
		conn := src.Connect(t)
		_, err := conn.Exec(t.Context(), settings)
		require.NoError(t, err)
		_, err = conn.Exec(t.Context(), statement)
		require.ErrorContains(t, err, "55P03", statement)
	}
	for _, free := range []string{
		"CREATE INDEX late_index ON accounts (pad)", "CREATE TABLE late_table (id int); INSERT INTO late_table VALUES (1); CREATE SEQUENCE late_sequence",
		"ALTER TABLE late_table ADD CONSTRAINT late_key FOREIGN KEY (id) REFERENCES accounts",
		"SELECT lo_from_bytea(7003, 'late'), lo_put(7001, 0, 'BEFORE'), lo_unlink(7002)",
	} {
		src.Exec(t, free)
	}
	release()
	_, err = wait()
	require.NoError(t, err)
	close(stop)
	require.NoError(t, <-stopped)

	require.Equal(t, want, dst.Query(t, sqlContents))
	require.NotEqual(t, want, src.Query(t, sqlContents), "the source went on")
	require.Equal(t, "0", dst.Query(t, "SELECT count(*) FROM pg_class WHERE relname LIKE 'late%'"))
	require.Equal(t, "0", dst.Query(t, "SELECT count(*) FROM pg_constraint WHERE conname LIKE 'late%'"))
	require.Equal(t, "t", dst.Query(t, "SELECT last_value >= (SELECT max(id) FROM log) FROM log_id_seq"))
	require.Equal(t, "1", dst.Query(t, "SELECT count(*) FROM pg_class WHERE relname = 'accounts_balance'"))
}
