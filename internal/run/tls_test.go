package run_test

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

// secured is the connection string of a role without a password, by name
// instead of address, with the certificates that both sides show and verify.
func secured(t *testing.T, db *pgtest.Database, authority *pgtest.Authority, role string) config.Secret {
	t.Helper()
	cert, key := authority.Client(t, role)
	settings := url.Values{"sslmode": {"verify-full"}, "sslrootcert": {authority.Root}, "sslcert": {cert}, "sslkey": {key}}
	return config.Secret(fmt.Sprintf("postgres://%s@localhost:%d/%s?%s", role, db.Server.Port, db.Name, settings.Encode()))
}

// Every session of a run, pg_dump's included, verifies the server's certificate
// and host name and shows a certificate of its own in place of a password.
func TestCertificatesOnBothSides(t *testing.T) {
	t.Parallel()
	authority := pgtest.NewAuthority(t)
	settings := authority.Server(t, "localhost")
	settings.HBA = []string{"hostssl all reader,owner all cert", "hostnossl all reader,owner all reject"}
	settings.Settings["log_connections"] = "on"
	server := pgtest.Start(t, settings)
	server.Exec(t, "CREATE ROLE reader LOGIN; CREATE ROLE owner LOGIN; GRANT pg_read_all_data TO reader")
	src, dst := owned(t, server), owned(t, server)
	src.Exec(t, `SET ROLE owner; CREATE TABLE a (id int PRIMARY KEY, t text); CREATE TABLE b (a int REFERENCES a); CREATE INDEX ON a (t);
		INSERT INTO a SELECT i, repeat(md5(i::text), 10) FROM generate_series(1, 5000) i; INSERT INTO b SELECT id FROM a`)
	o := options(t, src, dst)
	o.Config.Source.URI, o.Config.Target.URI = secured(t, src, authority, "reader"), secured(t, dst, authority, "owner")
	copyAll(t, o)
	pgtest.RequireEqual(t, src, dst)

	log := server.Log(t)
	for role, atLeast := range map[string]int{"reader": 3, "owner": 3} {
		sessions := regexp.MustCompile("connection authorized: user="+role+" .*").FindAllString(log, -1)
		require.GreaterOrEqual(t, len(sessions), atLeast)
		for _, s := range sessions {
			require.Contains(t, s, "SSL enabled")
		}
		require.Equal(t, len(sessions), strings.Count(log, fmt.Sprintf(`connection authenticated: identity="CN=%s" method=cert`, role)))
	}
	require.Regexp(t, `connection authorized: user=reader .*application_name=pgconvoy pg_dump \S+ SSL enabled`, log)
}
