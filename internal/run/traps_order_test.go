package run_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

// TestSourceThatRefusesOurOwnWork has event triggers that refuse every DDL, a
// publication that refuses updates of tables without identity, and default
// privileges and owners that take from the loader what it needs: all of it is
// copied, and none of it is in the way.
func TestSourceThatRefusesOurOwnWork(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	src.Exec(t, `CREATE TABLE no_key (x int); INSERT INTO no_key SELECT generate_series(1, 100); CREATE TABLE a (id int PRIMARY KEY, x text); INSERT INTO a SELECT i, i FROM generate_series(1, 9000) i;
		CREATE MATERIALIZED VIEW m AS SELECT count(*) FROM a; CREATE INDEX ON a (x); ALTER TABLE no_key ADD FOREIGN KEY (x) REFERENCES a;
		CREATE PUBLICATION everything FOR ALL TABLES; SELECT lo_from_bytea(1, 'x');
		CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''% refused'', tg_tag; END';
		CREATE EVENT TRIGGER refuse_start ON ddl_command_start EXECUTE FUNCTION refuse(); CREATE EVENT TRIGGER refuse_end ON ddl_command_end EXECUTE FUNCTION refuse();
		CREATE EVENT TRIGGER refuse_drop ON sql_drop EXECUTE FUNCTION refuse(); CREATE EVENT TRIGGER refuse_rewrite ON table_rewrite EXECUTE FUNCTION refuse()`)
	copyAll(t, options(t, src, dst))
	pgtest.RequireEqual(t, src, dst)
	require.ErrorContains(t, dst.TryExec("CREATE TABLE b (x int)"), "refused")
	require.ErrorContains(t, dst.TryExec("UPDATE no_key SET x = 1"), "replica identity")
}

// TestDefinitionsThatDependOnEachOther has what needs other objects than its
// text says, or a certain order.
func TestDefinitionsThatDependOnEachOther(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	t.Cleanup(func() {
		for _, db := range []*pgtest.Database{src, dst} {
			_ = db.TryExec("ALTER SUBSCRIPTION sub SET (slot_name = NONE); DROP SUBSCRIPTION sub") // it keeps the database from being dropped
		}
	})
	src.Exec(t, `CREATE SCHEMA ops; CREATE SCHEMA s;
		CREATE FUNCTION ops.less(text, text) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT length($1) OPERATOR(pg_catalog.<) length($2)';
		CREATE OPERATOR ops.< (LEFTARG = text, RIGHTARG = text, FUNCTION = ops.less);
		CREATE TYPE s.mood AS ENUM ('ok', 'sad'); SET search_path = s, ops, pg_catalog;
		CREATE TABLE t (id int PRIMARY KEY, a text, b text, m mood, CHECK (a < b OR m = 'ok')); INSERT INTO t SELECT i, 'a', 'bb', 'ok' FROM generate_series(1, 3000) i;
		CREATE INDEX t_own ON t ((a < b)) WHERE m = 'ok' AND a < 'zzz'; CREATE STATISTICS t_stat ON (a < b), m FROM t;
		CREATE FUNCTION fixed(i int) RETURNS bool LANGUAGE plpgsql IMMUTABLE SET search_path = s AS 'BEGIN RETURN i IS NOT NULL AND EXISTS (SELECT FROM pg_class); END';
		CREATE TABLE fixed_path (i int CHECK (fixed(i))); INSERT INTO fixed_path VALUES (1); CREATE INDEX ON fixed_path (fixed(i));
		CREATE VIEW v1 AS SELECT 1 AS x; CREATE VIEW v2 AS SELECT x FROM v1; CREATE OR REPLACE VIEW v1 AS SELECT x FROM v2;
		CREATE TABLE child (id int PRIMARY KEY, t int REFERENCES t); INSERT INTO child SELECT i, i FROM generate_series(1, 100) i;
		CREATE MATERIALIZED VIEW z AS SELECT t.id, t.a, count(child.id) AS n FROM t LEFT JOIN child ON child.t = t.id GROUP BY t.id; CREATE UNIQUE INDEX ON z (id);
		CREATE VIEW y AS SELECT z.* FROM z JOIN v2 ON false; CREATE MATERIALIZED VIEW a AS SELECT n, count(*) FROM z GROUP BY n; CREATE MATERIALIZED VIEW b AS SELECT * FROM a WITH NO DATA;
		CREATE FUNCTION rows() RETURNS SETOF z LANGUAGE sql STABLE AS 'SELECT * FROM s.z'; CREATE MATERIALIZED VIEW through_function AS SELECT count(*) FROM rows();
		CREATE PUBLICATION pub FOR TABLE t; CREATE SUBSCRIPTION sub CONNECTION 'dbname=nowhere' PUBLICATION pub WITH (connect = false)`)
	copyAll(t, options(t, src, dst))
	pgtest.RequireEqual(t, src, dst)
	slot := "SELECT subslotname FROM pg_subscription WHERE subname = 'sub' AND subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())"
	require.Equal(t, src.Query(t, slot), dst.Query(t, slot), "whoever enables it finds its slot")
	require.Equal(t, "f", dst.Query(t, "SELECT subenabled FROM pg_subscription WHERE subname = 'sub' AND subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())"))
}

// TestFunctionThatReliesOnSearchPath fails its own table, and says why, as
// pg_restore does; a search_path that the database has by default changes
// nothing.
func TestFunctionThatReliesOnSearchPath(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	for _, db := range []*pgtest.Database{src, dst} {
		db.Server.Exec(t, "ALTER DATABASE "+db.Name+" SET search_path = s, public")
	}
	src.Exec(t, `CREATE SCHEMA s; CREATE TABLE s.lookup (id int); INSERT INTO s.lookup VALUES (1);
		CREATE FUNCTION s.known(i int) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RETURN EXISTS (SELECT FROM lookup WHERE id = i); END';
		CREATE TABLE s.relies (i int CHECK (s.known(i))); INSERT INTO s.relies VALUES (1); CREATE TABLE s.other (id int PRIMARY KEY); INSERT INTO s.other VALUES (1)`)
	report := failing(t, dst, options(t, src, dst))
	require.Len(t, report.Failures, 1)
	require.Contains(t, report.Failures[0].Reason, `"s"."relies"`)
	require.Contains(t, report.Failures[0].Reason, `relation "lookup" does not exist`)
	require.Equal(t, "1", dst.Query(t, "SELECT count(*) FROM s.other"))
}

// TestStatisticsAreThere asks for the statistics of every kind of table:
// automatic ANALYZE would never visit a partitioned one.
func TestStatisticsAreThere(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	src.Exec(t, `CREATE TABLE small (id int PRIMARY KEY, x int); CREATE TABLE parent (id int, x int); CREATE TABLE child () INHERITS (parent);
		CREATE TABLE parted (id int, x int) PARTITION BY LIST (x); CREATE TABLE parted_sub PARTITION OF parted FOR VALUES IN (0) PARTITION BY HASH (id);
		CREATE TABLE parted_leaf PARTITION OF parted_sub FOR VALUES WITH (MODULUS 1, REMAINDER 0); CREATE TABLE parted_rest PARTITION OF parted DEFAULT;
		CREATE TABLE large (id int, x int, pad text); CREATE INDEX ON large ((x + 1)); CREATE STATISTICS st ON id, x FROM large; CREATE STATISTICS st_small ON id, x FROM small;
		INSERT INTO small SELECT i, 1 FROM generate_series(1, 10) i; INSERT INTO parent SELECT * FROM small; INSERT INTO child SELECT * FROM small;
		INSERT INTO parted SELECT i, i % 3 FROM generate_series(1, 900) i; INSERT INTO large SELECT i, i % 3, repeat('p', 100) FROM generate_series(1, 9000) i`)
	copyAll(t, options(t, src, dst))
	require.Equal(t, []string{"child", "large", "large_expr_idx", "parent", "parent (inherited)", "parted (inherited)", "parted_leaf", "parted_rest", "parted_sub (inherited)", "small"},
		dst.Column(t, "SELECT DISTINCT tablename || CASE WHEN inherited THEN ' (inherited)' ELSE '' END FROM pg_stats WHERE schemaname = 'public' ORDER BY 1"))
	require.Equal(t, "2", dst.Query(t, "SELECT count(*) FROM pg_statistic_ext_data"))
	require.Equal(t, "0", dst.Query(t, "SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace AND reltuples < 0"))
}

// TestSourceThatWasATarget has the ledger of an earlier run on the source: it
// is no part of what is copied.
func TestSourceThatWasATarget(t *testing.T) {
	t.Parallel()
	first, middle, last := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t), pgtest.Source(t).Database(t)
	first.Exec(t, "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (1); CREATE SCHEMA pgconvoy_notes; CREATE TABLE pgconvoy_notes.a (id int)")
	o := options(t, first, middle)
	o.Config.KeepLedger = true
	copyAll(t, o)
	copyAll(t, options(t, middle, last))
	pgtest.RequireEqual(t, first, last)
	require.Equal(t, "0", last.Query(t, "SELECT count(*) FROM pg_namespace WHERE nspname = 'pgconvoy'"))
}
