package verify_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
	"github.com/pgconvoy/pgconvoy/internal/verify"
)

// locate compares the contents of the table and finds the rows that differ.
// Its columns and oid are those of the source.
func (s sides) locate(t *testing.T, name string, edit ...func(*tasks.VerifyTable)) *tasks.Difference {
	t.Helper()
	v := table(name, s.src.Column(t, fmt.Sprintf(`SELECT attname FROM pg_attribute WHERE attrelid = 'public."%s"'::regclass
		AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum`, name))...)
	_, err := fmt.Sscan(s.src.Query(t, fmt.Sprintf(`SELECT 'public."%s"'::regclass::oid`, name)), &v.OID)
	require.NoError(t, err)
	for _, e := range edit {
		e(&v)
	}
	d := s.compare(t, tasks.LevelDigest, v)
	if d == nil {
		d = &tasks.Difference{}
	}
	require.NoError(t, verify.Locate(t.Context(), s.source, s.target, key, v, d))
	return d
}

func missing(key ...string) tasks.RowDifference {
	return tasks.RowDifference{Finding: tasks.RowMissing, Key: key}
}
func extra(key ...string) tasks.RowDifference {
	return tasks.RowDifference{Finding: tasks.RowExtra, Key: key}
}
func different(key ...string) tasks.RowDifference {
	return tasks.RowDifference{Finding: tasks.RowDifferent, Key: key}
}

func TestLocate(t *testing.T) {
	t.Parallel()
	const fill = "INSERT INTO public.a SELECT n, md5(n::text) FROM generate_series(-500, 3000) n;"
	for name, test := range map[string]struct {
		ddl            string // on both sides
		source, target string
		key            []string
		rows           []tasks.RowDifference
		more           bool
	}{
		"equal": {
			ddl: "CREATE TABLE public.a (id int PRIMARY KEY, v text);" + fill, key: []string{"id"},
		},
		"one of each": {
			ddl:    "CREATE TABLE public.a (id int PRIMARY KEY, v text);" + fill,
			target: "DELETE FROM public.a WHERE id = -7; INSERT INTO public.a VALUES (10000, 'x'); UPDATE public.a SET v = v || ' ' WHERE id = 9",
			key:    []string{"id"}, rows: []tasks.RowDifference{missing("-7"), different("9"), extra("10000")},
		},
		"key changed": {
			ddl: "CREATE TABLE public.a (id int PRIMARY KEY, v text);" + fill, target: "UPDATE public.a SET id = 4000 WHERE id = 400",
			key: []string{"id"}, rows: []tasks.RowDifference{missing("400"), extra("4000")},
		},
		"composite key, not the first columns": {
			ddl: `CREATE TABLE public.a (v text, x text, y int, "odd "" name" text, PRIMARY KEY (y, "odd "" name"));
				INSERT INTO public.a SELECT 'v', 'x', n % 30, n::text FROM generate_series(1, 300) n;
				INSERT INTO public.a VALUES ('v', 'x', 1, E'tab\t line\n back\\slash N \\N'), ('v', 'x', 1, '')`,
			target: `UPDATE public.a SET x = '' WHERE "odd "" name" IN ('', '77') OR v || "odd "" name" LIKE 'vtab%'`,
			key:    []string{"y", `odd " name`}, rows: []tasks.RowDifference{different("1", ""), different("1", "tab\t line\n back\\slash N \\N"), different("17", "77")},
		},
		"unique key without NULL": {
			ddl: `CREATE TABLE public.a (id int, u text NOT NULL, v int); CREATE UNIQUE INDEX part ON public.a (id) WHERE id > 5;
				CREATE UNIQUE INDEX nullable ON public.a (id); CREATE UNIQUE INDEX expression ON public.a (lower(u)); CREATE UNIQUE INDEX good ON public.a (u) INCLUDE (v);
				INSERT INTO public.a SELECT n, 'u' || n, n FROM generate_series(1, 100) n`,
			target: "UPDATE public.a SET v = 0 WHERE id = 50", key: []string{"u"}, rows: []tasks.RowDifference{different("u50")},
		},
		"NULL in a unique column": {
			ddl:    "CREATE TABLE public.a (id int UNIQUE, v text); INSERT INTO public.a VALUES (NULL, 'a'), (NULL, 'b'), (3, 'c')",
			target: "UPDATE public.a SET v = 'B' WHERE v = 'b'",
			rows:   []tasks.RowDifference{{Finding: tasks.RowExtra, CTID: "(0,4)"}, {Finding: tasks.RowMissing, CTID: "(0,2)"}},
		},
		"duplicates of a key": {
			ddl:    "CREATE TABLE public.a (id int PRIMARY KEY, v text); INSERT INTO public.a VALUES (1, 'a'), (2, 'b')",
			target: "ALTER TABLE public.a DROP CONSTRAINT a_pkey; INSERT INTO public.a VALUES (2, 'b')",
			key:    []string{"id"}, rows: []tasks.RowDifference{extra("2")},
		},
		"duplicates without a key": {
			ddl:    "CREATE TABLE public.a (id int); INSERT INTO public.a VALUES (1), (2), (2), (3)",
			target: "INSERT INTO public.a VALUES (2), (2); DELETE FROM public.a WHERE id = 3",
			rows:   []tasks.RowDifference{{Finding: tasks.RowExtra, CTID: "(0,5)"}, {Finding: tasks.RowExtra, CTID: "(0,6)"}, {Finding: tasks.RowMissing, CTID: "(0,4)"}},
		},
		"without columns": {
			ddl: "CREATE TABLE public.a (); INSERT INTO public.a DEFAULT VALUES; INSERT INTO public.a DEFAULT VALUES", target: "INSERT INTO public.a DEFAULT VALUES",
			rows: []tasks.RowDifference{{Finding: tasks.RowExtra, CTID: "(0,3)"}},
		},
		"only generated columns": {
			ddl:    "CREATE TABLE public.a (g int GENERATED ALWAYS AS (1) STORED PRIMARY KEY)",
			source: "INSERT INTO public.a DEFAULT VALUES", rows: []tasks.RowDifference{{Finding: tasks.RowMissing, CTID: "(0,1)"}},
		},
		"empty target": {
			ddl: "CREATE TABLE public.a (id int PRIMARY KEY, v text)", source: "INSERT INTO public.a VALUES (3, NULL), (20, ''), (100, 'x')",
			key: []string{"id"}, rows: []tasks.RowDifference{missing("3"), missing("20"), missing("100")},
		},
		"partitions that are others": {
			ddl: `CREATE TABLE public.a (id int PRIMARY KEY, v text) PARTITION BY HASH (id);
				CREATE TABLE public.a1 PARTITION OF public.a FOR VALUES WITH (MODULUS 2, REMAINDER 0);
				CREATE TABLE public.a2 PARTITION OF public.a FOR VALUES WITH (MODULUS 2, REMAINDER 1);` + fill,
			target: "UPDATE public.a SET v = '' WHERE id = 1; CREATE TABLE x AS SELECT * FROM a1; TRUNCATE a1; ALTER TABLE a DETACH PARTITION a1; INSERT INTO a1 SELECT * FROM x; ALTER TABLE a ATTACH PARTITION a1 FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
			key:    []string{"id"}, rows: []tasks.RowDifference{different("1")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSides(t, test.ddl)
			s.src.Exec(t, test.source)
			s.dst.Exec(t, test.target)
			d := s.locate(t, "a", func(v *tasks.VerifyTable) { v.Descend = name == "partitions that are others" })
			require.Equal(t, test.key, d.Key)
			require.Equal(t, test.rows, d.Rows)
			require.Equal(t, test.more, d.More)
		})
	}
}

// TestLocateSome has more rows that differ than are shown: some are, and it says
// so, whichever rows it is about.
func TestLocateSome(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		target  string
		finding tasks.RowFinding
	}{
		"a column":   {"UPDATE public.%s SET v = v || '!'", tasks.RowDifferent},
		"some":       {"DELETE FROM public.%s WHERE id BETWEEN 1000 AND 1010", tasks.RowMissing},
		"everything": {"TRUNCATE public.%s", tasks.RowMissing},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSides(t, `CREATE TABLE public.keyed (id int PRIMARY KEY, v text); INSERT INTO public.keyed SELECT n, 'v' FROM generate_series(1, 20000) n;
				CREATE TABLE public.bare AS SELECT * FROM public.keyed`)
			s.dst.Exec(t, fmt.Sprintf(test.target+";"+test.target, "keyed", "bare"))
			d := s.locate(t, "keyed")
			require.Len(t, d.Rows, 10)
			require.True(t, d.More)
			for _, row := range d.Rows {
				require.Equal(t, test.finding, row.Finding)
				require.Equal(t, "1", s.src.Query(t, "SELECT count(*) FROM keyed WHERE id = "+row.Key[0]))
			}
			d = s.locate(t, "bare")
			require.Len(t, d.Rows, 10)
			require.True(t, d.More)
			for _, row := range d.Rows {
				db := s.src
				if row.Finding == tasks.RowExtra {
					db = s.dst
				}
				require.Equal(t, "1", db.Query(t, "SELECT count(*) FROM bare WHERE ctid = '"+row.CTID+"'"))
			}
		})
	}
}

func TestLocatePartitionsWithoutAKey(t *testing.T) {
	t.Parallel()
	s := newSides(t, "CREATE TABLE public.p (k int) PARTITION BY LIST (k); CREATE TABLE public.p1 PARTITION OF public.p FOR VALUES IN (1, 2); INSERT INTO public.p VALUES (1), (2)")
	s.dst.Exec(t, "UPDATE public.p SET k = 1")
	d := s.locate(t, "p", func(v *tasks.VerifyTable) { v.Descend = true })
	require.Equal(t, []tasks.RowDifference{{Finding: tasks.RowExtra, CTID: "public.p1 (0,4)"}, {Finding: tasks.RowMissing, CTID: "public.p1 (0,2)"}}, d.Rows)
}

// TestLocateWideRows has rows, and a key, that do not fit into a buffer.
func TestLocateWideRows(t *testing.T) {
	t.Parallel()
	s := newSides(t, `CREATE TABLE public.a (v text, id text PRIMARY KEY, w text);
		INSERT INTO public.a SELECT repeat('x', n * 70000), repeat(n::text, 1 + n * 100), repeat('y', n * 1000) FROM generate_series(0, 20) n`)
	s.dst.Exec(t, "UPDATE public.a SET w = w || 'z' WHERE id LIKE '77777%'")
	require.Equal(t, []tasks.RowDifference{different(s.src.Query(t, "SELECT id FROM a WHERE id LIKE '77777%'"))}, s.locate(t, "a").Rows)
}
