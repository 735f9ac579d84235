package check_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/check"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

func TestTargetNotEmpty(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ sql, label string }{
		{"CREATE TABLE a (id serial)", "2 objects: sequence public.a_id_seq, table public.a"},
		{"CREATE SCHEMA s; CREATE VIEW s.v AS SELECT 1 AS x", "view s.v"},
		{"CREATE TYPE mood AS ENUM ('x')", "1 object: type public.mood"},
		{"CREATE TYPE pair AS (a int, b int)", "1 object: type public.pair"},
		{"CREATE TYPE span AS RANGE (subtype = date)", "type public.span"},
		{`CREATE DOMAIN "Odd Name" AS int`, `type public."Odd Name"`},
		{"CREATE PROCEDURE p() LANGUAGE sql AS ''", "procedure public.p"},
		{"SELECT lo_create(4711)", "large object 4711"},
		{"CREATE PUBLICATION p", "publication p"},
		{"CREATE EXTENSION file_fdw; CREATE SERVER f FOREIGN DATA WRAPPER file_fdw; CREATE FOREIGN TABLE ft (a int) SERVER f OPTIONS (filename '/dev/null')", "1 object: foreign table public.ft"},
		{"CREATE FUNCTION public.f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION public.f()", "event trigger e, function public.f"},
	} {
		t.Run(c.sql, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.target.Exec(t, c.sql)
			f := requireOnly(t, b.run(t).Blockers(), check.Blocker, "target-empty")
			require.Contains(t, f.What, c.label)
			require.Contains(t, f.Hint, b.target.Name)
		})
	}
}

func TestTargetListIsBounded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.target.Exec(t, "DO $$ BEGIN FOR i IN 1..30 LOOP EXECUTE format('CREATE TABLE t%s ()', i); END LOOP; END $$")
	f := requireOnly(t, b.run(t), check.Blocker, "target-empty")
	require.Contains(t, f.What, "30 objects")
	require.Contains(t, f.What, "and 10 more")
}

func TestTargetWithExtensionIsEmpty(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, db := range []*pgtest.Database{b.source, b.target} {
		db.Exec(t, "CREATE EXTENSION citext; CREATE EXTENSION hstore; CREATE EXTENSION postgres_fdw")
	}
	require.Empty(t, b.run(t))
}

func TestTargetLeftovers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.target.Exec(t, "CREATE SCHEMA other; CREATE COLLATION other.c (locale = 'C'); CREATE EXTENSION postgres_fdw; CREATE SERVER f FOREIGN DATA WRAPPER postgres_fdw")
	found := b.run(t)
	require.Len(t, of(found, "target-leftovers"), 2)
	require.Empty(t, found.Blockers())
	require.Contains(t, found[0].What, "2 objects that will stay: collation other.c, server f")
	require.Contains(t, found[1].What, "other")
}

func TestTargetSchemas(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.source.Exec(t, `CREATE SCHEMA "Sales"`)
	b.target.Exec(t, `CREATE SCHEMA "Sales"`)
	f := requireOnly(t, b.run(t), check.Blocker, "target-schemas")
	require.Contains(t, f.What, `"Sales"`)
	b.target.Exec(t, `DROP SCHEMA "Sales"`)
	require.Empty(t, b.run(t))
}

func TestSchemaPublic(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.target.Exec(t, "GRANT CREATE ON SCHEMA public TO PUBLIC")
	requireOnly(t, b.run(t), check.Warning, "target-public")
	b.target.Exec(t, "DROP SCHEMA public")
	f := requireOnly(t, b.run(t), check.Blocker, "target-public")
	b.source.Exec(t, "DROP SCHEMA public")
	require.Empty(t, b.run(t))
	runHint(t, b.target, f.Hint)
	requireOnly(t, b.run(t), check.Warning, "target-public")
}

func TestLedgers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.target.Exec(t, `CREATE SCHEMA pgconvoy; COMMENT ON SCHEMA pgconvoy IS 'pgconvoy ledger, layout 3'; CREATE TABLE pgconvoy.run (run text, state text);
		CREATE TABLE half (); ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC`)
	found := b.run(t)
	f := requireOnly(t, found, check.Blocker, check.UnfinishedLedger)
	require.Contains(t, f.Hint, "planner resume")
	var failed *check.FailedError
	require.ErrorAs(t, found.Err(), &failed)
	require.Equal(t, 3, failed.ExitCode())

	b.target.Exec(t, "INSERT INTO pgconvoy.run VALUES ('main', 'running'), ('old', 'complete')")
	requireOnly(t, b.run(t), check.Blocker, check.UnfinishedLedger)

	b.target.Exec(t, "UPDATE pgconvoy.run SET state = 'complete'; DROP TABLE half; ALTER DEFAULT PRIVILEGES REVOKE SELECT ON TABLES FROM PUBLIC")
	f = requireOnly(t, b.run(t), check.Blocker, "target-ledger")
	runHint(t, b.target, f.Hint)
	require.Empty(t, b.run(t))

	b.target.Exec(t, "CREATE SCHEMA pgconvoy")
	f = requireOnly(t, b.run(t), check.Blocker, "target-ledger")
	require.Contains(t, f.What, "no ledger of ours")
}

func TestLedgerThatTheRoleCannotRead(t *testing.T) {
	t.Parallel()
	role := newRole(t, pgtest.Target(t), "LOGIN")
	b := setup(t)
	b.targetRole = role
	b.target.Exec(t, `CREATE SCHEMA pgconvoy; COMMENT ON SCHEMA pgconvoy IS 'pgconvoy ledger'; CREATE TABLE pgconvoy.run (run text, state text)`)
	require.Len(t, of(b.run(t), check.UnfinishedLedger), 1)
}

func TestLedgerOnSource(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.source.Exec(t, "CREATE SCHEMA pgconvoy; CREATE TABLE pgconvoy.run (run text, state text); CREATE UNLOGGED TABLE pgconvoy.x ()")
	requireOnly(t, b.run(t), check.Blocker, "source-ledger")
	b.source.Exec(t, "COMMENT ON SCHEMA pgconvoy IS 'pgconvoy ledger, layout 3'")
	requireOnly(t, b.run(t), check.Warning, "source-ledger")
}

func TestDefaultPrivileges(t *testing.T) {
	t.Parallel()
	role := newRole(t, pgtest.Target(t), "")
	b := setup(t)
	b.target.Exec(t, fmt.Sprintf(`CREATE SCHEMA s;
		ALTER DEFAULT PRIVILEGES IN SCHEMA s GRANT SELECT, INSERT ON TABLES TO %[1]s;
		ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO PUBLIC;
		ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
		ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO %[1]s`, role))
	f := requireOnly(t, b.run(t).Blockers(), check.Blocker, "default-privileges")
	require.Contains(t, f.Hint, "ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA s REVOKE INSERT, SELECT ON TABLES FROM "+role+";")
	require.Contains(t, f.Hint, "GRANT EXECUTE ON FUNCTIONS TO PUBLIC;")
	runHint(t, b.target, f.Hint)
	require.Zero(t, b.target.Count(t, "pg_default_acl"))
	require.Empty(t, b.run(t).Blockers())

	b.target.Exec(t, "DROP SCHEMA s; ALTER DEFAULT PRIVILEGES FOR ROLE "+role+" GRANT SELECT ON TABLES TO PUBLIC")
	f = requireOnly(t, b.run(t), check.Warning, "default-privileges")
	runHint(t, b.target, f.Hint)
	require.Empty(t, b.run(t))
}

func TestTargetSessions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	conn := b.target.Connect(t)
	_, err := conn.Exec(t.Context(), "SET application_name = 'shop frontend'")
	require.NoError(t, err)
	f := requireOnly(t, b.run(t), check.Warning, "target-sessions")
	require.Contains(t, f.What, "postgres (shop frontend)")
	_, err = conn.Exec(t.Context(), "SET application_name = 'pgconvoy worker'")
	require.NoError(t, err)
	require.Empty(t, b.run(t))
}

func TestTargetPrivileges(t *testing.T) {
	t.Parallel()
	role := newRole(t, pgtest.Target(t), "LOGIN")
	owner := newRole(t, pgtest.Source(t), "")
	createRole(t, pgtest.Target(t), owner, "")
	b := setup(t)
	b.targetRole = role
	b.source.Exec(t, fmt.Sprintf("CREATE TABLE a (); ALTER TABLE a OWNER TO %s; CREATE SCHEMA s AUTHORIZATION %[1]s; ", owner))
	b.target.Exec(t, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")

	found := of(b.run(t), "target-privileges")
	require.Len(t, found, 4, "%v", found)
	for _, f := range found {
		require.Equal(t, check.Blocker, f.Level)
		runHint(t, b.target, f.Hint)
	}
	require.Contains(t, found[0].What, "may not create schemas")
	require.Contains(t, found[1].What, "schema public")
	require.Contains(t, found[2].What, "may not create in the target database")
	require.Contains(t, found[3].What, "owner")
	require.Empty(t, b.run(t).Blockers())
}

func TestOwnPublicNeedsItsOwner(t *testing.T) {
	t.Parallel()
	role := newRole(t, pgtest.Target(t), "LOGIN")
	b := setup(t)
	b.targetRole = role
	b.source.Exec(t, "REVOKE USAGE ON SCHEMA public FROM PUBLIC")
	b.target.Exec(t, "GRANT CREATE ON DATABASE "+b.target.Name+" TO "+role)
	f := requireOnly(t, b.run(t), check.Blocker, "target-privileges")
	require.Contains(t, f.What, "schema public of the source")
	runHint(t, b.target, f.Hint)
	require.Empty(t, b.run(t))
	b.target.Exec(t, "ALTER DATABASE "+b.target.Name+" OWNER TO postgres")
}

func TestObjectsInSchemasOfOthers(t *testing.T) {
	t.Parallel()
	lord, owner := newRole(t, pgtest.Source(t), ""), newRole(t, pgtest.Source(t), "")
	createRole(t, pgtest.Target(t), lord, "")
	createRole(t, pgtest.Target(t), owner, "")
	role := newRole(t, pgtest.Target(t), "LOGIN IN ROLE "+lord+", "+owner)
	b := setup(t)
	b.source.Exec(t, fmt.Sprintf("CREATE SCHEMA s AUTHORIZATION %s; CREATE TABLE s.a (); ALTER TABLE s.a OWNER TO %s", lord, owner))
	require.Empty(t, b.run(t))
	b.targetRole = role
	b.target.Exec(t, "GRANT CREATE ON DATABASE "+b.target.Name+" TO "+role)
	require.Empty(t, b.run(t), "the run lets them in for a while")
	lodgers := func() []tasks.Lodger {
		in := b.input(t)
		found, err := check.Lodgers(t.Context(), in.Source, in.Target, tasks.Around{}, check.Choice{}, true)
		require.NoError(t, err)
		return found
	}
	require.Len(t, lodgers(), 1)
	require.Equal(t, owner, lodgers()[0].Role)
	b.target.Exec(t, fmt.Sprintf("GRANT %s TO %s", lord, owner))
	require.Empty(t, lodgers(), "a member may create there anyway")
}

// What is in public belongs to roles that may not create there since 15, and a
// publication to one that may create in the database.
func TestOwnersThatMayNotCreate(t *testing.T) {
	t.Parallel()
	settler, publisher := newRole(t, pgtest.Source(t), ""), newRole(t, pgtest.Source(t), "")
	createRole(t, pgtest.Target(t), settler, "")
	createRole(t, pgtest.Target(t), publisher, "")
	role := newRole(t, pgtest.Target(t), "LOGIN IN ROLE "+settler+", "+publisher)
	b := setup(t)
	b.source.Exec(t, fmt.Sprintf(`CREATE TABLE a (); ALTER TABLE a OWNER TO %s; GRANT CREATE ON DATABASE %s TO %s;
		CREATE PUBLICATION p; ALTER PUBLICATION p OWNER TO %[3]s`, settler, b.source.Name, publisher))
	require.Empty(t, b.run(t), "a superuser may give anything to anybody")
	b.targetRole = role
	b.target.Exec(t, fmt.Sprintf("GRANT CREATE ON DATABASE %s TO %s; GRANT CREATE ON SCHEMA public TO %[2]s", b.target.Name, role))
	f := requireOnly(t, of(b.run(t), "target-privileges"), check.Blocker, "target-privileges")
	require.Contains(t, f.What, fmt.Sprintf("%q (objects in schema public)", settler))
	require.Contains(t, f.What, fmt.Sprintf("%q (publications)", publisher))
	runHint(t, b.target, f.Hint)
	require.Empty(t, of(b.run(t), "target-privileges"))

	// With the database, a role owns public, and whoever inherits from it may create in both.
	b.target.Exec(t, fmt.Sprintf(`REVOKE CREATE ON SCHEMA public FROM %s, %[2]s; REVOKE CREATE ON DATABASE %[3]s FROM %[1]s, %[2]s, %[4]s`,
		settler, role, b.target.Name, publisher))
	require.NotEmpty(t, of(b.run(t), "target-privileges"))
	b.target.Exec(t, fmt.Sprintf("ALTER DATABASE %s OWNER TO %s; GRANT %[2]s TO %s", b.target.Name, settler, publisher))
	require.Empty(t, of(b.run(t), "target-privileges"))
	b.target.Exec(t, "ALTER DATABASE "+b.target.Name+" OWNER TO postgres")
}

func TestSuperuserObjects(t *testing.T) {
	t.Parallel()
	role := newRole(t, pgtest.Target(t), "LOGIN")
	b := setup(t)
	b.targetRole = role
	b.target.Exec(t, "GRANT CREATE ON DATABASE "+b.target.Name+" TO "+role)
	b.source.Exec(t, `CREATE SCHEMA s; CREATE TYPE s.spans AS RANGE (subtype = float8);
		CREATE FUNCTION s.trusted() RETURNS int LANGUAGE sql AS 'SELECT 1';
		CREATE FUNCTION s.c_one(text, text) RETURNS bool LANGUAGE internal STRICT AS 'texteq';
		CREATE FUNCTION s.leak() RETURNS int LANGUAGE sql LEAKPROOF AS 'SELECT 1';
		CREATE FUNCTION s.e() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
		CREATE EVENT TRIGGER et ON ddl_command_end EXECUTE FUNCTION s.e();
		CREATE PUBLICATION every FOR ALL TABLES; CREATE PUBLICATION none;
		CREATE OPERATOR FAMILY s.fam USING btree;
		CREATE FOREIGN DATA WRAPPER fdw;
		CREATE DOMAIN s.d AS int; CREATE CAST (text AS bytea) WITHOUT FUNCTION`)
	f := requireOnly(t, of(b.run(t), "superuser"), check.Blocker, "superuser")
	for _, label := range []string{"function s.c_one (language internal)", "function s.leak (LEAKPROOF)", "event trigger et", "publication every (FOR ALL TABLES)",
		"operator family s.fam", "foreign-data wrapper fdw", "cast (text AS bytea)", "7 objects"} {
		require.Contains(t, f.What, label)
	}
	b.targetRole = ""
	require.Empty(t, b.run(t))
}

func TestDelegatedSuperuser(t *testing.T) {
	t.Parallel()
	s := pgtest.Start(t, pgtest.Options{})
	s.Exec(t, "CREATE ROLE rds_superuser; CREATE ROLE admin LOGIN IN ROLE rds_superuser")
	s.Exec(t, "CREATE DATABASE shop OWNER admin")
	b := setup(t)
	b.target, b.targetRole = &pgtest.Database{Server: s, Name: "shop"}, "admin"
	b.source.Exec(t, "CREATE EXTENSION pageinspect; CREATE PUBLICATION every FOR ALL TABLES")
	found := b.run(t)
	require.Len(t, of(found, "superuser").Warnings(), 1)
	require.Len(t, of(found, "extensions").Warnings(), 1)
	for _, f := range found.Blockers() {
		require.Equal(t, "target-privileges", f.Check, "%v", f) // no member of role postgres
	}
	require.True(t, strings.Contains(found.Warnings()[0].Hint, "rds_superuser"))
}
