package run_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

// documented returns a block of SQL out of docs/security.md, with a password.
func documented(t *testing.T, name, password string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/security.md")
	require.NoError(t, err)
	block := regexp.MustCompile("(?s)\n```sql " + name + "\n(.*?)\n```\n").FindSubmatch(text)
	require.NotNil(t, block, name)
	return strings.ReplaceAll(string(block[1]), "…", password)
}

// shop makes the database of the document on the source: of shop_app, in a
// schema of its own and in public.
func shop(t *testing.T, source *pgtest.Server) *pgtest.Database {
	t.Helper()
	// An extension belongs to whoever creates it, here and on the target.
	source.Exec(t, "CREATE ROLE shop_app; CREATE ROLE convoy_writer")
	source.Exec(t, "CREATE DATABASE shop TEMPLATE template0 OWNER shop_app")
	source.Exec(t, "GRANT CREATE ON DATABASE shop TO convoy_writer")
	db := &pgtest.Database{Server: source, Name: "shop"}
	db.Exec(t, "SET ROLE convoy_writer; CREATE EXTENSION citext")
	db.Exec(t, `SET ROLE shop_app;
		CREATE SCHEMA sales; CREATE TYPE sales.state AS ENUM ('open', 'shut');
		CREATE FUNCTION sales.twice(i int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2 * i';
		CREATE TABLE sales.customers (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, mail public.citext UNIQUE, note text DEFAULT 'none');
		CREATE TABLE sales.orders (id bigserial, customer int NOT NULL REFERENCES sales.customers, placed date NOT NULL, state sales.state,
			amount numeric CHECK (amount >= 0), PRIMARY KEY (id, placed)) PARTITION BY RANGE (placed);
		CREATE TABLE sales.orders_2025 PARTITION OF sales.orders FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
		CREATE TABLE sales.orders_rest PARTITION OF sales.orders DEFAULT;
		CREATE INDEX ON sales.orders (sales.twice(customer)); CREATE INDEX ON sales.customers USING hash (note);
		CREATE VIEW sales.open AS SELECT * FROM sales.orders WHERE state = 'open';
		CREATE MATERIALIZED VIEW sales.totals AS SELECT customer, sum(amount) FROM sales.orders GROUP BY customer;
		CREATE SEQUENCE public.counter; SELECT setval('public.counter', 77);
		CREATE TABLE public.log (id int, t text); ALTER TABLE public.log ADD EXCLUDE USING btree (id WITH =);
		CREATE FUNCTION sales.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
		CREATE TRIGGER touch BEFORE UPDATE ON sales.customers FOR EACH ROW EXECUTE FUNCTION sales.touch();
		CREATE STATISTICS sales.both ON state, customer FROM sales.orders_2025; COMMENT ON TABLE sales.orders IS 'all of them';
		CREATE PUBLICATION news FOR TABLE sales.customers; GRANT SELECT ON sales.orders TO PUBLIC;
		INSERT INTO sales.customers (mail) SELECT i || '@example.org' FROM generate_series(1, 500) i;
		INSERT INTO sales.orders (customer, placed, state, amount) SELECT 1 + i % 500, date '2025-11-01' + i % 100, 'open', i FROM generate_series(1, 3000) i;
		INSERT INTO public.log SELECT i, repeat(md5(i::text), 40) FROM generate_series(1, 2000) i; REFRESH MATERIALIZED VIEW sales.totals`)
	return db
}

// withPassword puts a password into a connection string.
func withPassword(uri, password string) config.Secret {
	return config.Secret(strings.Replace(uri, "@", ":"+password+"@", 1))
}

// Roles made as docs/security.md says copy a database that such roles may own.
func TestDocumentedRoles(t *testing.T) {
	t.Parallel()
	rules := []string{"host all convoy_reader,convoy_writer all scram-sha-256"}
	for _, narrow := range []bool{false, true} {
		name := map[bool]string{false: "source", true: "source-narrow"}[narrow]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source, target := pgtest.Start(t, pgtest.Options{HBA: rules}), pgtest.Start(t, pgtest.Options{HBA: rules})
			src, dst := shop(t, source), &pgtest.Database{Server: target, Name: "shop"}
			if narrow {
				src.Exec(t, "SET ROLE shop_app; SELECT lo_from_bytea(4711, 'contents'); SELECT lo_from_bytea(4712, repeat('x', 100000)::bytea)")
				target.Exec(t, "CREATE ROLE convoy_reader")
			}
			src.Load(t, documented(t, name, "hush-reader"))
			(&pgtest.Database{Server: target, Name: "postgres"}).Load(t, documented(t, "target", "hush-writer"))
			o := options(t, src, dst)
			o.Config.Source.URI, o.Config.Target.URI = withPassword(src.URIAs("convoy_reader"), "hush-reader"), withPassword(dst.URIAs("convoy_writer"), "hush-writer")
			copyAll(t, o)
			pgtest.RequireEqual(t, src, dst)
			requireReadsOnly(t, string(o.Config.Source.URI))
			requireHashes(t, string(o.Config.Source.URI), !narrow)
			requireEndsItsOwn(t, string(o.Config.Target.URI), dst)
			src.Load(t, documented(t, "after-reader", ""))
			dst.Load(t, documented(t, "after-writer", ""))
			if narrow {
				dst.Load(t, documented(t, "after-reader", ""))
			}
		})
	}
}

// requireReadsOnly tries everything that would change the shop, in a session
// that has made itself writable.
func requireReadsOnly(t *testing.T, uri string) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), uri)
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close(t.Context())) }()
	_, err = c.Exec(t.Context(), "SET default_transaction_read_only = off")
	require.NoError(t, err, "anybody may")
	for _, sql := range []string{
		"INSERT INTO public.log VALUES (0, '')", "UPDATE sales.customers SET note = ''", "DELETE FROM sales.orders", "TRUNCATE public.log",
		"SELECT nextval('public.counter')", "SELECT setval('public.counter', 1)",
		"SELECT * FROM public.log FOR UPDATE", "CREATE TABLE public.mine ()", "CREATE TABLE sales.mine ()", "CREATE SCHEMA mine", "CREATE EXTENSION hstore",
		"CREATE ROLE mine", "CREATE DATABASE mine", "CREATE PUBLICATION mine FOR ALL TABLES", "CREATE EVENT TRIGGER mine ON ddl_command_end EXECUTE FUNCTION sales.touch()",
		"DROP TABLE public.log", "ALTER TABLE public.log ADD mine int", "REFRESH MATERIALIZED VIEW sales.totals",
		"REINDEX TABLE public.log", "SET ROLE shop_app", "ALTER ROLE convoy_reader BYPASSRLS", "ALTER SYSTEM SET work_mem = '1GB'",
		"COPY public.log FROM PROGRAM 'true'", "COPY public.log TO '/tmp/mine'", "SELECT pg_read_file('postgresql.conf')",
		"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres'", "SET session_replication_role = replica",
	} {
		_, err := c.Exec(t.Context(), sql)
		require.Error(t, err, sql)
		require.True(t, pg.IsCode(err, "42501"), "%s: %v", sql, err)
	}
}

// requireHashes says whether a role can read the passwords' hashes.
func requireHashes(t *testing.T, uri string, can bool) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), uri)
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close(t.Context())) }()
	_, err = c.Exec(t.Context(), "SELECT rolpassword FROM pg_authid")
	require.Equal(t, can, err == nil, "%v", err)
}

// requireEndsItsOwn shows that a role may end its own sessions, and no others.
func requireEndsItsOwn(t *testing.T, uri string, db *pgtest.Database) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), uri)
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close(t.Context())) }()
	frozen, err := pgx.Connect(t.Context(), uri)
	require.NoError(t, err)
	defer func() { _ = frozen.Close(t.Context()) }() // it is closed already
	foreign := db.Connect(t)
	end := "SELECT pg_terminate_backend($1, 10000)"
	var ended bool
	require.NoError(t, c.QueryRow(t.Context(), end, frozen.PgConn().PID()).Scan(&ended))
	require.True(t, ended)
	require.Error(t, frozen.Ping(t.Context()))
	_, err = c.Exec(t.Context(), end, foreign.PgConn().PID())
	require.True(t, pg.IsCode(err, "42501"), "%v", err)
	require.NoError(t, foreign.Ping(t.Context()))
}
