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

// ordinary is what a database has that uses nothing newer than PostgreSQL 14.
const ordinary = `CREATE SCHEMA sales; CREATE EXTENSION citext; CREATE TYPE sales.state AS ENUM ('open', 'shut'); CREATE DOMAIN sales.positive AS int CHECK (VALUE > 0);
	CREATE FUNCTION sales.twice(i int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2 * i';
	CREATE TABLE sales.customers (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, mail public.citext UNIQUE, note text DEFAULT 'none' NOT NULL, born date,
		age_at_2000 int GENERATED ALWAYS AS (2000 - extract(year FROM born)::int) STORED);
	CREATE TABLE sales.orders (id bigserial, customer int NOT NULL REFERENCES sales.customers ON DELETE CASCADE, placed date NOT NULL, state sales.state, pieces sales.positive,
		amount numeric CHECK (amount >= 0), tags text[], doc jsonb, spans tstzmultirange, PRIMARY KEY (id, placed)) PARTITION BY RANGE (placed);
	CREATE TABLE sales.orders_2025 PARTITION OF sales.orders FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
	CREATE TABLE sales.orders_rest PARTITION OF sales.orders DEFAULT;
	CREATE INDEX ON sales.orders (sales.twice(customer)); CREATE INDEX ON sales.orders USING gin (doc); CREATE INDEX ON sales.customers USING hash (note);
	CREATE INDEX ON sales.customers (lower(note), born DESC NULLS LAST) INCLUDE (id) WHERE born IS NOT NULL;
	CREATE TABLE sales.parent (a int NOT NULL, b text); CREATE TABLE sales.child (c int) INHERITS (sales.parent);
	CREATE VIEW sales.open AS SELECT o.id, c.mail FROM sales.orders o JOIN sales.customers c ON c.id = o.customer WHERE o.state = 'open';
	CREATE MATERIALIZED VIEW sales.totals AS SELECT customer, sum(amount) FROM sales.orders GROUP BY customer; CREATE UNIQUE INDEX ON sales.totals (customer);
	CREATE SEQUENCE public.counter START 5 INCREMENT 3; SELECT setval('public.counter', 77);
	CREATE TABLE public.log (id int, t text, at timestamptz DEFAULT now()); ALTER TABLE public.log ADD EXCLUDE USING btree (id WITH =);
	CREATE FUNCTION sales.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
	CREATE TRIGGER touch BEFORE UPDATE ON sales.customers FOR EACH ROW EXECUTE FUNCTION sales.touch();
	ALTER TABLE sales.customers ENABLE ROW LEVEL SECURITY; CREATE POLICY mine ON sales.customers USING (note = current_user);
	CREATE STATISTICS sales.both ON state, customer FROM sales.orders_2025; COMMENT ON TABLE sales.orders IS 'all of them';
	CREATE PUBLICATION news FOR TABLE sales.customers; GRANT SELECT, INSERT ON sales.orders TO PUBLIC; GRANT ALL ON sales.customers TO museum_owner;
	REVOKE CREATE ON SCHEMA public FROM PUBLIC;
	INSERT INTO sales.customers (mail, born) SELECT i || '@example.org', date '1950-01-01' + i FROM generate_series(1, 500) i;
	INSERT INTO sales.orders (customer, placed, state, amount, tags, doc, spans) SELECT 1 + i % 500, date '2025-11-01' + i % 100, 'open', i / 7.0, ARRAY['a', NULL, i::text],
		jsonb_build_object('n', i), tstzmultirange(tstzrange('2025-01-01', '2025-01-02')) FROM generate_series(1, 3000) i;
	INSERT INTO sales.child SELECT i, 'b' || i, -i FROM generate_series(1, 100) i;
	INSERT INTO public.log SELECT i, repeat(md5(i::text), 40) FROM generate_series(1, 2000) i; REFRESH MATERIALIZED VIEW sales.totals;
	SELECT lo_from_bytea(4711, 'contents')`

// toOlder are the options of a run to a target that is older than its source.
func toOlder(t *testing.T, src, dst *pgtest.Database) run.Options {
	t.Helper()
	o := options(t, src, dst)
	o.Config.PGBindir = pgtest.ClientDir(t, src.Server.Major)
	return o
}

// TestOlderMajor: a database that has nothing which the older target does not know
// is copied there, as pg_dump | pg_restore would.
func TestOlderMajor(t *testing.T) {
	t.Parallel()
	for _, pair := range [][2]int{{18, 15}, {16, 14}} {
		t.Run(fmt.Sprintf("%d-%d", pair[0], pair[1]), func(t *testing.T) {
			t.Parallel()
			source, target := pgtest.Pair(t, pair[0], pair[1])
			source.MuseumRoles(t)
			target.MuseumRoles(t)
			src, dst := source.Database(t), target.Database(t)
			src.Exec(t, ordinary)
			copyAll(t, toOlder(t, src, dst))
			pgtest.RequireEqual(t, src, dst, pgtest.DataOnly())
			pgtest.RequireEqual(t, pgtest.Reference(t, src, target), dst)
		})
	}
}

// TestOlderMajorThatDoesNotKnow: what the older target cannot take is found by
// trying it, all of it at once, and nothing is changed there.
func TestOlderMajorThatDoesNotKnow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from, to int
		sql      string
		want     []string
	}{
		{16, 14, `CREATE TABLE a (i int, UNIQUE NULLS NOT DISTINCT (i)); CREATE VIEW v AS SELECT regexp_count('x', 'y') AS n; CREATE TABLE taken (i int PRIMARY KEY)`,
			[]string{"NULLS NOT DISTINCT", "ADD CONSTRAINT \"a_i_key\"", "regexp_count"}},
		{18, 15, `CREATE TABLE virtual (i int, j int GENERATED ALWAYS AS (i * 2) VIRTUAL); CREATE TABLE late (i int); ALTER TABLE late ADD CONSTRAINT there NOT NULL i NOT VALID;
			CREATE TABLE granted (i int); GRANT MAINTAIN ON granted TO museum_reader`,
			[]string{"TABLE public virtual", "CONSTRAINT public late", "maintain"}},
	} {
		t.Run(fmt.Sprintf("%d-%d", c.from, c.to), func(t *testing.T) {
			t.Parallel()
			source, target := pgtest.Pair(t, c.from, c.to)
			source.MuseumRoles(t)
			target.MuseumRoles(t)
			src, dst := source.Database(t), target.Database(t)
			src.Exec(t, c.sql)
			_, err := run.Run(t.Context(), toOlder(t, src, dst))
			var failed *check.FailedError
			require.ErrorAs(t, err, &failed)
			require.Equal(t, 5, failed.ExitCode())
			text := failed.Error()
			for _, want := range c.want {
				require.Contains(t, text, want)
			}
			require.NotContains(t, text, "taken")
			require.Equal(t, len(c.want), strings.Count(text, "refuses it"), text)
			require.True(t, dst.Empty(t))
		})
	}
}
