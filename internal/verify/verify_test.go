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
	digest := func(query string) verify.Digest {
		d, err := verify.DigestOf(t.Context(), c, query)
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

	_, err := verify.DigestOf(t.Context(), c, "SELECT 1 / (n - 50) FROM generate_series(1, 100) n")
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

func TestContents(t *testing.T) {
	t.Parallel()
	s := newSides(t, `CREATE TABLE public.a (id int, "odd "" name" text, g int GENERATED ALWAYS AS (id + 1) STORED); CREATE TABLE public.child () INHERITS (public.a)`)
	s.src.Exec(t, `INSERT INTO public.a SELECT n, md5(n::text) FROM generate_series(1, 5000) n; INSERT INTO public.child VALUES (1, 'only here')`)
	s.dst.Exec(t, `INSERT INTO public.a SELECT n, md5(n::text) FROM generate_series(5000, 1, -1) n`)
	a := table("a", "id", `odd " name`)
	for range 2 { // the sessions go on
		rows, difference, err := verify.Contents(t.Context(), s.source, s.target, a)
		require.NoError(t, err)
		require.Nil(t, difference, "children do not count")
		require.Equal(t, int64(5000), rows)
	}
	s.dst.Exec(t, `UPDATE public.a SET "odd "" name" = overlay("odd "" name" placing 'Z' from 7) WHERE id = 4321`)
	_, difference, err := verify.Contents(t.Context(), s.source, s.target, a)
	require.NoError(t, err)
	require.Equal(t, a.Name, difference.Table)
	require.NotEqual(t, difference.Source, difference.Target)
	require.Contains(t, difference.String(), `"public"."a": source has 5000 rows, `)

	for _, bad := range []struct{ dropped, name string }{{"src", "source"}, {"dst", "target"}} {
		s := newSides(t, "CREATE TABLE public.a (id int)")
		db := map[string]*pgtest.Database{"src": s.src, "dst": s.dst}[bad.dropped]
		db.Exec(t, "DROP TABLE public.a")
		_, _, err := verify.Contents(t.Context(), s.source, s.target, table("a", "id"))
		require.True(t, pg.IsCode(err, "42P01"), "%v", err)
		require.ErrorContains(t, err, bad.name)
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
	_, difference, err := verify.Contents(t.Context(), s.source, connect(t, pg.Target, s.dst), table("a", "f", "d", "b", "i"))
	require.NoError(t, err)
	require.Nil(t, difference)
}

// TestContentsOfPartitions compares all leaves together: rows may lie in others.
func TestContentsOfPartitions(t *testing.T) {
	t.Parallel()
	s := newSides(t, "CREATE TABLE public.p (k int) PARTITION BY LIST (k)")
	s.src.Exec(t, "CREATE TABLE public.p1 PARTITION OF public.p FOR VALUES IN (1, 2); INSERT INTO public.p VALUES (1), (2)")
	s.dst.Exec(t, "CREATE TABLE public.p1 PARTITION OF public.p FOR VALUES IN (1); CREATE TABLE public.p2 PARTITION OF public.p FOR VALUES IN (2); INSERT INTO public.p VALUES (2), (1)")
	whole := table("p", "k")
	whole.Descend = true
	rows, difference, err := verify.Contents(t.Context(), s.source, s.target, whole)
	require.NoError(t, err)
	require.Nil(t, difference)
	require.Equal(t, int64(2), rows)
	_, difference, err = verify.Contents(t.Context(), s.source, s.target, table("p1", "k"))
	require.NoError(t, err)
	require.NotNil(t, difference)
}

func TestRows(t *testing.T) {
	t.Parallel()
	s := newSides(t, "CREATE TABLE public.a (id int); CREATE TABLE public.child () INHERITS (public.a); CREATE TABLE public.bare ()")
	s.src.Exec(t, "INSERT INTO public.a SELECT generate_series(1, 100); INSERT INTO public.bare DEFAULT VALUES")
	s.dst.Exec(t, "INSERT INTO public.a SELECT generate_series(101, 200); INSERT INTO public.child VALUES (1); INSERT INTO public.bare DEFAULT VALUES")
	for _, name := range []string{"a", "bare"} {
		_, difference, err := verify.Rows(t.Context(), s.source, s.target, table(name, "id"))
		require.NoError(t, err)
		require.Nil(t, difference)
	}
	s.dst.Exec(t, "DELETE FROM public.a WHERE id = 101")
	rows, difference, err := verify.Rows(t.Context(), s.source, s.target, table("a", "id"))
	require.NoError(t, err)
	require.Equal(t, int64(99), rows)
	require.Equal(t, &tasks.Difference{Table: tasks.Name{Schema: "public", Name: "a"}, Source: "100 rows", Target: "99 rows"}, difference)
	_, _, err = verify.Rows(t.Context(), s.source, s.target, table("gone"))
	require.ErrorContains(t, err, "gone")
	require.Nil(t, verify.RowsDiffer(tasks.Name{}, 1, 1))
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
	_, _, err = verify.Contents(t.Context(), s.source, reader, table("a", "id"))
	require.True(t, pg.IsCode(err, "42501"), "%v", err)
}
