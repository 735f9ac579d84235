package run_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

// role makes a role on the server that is dropped after what the test makes
// later, its databases among it.
func role(t *testing.T, s *pgtest.Server, name, clauses string) string {
	t.Helper()
	s.Exec(t, fmt.Sprintf("CREATE ROLE %s LOGIN %s", name, clauses))
	t.Cleanup(func() { s.Exec(t, "DROP ROLE "+name) })
	return name
}

// hostile are defaults of a database that would change what is copied, or end
// the run, if they were left in force.
func hostile() []string {
	return []string{
		"default_transaction_isolation = 'serializable'", "default_transaction_deferrable = on", "default_transaction_read_only = on",
		"statement_timeout = '3s'", "idle_in_transaction_session_timeout = '3s'", "idle_session_timeout = '3s'", "lock_timeout = '3s'",
		"session_replication_role = replica", "default_tablespace = museum_space", "search_path = museum, annex", "row_security = on",
		"datestyle = 'SQL, DMY'", "intervalstyle = 'sql_standard'", "extra_float_digits = -15", "bytea_output = 'escape'", "timezone = 'Asia/Kolkata'",
		"xmloption = document", "array_nulls = off", "standard_conforming_strings = off", "quote_all_identifiers = on", "client_encoding = 'LATIN1'",
		"client_min_messages = debug1", "synchronous_commit = on", "check_function_bodies = on", "synchronize_seqscans = on", "transform_null_equals = on",
		"default_table_access_method = no_default", "escape_string_warning = on", "backslash_quote = off",
	}
}

// TestHostileDefaults has the museum copied between databases whose defaults
// are all wrong, with one COPY that lasts longer than their timeouts.
func TestHostileDefaults(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Museum(t), pgtest.Target(t).Database(t)
	dst.Server.MuseumRoles(t)
	release := gated(t, src, dst, 10_000)
	dst.Exec(t, "CREATE ACCESS METHOD no_default TYPE TABLE HANDLER heap_tableam_handler")
	for _, db := range []*pgtest.Database{src, dst} {
		for _, setting := range hostile() {
			db.Server.Exec(t, fmt.Sprintf("ALTER DATABASE %s SET %s", db.Name, setting))
		}
	}
	wait := start(t.Context(), options(t, src, dst))
	awaitQuery(t, dst, "t", sqlHeld)
	awaitQuery(t, cluster(dst.Server), "t", fmt.Sprintf(`SELECT max(now() - xact_start) > interval '4 s' FROM pg_stat_activity
		WHERE datname = '%s' AND application_name LIKE 'pgconvoy worker%%'`, dst.Name))
	release()
	_, err := wait()
	require.NoError(t, err)
	for _, db := range []*pgtest.Database{src, dst} {
		db.Server.Exec(t, fmt.Sprintf("ALTER DATABASE %s RESET ALL", db.Name))
	}
	dst.Exec(t, "DROP ACCESS METHOD no_default") // which nothing uses
	pgtest.RequireEqual(t, src, dst)
}

// sqlHeld asks whether a COPY stands at the gate of [gated].
const sqlHeld = `SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND objid = 42 AND NOT granted
	AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`

// TestConnectionLimits has databases that let an ordinary role in 8 and 10
// times, and caps that fit.
func TestConnectionLimits(t *testing.T) {
	t.Parallel()
	source, target := pgtest.Source(t), pgtest.Target(t)
	owner := role(t, source, "limited_owner", "CONNECTION LIMIT 8")
	role(t, target, owner, "CONNECTION LIMIT 10")
	src, dst := source.DatabaseWith(t, "OWNER "+owner+" CONNECTION LIMIT 8"), target.DatabaseWith(t, "OWNER "+owner+" CONNECTION LIMIT 10")
	src.Exec(t, "SET ROLE "+owner+`; DO $$ BEGIN FOR i IN 1..30 LOOP
		EXECUTE format('CREATE TABLE t%1$s (id int PRIMARY KEY, v text); INSERT INTO t%1$s SELECT g, md5(g::text) FROM generate_series(1, 300) g; CREATE INDEX ON t%1$s (v)', i);
		IF i > 1 THEN EXECUTE format('ALTER TABLE t%s ADD FOREIGN KEY (id) REFERENCES t%s', i, i - 1); END IF; END LOOP; END $$`)
	o := options(t, src, dst)
	o.Config.Source.URI, o.Config.Target.URI = config.Secret(src.URIAs(owner)), config.Secret(dst.URIAs(owner))
	o.Config.Caps = config.Stages{Copy: 2, Index: 1, Attach: 1, Analyze: 1, FKey: 1, Blob: 1, Misc: 1}
	o.Config.Bundle.MaxTable, o.Config.Split.LargerThan = 0, 1<<30
	copyAll(t, o)
	pgtest.RequireEqual(t, src, dst)
}

// TestEncodings copies bytes of no known encoding as they are, and converts
// those of a known one, in rows, names and definitions.
func TestEncodings(t *testing.T) {
	t.Parallel()
	const plain = " LC_COLLATE 'C' LC_CTYPE 'C'"
	const utf8 = `CREATE TABLE "tablé" ("colonné" text DEFAULT 'défaut' CHECK ("colonné" <> 'né'), n int PRIMARY KEY);
		INSERT INTO "tablé" SELECT 'é' || i, i FROM generate_series(1, 100) i; CREATE INDEX "indéx" ON "tablé" (lower("colonné")) WHERE "colonné" <> 'ü';
		COMMENT ON TABLE "tablé" IS 'é'; CREATE TABLE h (k text) PARTITION BY HASH (k);
		CREATE TABLE h0 PARTITION OF h FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE h1 PARTITION OF h FOR VALUES WITH (MODULUS 2, REMAINDER 1);
		INSERT INTO h SELECT "colonné" FROM "tablé"; CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT ''é''::text'; CREATE SEQUENCE "séq";
		CREATE VIEW v AS SELECT k FROM h UNION ALL SELECT "colonné" FROM "tablé"`
	for name, c := range map[string]struct{ source, target, compared, setup string }{
		"SQL_ASCII to UTF8":      {"SQL_ASCII", "UTF8", "UTF8", utf8},
		"SQL_ASCII to SQL_ASCII": {"SQL_ASCII", "SQL_ASCII", "SQL_ASCII", `CREATE TABLE a (k text); INSERT INTO a VALUES ('plain'), (convert_from('\xe9ff80', 'SQL_ASCII')); CREATE VIEW v AS SELECT * FROM a`},
		"LATIN1 to UTF8":         {"LATIN1", "UTF8", "UTF8", utf8},
		"LATIN1 to LATIN1":       {"LATIN1", "LATIN1", "UTF8", utf8},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src := pgtest.Source(t).DatabaseWith(t, "ENCODING '"+c.source+"'"+plain)
			dst := pgtest.Target(t).DatabaseWith(t, "ENCODING '"+c.target+"'"+plain)
			src.Load(t, c.setup)
			copyAll(t, options(t, src, dst))
			// A row may be in another hash partition, so the oracle looks at the definitions only.
			pgtest.RequireEqual(t, src, dst, pgtest.SchemaOnly())
			rows := fmt.Sprintf("SELECT count(*) || md5(string_agg(b, ',' ORDER BY b)) FROM (SELECT convert_to(k, '%s') AS b FROM v) x", c.compared)
			require.Equal(t, src.Query(t, rows), dst.Query(t, rows))
		})
	}
}
