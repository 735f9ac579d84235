package worker_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

func TestPartsHoldEveryRowOnce(t *testing.T) {
	t.Parallel()
	b := databases(t, "CREATE TABLE a (id int, v text)", "INSERT INTO a SELECT nullif(i, 7) - 500, repeat('x', i % 300) FROM generate_series(1, 5000) i")
	spec := b.copyOf(t, "a")
	spec.Freeze = false
	var list []tasks.Task
	parts := tasks.Ranges("id", []string{"-100", "0", "4000"}, true)
	for i, p := range parts {
		part := spec
		part.Part, part.Parts = p, len(parts)
		list = append(list, task(t, tasks.KindCopy, tasks.NewID(tasks.KindCopy, "public", "a", fmt.Sprint(i)), part))
	}
	b.start(t, list...)
	b.finish(t)
	pgtest.RequireEqual(t, b.src, b.dst, pgtest.DataOnly(), pgtest.IgnoreSchemas("pgconvoy"))
	require.Equal(t, "5000", b.dst.Query(t, "SELECT sum(rows) FROM pgconvoy.copied"))
}

func TestBundle(t *testing.T) {
	t.Parallel()
	b := databases(t, `CREATE TABLE a (id int, v text); CREATE TABLE "o""dd" (id int); CREATE TABLE none (); CREATE TABLE empty (id int);
		CREATE TABLE generated (id int GENERATED ALWAYS AS (7) STORED); CREATE TYPE mood AS ENUM ('ok'); CREATE TABLE m (mood mood)`,
		rows1000+`; INSERT INTO "o""dd" VALUES (1); INSERT INTO none DEFAULT VALUES; INSERT INTO none DEFAULT VALUES; INSERT INTO generated DEFAULT VALUES; INSERT INTO m VALUES ('ok')`)
	var spec tasks.Bundle
	for _, name := range []string{"a", `o"dd`, "none", "empty", "generated", "m"} {
		l := tasks.Loaded{Copy: b.copyOf(t, name)}
		l.Analyze = []tasks.Statement{{Label: "ANALYZE " + name, SQL: "ANALYZE " + l.Copy.Table.String()}}
		spec.Tables = append(spec.Tables, l)
	}
	spec.Tables[0].After = []tasks.Statement{{Label: "x", SQL: "CREATE INDEX ax ON public.a (id)"}, {Label: "y", SQL: "CREATE INDEX ay ON public.a (v)"}}
	b.start(t, task(t, tasks.KindBundle, "copy.bundle.b0001", spec))
	b.finish(t)
	require.Equal(t, "done", b.state(t, "copy.bundle.b0001"))
	pgtest.RequireEqual(t, b.src, b.dst, pgtest.DataOnly(), pgtest.IgnoreSchemas("pgconvoy"))
	require.Equal(t, 2, b.dst.Count(t, "pg_indexes WHERE tablename = 'a'"))
	require.Equal(t, [][]string{{"a", "1000"}, {"empty", "0"}, {"generated", "1"}, {"m", "1"}, {"none", "2"}, {`o"dd`, "1"}},
		b.dst.Rows(t, "SELECT name, rows FROM pgconvoy.copied ORDER BY name"))
}

// One bad table of a bundle fails alone; what follows the others goes on.
func TestBundleIsSplit(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(b *bundle, spec *tasks.Bundle){
		"row": func(b *bundle, _ *tasks.Bundle) { b.dst.Exec(t, "ALTER TABLE t3 ADD CHECK (id <> 1)") },
		"statement": func(_ *bundle, spec *tasks.Bundle) {
			spec.Tables[3].After[0].SQL = "CREATE UNIQUE INDEX ON public.t3 (v)"
		},
		"rewritten": func(b *bundle, _ *tasks.Bundle) { b.src.Exec(t, "TRUNCATE t3") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var both, source string
			for i := range 6 {
				both += fmt.Sprintf("CREATE TABLE t%d (id int, v text);", i)
				source += fmt.Sprintf("INSERT INTO t%d VALUES (1, 'same'), (2, 'same');", i)
			}
			b := databases(t, both, source)
			var spec tasks.Bundle
			for i := range 6 {
				sql := fmt.Sprintf("CREATE INDEX ON public.t%d (id)", i)
				spec.Tables = append(spec.Tables, tasks.Loaded{Copy: b.copyOf(t, fmt.Sprint("t", i)), After: []tasks.Statement{{Label: sql, SQL: sql}}})
			}
			spoil(b, &spec)
			bundle := task(t, tasks.KindBundle, "copy.bundle.b0001", spec)
			onBad := after(run(t, tasks.KindFKeyAdd, "fkey.x.y.bad.add", "SELECT 1"), bundle)
			onBad.Needs = append(onBad.Needs, tasks.PieceGroup(spec.Tables[3].Copy.Table.OID))
			onGood := after(run(t, tasks.KindFKeyAdd, "fkey.x.y.good.add", "SELECT 1"), bundle)
			onGood.Needs = append(onGood.Needs, tasks.PieceGroup(spec.Tables[4].Copy.Table.OID))
			b.start(t, bundle, onBad, onGood)
			b.finish(t)
			for i := range 6 {
				id := tasks.ID(fmt.Sprintf("copy.bundle.b0001.public.t%d", i))
				if i != 3 {
					require.Equal(t, "done", b.state(t, id))
					require.Equal(t, 2, b.dst.Count(t, fmt.Sprint("t", i)))
					continue
				}
				require.Equal(t, "failed", b.state(t, id))
				require.Contains(t, b.reason(t, id), `"public"."t3"`)
				require.Equal(t, 0, b.dst.Count(t, "t3"))
			}
			require.Equal(t, "pending", b.state(t, "fkey.x.y.bad.add"))
			require.Equal(t, "done", b.state(t, "fkey.x.y.good.add"), "it needs none but good tables")
			require.Equal(t, 7, b.dst.Count(t, "pgconvoy.task WHERE state = 'done'"))
			require.Equal(t, map[string]int{"bundle split": 1, "bundle done": 5, "bundle failed": 1, "fkey-add done": 1}, b.outcomes(t))
		})
	}
}

// Rows of an extension's configuration table come beside its own.
func TestExtensionData(t *testing.T) {
	t.Parallel()
	b := databases(t, "CREATE TABLE config (id int, mine bool); INSERT INTO config VALUES (1, true)", "INSERT INTO config VALUES (2, false), (3, false)")
	spec := b.copyOf(t, "config")
	spec.Freeze, spec.Where = false, "NOT mine OR false"
	b.start(t, task(t, tasks.KindExtensionData, "misc.extension-data.all", tasks.Bundle{Tables: []tasks.Loaded{{Copy: spec}}}))
	b.finish(t)
	require.Equal(t, []string{"1", "2", "3"}, b.dst.Column(t, "SELECT id FROM config ORDER BY 1"))
}

func TestRefusedAnalyzeIsANote(t *testing.T) {
	t.Parallel()
	b := databases(t, "CREATE TABLE a (id int, v text); CREATE TABLE c (id int)", rows1000)
	analyze := func(table string) []tasks.Statement {
		return []tasks.Statement{{Label: "ANALYZE " + table, SQL: "ANALYZE public." + table}}
	}
	b.start(t, task(t, tasks.KindBundle, "copy.bundle.b0001", tasks.Bundle{Tables: []tasks.Loaded{
		{Copy: b.copyOf(t, "c"), Analyze: analyze("missing")}, {Copy: b.copyOf(t, "a"), Analyze: analyze("a")},
	}}), run(t, tasks.KindAnalyze, "analyze.public.x.all", "ANALYZE public.missing"))
	b.finish(t)
	for _, id := range []tasks.ID{"copy.bundle.b0001", "analyze.public.x.all"} {
		require.Equal(t, "done", b.state(t, id))
		require.Contains(t, b.reason(t, id), `relation "public.missing" does not exist`)
	}
	require.Equal(t, "t", b.dst.Query(t, "SELECT reltuples = 1000 FROM pg_class WHERE oid = 'a'::regclass"))
}

func TestSequences(t *testing.T) {
	t.Parallel()
	var both strings.Builder
	both.WriteString(`CREATE SEQUENCE never; CREATE SEQUENCE called; CREATE SEQUENCE set_back; CREATE SEQUENCE negative MINVALUE -10 START -5;
		CREATE SEQUENCE down INCREMENT -1; CREATE SEQUENCE small AS smallint; CREATE SEQUENCE large START 9223372036854775807;
		CREATE SEQUENCE "o""dd"; CREATE TABLE s (id serial, i int GENERATED ALWAYS AS IDENTITY);`)
	for i := range 250 {
		fmt.Fprintf(&both, "CREATE SEQUENCE many%d;", i)
	}
	b := databases(t, both.String(), `SELECT nextval('called'), nextval('called'), setval('set_back', 1, false), nextval('negative'), nextval('down'),
		setval('small', 32767), nextval('large'), nextval('"o""dd"'); INSERT INTO s DEFAULT VALUES; SELECT nextval('many' || i) FROM generate_series(0, 249, 3) i`)
	b.dst.Exec(t, "SELECT setval('never', 5)")
	b.snapshot(t)
	var spec tasks.Sequences
	for _, s := range b.catalog.Sequences {
		spec.Names = append(spec.Names, tasks.Name{Schema: s.Schema, Name: s.Name})
	}
	require.Len(t, spec.Names, 260)
	b.src.Exec(t, "SELECT nextval('called')") // sequences are read when the task runs
	b.start(t, task(t, tasks.KindSequences, "misc.sequences.s0001", spec))
	b.finish(t)
	var all []string
	for _, n := range spec.Names {
		all = append(all, fmt.Sprintf("SELECT %s, last_value, is_called FROM %s", tasks.QuoteLiteral(n.Name), n))
	}
	query := strings.Join(all, " UNION ALL ") + " ORDER BY 1"
	require.Equal(t, b.src.Rows(t, query), b.dst.Rows(t, query))
	require.Equal(t, [][]string{{"3", "t"}}, b.dst.Rows(t, "SELECT last_value, is_called FROM called"))
	require.Equal(t, [][]string{{"1", "f"}}, b.dst.Rows(t, "SELECT last_value, is_called FROM never"))
}

func TestLargeObjects(t *testing.T) {
	t.Parallel()
	roles := `DO $$ BEGIN CREATE ROLE "lo owner"; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
		DO $$ BEGIN CREATE ROLE lo_reader; EXCEPTION WHEN duplicate_object THEN NULL; END $$`
	const mb = 1 << 20
	b := databases(t, roles, fmt.Sprintf(`SELECT lo_from_bytea(1001, ''), lo_from_bytea(1002, 'x'), lo_from_bytea(1003, convert_to(repeat('0123456789abcdef', %[1]d / 16), 'UTF8')),
		lo_from_bytea(1004, convert_to(repeat('0123456789abcdef', %[1]d / 8), 'UTF8')), lo_from_bytea(1005, convert_to(repeat('abc', %[1]d), 'UTF8')),
		lo_create(1006), lo_create(1007), lo_create(1008), lo_create(4294967295), lo_from_bytea(1009, convert_to(repeat('head', 16384), 'UTF8')), lo_create(1010);
		SELECT lo_put(1006, 5 * %[1]d + 3, 'end'), lo_put(1007, 0, 'begin'), lo_put(1007, 3 * %[1]d, '\x00'), lo_put(1008, 4 * %[1]d - 1, '\x00'), lo_put(1010, 65535, '\x00');
		COMMENT ON LARGE OBJECT 1002 IS 'it''s \ mine'; ALTER LARGE OBJECT 1002 OWNER TO "lo owner";
		GRANT SELECT ON LARGE OBJECT 1002 TO lo_reader WITH GRANT OPTION; GRANT ALL ON LARGE OBJECT 1003 TO PUBLIC;
		ALTER LARGE OBJECT 1004 OWNER TO "lo owner"; REVOKE UPDATE ON LARGE OBJECT 1004 FROM "lo owner";
		REVOKE ALL ON LARGE OBJECT 1005 FROM current_user`, mb))
	t.Cleanup(func() {
		b.src.Exec(t, `DROP OWNED BY "lo owner", lo_reader`)
		b.dst.Exec(t, `DROP OWNED BY "lo owner", lo_reader`)
	})
	b.snapshot(t)
	b.src.Exec(t, "SELECT lo_unlink(1007), lo_create(1500)") // after the snapshot
	b.start(t, task(t, tasks.KindLargeObjects, "blob.large-objects.o1", tasks.LargeObjects{From: 1000, To: 1005}),
		task(t, tasks.KindLargeObjects, "blob.large-objects.o2", tasks.LargeObjects{From: 1006, To: 4294967295}))
	b.finish(t)
	require.Equal(t, 2, b.dst.Count(t, "pgconvoy.task WHERE state = 'done'"))
	query := `SELECT m.oid, pg_get_userbyid(lomowner), lomacl IS NULL, (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(lomacl) a), obj_description(m.oid, 'pg_largeobject'),
		length(lo_get(m.oid)), md5(lo_get(m.oid)) FROM pg_largeobject_metadata m WHERE m.oid NOT IN (1007, 1500) ORDER BY 1`
	require.Equal(t, b.src.Rows(t, query), b.dst.Rows(t, query))
	require.Equal(t, [][]string{{"3145729", "begin", "\\x00"}},
		b.dst.Rows(t, "SELECT length(lo_get(1007)), convert_from(lo_get(1007, 0, 5), 'UTF8'), lo_get(1007, 3145728, 5)"))
	require.Equal(t, "f", b.dst.Query(t, "SELECT EXISTS (SELECT FROM pg_largeobject_metadata WHERE oid = 1500)"))
	require.Less(t, b.dst.Count(t, "pg_largeobject WHERE loid = 1006"), 600, "a hole stays one")
}

// TestVerify damages one of two copied tables before they are compared.
func TestVerify(t *testing.T) {
	t.Parallel()
	for level, want := range map[string]string{tasks.LevelRows: "source has 1000 rows, target has 999 rows", tasks.LevelDigest: `rows differ: "public"."a"`} {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			b := databases(t, "CREATE TABLE a (id int, v text); CREATE TABLE c (id int)", rows1000)
			var list, copies []tasks.Task
			for _, name := range []string{"a", "c"} {
				spec := b.copyOf(t, name)
				spec.Digest = level == tasks.LevelDigest
				copies = append(copies, task(t, tasks.KindCopy, copyID(name), spec))
			}
			damage := after(run(t, tasks.KindSchema, "misc.damage.x", "DELETE FROM public.a WHERE id = 5"), copies...)
			for i, name := range []string{"a", "c"} {
				tables := []tasks.VerifyTable{{Table: b.copyOf(t, name).Table}}
				m := after(task(t, tasks.KindMeasure, tasks.ID(fmt.Sprint("copy.measure.m", i)), tasks.Measure{Level: level, Side: tasks.SideTarget, Tables: tables}), damage)
				v := after(task(t, tasks.KindVerify, tasks.ID(fmt.Sprint("misc.verify.v", i)), tasks.Verify{Level: level, Tables: tables}), m)
				list = append(list, m, v)
			}
			b.start(t, append(append(copies, damage), list...)...)
			b.finish(t)
			require.Equal(t, "done", b.state(t, "misc.verify.v1"))
			require.Equal(t, "failed", b.state(t, "misc.verify.v0"))
			require.Contains(t, b.reason(t, "misc.verify.v0"), want)
			require.Contains(t, b.reason(t, "misc.verify.v0"), "planner verify --verify digest", "what can be done")
			require.Equal(t, "1", b.attempts(t, "misc.verify.v0"))
		})
	}
}

// A comparison at level digest needs the digests of all that was copied.
func TestVerifyWithoutDigests(t *testing.T) {
	t.Parallel()
	b := databases(t, "CREATE TABLE a (id int, v text); CREATE TABLE c (id int)", rows1000)
	spec := b.copyOf(t, "a")
	copied := task(t, tasks.KindCopy, copyID("a"), spec)
	tables := []tasks.VerifyTable{{Table: spec.Table}}
	m := after(task(t, tasks.KindMeasure, "copy.measure.m1", tasks.Measure{Level: tasks.LevelDigest, Side: tasks.SideTarget, Tables: tables}), copied)
	v := after(task(t, tasks.KindVerify, "misc.verify.v1", tasks.Verify{Level: tasks.LevelDigest, Tables: tables}), m)
	b.start(t, copied, m, v)
	b.finish(t)
	require.Equal(t, "failed", b.state(t, "misc.verify.v1"))
	require.Contains(t, b.reason(t, "misc.verify.v1"), "no digest was made")
}
