package run_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/run"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// afterRows are the sections that come after the rows, and need none.
var afterRows = config.List{"indexes", "constraints", "post_data"}

// copyOnly copies the sections, and makes sure that the plan shows what is not made.
func copyOnly(t *testing.T, o run.Options, sections ...string) tasks.Report {
	t.Helper()
	o.Config.Only = sections
	planned := planOf(t, o)
	report := copyAll(t, o)
	require.Equal(t, planned, report.Skipped, "the run does what the plan shows")
	for _, s := range config.Sections() {
		require.Equal(t, !strings.Contains(" "+strings.Join(sections, " ")+" ", " "+s+" "),
			strings.Contains(lines(report.Skipped), "section "+s+": not among those in only\n"), s)
	}
	return report
}

// TestSections makes the museum section by section, in several ways. What comes
// out is what one run makes.
func TestSections(t *testing.T) {
	t.Parallel()
	for name, runs := range map[string][][]string{
		"three runs":    {{"schema"}, {"data", "large_objects", "sequences"}, afterRows},
		"rows first":    {{"schema", "data"}, {"indexes", "constraints", "post_data", "large_objects"}, {"sequences"}},
		"keys first":    {{"schema", "indexes", "constraints"}, {"data", "large_objects", "sequences"}, {"post_data"}},
		"one at a time": {{"schema"}, {"sequences"}, {"data"}, {"large_objects"}, {"indexes"}, {"constraints"}, {"post_data"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, dst := pgtest.Source(t).Museum(t), pgtest.Target(t).Database(t)
			dst.Server.MuseumRoles(t)
			o := options(t, src, dst)
			for _, sections := range runs {
				report := copyOnly(t, o, sections...)
				require.Equal(t, report.Rows > 0, report.Verified != "", "rows are compared by the run that copies them")
			}
			pgtest.RequireEqual(t, src, dst)
			requireSameSchema(t, o)
		})
	}
}

// The same to a newer major, where definitions are printed in other words: what
// comes out is what pg_dump and pg_restore make.
func TestSectionsToANewerMajor(t *testing.T) {
	t.Parallel()
	source, target := pgtest.Major(t, 14), pgtest.Major(t, 18)
	src, dst := source.Museum(t), target.Database(t)
	target.MuseumRoles(t)
	o := options(t, src, dst)
	for _, sections := range [][]string{{"schema", "indexes", "constraints"}, {"data", "large_objects"}, {"sequences", "post_data"}} {
		copyOnly(t, o, sections...)
	}
	pgtest.RequireEqual(t, src, dst, pgtest.DataOnly())
	pgtest.RequireEqual(t, pgtest.Reference(t, src, target), dst)
	requireSameSchema(t, o)
}

func TestSectionsHaveTheirNames(t *testing.T) {
	t.Parallel()
	var names []string
	for _, s := range tasks.AllSections() {
		names = append(names, string(s))
	}
	require.Equal(t, names, config.Sections())
}

const sectionShop = `
CREATE TABLE customers (id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, name text NOT NULL, boss int REFERENCES customers);
CREATE TABLE orders (id serial PRIMARY KEY, customer int NOT NULL REFERENCES customers, total numeric(10,2), twice numeric GENERATED ALWAYS AS (total * 2) STORED);
CREATE TABLE lines (of int REFERENCES orders, n int, PRIMARY KEY (of, n));
CREATE INDEX ON orders (customer); CREATE MATERIALIZED VIEW totals AS SELECT customer, sum(total) FROM orders GROUP BY customer;
CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''trigger''; END';
INSERT INTO customers (name, boss) SELECT 'c' || i, 1001 - i FROM generate_series(1, 1000) i;
INSERT INTO orders (customer, total) SELECT 1 + i % 1000, i FROM generate_series(1, 5000) i;
INSERT INTO lines SELECT 1 + i % 5000, i FROM generate_series(1, 9000) i; REFRESH MATERIALIZED VIEW totals;
CREATE TRIGGER never BEFORE INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION never();
CREATE TRIGGER never_all BEFORE INSERT OR TRUNCATE ON lines FOR EACH STATEMENT EXECUTE FUNCTION never();
`

// The schema alone has no rows, and no indexes; rows alone come into a finished
// schema past its triggers and foreign keys, whatever order they arrive in.
func TestSchemaAloneAndRowsAlone(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	src.Exec(t, sectionShop)
	o := options(t, src, dst)
	report := copyOnly(t, o, "schema")
	require.Zero(t, report.Rows)
	require.Equal(t, "3", dst.Query(t, "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"))
	o.Config.Only = config.List{"constraints"}
	_, err := run.Run(t.Context(), o)
	require.ErrorContains(t, err, "3 foreign keys to what is no key on the target: customers_boss_fkey on public.customers (to id of public.customers), lines_of_fkey")
	require.Equal(t, "0", dst.Query(t, "SELECT (SELECT count(*) FROM orders) + (SELECT count(*) FROM pg_index WHERE indrelid = 'orders'::regclass) + (SELECT count(*) FROM pg_trigger)"))

	copyOnly(t, o, afterRows...)
	indexes := dst.Query(t, "SELECT string_agg(indexrelid::text, ',' ORDER BY indexrelid) FROM pg_index WHERE indrelid IN ('orders'::regclass, 'lines'::regclass)")
	report = copyOnly(t, o, "data")
	require.Equal(t, int64(15000), report.Rows)
	require.Equal(t, tasks.LevelDigest, report.Verified)
	require.Equal(t, indexes, dst.Query(t, "SELECT string_agg(indexrelid::text, ',' ORDER BY indexrelid) FROM pg_index WHERE indrelid IN ('orders'::regclass, 'lines'::regclass)"), "indexes are left alone")
	require.Equal(t, "f", dst.Query(t, "SELECT is_called FROM orders_id_seq"), "sequences are a section of their own")
	copyOnly(t, o, "sequences")
	pgtest.RequireEqual(t, src, dst)
	_, err = run.Verify(t.Context(), o)
	require.NoError(t, err)
}

// A table that holds rows is a blocker, and is emptied if that is asked for: all
// tables in one statement that refer to each other.
func TestTablesAreTruncatedIfAsked(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	src.Exec(t, sectionShop)
	o := options(t, src, dst)
	copyOnly(t, o, "schema", "data", "indexes", "constraints", "post_data", "sequences")
	src.Exec(t, "ALTER TABLE orders DISABLE TRIGGER never; UPDATE orders SET total = total + 1; ALTER TABLE orders ENABLE TRIGGER never; DELETE FROM lines WHERE n > 8000; REFRESH MATERIALIZED VIEW totals")
	o.Config.Only = config.List{"data"}
	_, err := run.Run(t.Context(), o)
	require.ErrorContains(t, err, `3 tables of the target hold rows already: "public"."customers", "public"."lines", "public"."orders"`)
	require.ErrorContains(t, err, "truncate: true")
	require.Equal(t, 9000, dst.Count(t, "lines"), "nothing was changed")

	o.Config.Truncate = true
	dst.Exec(t, "CREATE TABLE others (id int REFERENCES orders)")
	_, err = run.Run(t.Context(), o)
	require.ErrorContains(t, err, `public.others (foreign key "others_id_fkey" to "public"."orders")`)
	require.Equal(t, 9000, dst.Count(t, "lines"))
	dst.Exec(t, "DROP TABLE others")
	report := copyAll(t, o)
	require.Equal(t, int64(14000), report.Rows)
	pgtest.RequireEqual(t, src, dst)
}

// otherShapes are targets whose tables are not shaped as those of the source.
var otherShapes = map[string]struct {
	src, dst string
	compare  string // the same on both sides
	into     string // tables whose rows went into another one of the target
	change   string // makes a row more
}{
	"flat into partitions": {
		`CREATE TABLE t (id int PRIMARY KEY, d date, note text); INSERT INTO t SELECT i, date '2025-01-01' + i % 90, repeat('n', 50) || i FROM generate_series(1, 20000) i`,
		`CREATE TABLE t (id int, d date, note text, PRIMARY KEY (id, d)) PARTITION BY RANGE (d); CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM ('2025-01-01') TO ('2025-02-01');
			CREATE TABLE t_2 PARTITION OF t FOR VALUES FROM ('2025-02-01') TO ('2025-03-01') PARTITION BY HASH (id); CREATE TABLE t_2a PARTITION OF t_2 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
			CREATE TABLE t_2b PARTITION OF t_2 FOR VALUES WITH (MODULUS 2, REMAINDER 1); CREATE TABLE t_rest PARTITION OF t DEFAULT`,
		"SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM t", "", "INSERT INTO t VALUES (0, '2025-01-01')",
	},
	"partitions into flat": {
		`CREATE TABLE t (id int, d int) PARTITION BY RANGE (id); CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM (0) TO (5000); CREATE TABLE t_2 PARTITION OF t FOR VALUES FROM (5000) TO (9000) PARTITION BY LIST (d);
			CREATE TABLE t_2a PARTITION OF t_2 FOR VALUES IN (1); CREATE TABLE t_2b (d int, id int); ALTER TABLE t_2 ATTACH PARTITION t_2b DEFAULT; INSERT INTO t SELECT i, i % 3 FROM generate_series(0, 8999) i`,
		`CREATE TABLE t (d int, id int)`, "SELECT md5(string_agg(id || ' ' || d, ',' ORDER BY id)) FROM t", "t_1 t_2a t_2b", "INSERT INTO t VALUES (1, 1)",
	},
	"partitioned otherwise": {
		`CREATE TABLE t (id int, v text) PARTITION BY RANGE (id); CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM (0) TO (5000); CREATE TABLE t_2 PARTITION OF t FOR VALUES FROM (5000) TO (9000);
			CREATE TABLE t_rest PARTITION OF t DEFAULT; INSERT INTO t SELECT i, 'v' || i FROM generate_series(0, 10000) i`,
		`CREATE TABLE t (id int, v text) PARTITION BY RANGE (id); CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM (0) TO (3000); CREATE TABLE t_3 PARTITION OF t FOR VALUES FROM (3000) TO (9500); CREATE TABLE t_rest PARTITION OF t DEFAULT`,
		"SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM t", "t_1 t_2 t_rest", "INSERT INTO t VALUES (-1)",
	},
	"the same partitions": {
		`CREATE TABLE t (id int, v text) PARTITION BY RANGE (id); CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM (0) TO (5000); CREATE TABLE t_2 PARTITION OF t DEFAULT; INSERT INTO t SELECT i, 'v' || i FROM generate_series(0, 10000) i`,
		`CREATE TABLE t (id int, v text) PARTITION BY RANGE (id); CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM (0) TO (5000); CREATE TABLE t_2 PARTITION OF t DEFAULT`,
		"SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM t", "", "INSERT INTO t VALUES (-1)",
	},
	"hashes of an enum": {
		`CREATE TYPE e AS ENUM ('a', 'b', 'c', 'd', 'e'); CREATE TABLE t (id int, e e) PARTITION BY HASH (e); CREATE TABLE t_1 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE t_2 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 1);
			INSERT INTO t SELECT i, (enum_range(NULL::e))[1 + i % 5] FROM generate_series(1, 5000) i`,
		`CREATE TABLE burn (); CREATE TYPE e AS ENUM ('a', 'b', 'c', 'd', 'e'); CREATE TABLE t (id int, e e) PARTITION BY HASH (e); CREATE TABLE t_1 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE t_2 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 1); DROP TABLE burn`,
		"SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM t", "t_1 t_2", "INSERT INTO t VALUES (0, 'a')",
	},
	"partitions that stand alone": {
		`CREATE TABLE t (id int) PARTITION BY HASH (id); CREATE TABLE t_1 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE t_2 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 1); INSERT INTO t SELECT generate_series(1, 5000)`,
		`CREATE TABLE t_1 (id int); CREATE TABLE t_2 (id int)`, "SELECT md5(string_agg(id::text, ',' ORDER BY id)) FROM (TABLE t_1 UNION ALL TABLE t_2) t", "", "INSERT INTO t VALUES (1)",
	},
	"other columns": {
		`CREATE DOMAIN short AS varchar(9); CREATE TABLE t (id int, "Odd" text, n int, s short, gone int, at timestamptz, g int GENERATED ALWAYS AS (n + 1) STORED); ALTER TABLE t DROP gone;
			INSERT INTO t SELECT i, 'x' || i, i % 7, 's' || i, now() FROM generate_series(1, 3000) i`,
		`CREATE TABLE t (at timestamptz, extra text DEFAULT 'extra' NOT NULL, s text, n numeric(10,2), id bigint GENERATED ALWAYS AS IDENTITY, "Odd" varchar(50), twice numeric GENERATED ALWAYS AS (n * 2) STORED, g bigint GENERATED ALWAYS AS (id + 1) STORED)`,
		`SELECT md5(string_agg(concat_ws(' ', id, "Odd", n::int, s, at AT TIME ZONE 'UTC'), ',' ORDER BY id)) FROM t`, "", "INSERT INTO t VALUES (0)",
	},
	"inheritance and no columns": {
		`CREATE TABLE t (id int); CREATE TABLE t_1 (more int) INHERITS (t); CREATE TABLE none (); INSERT INTO t SELECT generate_series(1, 10); INSERT INTO t_1 SELECT i, i FROM generate_series(1, 20) i; INSERT INTO none SELECT FROM generate_series(1, 5)`,
		`CREATE TABLE t_1 (id int, more int); CREATE TABLE t (id int); CREATE TABLE none ()`,
		`SELECT concat_ws(' ', (SELECT count(*) FROM ONLY t), (SELECT sum(id + more) FROM t_1), (SELECT count(*) FROM none))`, "", "INSERT INTO none DEFAULT VALUES",
	},
}

func TestRowsIntoOtherShapes(t *testing.T) {
	t.Parallel()
	for name, c := range otherShapes {
		for _, level := range []config.VerifyLevel{config.VerifyRows, config.VerifyDigest} {
			t.Run(fmt.Sprint(name, " ", level), func(t *testing.T) {
				t.Parallel()
				src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
				src.Exec(t, c.src)
				dst.Exec(t, c.dst)
				o := options(t, src, dst)
				o.Config.Only, o.Config.Verify = config.List{"data"}, level
				p, err := run.Prepare(t.Context(), o)
				require.NoError(t, err)
				var through []string
				for _, table := range p.Plan.Tables {
					if table.Into != nil {
						through = append(through, table.Name.Name)
					}
				}
				p.Close()
				require.ElementsMatch(t, strings.Fields(c.into), through)
				report := copyAll(t, o)
				require.NotEmpty(t, report.Verified)
				require.Equal(t, src.Query(t, c.compare), dst.Query(t, c.compare))
				compared, err := run.Verify(t.Context(), o)
				require.NoError(t, err)
				require.Equal(t, report.Rows, compared.Rows)
				src.Exec(t, c.change)
				_, err = run.Verify(t.Context(), o)
				require.Error(t, err, "a row more")

				o.Config.Truncate = true // all of it once more
				again := copyAll(t, o)
				require.Equal(t, report.Rows+1, again.Rows)
				require.Equal(t, src.Query(t, c.compare), dst.Query(t, c.compare))
			})
		}
	}
}

// Everything about the target's tables that is in the way is said at once, and
// nothing is changed.
func TestMisfitsAreReportedTogether(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	src.Exec(t, `CREATE TABLE gone (id int); CREATE TABLE seen (id int); CREATE TABLE few (id int, a int, b int); CREATE TABLE made (id int, g int); CREATE TABLE strict (id int); CREATE TABLE full_of (id int); CREATE TABLE loud (id int);
		CREATE TABLE tree (id int) PARTITION BY RANGE (id); CREATE TABLE tree_1 PARTITION OF tree DEFAULT; INSERT INTO few VALUES (1, 2, 3)`)
	dst.Exec(t, `CREATE VIEW seen AS SELECT 1 AS id; CREATE TABLE few (id int); CREATE TABLE made (id int, g int GENERATED ALWAYS AS (id) STORED); CREATE TABLE strict (id int, must int NOT NULL); CREATE TABLE full_of (id int); INSERT INTO full_of VALUES (7);
		CREATE TABLE loud (id int); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER always BEFORE INSERT ON loud FOR EACH ROW EXECUTE FUNCTION f(); ALTER TABLE loud ENABLE ALWAYS TRIGGER always`)
	o := options(t, src, dst)
	o.Config.Only = config.List{"data"}
	_, err := run.Run(t.Context(), o)
	for _, what := range []string{
		`2 tables not on the target, where rows are to go: "public"."gone", "public"."tree_1", and "public"."tree"`,
		`1 relation no table on the target: "public"."seen" (view)`,
		`2 columns not on the target: "public"."few"."a", "public"."few"."b"`,
		`1 column generated on the target: "public"."made"."g"`,
		`1 column NOT NULL without a default on the target, and not copied: "public"."strict"."must"`,
		`1 table of the target hold rows already: "public"."full_of"`,
		`1 trigger of the target would fire for every row that is copied, as ENABLE ALWAYS or ENABLE REPLICA says: "always" on public.loud`,
	} {
		require.ErrorContains(t, err, what)
	}
	require.Equal(t, "f", dst.Query(t, "SELECT to_regnamespace('pgconvoy') IS NOT NULL"))
	require.Equal(t, 1, dst.Count(t, "full_of"))

	o.Config.Filter.Exclude.Tables = config.List{"public./^(gone|seen|loud|tree)$/"}
	o.Config.Filter.Exclude.TableData = config.List{"public.strict", "public.full_of"}
	o.Config.Tables = config.Tables{{Name: "public.few", Columns: []string{"id"}}, {Name: "public.made", Columns: []string{"id"}}}
	copyAll(t, o) // what is left out is in nobody's way
	require.Equal(t, "1", dst.Query(t, "SELECT string_agg(id::text, ',') FROM few"))
	require.Equal(t, 1, dst.Count(t, "full_of"))
}

// What rows come past is looked at when all are there: a foreign key of the target
// that they violate fails the run.
func TestForeignKeysOfTheTargetAreProven(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	const tables = `CREATE TABLE a (id int PRIMARY KEY, k text UNIQUE); CREATE TABLE b (id int, a int REFERENCES a, x int, y text, FOREIGN KEY (y) REFERENCES a (k)); `
	src.Exec(t, tables+`INSERT INTO a SELECT i, 'k' || i FROM generate_series(1, 100) i; INSERT INTO b SELECT i, i, i, 'k' || i FROM generate_series(1, 100) i; INSERT INTO b VALUES (0)`)
	dst.Exec(t, tables)
	o := options(t, src, dst)
	o.Config.Only, o.Config.Truncate = config.List{"data"}, true
	o.Config.Tables = config.Tables{{Name: "public.a", Where: "id < 100"}}
	report, err := run.Run(t.Context(), o)
	require.Error(t, err)
	require.Equal(t, tasks.RunFailed, report.State)
	require.Len(t, report.Failures, 2)
	for _, f := range report.Failures {
		require.Contains(t, f.Reason, "rows of public.b violate foreign key b_")
	}
	require.NoError(t, run.Cleanup(t.Context(), o))
	require.Equal(t, 101, dst.Count(t, "b"), "the tables are not the run's own")
	o.Config.Tables = nil
	copyAll(t, o)
	pgtest.RequireEqual(t, src, dst)
}

// A role that is no superuser loads tables that it does not own. What it may not
// do is said, with the statement that helps.
func TestRowsAreLoadedByAnOrdinaryRole(t *testing.T) {
	t.Parallel()
	target := pgtest.Start(t, pgtest.Options{})
	target.Exec(t, "CREATE ROLE loader LOGIN")
	src, dst := pgtest.Source(t).Database(t), target.Database(t)
	src.Exec(t, sectionShop)
	o := options(t, src, dst)
	copyOnly(t, o, "schema", "indexes", "constraints", "post_data")
	dst.Exec(t, "CREATE TABLE others (id serial PRIMARY KEY); INSERT INTO others VALUES (7); GRANT SELECT ON others, others_id_seq TO loader") // whose sequence is behind before and after
	dst.Exec(t, "ALTER TABLE lines ENABLE ROW LEVEL SECURITY; GRANT INSERT, SELECT ON orders, lines TO loader")
	o.Config.Target.URI = config.Secret(dst.URIAs("loader"))
	o.Config.Only = config.List{"data", "sequences"}
	_, err := run.Run(t.Context(), o)
	for _, what := range []string{
		"may not create schemas", `role "loader" needs INSERT, SELECT on 1 table of the target: "public"."customers"`, `GRANT INSERT, SELECT ON "public"."customers" TO "loader"`,
		`row-level security of 1 table on the target applies`, `may not set 2 sequences`, `may not keep triggers and foreign keys of the target from firing`, `public.orders (trigger "never")`, `public.lines (foreign key "lines_of_fkey")`,
	} {
		require.ErrorContains(t, err, what)
	}
	dst.Exec(t, fmt.Sprintf("GRANT CREATE ON DATABASE %s TO loader; GRANT INSERT, SELECT ON customers TO loader; GRANT UPDATE, SELECT ON ALL SEQUENCES IN SCHEMA public TO loader; ALTER TABLE lines DISABLE ROW LEVEL SECURITY", tasks.QuoteIdent(dst.Name)))
	if target.Major >= 15 {
		dst.Exec(t, "GRANT SET ON PARAMETER session_replication_role TO loader")
	} else {
		dst.Exec(t, "ALTER ROLE loader SUPERUSER")
	}
	report := copyAll(t, o)
	require.Contains(t, lines(report.Skipped), `refresh of materialized view "public"."totals": it belongs to another role`)
	dst.Exec(t, "DROP TABLE others; REFRESH MATERIALIZED VIEW totals")
	pgtest.RequireEqual(t, src, dst, pgtest.DataOnly())
}

// What a section would make and the target has already is said before.
func TestSectionsThatAreThere(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	src.Exec(t, sectionShop+`CREATE POLICY p ON orders; CREATE PUBLICATION news; CREATE TABLE tree (id int) PARTITION BY RANGE (id); CREATE TABLE missing (id int); SELECT lo_create(4711)`)
	dst.Exec(t, sectionShop+`CREATE POLICY p ON orders; CREATE PUBLICATION news; CREATE TABLE tree (id int); SELECT lo_create(4711); DROP SEQUENCE orders_id_seq CASCADE`)
	o := options(t, src, dst)
	o.Config.Only = config.List{"indexes", "constraints", "post_data", "sequences", "large_objects"}
	_, err := run.Run(t.Context(), o)
	for _, what := range []string{
		`index public.customers_pkey`, `index public.orders_customer_idx`, "foreign key customers_boss_fkey on public.customers", "trigger never on public.orders",
		"policy p on public.orders", "publication news", `1 table of the source not on the target: "public"."missing"`, `1 table partitioned otherwise on the target`,
		"1 sequence of the source not on the target: public.orders_id_seq", "the target has 1 large object between the first and the last one of the source: 4711",
	} {
		require.ErrorContains(t, err, what)
	}
}

// A run into tables that were there goes on in a new snapshot when its own is lost,
// if that is asked for: what it has copied is deleted, past the foreign keys, and
// copied again. What others have written there stops it.
func TestRowsAreCopiedAgainIntoTablesThatWereThere(t *testing.T) {
	t.Parallel()
	r := interruptOf(t, pgtest.Start(t, pgtest.Options{}).Database(t), 1, func(r *interrupted) {
		o := options(t, r.src, r.dst)
		o.Config.Only = config.List{"schema", "indexes", "constraints", "post_data"}
		copyAll(t, o)
	}, "PGCONVOY_ONLY=data,large_objects,sequences")
	r.leaveAlone(t)
	r.changeSource(t)
	indexes := r.dst.Query(t, "SELECT string_agg(indexrelid::text, ',' ORDER BY indexrelid) FROM pg_index WHERE indrelid::regclass::text IN ('small', 'whole', 'big', 'public.small', 'public.whole', 'public.big')")
	r.dst.Exec(t, "ALTER TABLE small DISABLE TRIGGER noisy; INSERT INTO small VALUES (-1, 'of somebody else'); ALTER TABLE small ENABLE TRIGGER noisy")
	r.release()
	_, err := run.Resume(t.Context(), r.o, run.Resumption{Recopy: true})
	require.ErrorContains(t, err, `"public"."small" holds 501 rows, and 500 of them were copied`)
	r.dst.Exec(t, "DELETE FROM small WHERE id = -1; SELECT lo_create(7)")
	_, err = run.Resume(t.Context(), r.o, run.Resumption{Recopy: true})
	require.ErrorContains(t, err, `the target has 2 large objects, and 1 of them were copied`)
	r.dst.Exec(t, "SELECT lo_unlink(7)")
	report, err := run.Resume(t.Context(), r.o, run.Resumption{Recopy: true})
	require.NoError(t, err)
	require.Equal(t, tasks.RunComplete, report.State)
	require.Equal(t, indexes, r.dst.Query(t, "SELECT string_agg(indexrelid::text, ',' ORDER BY indexrelid) FROM pg_index WHERE indrelid::regclass::text IN ('small', 'whole', 'big', 'public.small', 'public.whole', 'public.big')"))
	pgtest.RequireEqual(t, r.src, r.dst, pgtest.IgnoreSchemas("pgconvoy"))
}

// Tables are emptied once: a planner that takes over does not do so again, and no
// row is lost or doubled.
func TestTablesAreTruncatedOnce(t *testing.T) {
	t.Parallel()
	r := interruptOf(t, pgtest.Start(t, pgtest.Options{}).Database(t), 1, func(r *interrupted) {
		o := options(t, r.src, r.dst)
		o.Config.Only = config.List{"schema", "indexes", "constraints", "post_data"}
		copyAll(t, o)
		r.dst.Exec(t, "INSERT INTO small SELECT i, 'old' FROM generate_series(1, 900) i; INSERT INTO whole SELECT i, 'old' FROM generate_series(1, 900) i; INSERT INTO refers SELECT i FROM generate_series(1, 900) i")
	}, "PGCONVOY_ONLY=data,large_objects,sequences", "PGCONVOY_TRUNCATE=true")
	require.Equal(t, "500", r.dst.Query(t, "SELECT count(*) FROM small WHERE note <> 'trigger'"))
	r.leaveAlone(t)
	r.release()
	report, err := run.Resume(t.Context(), r.o, run.Resumption{})
	require.NoError(t, err)
	require.Equal(t, tasks.RunComplete, report.State)
	require.Equal(t, "1", r.dst.Query(t, "SELECT count(*) FROM pgconvoy.task WHERE id LIKE 'misc.truncate.%' AND state = 'done'"))
	pgtest.RequireEqual(t, r.src, r.dst, pgtest.IgnoreSchemas("pgconvoy"))
}

// A run that makes indexes and foreign keys on tables that were there, and stops
// midway, leaves nothing of them after a cleanup, and what others have made stays.
func TestCleanupDropsIndexesOfItsOwn(t *testing.T) {
	t.Parallel()
	src := pgtest.Source(t).Database(t)
	src.Exec(t, `CREATE TABLE customers (id int PRIMARY KEY, name text); CREATE INDEX customers_name ON customers (name); CLUSTER customers USING customers_name;
		CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customers, at date, EXCLUDE USING gist (box(point(id, id), point(id, id)) WITH &&));
		CREATE TABLE tree (id int NOT NULL, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id); CREATE TABLE tree_1 PARTITION OF tree FOR VALUES FROM (0) TO (10);
		CREATE INDEX tree_v ON tree (v); ALTER TABLE orders REPLICA IDENTITY USING INDEX orders_pkey; INSERT INTO customers VALUES (1, 'a'); INSERT INTO orders VALUES (1, 1)`)
	for _, c := range []struct{ before, sections config.List }{
		{config.List{"schema", "data"}, config.List{"indexes", "constraints"}},
		{config.List{"schema"}, config.List{"data", "indexes"}}, // in bundles
	} {
		t.Run(strings.Join(c.sections, " "), func(t *testing.T) {
			t.Parallel()
			dst := pgtest.Target(t).Database(t)
			o := options(t, src, dst)
			copyOnly(t, o, c.before...)
			dst.Exec(t, `CREATE INDEX of_others ON orders (customer); CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''not now''; END';
				CREATE EVENT TRIGGER refuse ON ddl_command_start WHEN TAG IN ('ALTER INDEX') EXECUTE FUNCTION refuse()`)
			before := dst.Clone(t)
			o.Config.Only = c.sections
			report, err := run.Run(t.Context(), o)
			require.Error(t, err)
			require.Len(t, report.Failures, 1, "%v", report.Failures)
			require.Equal(t, "3", dst.Query(t, "SELECT count(*) FROM pg_indexes WHERE indexname IN ('customers_pkey', 'orders_pkey', 'tree_1_v_idx')"))
			require.NoError(t, run.Cleanup(t.Context(), o))
			if slices.Contains(c.sections, "data") {
				require.Equal(t, "1", dst.Query(t, "SELECT count(*) FROM orders"), "rows stay")
				dst.Exec(t, "DELETE FROM orders; DELETE FROM customers")
			}
			pgtest.RequireEqual(t, before, dst)
		})
	}
}
