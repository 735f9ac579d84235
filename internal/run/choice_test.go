package run_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/run"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// chosenShop is a database in which much depends on much.
const chosenShop = `
CREATE SCHEMA app; CREATE SCHEMA secret; CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext;
CREATE TYPE app.state AS ENUM ('open', 'shut');
CREATE TABLE app.customers (id serial PRIMARY KEY, mail ext.citext UNIQUE, note text);
CREATE TABLE app.orders (id int PRIMARY KEY, customer int REFERENCES app.customers, state app.state DEFAULT 'open', placed date NOT NULL DEFAULT '2025-01-01');
CREATE TABLE app.lines (id int PRIMARY KEY, of int REFERENCES app.orders, number int DEFAULT nextval('app.customers_id_seq'));
CREATE TABLE app.log (id serial, t text);
CREATE INDEX log_t ON app.log (t); CREATE INDEX lines_of ON app.lines (of);
CREATE TABLE secret.keys (id serial PRIMARY KEY, k text);
CREATE FUNCTION secret.hash(t text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT t';
CREATE VIEW app.mails AS SELECT mail FROM app.customers; COMMENT ON VIEW app.mails IS 'all'; GRANT SELECT ON app.mails TO PUBLIC;
CREATE VIEW app.of_mails AS SELECT * FROM app.mails;
CREATE MATERIALIZED VIEW app.totals AS SELECT customer, count(*) FROM app.orders GROUP BY customer; CREATE INDEX ON app.totals (customer);
CREATE FUNCTION app.customers_now() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM app.customers; END;
CREATE FUNCTION app.rows() RETURNS SETOF app.customers LANGUAGE plpgsql AS 'BEGIN END';
CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER touch BEFORE UPDATE ON app.customers FOR EACH ROW EXECUTE FUNCTION app.touch();
CREATE RULE quiet AS ON DELETE TO app.lines DO ALSO DELETE FROM app.customers WHERE false;
CREATE POLICY own ON app.orders USING (EXISTS (SELECT FROM app.customers c WHERE c.id = customer));
CREATE STATISTICS app.both ON id, note FROM app.customers;
CREATE PUBLICATION news FOR TABLE app.customers, app.orders;
INSERT INTO app.customers (mail, note) SELECT i || '@example.org', 'n' FROM generate_series(1, 500) i;
INSERT INTO app.orders SELECT i, 1 + i % 500, 'shut', date '2025-01-01' + i % 100 FROM generate_series(1, 3000) i;
INSERT INTO app.lines SELECT i, 1 + i % 3000 FROM generate_series(1, 3000) i;
INSERT INTO app.log (t) SELECT repeat('x', 90) FROM generate_series(1, 2000);
INSERT INTO secret.keys (k) VALUES ('hush'); REFRESH MATERIALIZED VIEW app.totals;
`

// choice is a copy of what was chosen.
type choice struct {
	src, dst *pgtest.Database
	o        run.Options
	skipped  string
	compared int // tables
}

// chosen copies the database as the settings say, and returns it with what was
// skipped. What is dropped on a clone of the source makes it what is expected. No
// definition that was left out is a difference.
func chosen(t *testing.T, schema string, change func(*config.Config), drops ...string) choice {
	t.Helper()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	src.Exec(t, schema)
	expected := src.Clone(t)
	for _, sql := range drops {
		expected.Exec(t, sql)
	}
	o := options(t, src, dst)
	change(&o.Config)
	planned := planOf(t, o)
	report := copyAll(t, o)
	require.Equal(t, planned, report.Skipped, "the run does what the plan shows")
	pgtest.RequireEqual(t, expected, dst)
	definitions, err := run.VerifySchema(t.Context(), o)
	require.NoError(t, err, "%v", definitions.Differences)
	result, err := run.Verify(t.Context(), o)
	require.NoError(t, err)
	return choice{src, dst, o, lines(report.Skipped), result.Tables}
}

func planOf(t *testing.T, o run.Options) []tasks.Skipped {
	t.Helper()
	p, err := run.Prepare(t.Context(), o)
	require.NoError(t, err)
	defer p.Close()
	return p.Plan.Skipped
}

func lines(skipped []tasks.Skipped) string {
	var b strings.Builder
	for _, s := range skipped {
		b.WriteString(s.Object + ": " + s.Reason + "\n")
	}
	return b.String()
}

// What depends on a table that is left out goes as with DROP … CASCADE, but a
// sequence that another table uses stays.
func TestExcludedTable(t *testing.T) {
	t.Parallel()
	c := chosen(t, chosenShop, func(c *config.Config) { c.Filter.Exclude.Tables = config.List{"app.customers"} },
		"ALTER SEQUENCE app.customers_id_seq OWNED BY NONE; DROP TABLE app.customers CASCADE")
	require.Equal(t, 4, c.compared)
	require.Equal(t, "3500", c.dst.Query(t, "SELECT last_value FROM app.customers_id_seq"))
	for _, line := range []string{
		`table "app"."customers": left out by app.customers in filter.exclude.tables`,
		`constraint orders_customer_fkey on table app.orders: needs table app.customers, which is left out`,
		`view app.mails: needs table app.customers, which is left out`,
		`view app.of_mails: needs view app.mails, which is left out`,
		`policy own on table app.orders: needs table app.customers, which is left out`,
	} {
		require.Contains(t, c.skipped, line+"\n")
	}
	requireChoiceCompared(t, c)
}

// requireChoiceCompared changes the copy, in which app.customers was left out:
// what is beyond the choice is nobody's matter, and all else is a difference.
func requireChoiceCompared(t *testing.T, c choice) {
	t.Helper()
	c.dst.Exec(t, `CREATE TABLE app.customers (id int); CREATE VIEW app.of_those AS SELECT * FROM app.customers; CREATE INDEX of_those_too ON app.customers (id);
		CREATE TABLE app.extra (id int); CREATE INDEX extra_index ON app.orders (placed); DROP INDEX app.log_t;
		ALTER TABLE app.lines ALTER of SET NOT NULL; ALTER SEQUENCE app.customers_id_seq OWNED BY app.lines.number; ALTER TABLE app.log SET (fillfactor = 50)`)
	result, err := run.VerifySchema(t.Context(), c.o)
	var differ *run.SchemaDifferenceError
	require.ErrorAs(t, err, &differ)
	var found []string
	for _, d := range result.Differences {
		found = append(found, strings.Join(strings.Fields(d.String()), " "))
	}
	require.ElementsMatch(t, []string{
		`table "app"."extra": only on the target`, `index "app"."extra_index": only on the target`, `index "app"."log_t": only on the source`,
		`column "app"."lines"."of": not null: source has false, target has true`, `table "app"."log": options: source has none, target has fillfactor=50`,
	}, found)
	require.Contains(t, result.Notes, "filter and tables: what they leave out is not compared")
	c.o.Config.Filter.Exclude.Tables = nil
	result, err = run.VerifySchema(t.Context(), c.o)
	require.ErrorAs(t, err, &differ)
	require.Contains(t, result.Differences, tasks.SchemaDifference{Kind: "view", Object: `"app"."mails"`, Finding: tasks.ObjectMissing})
	require.Empty(t, result.Notes)
}

// Each way to choose leaves what pg_dump of a source would have, in which the rest
// was dropped.
func TestChoices(t *testing.T) {
	t.Parallel()
	dropped := func(sql string) string { return sql + " CASCADE" }
	for name, c := range map[string]struct {
		change  func(*config.Config)
		drops   []string
		skipped []string
	}{
		"exclude a schema": {
			func(c *config.Config) { c.Filter.Exclude.Schemas = config.List{"secret"} },
			[]string{dropped("DROP SCHEMA secret")},
			[]string{`schema "secret": left out by secret in filter.exclude.schemas`},
		},
		"include schemas by expression": {
			func(c *config.Config) { c.Filter.Include.Schemas = config.List{"/^a.p$/"} },
			[]string{dropped("DROP SCHEMA secret")},
			[]string{`schema "secret": not among those in filter.include.schemas`, `schema "ext": not among those in filter.include.schemas; it is made for an extension`},
		},
		"include tables": {
			func(c *config.Config) {
				c.Filter.Include.Tables = config.List{"app./^(orders|customers)$/", "secret.keys"}
			},
			[]string{dropped("DROP TABLE app.lines, app.log"), dropped("DROP MATERIALIZED VIEW app.totals")},
			[]string{`3 tables of schema "app": not among those in filter.include.tables`, `sequence "app"."log_id_seq": belongs to "app"."log", which is left out`},
		},
		"exclude by expression": {
			func(c *config.Config) { c.Filter.Exclude.Tables = config.List{`/^app\.l/`, "app.mails"} },
			[]string{dropped("DROP TABLE app.lines, app.log"), dropped("DROP VIEW app.mails")},
			[]string{`view app.of_mails: needs view app.mails, which is left out`},
		},
		"exclude indexes": {
			func(c *config.Config) { c.Filter.Exclude.Indexes = config.List{"app.log_t", "app.customers_pkey"} },
			[]string{"DROP INDEX app.log_t", dropped("ALTER TABLE app.customers DROP CONSTRAINT customers_pkey")},
			[]string{`constraint orders_customer_fkey on table app.orders: needs index app.customers_pkey, which is left out`, `index "app"."log_t": left out by app.log_t`},
		},
		"exclude an extension": {
			func(c *config.Config) {
				c.Filter.Exclude.Extensions, c.Filter.Exclude.Tables = config.List{"citext"}, config.List{"app.customers"}
			},
			[]string{"ALTER SEQUENCE app.customers_id_seq OWNED BY NONE", dropped("DROP TABLE app.customers"), dropped("DROP EXTENSION citext")},
			[]string{`extension "citext": left out by citext in filter.exclude.extensions`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := chosen(t, chosenShop, c.change, c.drops...)
			require.Equal(t, got.dst.Count(t, "pg_class WHERE relkind = 'r' AND relnamespace IN ('app'::regnamespace, to_regnamespace('secret'))"), got.compared)
			for _, line := range c.skipped {
				require.Contains(t, got.skipped, line)
			}
		})
	}
}

// Rows that are left out are absent, and foreign keys to them are not validated.
func TestChosenRows(t *testing.T) {
	t.Parallel()
	c := chosen(t, chosenShop, func(c *config.Config) {
		c.Filter.Exclude.TableData = config.List{"app.log", "app.totals"}
		c.Tables = config.Tables{
			{Name: "app.customers", Where: "id <= 100 -- the first", Columns: []string{"id", "mail"}},
			{Name: "app.orders", Where: "placed < '2025-02-01' OR state = 'open'", Parts: 5},
			{Name: "app.lines", Parts: 1},
		}
	},
		"ALTER TABLE app.orders DROP CONSTRAINT orders_customer_fkey; ALTER TABLE app.lines DROP CONSTRAINT lines_of_fkey",
		"DELETE FROM app.customers WHERE id > 100", "DELETE FROM app.log", "DELETE FROM app.orders WHERE placed >= '2025-02-01'",
		"UPDATE app.customers SET note = NULL", "REFRESH MATERIALIZED VIEW app.totals WITH NO DATA",
		"ALTER TABLE app.orders ADD FOREIGN KEY (customer) REFERENCES app.customers NOT VALID",
		"ALTER TABLE app.lines ADD FOREIGN KEY (of) REFERENCES app.orders NOT VALID",
	)
	require.Equal(t, 4, c.compared)
	require.Equal(t, "100", c.dst.Query(t, "SELECT count(*) FROM app.customers"))
	for _, line := range []string{
		`rows of "app"."log": left out by table_data`,
		`rows of "app"."customers" that do not match id <= 100`,
		`columns of "app"."customers" other than id, mail: left out by tables.app.customers; they get their defaults`,
		`validation of constraint lines_of_fkey of "app"."lines": not all rows of "app"."orders" are copied; the foreign key is added NOT VALID`,
	} {
		require.Contains(t, c.skipped, line)
	}
}

// A role that may read neither a table nor the schema of others copies the rest.
func TestUnreadableIsLeftOut(t *testing.T) {
	t.Parallel()
	source := pgtest.Start(t, pgtest.Options{})
	source.Exec(t, "CREATE ROLE clerk LOGIN; CREATE ROLE boss")
	src, dst := source.Database(t), pgtest.Target(t).Database(t)
	src.Exec(t, chosenShop)
	src.Exec(t, `ALTER TABLE app.log OWNER TO boss; REVOKE ALL ON app.log FROM PUBLIC; ALTER SCHEMA secret OWNER TO boss; CREATE TABLE app.noise () INHERITS (app.log);
		GRANT USAGE ON SCHEMA app TO clerk; GRANT SELECT ON app.customers, app.orders, app.lines, app.customers_id_seq TO clerk`)
	expected := src.Clone(t)
	expected.Exec(t, "DROP TABLE app.log CASCADE; DROP SCHEMA secret CASCADE")
	o := options(t, src, dst)
	o.Config.Source.URI = config.Secret(src.URIAs("clerk"))
	_, err := run.Run(t.Context(), o)
	require.ErrorContains(t, err, "may not read 3 tables", "without a choice all is wanted")

	o.Config.Filter.Exclude.Tables, o.Config.Filter.Exclude.Schemas = config.List{"/^app.log$/", "app.noise"}, config.List{"secret"}
	dst.Exec(t, "CREATE ROLE clerk")
	report := copyAll(t, o)
	require.Equal(t, int64(6500), report.Rows)
	_, err = run.Verify(t.Context(), o)
	require.NoError(t, err)
	pgtest.RequireEqual(t, expected, dst)
}

const chosenTrees = `
CREATE TABLE days (id int, d date, PRIMARY KEY (id, d)) PARTITION BY RANGE (d);
CREATE TABLE days_1 PARTITION OF days FOR VALUES FROM ('2025-01-01') TO ('2025-02-01');
CREATE TABLE days_2 PARTITION OF days FOR VALUES FROM ('2025-02-01') TO ('2025-03-01') PARTITION BY LIST (id);
CREATE TABLE days_2_1 PARTITION OF days_2 FOR VALUES IN (1); CREATE TABLE days_2_rest PARTITION OF days_2 DEFAULT;
CREATE INDEX days_d ON days (d); CREATE INDEX days_1_only ON days_1 (id);
CREATE TABLE of_days (id int, d date, FOREIGN KEY (id, d) REFERENCES days);
CREATE TABLE others (id int PRIMARY KEY, parent int REFERENCES others);
INSERT INTO days SELECT i, date '2025-01-01' + i FROM generate_series(1, 50) i; INSERT INTO days VALUES (1, '2025-02-20');
INSERT INTO of_days SELECT * FROM days; INSERT INTO others VALUES (1, 1);
`

func TestChosenPartitions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change  func(*config.Config)
		drops   []string
		skipped string
	}{
		"whole tree": {
			func(c *config.Config) { c.Filter.Exclude.Tables = config.List{"public.days"} },
			[]string{"DROP TABLE days CASCADE"}, `table "public"."days": left out by`,
		},
		"one leaf": {
			func(c *config.Config) { c.Filter.Exclude.Tables = config.List{"public.days_2_1"} },
			[]string{"ALTER TABLE of_days DROP CONSTRAINT of_days_id_d_fkey; DROP TABLE days_2_1", "ALTER TABLE of_days ADD FOREIGN KEY (id, d) REFERENCES days NOT VALID"},
			`validation of constraint of_days_id_d_fkey`,
		},
		"a leaf without its root": {
			func(c *config.Config) { c.Filter.Include.Tables = config.List{"public.days_1"} },
			[]string{"DROP TABLE of_days, others; ALTER TABLE days DETACH PARTITION days_1; DROP TABLE days CASCADE"},
			`attachment of partition "public"."days_1" to "public"."days"`,
		},
		"tree by its root": {
			func(c *config.Config) { c.Filter.Include.Tables = config.List{"public.days"} },
			[]string{"DROP TABLE of_days, others"}, `2 tables of schema "public": not among`,
		},
		"rows of a subtree": {
			func(c *config.Config) {
				c.Filter.Exclude.TableData = config.List{"public.days_2"}
				c.Tables = config.Tables{{Name: "public.days", Where: "id < 10"}}
			},
			[]string{"ALTER TABLE of_days DROP CONSTRAINT of_days_id_d_fkey; DELETE FROM days_2; DELETE FROM days WHERE id >= 10", "ALTER TABLE of_days ADD FOREIGN KEY (id, d) REFERENCES days NOT VALID"},
			`rows of "public"."days_2": left out by table_data`,
		},
		"an index of all": {
			func(c *config.Config) { c.Filter.Exclude.Indexes = config.List{"public.days_d"} },
			[]string{"DROP INDEX days_d"}, `index "public"."days_1_d_idx": left out by public.days_d`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Contains(t, chosen(t, chosenTrees, c.change, c.drops...).skipped, c.skipped)
		})
	}
}

// Everything that is wrong with a choice is said at once, before anything is made.
func TestWrongChoicesAreReportedTogether(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	src.Exec(t, chosenShop+chosenTrees)
	o := options(t, src, dst)
	f := &o.Config.Filter
	f.Exclude.Tables, f.Exclude.Indexes = config.List{"app.nothing", "/^never/", "app.log"}, config.List{"public.days_1_d_idx"}
	f.Exclude.TableData = config.List{"app.log", "app.mails"}
	o.Config.Tables = config.Tables{
		{Name: "app.orders", Where: "placed <"}, {Name: "app.lines", Where: "id", Columns: []string{"id", "nope"}}, {Name: "public.of_days", Where: "true; DROP TABLE app.log"},
		{Name: "app.customers", Columns: []string{"mail"}}, {Name: "app.log", Parts: 3}, {Name: "secret.keys", Columns: []string{"k"}}, {Name: "public.days", Columns: []string{"id"}},
	}
	_, err := run.Run(t.Context(), o)
	for _, what := range []string{
		"filter.exclude.tables: the source has no table app.nothing", "filter.exclude.indexes: index \"public\".\"days_1_d_idx\" is part of an index",
		"filter.exclude.table_data: table app.log is not copied at all", "filter.exclude.table_data: app.mails has no rows of its own",
		"tables.app.log: table app.log is not copied", `tables.app.orders.where: "placed <" is no condition`, `tables.app.lines.where: "id" is no condition`,
		`tables.app.lines.columns: "nope" no column of "app"."lines"`, `tables.public.of_days.where`, `tables.public.days.columns: "d" left out, and NOT NULL`,
	} {
		require.ErrorContains(t, err, what)
	}
	require.ErrorContains(t, err, "warning choice: filter.exclude.tables: no table of the source matches /^never/")
	require.True(t, dst.Empty(t))

	f.Exclude = config.Exclude{Schemas: config.List{"ext"}, Extensions: config.List{"citext"}}
	o.Config.Tables = nil
	_, err = run.Run(t.Context(), o)
	require.ErrorContains(t, err, "table app.customers is chosen and cannot be made: it needs")
	require.True(t, dst.Empty(t))
}

// A filter file of pgcopydb chooses as its documentation says, beside the settings.
func TestFilterFileChooses(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "filters.ini")
	require.NoError(t, os.WriteFile(file, []byte("; a comment\n[exclude-schema]\n~/^sec/\n[exclude-table]\napp.~/^(lines|log)$/\n[exclude-table-data]\napp.orders\n"), 0o600))
	got := chosen(t, chosenShop, func(c *config.Config) {
		c.Filter.File, c.Filter.Exclude.Tables = file, config.List{"app.of_mails"}
	}, "DROP SCHEMA secret CASCADE; DROP TABLE app.lines, app.log CASCADE; DROP VIEW app.of_mails; DELETE FROM app.orders", "REFRESH MATERIALIZED VIEW app.totals")
	require.Contains(t, got.skipped, `table "app"."log": left out by app.~/^(lines|log)$/ in `+file+":5")
	require.Equal(t, 1, got.compared)

	c := config.Default()
	c.Filter.File = file + ".none"
	c.Filter.Exclude.Tables = config.List{"orders"}
	require.ErrorContains(t, run.ValidateChoice(c), "no such file")
	require.ErrorContains(t, run.ValidateChoice(c), "write public.orders")
}

// A run that is resumed without its settings keeps its choice, also in a new
// snapshot: one that locked or compared what was left out would fail.
func TestResumedRunKeepsItsChoice(t *testing.T) {
	t.Parallel()
	r := interruptAlone(t, "PGCONVOY_FILTER_EXCLUDE_TABLES=public.whole", "PGCONVOY_TABLES={public.small: {where: id <= 50}}")
	r.src.Exec(t, "UPDATE small SET note = 'changed' WHERE id % 2 = 0; ALTER TABLE whole ADD COLUMN more int")
	r.release()
	report, err := run.Resume(t.Context(), r.o, run.Resumption{Recopy: true})
	require.NoError(t, err)
	require.Equal(t, tasks.RunComplete, report.State)
	require.Equal(t, "50", r.dst.Query(t, "SELECT count(*) FROM small"))
	require.Equal(t, "25", r.dst.Query(t, "SELECT count(*) FROM small WHERE note = 'changed'"))
	require.Equal(t, "t", r.dst.Query(t, "SELECT to_regclass('whole') IS NULL"))
	require.Contains(t, lines(report.Skipped), `table "public"."whole": left out by public.whole`)
}

// What is left out by name is nothing that anybody waits for: another session may
// hold it as it likes.
func TestLockedTableIsLeftOut(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	src.Exec(t, "CREATE TABLE kept (id int); CREATE TABLE busy (id int); CREATE VIEW busy_ids AS SELECT id FROM busy; CREATE MATERIALIZED VIEW busy_now AS SELECT id FROM busy")
	other := src.Connect(t)
	_, err := other.Exec(t.Context(), "BEGIN; LOCK TABLE busy")
	require.NoError(t, err)
	o := options(t, src, dst)
	o.Config.Filter.Exclude.Tables = config.List{"/^public.busy/"}
	copyAll(t, o)
	require.Equal(t, "1", dst.Query(t, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"))
}
