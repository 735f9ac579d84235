package run_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/run"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// TestExpectedSizeAndWAL compares what plans expect with what their runs write.
func TestExpectedSizeAndWAL(t *testing.T) {
	t.Parallel()
	settings := map[string]string{"full_page_writes": "on", "wal_level": "replica"}
	targets := map[string]*pgtest.Server{
		"replica":   pgtest.Start(t, pgtest.Options{Settings: settings}),
		"minimal":   pgtest.Start(t, pgtest.Options{Settings: map[string]string{"full_page_writes": "on", "wal_level": "minimal", "max_wal_senders": "0"}}),
		"checksums": pgtest.Start(t, pgtest.Options{Settings: settings, InitdbArgs: []string{"--data-checksums"}}),
	}
	for _, c := range []struct {
		name, target, source string
		parts                bool
	}{
		{"narrow rows", "replica", `CREATE TABLE a (id int); INSERT INTO a SELECT generate_series(1, 250000)`, false},
		{"rows and indexes", "replica", `CREATE TABLE a (id int PRIMARY KEY, at timestamptz, note text); CREATE INDEX ON a (at); CREATE INDEX ON a (note);
			INSERT INTO a SELECT n, now(), md5(n::text) FROM generate_series(1, 80000) n; REINDEX TABLE a`, false},
		{"in parts", "replica", `CREATE TABLE a (id int PRIMARY KEY, note text); INSERT INTO a SELECT n, repeat(md5(n::text), 5) FROM generate_series(1, 60000) n`, true},
		{"out of line", "replica", `CREATE TABLE a (id int PRIMARY KEY, body text); ALTER TABLE a ALTER body SET STORAGE EXTERNAL;
			INSERT INTO a SELECT n, repeat(md5(n::text), 300) FROM generate_series(1, 1500) n`, false},
		{"many small tables", "replica", `DO $$ BEGIN FOR i IN 1..150 LOOP
			EXECUTE format('CREATE TABLE t%s (id serial PRIMARY KEY, a int, name text); CREATE INDEX ON t%1$s (a); CREATE INDEX ON t%1$s (name);
				INSERT INTO t%1$s (a, name) SELECT n, md5(n::text) FROM generate_series(1, 20) n', i); END LOOP; END $$`, false},
		{"large objects and a materialized view", "replica", `SELECT count(lo_from_bytea(0, decode(repeat(md5(n::text), 500), 'hex'))) FROM generate_series(1, 750) n;
			CREATE MATERIALIZED VIEW m AS SELECT n, md5(n::text) FROM generate_series(1, 50000) n; CREATE INDEX ON m (n)`, false},
		{"wal_level minimal", "minimal", `CREATE TABLE a (id int PRIMARY KEY, note text); INSERT INTO a SELECT n, repeat(md5(n::text), 5) FROM generate_series(1, 60000) n`, false},
		{"wal_level minimal, in parts", "minimal", `CREATE TABLE a (id int PRIMARY KEY, note text); INSERT INTO a SELECT n, repeat(md5(n::text), 5) FROM generate_series(1, 60000) n`, true},
		{"checksums, in parts", "checksums", `CREATE TABLE a (id int PRIMARY KEY, note text); INSERT INTO a SELECT n, repeat(md5(n::text), 5) FROM generate_series(1, 60000) n`, true},
	} {
		t.Run(c.name, func(t *testing.T) { // one after the other: WAL is the server's
			src, dst := pgtest.Source(t).Database(t), targets[c.target].Database(t)
			src.Exec(t, c.source)
			src.Exec(t, "VACUUM (FREEZE, ANALYZE)")
			o := options(t, src, dst)
			o.Config.Verify = config.VerifyRows
			if !c.parts {
				o.Config.Split.MaxParts = 1
			}
			p, err := run.Prepare(t.Context(), o)
			require.NoError(t, err)
			e := p.Plan.Expected
			p.Close()
			dst.Exec(t, "CHECKPOINT")
			size, wal := number(t, dst, "SELECT pg_database_size(current_database())"), position(t, dst)
			copyAll(t, o)
			wal = position(t, dst) - wal
			size = number(t, dst, "SELECT pg_database_size(current_database())") - size
			t.Logf("size: expected %d, is %d (%.2f); WAL: expected %d to %d, is %d (%.2f)", e.Total(), size, float64(size)/float64(e.Total()), e.WAL, e.MostWAL, wal, float64(wal)/float64(e.WAL))
			requireNear(t, e.Total(), size, 1.4)
			if wal > e.WAL && wal <= e.MostWAL {
				return
			}
			requireNear(t, e.WAL, wal, 1.5)
		})
	}
}

// requireNear asserts that a figure is within the factor of what was expected.
func requireNear(t *testing.T, expected, is int64, factor float64) {
	t.Helper()
	require.Less(t, float64(is), float64(expected)*factor+(1<<20))
	require.Greater(t, float64(is), float64(expected)/factor-(1<<20))
}

func number(t *testing.T, db *pgtest.Database, sql string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(db.Query(t, sql), 10, 64)
	require.NoError(t, err)
	return n
}

// position is how much WAL the server has written since it was made.
func position(t *testing.T, db *pgtest.Database) int64 {
	t.Helper()
	return number(t, db, "SELECT (pg_current_wal_insert_lsn() - '0/0')::int8")
}

// A plan knows the limits on connections, the same that the preflight holds the run
// to, and how many sessions there are in fact at most.
func TestPlannedConnections(t *testing.T) {
	t.Parallel()
	target := pgtest.Start(t, pgtest.Options{Settings: map[string]string{"max_connections": "60", "superuser_reserved_connections": "4"}})
	src, dst := pgtest.Source(t).Database(t), target.Database(t)
	target.Exec(t, fmt.Sprintf("CREATE ROLE filler LOGIN CONNECTION LIMIT 40; GRANT CREATE ON DATABASE %s TO filler; ALTER DATABASE %[1]s CONNECTION LIMIT 50", dst.Name))
	dst.Exec(t, "GRANT CREATE ON SCHEMA public TO filler")
	src.Exec(t, "CREATE TABLE a (id int)")
	o := options(t, src, dst)
	o.Config.Target.URI = config.Secret(dst.URIAs("filler"))
	o.Config.NoOwner = true
	p, err := run.Prepare(t.Context(), o)
	require.NoError(t, err)
	defer p.Close()
	sides := p.Outlook.Sessions
	require.Len(t, sides, 2)
	require.Equal(t, []string{"source", "target"}, []string{sides[0].Side, sides[1].Side})
	require.Equal(t, []int{9, 19}, []int{sides[0].Needed(), sides[1].Needed()})
	require.Equal(t, []int{8, 18}, []int{sides[0].Process, sides[1].Process}, "slots, and one session more")
	for i := range sides[1].Limits {
		sides[1].Limits[i].Used = 0 // a session of this test may not be gone yet
	}
	require.Equal(t, []tasks.SessionLimit{
		{Of: "server", Max: 60, Reserved: 4, Needed: 19}, {Of: "database", Max: 50, Needed: 19}, {Of: "role", Max: 40, Needed: 19},
	}, sides[1].Limits)
	require.Equal(t, 2, p.Outlook.Room(), "the role's 40, without the planner's 2, are two times 18")
}

// TestCalibration measures with tables whose types the target does not have, as a
// role that can do no more than a run needs, and leaves nothing behind.
func TestCalibration(t *testing.T) {
	t.Parallel()
	target := pgtest.Start(t, pgtest.Options{})
	src, dst := pgtest.Source(t).Database(t), target.Database(t)
	target.Exec(t, fmt.Sprintf("CREATE ROLE filler LOGIN; REVOKE ALL ON DATABASE %s FROM PUBLIC; GRANT CONNECT, CREATE ON DATABASE %[1]s TO filler", dst.Name))
	dst.Exec(t, "GRANT CREATE ON SCHEMA public TO filler")
	src.Exec(t, `CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE TYPE pair AS (x int, y text); CREATE DOMAIN price AS numeric(12,2) CHECK (VALUE >= 0);
		CREATE TABLE "Big One" (id int PRIMARY KEY, "m m" mood, p price, at timestamptz, note varchar(500), twice int GENERATED ALWAYS AS (id * 2) STORED);
		INSERT INTO "Big One" SELECT n, 'sad', n, now(), repeat(md5(n::text), 8) FROM generate_series(1, 40000) n;
		CREATE TABLE odd (p pair, x xml, r regclass, t text); INSERT INTO odd SELECT (n, 'y')::pair, '<a/>', 'odd'::regclass, repeat('x', 500) FROM generate_series(1, 20000) n`)
	o := options(t, src, dst)
	o.Config.Target.URI = config.Secret(dst.URIAs("filler"))
	o.Config.NoOwner, o.Config.Verify = true, config.VerifyRows
	plan := func(ctx context.Context, calibrate bool) (tasks.Estimate, error) {
		p, err := run.Prepare(t.Context(), o)
		require.NoError(t, err)
		defer p.Close()
		err = p.Estimate(ctx, calibrate)
		return p.Outlook.Estimate, err
	}
	assumed, err := plan(t.Context(), false)
	require.NoError(t, err)
	require.False(t, assumed.Rates.Measured)
	require.Positive(t, assumed.Planning)
	var crews []int
	for _, c := range assumed.Crews {
		crews = append(crews, c.Workers)
		require.LessOrEqual(t, c.Shortest, c.Longest)
	}
	require.Equal(t, []int{0, 1, 4, 16}, crews)

	got, err := plan(t.Context(), true)
	require.NoError(t, err)
	require.True(t, got.Rates.Measured)
	for _, r := range []tasks.Rate{got.Rates.Copy, got.Rates.Index, got.Rates.Scan} {
		require.Greater(t, r.Slow, 1_000.0)
		require.Less(t, r.Fast, 50e9)
		require.Less(t, r.Slow, r.Fast)
	}
	require.NotEqual(t, assumed.Rates.Index, got.Rates.Index)
	require.GreaterOrEqual(t, got.Rates.Carried.Slow, 1.0)
	require.True(t, dst.Empty(t), "all of it was rolled back")

	late, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	_, err = plan(late, true)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	awaitQuery(t, dst, "0", "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pgconvoy%' AND datname = current_database()")
	require.True(t, dst.Empty(t), "also if it is interrupted")
	require.Equal(t, "0", dst.Query(t, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'pgconvoy%'"))

	copyAll(t, o)
	pgtest.RequireEqual(t, src, dst, pgtest.DataOnly())
}

// On 13, where ranges of blocks are not read without a scan, samples are the first
// rows of a table.
func TestCalibrationOfAnOldSource(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Major(t, 13).Database(t), pgtest.Target(t).Database(t)
	src.Exec(t, `CREATE TABLE a (id int8 PRIMARY KEY, tags text[], note text) PARTITION BY RANGE (id); CREATE TABLE a1 PARTITION OF a FOR VALUES FROM (0) TO (1000000);
		INSERT INTO a SELECT n, '{x,y}', repeat(md5(n::text), 8) FROM generate_series(1, 30000) n; ANALYZE`)
	p, err := run.Prepare(t.Context(), options(t, src, dst))
	require.NoError(t, err)
	defer p.Close()
	require.NoError(t, p.Estimate(t.Context(), true))
	require.True(t, p.Outlook.Estimate.Rates.Measured)
	require.True(t, dst.Empty(t))
}

// A source of nothing large is estimated from assumptions, also where a measurement
// is asked for.
func TestCalibrationOfLittle(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	src.Exec(t, "CREATE TABLE a (id int); INSERT INTO a VALUES (1)")
	p, err := run.Prepare(t.Context(), options(t, src, dst))
	require.NoError(t, err)
	defer p.Close()
	require.NoError(t, p.Estimate(t.Context(), true))
	require.False(t, p.Outlook.Estimate.Rates.Measured)
	require.NotEmpty(t, p.Outlook.Estimate.Crews)
}

// plannedSettings cut a small table into parts.
func plannedSettings() []string {
	return []string{"PGCONVOY_SPLIT_LARGER_THAN=64kB", "PGCONVOY_SPLIT_MAX_PARTS=3", "PGCONVOY_BUNDLE_MAX_TABLE=32kB"}
}

// follows runs planner with a plan file.
func follows(t *testing.T, binary string, src, dst *pgtest.Database, file string, env ...string) *planner {
	t.Helper()
	p := newPlanner(t, binary, src.URI(), dst.URI(), "run", "-o", "json", "--plan", file)
	p.Env = append(os.Environ(), append(env, append(plannedSettings(), "PGCONVOY_KEEP_LEDGER=true")...)...)
	return p
}

// saved has planner write a plan file and returns its path.
func saved(t *testing.T, binary string, src, dst *pgtest.Database) string {
	t.Helper()
	file := t.TempDir() + "/plan.json"
	p := newPlanner(t, binary, src.URI(), dst.URI(), "plan", "--save", file)
	p.Env = append(os.Environ(), plannedSettings()...)
	require.Zero(t, p.exit(t), p.err.String())
	return file
}

const plannedSource = `CREATE TABLE a (id int PRIMARY KEY, v text, w int); INSERT INTO a SELECT n, md5(n::text), n FROM generate_series(1, 5000) n; CREATE INDEX a_v ON a (v);
	CREATE TABLE b (id int PRIMARY KEY, a int CONSTRAINT b_a REFERENCES a); INSERT INTO b SELECT n, n FROM generate_series(1, 10) n;
	CREATE VIEW open AS SELECT id FROM a; CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w OPTIONS (password 'hush-server');
	CREATE USER MAPPING FOR postgres SERVER s OPTIONS (password 'hush-mapping')`

// TestPlanFile follows a plan, in the parts that it has, although the source has
// more rows by now.
func TestPlanFile(t *testing.T) {
	t.Parallel()
	binary := build(t, "planner")
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	src.Exec(t, plannedSource)
	file := saved(t, binary, src, dst)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NotContains(t, string(text), "hush")
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	var planned run.PlanFile
	require.NoError(t, json.Unmarshal(text, &planned))
	require.Equal(t, "a", planned.Tables[0].Name.Name)
	require.Len(t, planned.Tables[0].Bounds, 2)
	require.NotEmpty(t, planned.Fingerprint)

	src.Exec(t, "INSERT INTO a SELECT n, md5(n::text), n FROM generate_series(5001, 20000) n; ANALYZE a; TRUNCATE b")
	p := follows(t, binary, src, dst, file)
	require.Zero(t, p.exit(t), p.err.String())
	require.Equal(t, "20000", dst.Query(t, "SELECT count(*) FROM a"))
	require.Equal(t, strings.Join(planned.Tables[0].Bounds, ","),
		dst.Query(t, `SELECT string_agg(spec #>> '{part,to}', ',' ORDER BY id) FROM pgconvoy.task WHERE kind = 'copy' AND id LIKE '%.a.p%'`), "cut where the file says")
	pgtest.RequireEqual(t, src, dst, pgtest.IgnoreSchemas("pgconvoy"))
}

// TestPlanFileIsRefused changes source and settings after the plan: nothing is
// touched then, and all that has changed is listed.
func TestPlanFileIsRefused(t *testing.T) {
	t.Parallel()
	binary := build(t, "planner")
	for name, c := range map[string]struct {
		sql  string
		env  []string
		edit func(text string) string
		exit int
		says []string
	}{
		"tables, columns and indexes": {
			sql: `CREATE TABLE c (id int); ALTER TABLE a ADD x int, ALTER w TYPE bigint; DROP INDEX a_v; CREATE INDEX a_w ON a (w); ALTER TABLE b DROP CONSTRAINT b_a;
				CREATE OR REPLACE VIEW open AS SELECT id FROM a WHERE id > 7; ALTER TABLE b SET (fillfactor = 50)`,
			exit: 5,
			says: []string{`table "public"."c" was added`, `column "x" of table "public"."a" was added`, `column "w" of table "public"."a" was altered`, `index "a_v" of table "public"."a" was removed`,
				`index "a_w" of table "public"."a" was added`, `foreign key "b_a" of table "public"."b" was removed`, "view public open postgres was altered", `table "public"."b" was altered`, "8 differences", "hint: planner plan --save"},
		},
		"a table that is gone": {sql: "DROP TABLE b", exit: 5, says: []string{`table "public"."b" was removed`, "1 differences"}},
		"settings": {
			env: []string{"PGCONVOY_VERIFY=digest", "PGCONVOY_NO_ACL=true"}, exit: 5,
			says: []string{`setting verify is "digest", and was "rows"`, "setting no_acl is true, and was false"},
		},
		"a choice":       {env: []string{"PGCONVOY_FILTER_EXCLUDE_TABLES=public.b"}, exit: 5, says: []string{"setting filter.exclude.tables is", `table "public"."b" was removed`}},
		"edited":         {edit: func(text string) string { return strings.Replace(text, `"ctid"`, `"id"`, 1) }, exit: 2, says: []string{"was edited"}},
		"another format": {edit: func(text string) string { return strings.Replace(text, `"pgconvoy_plan": 1`, `"pgconvoy_plan": 2`, 1) }, exit: 2, says: []string{"pgconvoy_plan is 2"}},
		"no plan":        {edit: func(string) string { return "tables: []" }, exit: 2, says: []string{"it is no plan", "hint:"}},
		"cut off":        {edit: func(text string) string { return text[:len(text)/2] }, exit: 2, says: []string{"it is no plan"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
			src.Exec(t, plannedSource)
			file := saved(t, binary, src, dst)
			if c.sql != "" {
				src.Exec(t, c.sql)
			}
			if c.edit != nil {
				text, err := os.ReadFile(file)
				require.NoError(t, err)
				require.NotEqual(t, string(text), c.edit(string(text)))
				require.NoError(t, os.WriteFile(file, []byte(c.edit(string(text))), 0o600))
			}
			p := follows(t, binary, src, dst, file, c.env...)
			require.Equal(t, c.exit, p.exit(t), p.err.String())
			for _, s := range c.says {
				require.Contains(t, p.err.String(), s)
			}
			require.Empty(t, p.out.String())
			require.True(t, dst.Empty(t))
		})
	}
	src, dst, other := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t), pgtest.Target(t).Database(t)
	src.Exec(t, plannedSource)
	file := saved(t, binary, src, dst)
	p := follows(t, binary, src, other, file)
	require.Equal(t, 5, p.exit(t), p.err.String())
	require.Contains(t, p.err.String(), "the target is ")
	p = follows(t, binary, src, dst, file+".gone")
	require.Equal(t, 2, p.exit(t), p.err.String())
	require.Contains(t, p.err.String(), "no such file")
}
