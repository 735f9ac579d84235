package check_test

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/check"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

// refused tries to connect and returns the finding.
func refused(t *testing.T, side pg.Side, uri string) check.Finding {
	t.Helper()
	conn, err := pg.Connect(t.Context(), pg.Options{Side: side, URI: uri})
	if err == nil {
		conn.Discard()
		t.Fatalf("connected to %s", uri)
	}
	f := check.ConnectFinding(side, err)
	require.Equal(t, check.Blocker, f.Level)
	require.Equal(t, string(side)+"-connection", f.Check)
	require.NotEmpty(t, f.Hint)
	require.NotContains(t, f.What+f.Hint, "geheim")
	require.NotContains(t, f.What, "\n")
	return f
}

func TestConnectFindings(t *testing.T) {
	t.Parallel()
	s := pgtest.Target(t)
	role := newRole(t, s, "LOGIN")
	idle := newRole(t, s, "NOLOGIN")
	limited := newRole(t, s, "LOGIN CONNECTION LIMIT 0")
	db := s.Database(t)
	closed := s.Database(t)
	s.Exec(t, fmt.Sprintf("ALTER DATABASE %s ALLOW_CONNECTIONS false", closed.Name))
	t.Cleanup(func() { s.Exec(t, fmt.Sprintf("ALTER DATABASE %s ALLOW_CONNECTIONS true", closed.Name)) })
	s.Exec(t, fmt.Sprintf("REVOKE CONNECT ON DATABASE %s FROM PUBLIC", db.Name))
	const unused = "127.0.0.1:1" // nobody listens there
	for _, c := range []struct {
		name       string
		side       pg.Side
		uri        string
		what, hint string
	}{
		{"refused", pg.Source, "postgres://me:geheim@" + unused + "/shop", "nothing accepts connections for the source at " + unused, "check host and port in source.uri"},
		{"socket", pg.Source, "host=/nowhere user=me password=geheim dbname=shop", "no server socket for the source at /nowhere/.s.PGSQL.5432", "unix_socket_directories"},
		{"name", pg.Target, "postgres://me:geheim@no-such-host.invalid/shop", `the host name of the target, "no-such-host.invalid", cannot be resolved`, "target.uri"},
		{"no role", pg.Target, s.URIAs("nobody_of_this_name", db.Name), `role "nobody_of_this_name" does not exist`, `CREATE ROLE "nobody_of_this_name" LOGIN`},
		{"no login", pg.Target, s.URIAs(idle, db.Name), "is not permitted to log in", "LOGIN"},
		{"no database", pg.Target, s.URI("no_such_db"), `database "no_such_db" does not exist on the target at 127.0.0.1`, `CREATE DATABASE "no_such_db" TEMPLATE template0`},
		{"no database on source", pg.Source, s.URI("no_such_db"), "does not exist on the source", "correct the name in source.uri"},
		{"no privilege", pg.Target, s.URIAs(role, db.Name), "permission denied for database", fmt.Sprintf("GRANT CONNECT ON DATABASE %q TO %q", db.Name, role)},
		{"closed database", pg.Target, closed.URI(), "not currently accepting connections", "ALLOW_CONNECTIONS true"},
		{"limit", pg.Target, s.URIAs(limited, "postgres"), "too many connections", "CONNECTION LIMIT"},
		{"no TLS", pg.Target, strings.Replace(db.URI(), "sslmode=disable", "sslmode=require", 1), "the server has none", "sslmode=prefer"},
		{"bad URI", pg.Source, "postgres://me:geheim@host:port/shop", "source: parse connection URI", "source.uri"},
		{"not postgres", pg.Target, "postgres://me:geheim@" + silent(t, "HTTP/1.1 400 Bad Request\r\n\r\n") + "/shop?sslmode=disable", "", "target.uri"},
		{"no answer", pg.Target, "postgres://me:geheim@" + silent(t, "") + "/shop?sslmode=disable&connect_timeout=2", "does not answer", "firewall"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := refused(t, c.side, c.uri)
			require.Contains(t, f.What, c.what)
			require.Contains(t, f.Hint, c.hint)
		})
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return l
}

// silent listens, and answers with what it is given, or not at all.
func silent(t *testing.T, answer string) string {
	t.Helper()
	l := listen(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if answer != "" {
				_, _ = conn.Write([]byte(answer))
				_ = conn.Close()
				continue
			}
			defer func() { _ = conn.Close() }()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

func TestConnectFindingsOfAuthentication(t *testing.T) {
	t.Parallel()
	s := pgtest.Start(t, pgtest.Options{})
	newRole(t, s, "LOGIN")
	createRole(t, s, "me", "LOGIN PASSWORD 'right'")
	createRole(t, s, "nohba", "LOGIN")
	hba := filepath.Join(s.DataDir(), "pg_hba.conf")
	require.NoError(t, os.WriteFile(hba, []byte("local all all trust\nhost all me all scram-sha-256\nhost all postgres all trust\n"), 0o600))
	s.Exec(t, "SELECT pg_reload_conf()")
	awaitReload(t, s)

	uri := strings.Replace(s.URIAs("me", "postgres"), "me@", "me:geheim@", 1)
	f := refused(t, pg.Source, uri)
	require.Contains(t, f.What, `refuses the password of role "me"`)
	require.Contains(t, f.Hint, ".pgpass")
	f = refused(t, pg.Source, s.URIAs("me", "postgres"))
	require.Contains(t, f.What, `wants a password of role "me", and none was given`)
	f = refused(t, pg.Source, s.URIAs("nohba", "postgres"))
	require.Contains(t, f.What, "no pg_hba.conf entry")
	require.Contains(t, f.Hint, "pg_hba.conf")
}

func TestConnectFindingsOfTLS(t *testing.T) {
	t.Parallel()
	authority, stranger := pgtest.NewAuthority(t), pgtest.NewAuthority(t)
	options := authority.Server(t, "localhost")
	options.HBA = []string{"hostssl all certified all cert"}
	s := pgtest.Start(t, options)
	createRole(t, s, "certified", "LOGIN")
	createRole(t, s, "other", "LOGIN")
	cert, key := authority.Client(t, "certified")
	wrongCert, wrongKey := authority.Client(t, "other")
	foreignCert, foreignKey := stranger.Client(t, "certified")
	uri := func(role, host, root, cert, key string) string {
		settings := url.Values{"sslmode": {"verify-full"}, "sslrootcert": {root}}
		if cert != "" {
			settings.Set("sslcert", cert)
			settings.Set("sslkey", key)
		}
		return fmt.Sprintf("postgres://%s@%s:%d/postgres?%s", role, host, s.Port, settings.Encode())
	}
	for _, right := range []string{
		uri("other", "localhost", authority.Root, "", ""),
		uri("certified", "localhost", authority.Root, cert, key),
	} {
		conn, err := pg.Connect(t.Context(), pg.Options{Side: pg.Source, URI: right})
		require.NoError(t, err)
		conn.Discard()
	}
	for _, c := range []struct{ name, uri, what, hint string }{
		{"wrong authority", uri("other", "localhost", stranger.Root, "", ""), "certificate signed by unknown authority", "sslrootcert=FILE in source.uri"},
		{"wrong name", uri("other", "127.0.0.1", authority.Root, "", ""), "cannot validate certificate for 127.0.0.1", "use a host name of the certificate"},
		{"no authority", strings.Replace(s.URI("postgres"), "sslmode=disable", "sslmode=verify-ca", 1), "no TLS connection to the source", "sslrootcert"},
		{"no certificate", uri("certified", "localhost", authority.Root, "", ""), "requires a valid client certificate", "sslcert=FILE and sslkey=FILE in source.uri"},
		{"certificate of another role", uri("certified", "localhost", authority.Root, wrongCert, wrongKey), "certificate authentication failed", `its common name must be "certified"`},
		{"certificate of a stranger", uri("certified", "localhost", authority.Root, foreignCert, foreignKey), "the server ends it", "ssl_ca_file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := refused(t, pg.Source, c.uri)
			require.Contains(t, f.What, c.what)
			require.Contains(t, f.Hint, c.hint)
		})
	}
}

// awaitReload waits until a new session finds the new pg_hba.conf.
func awaitReload(t *testing.T, s *pgtest.Server) {
	t.Helper()
	require.Eventually(t, func() bool {
		db := pgtest.Database{Server: s, Name: "postgres"}
		return db.Query(t, "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method = 'scram-sha-256'") == "1"
	}, 10*time.Second, 20*time.Millisecond)
	require.Eventually(t, func() bool {
		conn, err := pg.Connect(t.Context(), pg.Options{Side: pg.Source, URI: s.URIAs("nohba", "postgres")})
		if err == nil {
			conn.Discard()
		}
		return err != nil
	}, 10*time.Second, 20*time.Millisecond)
}

// TestConnectFindingsOfStates takes what a server says in states that a test
// cannot hold it in.
func TestConnectFindingsOfStates(t *testing.T) {
	t.Parallel()
	for code, hint := range map[string]string{"57P03": "wait until it is up", "53300": "max_connections", "08P01": "pooler", "58000": "SQLSTATE 58000"} {
		err := fmt.Errorf("connect to target: %w", &pgconn.PgError{Severity: "FATAL", Code: code, Message: "the database system is in a state"})
		f := check.ConnectFinding(pg.Target, err)
		require.Contains(t, f.What, "the database system is in a state")
		require.Contains(t, f.Hint, hint)
	}
}
