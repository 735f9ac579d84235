package ledger_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/ledger"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

var compareID = tasks.RunID{Name: runID.Name, UID: "0198c0de-2", FP: runID.FP}

func compare(t *testing.T, c *pg.Conn, list ...tasks.Task) (*ledger.Ledger, error) {
	t.Helper()
	return ledger.CreateComparison(t.Context(), c, ledger.New{Run: compareID, Snapshot: pg.Snapshot{Name: "1", Text: "2:3:"}}, tasks.Plan{Tasks: list})
}

func drop(t *testing.T, c *pg.Conn, want bool) {
	t.Helper()
	dropped, err := ledger.DropComparisons(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, want, dropped)
}

// everything returns all rows of the ledger's tables.
func everything(t *testing.T, db *pgtest.Database) map[string][][]string {
	t.Helper()
	all := map[string][][]string{}
	for _, table := range db.Column(t, "SELECT relname FROM pg_class WHERE relnamespace = 'pgconvoy'::regnamespace AND relkind = 'r' ORDER BY 1") {
		all[table] = db.Rows(t, "SELECT to_jsonb(x)::text FROM pgconvoy."+table+" x ORDER BY 1")
	}
	return all
}

func TestComparisonBesideAKeptLedger(t *testing.T) {
	t.Parallel()
	db := pgtest.Target(t).Database(t)
	c := connect(t, db)
	kept := create(t, c, task(t, tasks.KindCopy, "t000", "copy"), task(t, tasks.KindVerify, "v", ""))
	_, err := compare(t, c)
	require.ErrorIs(t, err, ledger.ErrOccupied, "a run that has not copied everything")
	do(t, kept, c, first)
	require.NoError(t, kept.Fail(t.Context(), c, "misc.public.v.all", "rows differ", "w"))
	require.NoError(t, kept.End(t.Context(), c, tasks.RunFailed))
	before := everything(t, db)

	l, err := compare(t, c, task(t, tasks.KindMeasure, "m1", "measure:1"), task(t, tasks.KindVerify, "v1", "", "measure:1"))
	require.NoError(t, err)
	require.Equal(t, compareID, l.Run(), "the same workers do it")
	require.NotEqual(t, kept.DigestKey(), l.DigestKey())
	measure := do(t, l, c, tasks.NewID(tasks.KindMeasure, "public", "m1", "all"))
	require.Equal(t, []tasks.ID{"misc.public.v1.all"}, unblocked(t, l, c, measure))
	opened, err := ledger.OpenUID(t.Context(), c, compareID.UID)
	require.NoError(t, err)
	require.Equal(t, l, opened)
	opened, err = ledger.Open(t.Context(), c, runID.Name)
	require.NoError(t, err)
	require.Equal(t, kept, opened, "by name it is the run")
	state, err := opened.State(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, tasks.RunFailed, state)

	_, err = compare(t, c)
	require.ErrorIs(t, err, ledger.ErrOccupied, "what a comparison has left behind")
	drop(t, c, true)
	require.Equal(t, before, everything(t, db), "nothing of the kept ledger is touched")
	_, err = ledger.OpenUID(t.Context(), c, compareID.UID)
	require.ErrorIs(t, err, ledger.ErrNoRun)
}

func TestComparisonAlone(t *testing.T) {
	t.Parallel()
	db := pgtest.Target(t).Database(t)
	c := connect(t, db)
	drop(t, c, false)
	_, err := compare(t, c)
	require.NoError(t, err)
	var tables []string
	for name, rows := range everything(t, db) {
		tables = append(tables, name)
		for _, row := range rows {
			require.Contains(t, row[0], `"run": "shop:verify"`)
		}
	}
	require.NotEmpty(t, tables)
	for _, name := range tables {
		require.Equal(t, "1", db.Query(t, "SELECT count(*) FROM pg_attribute WHERE attrelid = 'pgconvoy."+name+"'::regclass AND attname = 'run'"))
	}
	drop(t, c, true)
	require.True(t, db.Empty(t), "and the schema goes with the last")
}

// TestDropComparisonsKnowsEveryTable fills each table with rows of a comparison.
func TestDropComparisonsKnowsEveryTable(t *testing.T) {
	t.Parallel()
	db := pgtest.Target(t).Database(t)
	c := connect(t, db)
	kept := create(t, c)
	require.NoError(t, kept.Complete(t.Context(), c))
	drop(t, c, false)
	db.Exec(t, `DO $$ DECLARE r record; c record; columns text; vals text; BEGIN
		FOR r IN SELECT oid::regclass AS name, oid FROM pg_class WHERE relnamespace = 'pgconvoy'::regnamespace AND relkind = 'r' LOOP
			SELECT string_agg(quote_ident(attname), ','), string_agg(CASE WHEN attname = 'run' THEN '''shop:verify''' ELSE
				CASE atttypid WHEN 'text'::regtype THEN '''x''' WHEN 'timestamptz'::regtype THEN 'now()' WHEN 'jsonb'::regtype THEN '''{}''' WHEN 'text[]'::regtype THEN '''{}''' WHEN 'bytea'::regtype THEN '''''' WHEN 'bool'::regtype THEN 'false' ELSE '1' END END, ',')
				INTO columns, vals FROM pg_attribute WHERE attrelid = r.oid AND attnum > 0;
			EXECUTE format('INSERT INTO %s (%s) VALUES (%s)', r.name, columns, vals);
		END LOOP; END $$`)
	drop(t, c, true)
	for name, rows := range everything(t, db) {
		for _, row := range rows {
			require.NotContains(t, row[0], "verify", name)
		}
	}
}

func TestComparisonLeavesForeignSchemasAlone(t *testing.T) {
	t.Parallel()
	for name, comment := range map[string]string{"none": "", "another layout": ledger.Marker + ", layout 0", "a text": "my convoy"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.Target(t).Database(t)
			db.Exec(t, fmt.Sprintf("CREATE SCHEMA pgconvoy; COMMENT ON SCHEMA pgconvoy IS '%s'; CREATE TABLE pgconvoy.run (run text); INSERT INTO pgconvoy.run VALUES ('x:verify')", comment))
			c := connect(t, db)
			_, err := compare(t, c)
			require.ErrorIs(t, err, ledger.ErrOccupied)
			drop(t, c, false)
			require.Equal(t, 1, db.Count(t, "pgconvoy.run"))
		})
	}
}

// The target of a finished copy has the event triggers of the source, which may
// refuse DDL.
func TestComparisonDespiteEventTriggers(t *testing.T) {
	t.Parallel()
	db := pgtest.Target(t).Database(t)
	db.Exec(t, `CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no''; END';
		CREATE EVENT TRIGGER refuse ON ddl_command_start EXECUTE FUNCTION refuse()`)
	c := connect(t, db)
	_, err := compare(t, c)
	require.NoError(t, err)
	drop(t, c, true)
	require.Equal(t, "0", db.Query(t, "SELECT count(*) FROM pg_namespace WHERE nspname = 'pgconvoy'"))
	require.Equal(t, "origin", db.Query(t, "SHOW session_replication_role"))
}

func TestMeasuredAndDifferences(t *testing.T) {
	t.Parallel()
	db := pgtest.Target(t).Database(t)
	c := connect(t, db)
	x, y := tasks.Name{Schema: "s", Name: "x"}, tasks.Name{Schema: "s", Name: `y"`}
	var list []tasks.Task
	for _, name := range []string{"a", "b", "c"} {
		list = append(list, task(t, tasks.KindMeasure, name, "measure:1"))
	}
	l, err := compare(t, c, append(list, task(t, tasks.KindVerify, "v", ""))...)
	require.NoError(t, err)
	digest := func(rows int64, hi uint64) *tasks.Digest { return &tasks.Digest{Rows: rows, Hi: hi, Lo: 1 << 63} }
	for i, r := range []tasks.Result{
		{Side: tasks.SideSource, Measured: []tasks.TableCount{{Name: x, Rows: 3, Digest: digest(3, 1)}, {Name: y, Rows: 1}}},
		{Side: tasks.SideSource, Measured: []tasks.TableCount{{Name: x, Rows: 4, Digest: digest(4, 2)}}},
		{Side: tasks.SideTarget, Measured: []tasks.TableCount{{Name: x, Rows: 9, Digest: digest(9, 9)}, {Name: y, Rows: 5, Digest: digest(5, 5)}}},
	} {
		require.NoError(t, l.Done(t.Context(), c, take(t, l, c, list[i].ID), r, "w"))
	}
	source, err := l.Measured(t.Context(), c, tasks.SideSource, []tasks.Name{x, y, {Schema: "s", Name: "z"}})
	require.NoError(t, err)
	require.Equal(t, map[tasks.Name]tasks.TableCount{x: {Name: x, Rows: 7, Digest: &tasks.Digest{Rows: 7, Hi: 4}}, y: {Name: y, Rows: 1}}, source)
	target, err := l.Measured(t.Context(), c, tasks.SideTarget, []tasks.Name{x})
	require.NoError(t, err)
	require.Equal(t, map[tasks.Name]tasks.TableCount{x: {Name: x, Rows: 9, Digest: digest(9, 9)}}, target)

	want := []tasks.Difference{
		{Table: x, Source: "7 rows", Target: "9 rows"},
		{Table: y, Source: "a", Target: "b", Key: []string{"k"}, Rows: []tasks.RowDifference{{Finding: tasks.RowExtra, Key: []string{"ü\n\U0001F600"}}}, More: true},
	}
	require.NoError(t, l.Done(t.Context(), c, take(t, l, c, tasks.NewID(tasks.KindVerify, "public", "v", "all")),
		tasks.Result{Rows: 14, Differences: []tasks.Difference{want[1], want[0]}}, "w"))
	found, rows, err := l.Differences(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, want, found)
	require.Equal(t, int64(14), rows)
}

func TestCopiedDigests(t *testing.T) {
	t.Parallel()
	db := pgtest.Target(t).Database(t)
	c := connect(t, db)
	l := create(t, c, fanIn(t, 3)...)
	x := tasks.Name{Schema: "s", Name: "x"}
	for i := range 3 {
		n := tasks.TableCount{Name: x, Rows: 1, Bytes: 10}
		if i < 2 {
			n.Digest = &tasks.Digest{Rows: 1, Lo: uint64(i + 5)}
		}
		taken := take(t, l, c, tasks.ID(fmt.Sprintf("copy.public.t%03d.all", i)))
		require.NoError(t, l.Done(t.Context(), c, taken, tasks.Result{Tables: []tasks.TableCount{n}}, "w"))
		counts, err := l.Copied(t.Context(), c, []tasks.Name{x})
		require.NoError(t, err)
		want := tasks.TableCount{Name: x, Rows: int64(i + 1), Bytes: int64(10 * (i + 1))}
		if i < 2 {
			want.Digest = &tasks.Digest{Rows: int64(i + 1), Lo: uint64(5 + 6*i)}
		}
		require.Equal(t, want, counts[x], "the third part has no digest, and so the table has none")
	}
	opened, err := ledger.Open(t.Context(), c, runID.Name)
	require.NoError(t, err)
	require.Equal(t, l.DigestKey(), opened.DigestKey(), "all processes hash under the same key")
	require.NotEqual(t, tasks.DigestKey{}, l.DigestKey())
}
