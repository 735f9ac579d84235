package run_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/check"
	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/run"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// propertiesQuery shows what a database is as a whole.
const propertiesQuery = `SELECT pg_get_userbyid(datdba), datconnlimit, pg_encoding_to_char(encoding), datcollate, datctype, shobj_description(d.oid, 'pg_database'),
	(SELECT array_agg(a::text ORDER BY a::text) FROM unnest(datacl) a),
	(SELECT array_agg(concat_ws(' ', setrole::regrole, c) ORDER BY setrole::regrole::text, c) FROM pg_db_role_setting, unnest(setconfig) c WHERE setdatabase = d.oid)
	FROM pg_database d WHERE datname = current_database()`

// newOwners makes two roles on the source, with names of their own, and has both
// servers without them in the end.
func newOwners(t *testing.T, prefix string, databases ...string) (owner, user string) {
	t.Helper()
	owner, user = prefix+" owner", prefix+"_user"
	pgtest.Source(t).Exec(t, `CREATE ROLE "`+owner+`"; CREATE ROLE `+user)
	t.Cleanup(func() {
		for _, name := range databases {
			pgtest.Source(t).Exec(t, `DROP DATABASE IF EXISTS `+name)
			pgtest.Target(t).Exec(t, `DROP DATABASE IF EXISTS `+name)
		}
		for _, s := range []*pgtest.Server{pgtest.Source(t), pgtest.Target(t)} {
			s.Exec(t, `DROP ROLE IF EXISTS "`+owner+`"; DROP ROLE IF EXISTS `+user)
		}
	})
	return owner, user
}

func TestCreatedDatabase(t *testing.T) {
	t.Parallel()
	owner, user := newOwners(t, "created", "created_here")
	source := pgtest.Source(t)
	source.Exec(t, "CREATE DATABASE created_here TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C' CONNECTION LIMIT 33")
	src, dst := &pgtest.Database{Server: source, Name: "created_here"}, &pgtest.Database{Server: pgtest.Target(t), Name: "created_here"}
	src.Exec(t, `ALTER DATABASE created_here OWNER TO "`+owner+`"; GRANT CREATE ON DATABASE created_here TO `+user+` WITH GRANT OPTION;
		REVOKE CONNECT ON DATABASE created_here FROM PUBLIC; COMMENT ON DATABASE created_here IS 'it''s';
		ALTER DATABASE created_here SET search_path = s, "$user", public; ALTER DATABASE created_here SET session_preload_libraries = 'auto_explain';
		ALTER ROLE `+user+` IN DATABASE created_here SET work_mem = '77MB'; CREATE SCHEMA s; CREATE TABLE s.t (v int); INSERT INTO s.t VALUES (1); ALTER TABLE s.t OWNER TO "`+owner+`";
		CREATE FUNCTION s.f(int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN (SELECT count(*) >= 0 FROM t); END';
		ALTER DATABASE created_here SET default_transaction_read_only = on`)
	o := options(t, src, dst)
	exists := "SELECT count(*) FROM pg_database WHERE datname = 'created_here'"
	_, err := run.Plan(t.Context(), o)
	var failed *check.FailedError
	require.ErrorAs(t, err, &failed, "unless it is asked for")
	require.Contains(t, err.Error(), "create_database: true")

	o.Config.CreateDatabase = true
	require.NoError(t, run.Check(t.Context(), o))
	o.Shaped = true
	p, err := run.Plan(t.Context(), o)
	require.NoError(t, err)
	require.Contains(t, p.Plan.Steps[0].Label, `CREATE DATABASE "created_here" TEMPLATE template0 ENCODING 'LATIN1'`)
	file := filepath.Join(t.TempDir(), "plan.json")
	require.NoError(t, p.Save(file))
	p.Close()
	require.Equal(t, "0", cluster(dst.Server).Query(t, exists), "a plan changes nothing")
	o.Config.TablespaceMap = config.Renames{"pg_default": "there_is_none"}
	_, err = run.Run(t.Context(), o)
	require.ErrorContains(t, err, `create the target database "created_here"`)

	o.Config.TablespaceMap, o.Config.Roles = nil, config.RolesNone
	_, err = run.Run(t.Context(), o)
	require.ErrorAs(t, err, &failed, "its owner is missing")
	require.Equal(t, "0", cluster(dst.Server).Query(t, exists), "it is dropped again")

	o.Config.Roles = config.RolesReferenced
	o.Follow, err = run.ReadPlanFile(file)
	require.NoError(t, err)
	copyAll(t, o)
	require.Equal(t, src.Rows(t, propertiesQuery), dst.Rows(t, propertiesQuery))
	pgtest.RequireEqual(t, src, dst)
}

// A database that is there already gets what it lacks.
func TestDatabasePropertiesAreReconciled(t *testing.T) {
	t.Parallel()
	owner, user := newOwners(t, "reconciled")
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	s, d := tasks.QuoteIdent(src.Name), tasks.QuoteIdent(dst.Name)
	src.Exec(t, `ALTER DATABASE `+s+` OWNER TO "`+owner+`"; GRANT TEMPORARY, CREATE ON DATABASE `+s+` TO `+user+`; REVOKE TEMPORARY ON DATABASE `+s+` FROM PUBLIC;
		COMMENT ON DATABASE `+s+` IS 'new'; ALTER DATABASE `+s+` SET work_mem = '5MB'; ALTER DATABASE `+s+` SET datestyle = 'ISO, DMY';
		ALTER DATABASE `+s+` CONNECTION LIMIT 50; ALTER ROLE `+user+` IN DATABASE `+s+` SET search_path = ''; CREATE TABLE a (id int)`)
	dst.Exec(t, "ALTER DATABASE "+d+" SET work_mem = '6MB'")
	o := options(t, src, dst)
	said := spoken(&o)
	copyAll(t, o)
	require.Equal(t, [][]string{{"postgres", "-1", "new", "{=Tc/postgres,postgres=CTc/postgres," + user + "=CT/postgres}",
		`{"- DateStyle=ISO, DMY","- work_mem=6MB","` + user + ` search_path=\"\""}`}},
		dst.Rows(t, "SELECT a, b, f, g, h FROM ("+propertiesQuery+") x (a, b, c, d, e, f, g, h)"))
	for _, differs := range []string{"another work_mem, which stays", "CONNECTION LIMIT 50", "REVOKE TEMPORARY", "belongs to"} {
		require.Contains(t, said.String(), differs)
	}
}

// A version of the file goes before that of the target's default; one that is not
// there is refused.
func TestExtensionsInRequiredVersions(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	src.Exec(t, `CREATE SCHEMA "odd ; schema"; CREATE EXTENSION hstore SCHEMA "odd ; schema"; CREATE EXTENSION citext`)
	o := options(t, src, dst)
	o.Config.Requirements = filepath.Join(t.TempDir(), "requirements.json")
	rewrite(t, o.Config.Requirements, `[{"name": "hstore", "version": "0.1"}, {"name": "nothing", "version": "1"}]`)
	said := spoken(&o)
	_, err := run.Run(t.Context(), o)
	require.ErrorContains(t, err, `does not have version 0.1 of extension "hstore", which requirements asks for; it has 1.4, 1.5`)
	rewrite(t, o.Config.Requirements, `[{"name": "hstore", "version": "1.6", "more": 1}, {"name": "nothing", "version": "1"}]`)
	copyAll(t, o)
	require.Contains(t, said.String(), "that the source does not have: nothing")
	versions := "SELECT extname, extversion FROM pg_extension WHERE extname IN ('hstore', 'citext') ORDER BY 1"
	require.Equal(t, [][]string{src.Rows(t, versions)[0], {"hstore", "1.6"}}, dst.Rows(t, versions))
}
