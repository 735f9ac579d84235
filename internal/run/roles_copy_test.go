package run_test

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/run"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
	"github.com/pgconvoy/pgconvoy/internal/ui"
)

// rolesSQL makes roles of all kinds, none of which but the owner is named by a
// database.
const rolesSQL = `CREATE ROLE crew NOLOGIN; CREATE ROLE "Ship's ""crew""" CREATEDB CREATEROLE NOINHERIT CONNECTION LIMIT 7;
	CREATE ROLE sailor LOGIN PASSWORD 'very-secret-word' VALID UNTIL '2038-01-19 03:14:07+00' IN ROLE crew;
	CREATE ROLE captain SUPERUSER REPLICATION BYPASSRLS LOGIN; GRANT crew TO "Ship's ""crew""" WITH ADMIN OPTION; GRANT pg_read_all_data TO crew;
	COMMENT ON ROLE sailor IS E'it''s \\ a sailor'; ALTER ROLE sailor SET search_path = "$user", 'a, b', public; ALTER ROLE sailor SET work_mem = '77MB';
	ALTER ROLE crew SET "my.setting" = 'x''y'`

// rolesQuery shows everything of roles but who granted what.
const rolesQuery = `SELECT r.rolname, r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin, r.rolreplication, r.rolbypassrls, r.rolconnlimit,
	r.rolvaliduntil, r.rolpassword, shobj_description(r.oid, 'pg_authid'), (SELECT setconfig FROM pg_db_role_setting WHERE setrole = r.oid AND setdatabase = 0),
	(SELECT array_agg(concat_ws(' ', g.rolname, m.admin_option) ORDER BY g.rolname) FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid)
	FROM pg_authid r WHERE r.oid >= 16384 ORDER BY 1`

// spoken returns a log for the run, and what it has said.
func spoken(o *run.Options) *bytes.Buffer {
	var said bytes.Buffer
	o.Log = slog.New(slog.NewTextHandler(io.Writer(&said), &slog.HandlerOptions{Level: slog.LevelDebug}))
	return &said
}

// cluster returns the database to look at roles from.
func cluster(s *pgtest.Server) *pgtest.Database {
	return &pgtest.Database{Server: s, Name: "postgres"}
}

// withoutRoles empties the target's cluster at the end of a test: of the database,
// and of all roles.
func withoutRoles(t *testing.T, dst *pgtest.Database) {
	t.Helper()
	t.Cleanup(func() {
		dst.Server.Exec(t, "DROP DATABASE "+tasks.QuoteIdent(dst.Name))
		for _, row := range cluster(dst.Server).Rows(t, "SELECT quote_ident(rolname) FROM pg_roles WHERE oid >= 16384") {
			dst.Server.Exec(t, "DROP ROLE "+row[0])
		}
	})
}

// TestRoles goes from one server of its own to another: roles are the cluster's.
func TestRoles(t *testing.T) {
	t.Parallel()
	logged := pgtest.Options{Settings: map[string]string{"log_statement": "all"}}
	source, target := pgtest.Start(t, logged), pgtest.Start(t, logged)
	source.Exec(t, rolesSQL)
	src := source.Database(t)
	src.Exec(t, "CREATE SCHEMA s AUTHORIZATION sailor; CREATE TABLE s.a (id int); ALTER TABLE s.a OWNER TO sailor; CREATE TABLE b (id int)")
	copyRoles := func(t *testing.T, dst *pgtest.Database, change func(*config.Config)) string {
		t.Helper()
		o := options(t, src, dst)
		change(&o.Config)
		said := spoken(&o)
		copyAll(t, o)
		require.NotContains(t, said.String(), "SCRAM-SHA", "a verifier is a secret")
		require.False(t, strings.Contains(target.Log(t), "SCRAM-SHA"), "nor is it in the server's log")
		return said.String()
	}
	t.Run("museum", func(t *testing.T) {
		target.MuseumRoles(t) // for the tablespace
		target.Exec(t, `DROP ROLE museum_owner; DROP ROLE museum_reader; DROP ROLE museum_writer; DROP ROLE "museum ""Odd"" röle\'%"`)
		museum, dst := pgtest.Source(t).Museum(t), target.Database(t)
		withoutRoles(t, dst)
		copyAll(t, options(t, museum, dst))
		pgtest.RequireEqual(t, museum, dst)
		roles := "SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname LIKE 'museum%' ORDER BY 1"
		require.Equal(t, museum.Rows(t, roles), dst.Rows(t, roles))
	})
	t.Run("referenced", func(t *testing.T) {
		dst := target.Database(t)
		withoutRoles(t, dst)
		copyRoles(t, dst, func(*config.Config) {})
		require.Equal(t, [][]string{{"crew", ""}, {"sailor", ""}}, dst.Rows(t, "SELECT rolname, coalesce(rolpassword, '') FROM pg_authid WHERE oid >= 16384 ORDER BY 1"))
	})
	t.Run("all", func(t *testing.T) {
		all := func(c *config.Config) { c.Roles, c.RolePasswords, c.KeepLedger = config.RolesAll, true, true }
		first, second, third := target.Database(t), target.Database(t), target.Database(t)
		withoutRoles(t, first)
		requirePlanWithoutSecrets(t, src, first, all)
		copyRoles(t, first, all)
		require.Equal(t, "0", first.Query(t, "SELECT count(*) FROM pgconvoy.task t WHERE t::text LIKE '%SCRAM_SHA%'"))
		require.Equal(t, cluster(source).Rows(t, rolesQuery), cluster(target).Rows(t, rolesQuery))
		require.NotContains(t, copyRoles(t, second, all), "WARN", "nothing is left to do the next time")
		requireReconciled(t, third, func() string { return copyRoles(t, third, all) })
		target.Exec(t, "DROP DATABASE "+second.Name)
		target.Exec(t, "DROP DATABASE "+third.Name)
	})
	t.Run("renamed, by an ordinary role", func(t *testing.T) {
		target.Exec(t, "CREATE ROLE maker LOGIN CREATEROLE CREATEDB; GRANT pg_read_all_data TO maker WITH ADMIN OPTION")
		target.Exec(t, "CREATE DATABASE made OWNER maker TEMPLATE template0")
		dst := &pgtest.Database{Server: target, Name: "made"}
		withoutRoles(t, dst)
		said := copyRoles(t, dst, func(c *config.Config) {
			c.Target.URI, c.Roles, c.OwnerMap = config.Secret(dst.URIAs("maker")), config.RolesAll, config.Renames{"postgres": "maker", "sailor": "seaman"}
		})
		require.Contains(t, said, `role \"captain\" is made without SUPERUSER, which role \"maker\" may not give`)
		require.Equal(t, [][]string{{"a", "seaman"}, {"b", "maker"}}, dst.Rows(t, "SELECT relname, pg_get_userbyid(relowner) FROM pg_class WHERE relkind = 'r' AND relname IN ('a', 'b') ORDER BY 1"))
		require.Equal(t, [][]string{{"captain"}, {"crew"}, {"maker"}, {"seaman"}, {`Ship's "crew"`}}, dst.Rows(t, "SELECT rolname FROM pg_roles WHERE oid >= 16384 ORDER BY lower(rolname)"))
	})
}

// requirePlanWithoutSecrets prints the plan, which names the statements.
func requirePlanWithoutSecrets(t *testing.T, src, dst *pgtest.Database, change func(*config.Config)) {
	t.Helper()
	o := options(t, src, dst)
	change(&o.Config)
	p, err := run.Prepare(t.Context(), o)
	require.NoError(t, err)
	defer p.Close()
	for _, form := range []string{"table", ui.JSON} {
		var b bytes.Buffer
		require.NoError(t, ui.Plan(&b, form, p.Plan, p.Outlook))
		require.Contains(t, b.String(), "PASSWORD '***'")
		require.NotContains(t, b.String(), "SCRAM-SHA")
	}
	require.Equal(t, "0", dst.Query(t, "SELECT count(*) FROM pg_roles WHERE oid >= 16384"), "a plan changes nothing")
}

// requireReconciled has roles that differ on the target: they get what is harmless,
// and lose nothing.
func requireReconciled(t *testing.T, dst *pgtest.Database, again func() string) {
	t.Helper()
	dst.Exec(t, `ALTER ROLE crew CREATEDB; ALTER ROLE sailor NOLOGIN CONNECTION LIMIT 3; REVOKE crew FROM sailor; ALTER ROLE captain NOSUPERUSER;
		ALTER ROLE sailor SET work_mem = '1MB'; ALTER ROLE sailor RESET search_path; REVOKE pg_read_all_data FROM crew; ALTER ROLE sailor PASSWORD 'own'`)
	said := again()
	for _, differs := range []string{"it has CREATEDB", "its connection limit is 3, not -1", "it is without SUPERUSER", "another work_mem on the target", "is not made a member of", "keeps the password"} {
		require.Contains(t, said, differs)
	}
	require.Equal(t, [][]string{{"captain", "f", "t", "-1", ""}, {"crew", "f", "f", "-1", ""}, {"sailor", "f", "t", "3", `{work_mem=1MB,"search_path=\"$user\", \"a, b\", public"}`}},
		dst.Rows(t, `SELECT rolname, rolsuper, rolcanlogin, rolconnlimit, coalesce(setconfig::text, '') FROM pg_roles r LEFT JOIN pg_db_role_setting s ON s.setrole = r.oid AND rolname <> 'crew'
			WHERE rolname IN ('captain', 'crew', 'sailor') ORDER BY 1`))
	require.Equal(t, "t", dst.Query(t, "SELECT pg_has_role('sailor', 'crew', 'MEMBER') AND NOT pg_has_role('crew', 'pg_read_all_data', 'MEMBER')"))
}
