package check_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/check"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

func TestSourcePrivileges(t *testing.T) {
	t.Parallel()
	role := newRole(t, pgtest.Source(t), "LOGIN")
	createRole(t, pgtest.Target(t), role, "")
	b := setup(t)
	b.sourceRole = role
	b.source.Exec(t, `CREATE SCHEMA "Sales"; CREATE TABLE "Sales"."Orders" (id serial); CREATE TABLE parts (id int) PARTITION BY LIST (id);
		CREATE TABLE part PARTITION OF parts DEFAULT; CREATE VIEW v AS SELECT 1 AS x; CREATE TABLE readable ();
		GRANT SELECT ON readable TO `+role)
	found := b.run(t)
	require.Len(t, found, 3, "%v", found)
	require.Contains(t, found[0].What, `1 schema of the`)
	require.Contains(t, found[1].What, `3 tables of the`)
	require.Contains(t, found[1].What, `"Sales"."Orders", public.part, public.parts`)
	require.Contains(t, found[2].What, `"Sales"."Orders_id_seq"`)
	for _, f := range found {
		require.Equal(t, check.Blocker, f.Level)
		require.Equal(t, "source-privileges", f.Check)
		runAlternative(t, b.source, f.Hint)
	}
	require.Empty(t, b.run(t))
}

func TestSourcePrivilegesAreBounded(t *testing.T) {
	t.Parallel()
	role := newRole(t, pgtest.Source(t), "LOGIN")
	createRole(t, pgtest.Target(t), role, "")
	b := setup(t)
	b.sourceRole = role
	b.source.Exec(t, `CREATE SCHEMA s; GRANT USAGE ON SCHEMA s TO PUBLIC;
		DO $$ BEGIN FOR i IN 1..30 LOOP EXECUTE format('CREATE TABLE s.t%s (); CREATE TABLE u%s ()', i, i); END LOOP; END $$`)
	f := requireOnly(t, b.run(t), check.Blocker, "source-privileges")
	require.Contains(t, f.What, "60 tables")
	require.Contains(t, f.What, "and 40 more")
	require.Contains(t, f.Hint, "ON ALL TABLES IN SCHEMA public, s TO")
	require.Less(t, len(f.What)+len(f.Hint), 1500)
	runAlternative(t, b.source, f.Hint)
	require.Empty(t, b.run(t))
}

func TestReadAllDataIsEnough(t *testing.T) {
	t.Parallel()
	role := newRole(t, pgtest.Source(t), "LOGIN")
	b := setup(t)
	b.sourceRole = role
	b.source.Exec(t, "CREATE SCHEMA s; CREATE TABLE s.a (id serial); CREATE EXTENSION citext; GRANT pg_read_all_data TO "+role)
	require.Empty(t, b.run(t))
}

func TestLargeObjectPrivileges(t *testing.T) {
	t.Parallel()
	role := newRole(t, pgtest.Source(t), "LOGIN")
	b := setup(t)
	b.sourceRole = role
	b.source.Exec(t, `SELECT lo_create(i) FROM generate_series(101, 130) i; GRANT SELECT ON LARGE OBJECT 101 TO PUBLIC;
		GRANT SELECT ON LARGE OBJECT 102 TO `+role+`; ALTER LARGE OBJECT 103 OWNER TO `+role)
	f := requireOnly(t, of(b.run(t), "source-privileges"), check.Blocker, "source-privileges")
	require.Contains(t, f.What, "27 large objects")
	require.Contains(t, f.Hint, "gexec")
	b.source.Exec(t, "SELECT lo_unlink(i) FROM generate_series(111, 130) i")
	f = requireOnly(t, of(b.run(t), "source-privileges"), check.Blocker, "source-privileges")
	grants, more, _ := strings.Cut(f.Hint, "\n")
	require.Contains(t, more, "on the target: CREATE ROLE \""+role+"\";", "the grants are copied along")
	_, grant, ok := strings.Cut(grants, ": ")
	require.True(t, ok)
	b.source.Exec(t, grant)
	require.Empty(t, of(b.run(t), "source-privileges"))
	b.source.Exec(t, "REASSIGN OWNED BY "+role+" TO postgres")
}

func TestRowSecurity(t *testing.T) {
	t.Parallel()
	role := newRole(t, pgtest.Source(t), "LOGIN")
	other := newRole(t, pgtest.Target(t), "LOGIN")
	createRole(t, pgtest.Target(t), role, "")
	b := setup(t)
	b.source.Exec(t, fmt.Sprintf(`CREATE TABLE hidden (); ALTER TABLE hidden ENABLE ROW LEVEL SECURITY; GRANT SELECT ON hidden TO %[1]s;
		CREATE TABLE own (); ALTER TABLE own OWNER TO %[1]s; ALTER TABLE own ENABLE ROW LEVEL SECURITY;
		CREATE TABLE forced (); ALTER TABLE forced OWNER TO %[1]s; ALTER TABLE forced ENABLE ROW LEVEL SECURITY; ALTER TABLE forced FORCE ROW LEVEL SECURITY`, role))
	require.Empty(t, b.run(t))
	b.sourceRole = role
	f := requireOnly(t, b.run(t), check.Blocker, "source-row-security")
	require.Contains(t, f.What, "2 tables")
	require.Contains(t, f.What, "public.forced, public.hidden")
	pgtest.Source(t).Exec(t, "ALTER ROLE "+role+" BYPASSRLS")
	require.Empty(t, b.run(t))

	b.targetRole = other
	f = requireOnly(t, of(b.run(t), "target-row-security"), check.Warning, "target-row-security")
	require.Contains(t, f.What, "1 table FORCE")
	runHint(t, b.target, f.Hint)
	require.Empty(t, of(b.run(t), "target-row-security"))
}

func TestRolesMissing(t *testing.T) {
	t.Parallel()
	src := pgtest.Source(t)
	var roles []string
	for range 10 {
		roles = append(roles, newRole(t, src, ""))
	}
	b := setup(t)
	sql := fmt.Sprintf(`CREATE TABLE a (id int); ALTER TABLE a OWNER TO %s; GRANT SELECT ON a TO %s; GRANT SELECT (id) ON a TO %s;
		CREATE POLICY p ON a TO %s; ALTER DEFAULT PRIVILEGES FOR ROLE %s GRANT SELECT ON TABLES TO %s;
		CREATE EXTENSION postgres_fdw; CREATE SERVER f FOREIGN DATA WRAPPER postgres_fdw; CREATE USER MAPPING FOR %s SERVER f;
		GRANT EXECUTE ON FUNCTION pg_catalog.pg_reload_conf() TO %s;
		SELECT lo_create(77); ALTER LARGE OBJECT 77 OWNER TO %s; CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; ALTER FUNCTION f() OWNER TO %s`,
		roles[0], roles[1], roles[2], roles[3], roles[4], roles[5], roles[6], roles[7], roles[8], roles[9])
	b.source.Exec(t, sql)
	f := requireOnly(t, b.run(t), check.Blocker, "target-roles")
	require.Contains(t, f.What, "10 roles")
	for _, role := range roles {
		require.Contains(t, f.What, role)
	}
	require.Contains(t, f.What, fmt.Sprintf("%q (owns table public.a)", roles[0]))
	runHint(t, b.target, f.Hint)
	t.Cleanup(func() { pgtest.Target(t).Exec(t, "DROP ROLE "+strings.Join(roles, ", ")) })
	require.Empty(t, b.run(t))
}

func TestRolesOfExtensionsAndSystemDoNotMatter(t *testing.T) {
	t.Parallel()
	super := newRole(t, pgtest.Source(t), "LOGIN SUPERUSER")
	b := setup(t)
	b.sourceRole = super
	conn := b.input(t).Source
	_, err := conn.Exec(t.Context(), "SET default_transaction_read_only = off")
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "CREATE EXTENSION hstore SCHEMA public; CREATE EXTENSION pg_stat_statements SCHEMA public")
	require.NoError(t, err)
	require.Empty(t, b.run(t))
}

func TestRolesGone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.source.Exec(t, "CREATE TABLE a (); UPDATE pg_class SET relowner = 999999 WHERE relname = 'a'")
	f := requireOnly(t, b.run(t), check.Blocker, "source-roles")
	require.Contains(t, f.What, "999999 (table public.a)")
	b.source.Exec(t, "UPDATE pg_class SET relowner = 10 WHERE relname = 'a'")
	require.Empty(t, b.run(t))
}

func TestMembershipInOwners(t *testing.T) {
	t.Parallel()
	owner, reader := newRole(t, pgtest.Source(t), ""), newRole(t, pgtest.Source(t), "")
	createRole(t, pgtest.Target(t), owner, "")
	createRole(t, pgtest.Target(t), reader, "")
	role := newRole(t, pgtest.Target(t), "LOGIN")
	b := setup(t)
	b.targetRole = role
	b.target.Exec(t, "GRANT CREATE ON DATABASE "+b.target.Name+" TO "+role)
	b.source.Exec(t, fmt.Sprintf("CREATE SCHEMA s AUTHORIZATION %s; CREATE TABLE s.a (); ALTER TABLE s.a OWNER TO %[1]s; GRANT SELECT ON s.a TO %s", owner, reader))
	f := requireOnly(t, b.run(t), check.Blocker, "target-privileges")
	require.Contains(t, f.What, owner)
	require.NotContains(t, f.What, reader)
	runHint(t, b.target, f.Hint)
	require.Empty(t, b.run(t))
}

func TestSnapshotAge(t *testing.T) {
	t.Parallel()
	if major := pgtest.DefaultMajor(t); major > 16 {
		require.Empty(t, setup(t).run(t), "the setting is gone in %d", major)
		return
	}
	s := pgtest.Start(t, pgtest.Options{Settings: map[string]string{"old_snapshot_threshold": "1h"}})
	b := setup(t)
	b.source = s.Database(t)
	f := requireOnly(t, b.run(t), check.Blocker, "snapshot-age")
	require.Contains(t, f.What, "1h")
}

func TestSourceActivity(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.source.Exec(t, "CREATE TABLE busy ()")
	conn := b.source.Connect(t)
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "LOCK TABLE busy")
	require.NoError(t, err)
	f := requireOnly(t, b.run(t), check.Warning, "source-locks")
	require.Contains(t, f.What, fmt.Sprintf("public.busy (process %d)", conn.PgConn().PID()))
	require.NoError(t, tx.Rollback(t.Context()))
	require.Empty(t, b.run(t))

	b.source.Exec(t, "BEGIN; INSERT INTO busy DEFAULT VALUES; PREPARE TRANSACTION '"+b.source.Name+"'")
	t.Cleanup(func() { b.source.Exec(t, "ROLLBACK PREPARED '"+b.source.Name+"'") })
	f = requireOnly(t, b.run(t), check.Warning, "source-prepared")
	require.Contains(t, f.What, b.source.Name)
}

func TestNotCopiedObjects(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.source.Exec(t, "CREATE TABLE a (id int); INSERT INTO a VALUES (1), (1)")
	require.Error(t, b.source.TryExec("CREATE UNIQUE INDEX CONCURRENTLY broken ON a (id)"))
	b.source.Exec(t, "INSERT INTO pg_seclabel VALUES ('a'::regclass, 'pg_class'::regclass, 0, 'selinux', 'x')")
	b.source.Exec(t, "CREATE SUBSCRIPTION sub CONNECTION 'dbname=x' PUBLICATION p WITH (connect = false, slot_name = NONE)")
	t.Cleanup(func() { b.source.Exec(t, "DROP SUBSCRIPTION sub") })
	found := b.run(t)
	require.Len(t, of(found, "not-copied"), 3, "%v", found)
	require.Empty(t, found.Blockers())
	require.Contains(t, found[0].What, "public.broken")
	require.Contains(t, found[1].What, "1 subscription copied disabled, and only by a superuser: sub")
	require.Contains(t, found[2].What, "1 provider needed on the target for the security labels of the source: selinux")
}

func TestLibrariesAndMappings(t *testing.T) {
	t.Parallel()
	role := newRole(t, pgtest.Source(t), "LOGIN")
	b := setup(t)
	b.sourceRole = role
	b.source.Exec(t, `CREATE FUNCTION lib() RETURNS trigger LANGUAGE c AS '$libdir/autoinc', 'autoinc'; CREATE EXTENSION postgres_fdw;
		CREATE SERVER f FOREIGN DATA WRAPPER postgres_fdw; CREATE USER MAPPING FOR postgres SERVER f OPTIONS (password 'secret')`)
	found := b.run(t)
	require.Len(t, found, 2, "%v", found)
	require.Contains(t, found[0].What, "postgres on server f")
	require.Contains(t, found[1].What, "$libdir/autoinc")
	b.sourceRole = ""
	require.Len(t, b.run(t), 1)
}

func TestRunNeedsOpenConnections(t *testing.T) {
	t.Parallel()
	in := setup(t).input(t)
	require.NoError(t, in.Target.Close(context.Background()))
	_, err := check.Run(t.Context(), in)
	require.ErrorContains(t, err, "target")
}
