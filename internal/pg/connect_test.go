package pg_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

// hostile are defaults of a role or database that would break a copy.
var hostile = []string{
	"default_transaction_isolation = 'serializable'", "default_transaction_deferrable = on", "default_transaction_read_only = on",
	"search_path = evil, public", "statement_timeout = '50s'", "lock_timeout = '51s'", "idle_in_transaction_session_timeout = '52s'",
	"row_security = on", "datestyle = 'SQL, DMY'", "intervalstyle = 'iso_8601'", "extra_float_digits = -15", "bytea_output = 'escape'",
	"timezone = 'Asia/Kolkata'", "lc_monetary = 'C.UTF-8'", "xmloption = 'document'", "standard_conforming_strings = off",
	"quote_all_identifiers = on", "synchronous_commit = on", "client_encoding = 'latin1'", "synchronize_seqscans = on",
	"client_min_messages = 'debug1'", "check_function_bodies = on", "tcp_user_timeout = 1000",
	"array_nulls = off", "transform_null_equals = on",
}

func TestConnectSettingsWin(t *testing.T) {
	t.Parallel()
	for _, server := range []*pgtest.Server{pgtest.Source(t), pgtest.Major(t, 14), pgtest.Major(t, 18)} {
		db := server.Database(t)
		settings := hostile
		if server.Major >= 14 {
			settings = append(settings, "idle_session_timeout = '53s'")
		}
		if server.Major >= 17 {
			settings = append(settings, "transaction_timeout = '54s'")
		}
		for _, s := range settings {
			server.Exec(t, "ALTER DATABASE "+db.Name+" SET "+s)
		}
		both := map[string]string{
			"default_transaction_isolation": "read committed", "default_transaction_deferrable": "off", "search_path": `""`,
			"statement_timeout": "0", "lock_timeout": "0", "idle_in_transaction_session_timeout": "0", "row_security": "off",
			"datestyle": "ISO, DMY", "intervalstyle": "postgres", "extra_float_digits": "3", "bytea_output": "hex", "timezone": "UTC",
			"lc_monetary": "C", "xmloption": "content", "standard_conforming_strings": "on", "quote_all_identifiers": "off",
			"client_encoding": "UTF8", "client_min_messages": "warning", "application_name": "pgconvoy test", "transaction_isolation": "read committed",
			"tcp_keepalives_idle": "30", "tcp_keepalives_interval": "10", "tcp_keepalives_count": "3", "idle_session_timeout": "0",
			"client_connection_check_interval": "10s", "array_nulls": "on", "transform_null_equals": "off",
		}
		if server.Major >= 17 {
			both["transaction_timeout"] = "0"
		}
		for side, own := range map[pg.Side]map[string]string{
			// A source that waits for a slow target has data unacknowledged for as long as that takes.
			pg.Source: {"default_transaction_read_only": "on", "synchronize_seqscans": "off", "tcp_user_timeout": "0"},
			pg.Target: {"default_transaction_read_only": "off", "synchronous_commit": "off", "check_function_bodies": "off", "tcp_user_timeout": "60000", "default_tablespace": ""},
		} {
			c := connect(t, side, db.URI())
			require.Equal(t, server.Major, c.Major())
			require.Equal(t, side, c.Side())
			require.Equal(t, value(t, c, "SELECT current_setting('server_version_num')"), fmt.Sprint(c.Version))
			for _, expected := range []map[string]string{both, own} {
				for name, want := range expected {
					require.Equal(t, want, value(t, c, "SELECT current_setting($1)", name), "%s on the %s, %d", name, side, server.Major)
				}
			}
		}
	}
}

func TestConnectSourceIsReadOnly(t *testing.T) {
	t.Parallel()
	p := newPair(t, "")
	_, err := p.source.Exec(t.Context(), "CREATE TABLE public.x (a int)")
	require.True(t, pg.IsCode(err, "25006"), "%v", err)
	exec(t, p.target, "CREATE TABLE public.x (a int)")
}

// TestConnectRowSecurity has a policy that hides rows: an error, not a subset.
func TestConnectRowSecurity(t *testing.T) {
	t.Parallel()
	server := pgtest.Source(t)
	db := server.Database(t)
	role := db.Name + "_reader"
	server.Exec(t, "CREATE ROLE "+role+" LOGIN")
	t.Cleanup(func() { server.Exec(t, "DROP OWNED BY "+role+"; DROP ROLE "+role) })
	db.Exec(t, `CREATE TABLE public.hidden AS SELECT 1 AS x; ALTER TABLE public.hidden ENABLE ROW LEVEL SECURITY; GRANT SELECT ON public.hidden TO `+role)
	t.Cleanup(func() { db.Exec(t, "DROP OWNED BY "+role) })
	c := connect(t, pg.Source, db.URIAs(role))
	_, err := pg.CopyOut(t.Context(), c, "COPY public.hidden TO STDOUT", &pieces{})
	require.True(t, pg.IsCode(err, "42501"), "%v", err)
}

func TestConnectEncodings(t *testing.T) {
	t.Parallel()
	p := newPair(t, "CREATE TABLE public.a (t text)")
	p.src = pgtest.Source(t).DatabaseWith(t, "ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'")
	p.src.Exec(t, `CREATE TABLE public.a (t text); CREATE TABLE public.bad (t text);
		INSERT INTO public.a VALUES ('plain'), (convert_from('\xc3a9', 'SQL_ASCII')); INSERT INTO public.bad VALUES (convert_from('\xe9', 'SQL_ASCII'))`)
	p.source = connect(t, pg.Source, p.src.URI())
	require.Equal(t, "SQL_ASCII", value(t, p.source, "SELECT current_setting('client_encoding')"))
	p.relay(t, "COPY public.a TO STDOUT", "COPY public.a FROM STDIN")
	require.Equal(t, []string{"plain", "é"}, p.dst.Column(t, "SELECT t FROM public.a ORDER BY t"))
	err := p.fail(t, "COPY public.bad TO STDOUT", "COPY public.a FROM STDIN")
	require.True(t, pg.IsCode(err, "22021"), "%v", err)

	q := newPair(t, "CREATE TABLE public.a (t text)")
	q.src = pgtest.Source(t).DatabaseWith(t, "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'")
	q.src.Exec(t, "CREATE TABLE public.a (t text); INSERT INTO public.a VALUES (convert_from('\\xe9', 'LATIN1'))")
	q.source = connect(t, pg.Source, q.src.URI())
	q.relay(t, "COPY public.a TO STDOUT", "COPY public.a FROM STDIN")
	require.Equal(t, "é", q.dst.Query(t, "SELECT t FROM public.a"))
}

// listen returns the address of a server that accepts connections and says
// nothing.
func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestConnectFails(t *testing.T) {
	t.Parallel()
	silent := listen(t)
	server := pgtest.Target(t)
	for _, c := range []struct {
		name, uri, says string
		outcome         pg.Outcome
	}{
		{"refused", "postgres://me:geheim@127.0.0.1:1/db", "refused", pg.Transient},
		{"silent", "postgres://me:geheim@" + silent.Addr().String() + "/db?connect_timeout=1", "", pg.Transient},
		{"silent, key=value", "user=me password=geheim connect_timeout=1 host=127.0.0.1 port=" + strings.TrimPrefix(silent.Addr().String(), "127.0.0.1:"), "", pg.Transient},
		{"no such host", "postgres://me:geheim@no-such-host.invalid/db", "no-such-host.invalid", pg.Transient},
		{"no such database", strings.Replace(server.URI("nowhere"), "postgres@", "postgres:geheim@", 1), `"nowhere" does not exist`, pg.Final},
		{"no such role", strings.Replace(server.URIAs("nobody", "postgres"), "nobody@", "nobody:geheim@", 1), `"nobody" does not exist`, pg.Final},
		{"no socket", "host=/nowhere user=me password=geheim", "/nowhere", pg.Transient},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			_, err := pg.Connect(context.Background(), pg.Options{Side: pg.Target, URI: c.uri})
			require.ErrorContains(t, err, "target")
			require.ErrorContains(t, err, c.says)
			require.NotContains(t, pg.Describe(err), "geheim")
			require.Equal(t, c.outcome, pg.Classify(err), "%v", err)
			require.Less(t, time.Since(start), 20*time.Second, "connect_timeout counts")
		})
	}
}

func TestParseURIKeepsSecrets(t *testing.T) {
	t.Parallel()
	for _, uri := range []string{
		"postgres://me:geheim@host:port/db", "postgres://me:geheim/geheim@host/db", "postgres://me:geheim#geheim@host/db",
		"postgres://me:geheim?geheim@host/db", "postgres://me:geheim%zzgeheim@host/db", "postgres://me:geheim%zz/x@host/db",
		"postgres://me:geheim@ho%zzst/db", "postgres://me:geheim@[::1/db", "postgres://host/db?password=geheim&port=x",
		"postgres://host/db?password=geheim%zz", "postgres://me:[geheim@host/db", "postgres://me:geheim@host/db?sslmode=sometimes",
		"postgres://me:geheim@host/db?service=nowhere", "password=geheim port", "password='geheim", "password='geheim\\", "geheim password=",
		"host=h password=geheim geheim", "host=h password=geheim port=x", "host=h password=geheim sslmode=geheim\x00",
		"password=geheim sslmode=no", "password=geheim connect_timeout=x", "password=geheim target_session_attrs=x",
		"`: geheim", "postgres://me:geheim`: geheim%zz@host:port/db", "geheim",
	} {
		if _, err := pg.ParseURI(uri); err != nil {
			require.NotContains(t, err.Error(), "geheim", uri)
		}
	}
	_, err := pg.ParseURI("postgres://me:geheim@host/db?target_session_attrs=sometimes")
	require.ErrorContains(t, err, "unknown target_session_attrs value: sometimes")
	_, err = pg.ParseURI("postgres://me:geheim@host:port/db")
	require.ErrorContains(t, err, "invalid port")
	_, err = pg.ParseURI("postgres://me:%zz@host/db")
	require.ErrorContains(t, err, "%2F")
}

// FuzzParseURIKeepsSecrets puts a secret where a password is, with anything around it.
func FuzzParseURIKeepsSecrets(f *testing.F) {
	f.Add("postgres://me:", "@host/db")
	f.Add("postgres://me:/", "%zz@host/db")
	f.Add("password='", " host=h")
	f.Add("host=h password=", "' x=")
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "geheim-5fb2"
		if strings.Contains(before+after, "servicefile") || strings.Contains(before+after, "passfile") || strings.Contains(before+after, "ssl") {
			t.Skip("files")
		}
		// Only where it is the value of the setting that holds passwords may it be taken for one.
		if !strings.HasPrefix(before, "postgres://") && !strings.HasSuffix(strings.TrimRight(before, " '"), "password=") {
			t.Skip("not a password")
		}
		if _, err := pg.ParseURI(before + secret + after); err != nil && !strings.Contains(before, "?") {
			require.NotContains(t, err.Error(), secret)
		}
	})
}

func TestServerVersion(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"15.20 (Debian 15.20-1)": 150020, "18beta1": 180000, "18.1": 180001, "14.0": 140000, "19devel": 190000, "16.4 - Percona": 160004,
	} {
		got, err := pg.ServerVersion(text)
		require.NoError(t, err)
		require.Equal(t, want, got, text)
	}
	_, err := pg.ServerVersion("")
	require.Error(t, err)
	_, err = pg.ServerVersion("EnterpriseDB")
	require.Error(t, err)
}

func TestQuoteLiteral(t *testing.T) {
	t.Parallel()
	p := newPair(t, "")
	for _, s := range []string{"", "'", `\`, `\'`, "''", `a\nb`, "\n", "é表😀", `$$`, `E'x'`, `\\''\`} {
		for _, conforming := range []string{"on", "off"} {
			exec(t, p.target, "SET standard_conforming_strings = "+conforming)
			results, err := p.target.PgConn().Exec(t.Context(), "SELECT"+" "+pg.QuoteLiteral(s)).ReadAll()
			require.NoError(t, err, "%q", s)
			require.Equal(t, s, string(results[0].Rows[0][0]))
		}
	}
}

func TestFingerprint(t *testing.T) {
	t.Parallel()
	p := newPair(t, "")
	source, err := pg.Fingerprint(t.Context(), p.source)
	require.NoError(t, err)
	target, err := pg.Fingerprint(t.Context(), p.target)
	require.NoError(t, err)
	require.NotEqual(t, source, target)
	again, err := pg.Fingerprint(t.Context(), connect(t, pg.Target, p.dst.URI()))
	require.NoError(t, err)
	require.Equal(t, target, again)

	p.dst.Exec(t, "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
	role := p.dst.Name + "_role"
	p.dst.Exec(t, "CREATE ROLE "+role+" LOGIN")
	t.Cleanup(func() { p.dst.Exec(t, "DROP ROLE "+role) })
	plain := connect(t, pg.Target, p.dst.URIAs(role))
	for range 2 {
		fp, err := pg.Fingerprint(t.Context(), plain)
		require.NoError(t, err)
		require.Contains(t, fp, "/"+p.dst.Name)
		require.NotContains(t, fp, "<")
	}
}

// TestRelayTransports relays between a TLS connection and a unix socket, both
// ways, with rows of all sizes.
func TestRelayTransports(t *testing.T) {
	t.Parallel()
	authority := pgtest.NewAuthority(t)
	server := pgtest.Start(t, authority.Server(t, "127.0.0.1"))
	secure, other := server.Databases(t, 2)[0], server.Databases(t, 1)[0]
	const ddl = "CREATE TABLE public.a (n int, t text); ALTER TABLE public.a ALTER t SET STORAGE EXTERNAL"
	secure.Exec(t, ddl+"; INSERT INTO public.a SELECT n, repeat('x', n * n) FROM generate_series(1, 900, 9) n; INSERT INTO public.a SELECT n, 'y' FROM generate_series(1, 200000) n")
	other.Exec(t, ddl)
	tlsURI := func(db *pgtest.Database) string {
		return strings.Replace(db.URI(), "sslmode=disable", "sslmode=verify-full&sslrootcert="+url.QueryEscape(authority.Root), 1)
	}
	socketURI := func(db *pgtest.Database) string {
		return fmt.Sprintf("host=%s port=%d user=postgres dbname=%s", filepath.Dir(server.DataDir()), server.Port, db.Name)
	}
	p := &pair{src: secure, dst: other, source: connect(t, pg.Source, tlsURI(secure)), target: connect(t, pg.Target, socketURI(other))}
	const encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
	require.Equal(t, "true", value(t, p.source, encrypted))
	require.Equal(t, "false", value(t, p.target, encrypted))
	p.relay(t, "COPY public.a TO STDOUT", "COPY public.a FROM STDIN")
	p.relay(t, "COPY (SELECT 0, 'again') TO STDOUT", "COPY public.a FROM STDIN")
	pgtest.RequireEqual(t, secure, other, pgtest.SchemaOnly())
	require.Equal(t, secure.Count(t, "public.a")+1, other.Count(t, "public.a"))

	other.Exec(t, "TRUNCATE public.a")
	p = &pair{src: secure, dst: other, source: connect(t, pg.Source, socketURI(secure)), target: connect(t, pg.Target, tlsURI(other))}
	p.relay(t, "COPY public.a TO STDOUT", "COPY public.a FROM STDIN")
	pgtest.RequireEqual(t, secure, other)

	p = &pair{src: secure, dst: other, source: connect(t, pg.Source, tlsURI(secure)), target: connect(t, pg.Target, tlsURI(other))}
	err := p.fail(t, endless, "COPY public.a (t) FROM STDIN")
	require.Equal(t, pg.Target, err.Side)
	require.True(t, pg.IsCode(err, "22P04"), "%v", err)
}
