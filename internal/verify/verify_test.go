package verify_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
	"github.com/pgconvoy/pgconvoy/internal/verify"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func connect(t *testing.T, side pg.Side, db *pgtest.Database) *pg.Conn {
	t.Helper()
	c, err := pg.Connect(t.Context(), pg.Options{Side: side, URI: db.URI()})
	require.NoError(t, err)
	t.Cleanup(c.Discard)
	return c
}

// contents is the SELECT of rows that stand as VALUES.
func contents(rows ...string) string {
	return "SELECT * FROM (VALUES " + strings.Join(rows, ", ") + ") v"
}

func TestDigest(t *testing.T) {
	t.Parallel()
	c := connect(t, pg.Source, pgtest.Source(t).Database(t))
	digest := func(query string) tasks.Digest {
		d, err := verify.DigestOf(t.Context(), c, key, query)
		require.NoError(t, err)
		return d
	}
	base := digest(contents("(1, 'a')", "(2, 'b')", "(3, NULL)"))
	require.Equal(t, int64(3), base.Rows)
	require.Equal(t, base, digest(contents("(3, NULL)", "(1, 'a')", "(2, 'b')")), "in another order")
	require.Equal(t, base, digest(contents("(1, 'a')", "(2, 'b')", "(3, NULL)")), "again")
	for what, query := range map[string]string{
		"one byte":                  contents("(1, 'a')", "(2, 'c')", "(3, NULL)"),
		"values swapped":            contents("(1, 'b')", "(2, 'a')", "(3, NULL)"),
		"columns swapped":           "SELECT column2, column1 FROM (" + contents("(1, 'a')", "(2, 'b')", "(3, NULL)") + ") s",
		"empty for NULL":            contents("(1, 'a')", "(2, 'b')", "(3, '')"),
		"text that looks like NULL": contents("(1, 'a')", "(2, 'b')", `(3, '\N')`),
		"one row less":              contents("(1, 'a')", "(2, 'b')"),
		"one row twice":             contents("(1, 'a')", "(2, 'b')", "(2, 'b')"),
		"another row twice":         contents("(1, 'a')", "(1, 'a')", "(3, NULL)"),
		"a row too many":            contents("(1, 'a')", "(2, 'b')", "(3, NULL)", "(3, NULL)"),
		"trailing space":            contents("(1, 'a ')", "(2, 'b')", "(3, NULL)"),
		"no rows":                   "SELECT 1 WHERE false",
	} {
		require.NotEqual(t, base, digest(query), what)
	}
	// Rows that cancel out if they are combined by exclusive or, and any number of equal ones.
	require.NotEqual(t, digest("SELECT 1 FROM generate_series(1, 2)"), digest("SELECT 2 FROM generate_series(1, 2)"))
	require.NotEqual(t, digest("SELECT 1 FROM generate_series(1, 65536)"), digest("SELECT 2 FROM generate_series(1, 65536)"))
	require.Equal(t, int64(5), digest("SELECT FROM generate_series(1, 5)").Rows, "rows without columns")
	require.Zero(t, digest("SELECT FROM generate_series(1, 0)"))
	require.Equal(t, digest("SELECT repeat('x', 3000000), 1 UNION ALL SELECT 'y', 2"), digest("SELECT 'y', 2 UNION ALL SELECT repeat('x', 3000000), 1"), "rows larger than the buffer")
	require.Regexp(t, `^3 rows, [0-9a-f]{32}$`, base.String())

	_, err := verify.DigestOf(t.Context(), c, key, "SELECT 1 / (n - 50) FROM generate_series(1, 100) n")
	require.True(t, pg.IsCode(err, "22012"), "%v", err)
}

// sides is a table that both databases have.
type sides struct {
	src, dst       *pgtest.Database
	source, target *pg.Conn
}

func newSides(t *testing.T, ddl string) sides {
	t.Helper()
	s := sides{src: pgtest.Source(t).Database(t), dst: pgtest.Target(t).Database(t)}
	s.src.Exec(t, ddl)
	s.dst.Exec(t, ddl)
	s.source, s.target = connect(t, pg.Source, s.src), connect(t, pg.Target, s.dst)
	return s
}

func table(name string, columns ...string) tasks.VerifyTable {
	return tasks.VerifyTable{Table: tasks.Table{Name: tasks.Name{Schema: "public", Name: name}, Columns: columns}}
}

// measure returns what the session sees of the table.
func measure(t testing.TB, c *pg.Conn, level string, v tasks.VerifyTable) tasks.TableCount {
	t.Helper()
	n, err := verify.Measure(t.Context(), c, level, key, []tasks.VerifyTable{v})
	require.NoError(t, err)
	return n[0]
}

// compare measures both sides and returns the difference.
func (s sides) compare(t testing.TB, level string, v tasks.VerifyTable) *tasks.Difference {
	t.Helper()
	d, err := verify.Differ(level, measure(t, s.source, level, v), measure(t, s.target, level, v))
	require.NoError(t, err)
	return d
}

func TestContents(t *testing.T) {
	t.Parallel()
	s := newSides(t, `CREATE TABLE public.a (id int, "odd "" name" text, g int GENERATED ALWAYS AS (id + 1) STORED); CREATE TABLE public.child () INHERITS (public.a)`)
	s.src.Exec(t, `INSERT INTO public.a SELECT n, md5(n::text) FROM generate_series(1, 5000) n; INSERT INTO public.child VALUES (1, 'only here')`)
	s.dst.Exec(t, `INSERT INTO public.a SELECT n, md5(n::text) FROM generate_series(5000, 1, -1) n`)
	a := table("a", "id", `odd " name`)
	for range 2 { // the sessions go on
		require.Nil(t, s.compare(t, tasks.LevelDigest, a), "children do not count, and generated columns are not read")
		require.Equal(t, int64(5000), measure(t, s.target, tasks.LevelDigest, a).Rows)
	}
	s.dst.Exec(t, `UPDATE public.a SET "odd "" name" = overlay("odd "" name" placing 'Z' from 7) WHERE id = 4321`)
	difference := s.compare(t, tasks.LevelDigest, a)
	require.Equal(t, a.Name, difference.Table)
	require.NotEqual(t, difference.Source, difference.Target)
	require.Contains(t, difference.String(), `"public"."a": source has 5000 rows, `)
	require.Nil(t, s.compare(t, tasks.LevelRows, a))

	for level, side := range map[string]*pg.Conn{tasks.LevelDigest: s.source, tasks.LevelRows: s.target} {
		_, err := verify.Measure(t.Context(), side, level, key, []tasks.VerifyTable{a, table("gone", "id"), a})
		require.True(t, pg.IsCode(err, "42P01"), "%v", err)
		require.ErrorContains(t, err, `"gone"`)
		require.ErrorContains(t, err, string(side.Side()))
	}
}

// TestPartsAddUp measures a table in parts by blocks and by key: their sum is
// the table, whatever the bounds are.
func TestPartsAddUp(t *testing.T) {
	t.Parallel()
	db := pgtest.Source(t).Database(t)
	db.Exec(t, `CREATE TABLE public.a (k int, v text);
		INSERT INTO public.a SELECT nullif(n, 700), repeat(md5(n::text), n % 9) FROM generate_series(-3000, 5000) n;
		DELETE FROM public.a WHERE k BETWEEN 100 AND 300;
		CREATE TABLE public.p (k int) PARTITION BY HASH (k);
		CREATE TABLE public.p1 PARTITION OF public.p FOR VALUES WITH (MODULUS 2, REMAINDER 0);
		CREATE TABLE public.p2 PARTITION OF public.p FOR VALUES WITH (MODULUS 2, REMAINDER 1);
		INSERT INTO public.p SELECT generate_series(1, 5000)`)
	c := connect(t, pg.Source, db)
	tree := table("p", "k")
	tree.Descend = true
	for _, level := range []string{tasks.LevelRows, tasks.LevelDigest} {
		for _, test := range []struct {
			table tasks.VerifyTable
			parts []tasks.Part
		}{
			{table("a", "k", "v"), tasks.Ranges("", []string{"1", "2", "50", "100000"}, false)},
			{table("a", "k", "v"), tasks.Ranges("k", []string{"-5000", "-7", "0", "700", "9999"}, true)},
			{table("a"), tasks.Ranges("", []string{"30"}, false)}, // no columns
			{tree, tasks.Ranges("", []string{"3", "5"}, false)},
		} {
			want := measure(t, c, level, test.table)
			require.NotZero(t, want.Rows)
			var sum tasks.TableCount
			for i, p := range test.parts {
				part := test.table
				part.Part = p
				if n := measure(t, c, level, part); i == 0 {
					sum = n
				} else {
					sum = sum.Add(n)
				}
			}
			require.Equal(t, want, sum, "%s of %v", level, test.table.Name)
		}
	}
}

// TestContentsSettings has databases whose defaults print the same values in
// other words.
func TestContentsSettings(t *testing.T) {
	t.Parallel()
	s := newSides(t, `CREATE TABLE public.a (f float8, d timestamptz, b bytea, i interval);
		INSERT INTO public.a VALUES (0.1::float8 + 0.2::float8, '2020-02-03 04:05:06+07', '\x00ff', '1 year -2 days')`)
	for _, set := range []string{"extra_float_digits = -5", "datestyle = 'SQL, DMY'", "timezone = 'Asia/Tokyo'", "bytea_output = 'escape'", "intervalstyle = 'iso_8601'"} {
		s.dst.Exec(t, fmt.Sprintf("ALTER DATABASE %s SET %s", s.dst.Name, set))
	}
	s.target = connect(t, pg.Target, s.dst)
	require.Nil(t, s.compare(t, tasks.LevelDigest, table("a", "f", "d", "b", "i")))
}

// TestContentsOfPartitions compares all leaves together: rows may lie in others.
func TestContentsOfPartitions(t *testing.T) {
	t.Parallel()
	s := newSides(t, "CREATE TABLE public.p (k int) PARTITION BY LIST (k)")
	s.src.Exec(t, "CREATE TABLE public.p1 PARTITION OF public.p FOR VALUES IN (1, 2); INSERT INTO public.p VALUES (1), (2)")
	s.dst.Exec(t, "CREATE TABLE public.p1 PARTITION OF public.p FOR VALUES IN (1); CREATE TABLE public.p2 PARTITION OF public.p FOR VALUES IN (2); INSERT INTO public.p VALUES (2), (1)")
	whole := table("p", "k")
	whole.Descend = true
	require.Nil(t, s.compare(t, tasks.LevelDigest, whole))
	require.Equal(t, int64(2), measure(t, s.target, tasks.LevelDigest, whole).Rows)
	require.NotNil(t, s.compare(t, tasks.LevelDigest, table("p1", "k")))
}

func TestRows(t *testing.T) {
	t.Parallel()
	s := newSides(t, "CREATE TABLE public.a (id int); CREATE TABLE public.child () INHERITS (public.a); CREATE TABLE public.bare ()")
	s.src.Exec(t, "INSERT INTO public.a SELECT generate_series(1, 100); INSERT INTO public.bare DEFAULT VALUES")
	s.dst.Exec(t, "INSERT INTO public.a SELECT generate_series(101, 200); INSERT INTO public.child VALUES (1); INSERT INTO public.bare DEFAULT VALUES")
	for _, v := range []tasks.VerifyTable{table("a", "id"), table("bare")} {
		require.Nil(t, s.compare(t, tasks.LevelRows, v))
	}
	require.NotNil(t, s.compare(t, tasks.LevelDigest, table("a", "id")))
	require.Nil(t, s.compare(t, tasks.LevelDigest, table("bare")))
	s.dst.Exec(t, "DELETE FROM public.a WHERE id = 101; INSERT INTO public.bare DEFAULT VALUES")
	require.Equal(t, &tasks.Difference{Table: tasks.Name{Schema: "public", Name: "a"}, Source: "100 rows", Target: "99 rows"},
		s.compare(t, tasks.LevelRows, table("a", "id")))
	require.Contains(t, s.compare(t, tasks.LevelDigest, table("bare")).String(), "source has 1 rows, ")
}

func TestDifferNeedsBothDigests(t *testing.T) {
	t.Parallel()
	n := tasks.TableCount{Rows: 1, Digest: &tasks.Digest{Rows: 1, Lo: 7}}
	d, err := verify.Differ(tasks.LevelDigest, n, n)
	require.NoError(t, err)
	require.Nil(t, d)
	for _, counts := range [][2]tasks.TableCount{{n, {Rows: 1}}, {{Rows: 1}, n}, {{}, {}}} {
		_, err := verify.Differ(tasks.LevelDigest, counts[0], counts[1])
		require.ErrorContains(t, err, "no digest was made")
	}
	require.Nil(t, n.Add(tasks.TableCount{Rows: 1}).Digest, "a part without a digest leaves the table without one")
}

// TestContentsHidden has a policy that hides rows: an error, not fewer rows.
func TestContentsHidden(t *testing.T) {
	t.Parallel()
	s := newSides(t, "CREATE TABLE public.a (id int); INSERT INTO public.a VALUES (1)")
	role := s.dst.Name + "_reader"
	s.dst.Exec(t, "CREATE ROLE "+role+" LOGIN; ALTER TABLE public.a ENABLE ROW LEVEL SECURITY; GRANT SELECT ON public.a TO "+role)
	t.Cleanup(func() { s.dst.Exec(t, "DROP OWNED BY "+role+"; DROP ROLE "+role) })
	reader, err := pg.Connect(t.Context(), pg.Options{Side: pg.Target, URI: s.dst.URIAs(role)})
	require.NoError(t, err)
	t.Cleanup(reader.Discard)
	_, err = verify.Measure(t.Context(), reader, tasks.LevelDigest, key, []tasks.VerifyTable{table("a", "id")})
	require.True(t, pg.IsCode(err, "42501"), "%v", err)
}
