package plan_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/plan"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// planOf plans one entry with the SQL and returns the statements that come of it.
func planOf(t *testing.T, around tasks.Around, desc string, sql pg.EntrySQL) []string {
	t.Helper()
	w := newWorld()
	w.Options.Around = around
	w.pre(desc, "public x me")
	var err error
	w.Selection, err = plan.Select(w.Catalog, w.entries)
	require.NoError(t, err)
	sql.Entry = w.entries[0]
	w.SQL = []pg.EntrySQL{sql}
	p, err := plan.Build(w.Input)
	require.NoError(t, err)
	var all []string
	for _, task := range p.Tasks {
		all = append(all, statements(t, task)...)
	}
	return all
}

func TestRolesAreRenamedWhereSQLNamesThem(t *testing.T) {
	t.Parallel()
	around := tasks.Around{Owners: map[string]string{"old": "new", `Od"d`: `N"ew`, "a b": "c d"}}
	for _, c := range []struct{ desc, sql, want string }{
		{"TABLE", "CREATE TABLE public.old (\n\"OWNER TO old;\" int);\n\n\nALTER TABLE public.old OWNER TO old;", "CREATE TABLE public.old (\n\"OWNER TO old;\" int);\n\n\nALTER TABLE public.old OWNER TO \"new\";"},
		{"TABLE", "CREATE TABLE a ();\nALTER TABLE a OWNER TO \"Od\"\"d\";\nALTER TABLE a SET ACCESS METHOD heap;", "CREATE TABLE a ();\nALTER TABLE a OWNER TO \"N\"\"ew\";\nALTER TABLE a SET ACCESS METHOD heap;"},
		{"FUNCTION", "CREATE FUNCTION f() AS $_$ ALTER TABLE a OWNER TO old; $$ $_$;\n/* ; /* */ ' */ -- '\nALTER FUNCTION f() OWNER TO someone;", "CREATE FUNCTION f() AS $_$ ALTER TABLE a OWNER TO old; $$ $_$;\n/* ; /* */ ' */ -- '\nALTER FUNCTION f() OWNER TO someone;"},
		{"ACL", "REVOKE ALL ON TABLE old FROM old;\nGRANT SELECT(\" TO old;\") ON TABLE \"x TO old\" TO \"a b\" WITH GRANT OPTION;\nSET SESSION AUTHORIZATION old;\nGRANT ALL ON FUNCTION f(x text) TO PUBLIC;\nRESET SESSION AUTHORIZATION;",
			"REVOKE ALL ON TABLE old FROM \"new\";\nGRANT SELECT(\" TO old;\") ON TABLE \"x TO old\" TO \"c d\" WITH GRANT OPTION;\nSET ROLE \"new\";\nGRANT ALL ON FUNCTION f(x text) TO PUBLIC;\nRESET ROLE;"},
		{"DEFAULT ACL", "ALTER DEFAULT PRIVILEGES FOR ROLE old IN SCHEMA old GRANT ALL ON TABLES  TO old WITH GRANT OPTION;", "ALTER DEFAULT PRIVILEGES FOR ROLE \"new\" IN SCHEMA old GRANT ALL ON TABLES  TO \"new\" WITH GRANT OPTION;"},
		{"POLICY", "CREATE POLICY old ON a AS RESTRICTIVE FOR SELECT TO \"a b\", other, old USING ((b = 'TO old')) WITH CHECK (true);", "CREATE POLICY old ON a AS RESTRICTIVE FOR SELECT TO \"c d\", other, \"new\" USING ((b = 'TO old')) WITH CHECK (true);"},
		{"POLICY", "CREATE POLICY p ON a USING ((SELECT 1 FROM old));", "CREATE POLICY p ON a USING ((SELECT 1 FROM old));"},
		{"USER MAPPING", "CREATE USER MAPPING FOR old SERVER old OPTIONS (\n    \"user\" 'old'\n);", "CREATE USER MAPPING FOR \"new\" SERVER old OPTIONS (\n    \"user\" 'old'\n);"},
		{"COMMENT", "COMMENT ON TABLE a IS E'x\\'; ALTER TABLE a OWNER TO old';", "COMMENT ON TABLE a IS E'x\\'; ALTER TABLE a OWNER TO old';"},
	} {
		require.Equal(t, []string{c.want}, planOf(t, around, c.desc, pg.EntrySQL{SQL: c.sql}), c.desc)
	}
}

func TestOwnersAreLeftOut(t *testing.T) {
	t.Parallel()
	sql := pg.EntrySQL{SQL: "CREATE TABLE a ();\n\n\nALTER TABLE public.a OWNER TO \"me ; too\";\nALTER TABLE a SET ACCESS METHOD heap;"}
	require.Equal(t, []string{"CREATE TABLE a ();\n\n\n\nALTER TABLE a SET ACCESS METHOD heap;"}, planOf(t, tasks.Around{NoOwner: true}, "TABLE", sql))
}

func TestTablespaceSettings(t *testing.T) {
	t.Parallel()
	sql := pg.EntrySQL{SQL: "CREATE TABLE a ();", Settings: `SET default_tablespace = "odd ""space"; SET default_table_access_method = heap;`}
	renamed := tasks.Around{Tablespaces: map[string]string{`odd "space`: "Other"}}
	require.Equal(t, []string{"SET LOCAL default_tablespace = \"Other\"; SET LOCAL default_table_access_method = heap;\nCREATE TABLE a ();"}, planOf(t, renamed, "TABLE", sql))
	require.Equal(t, []string{"SET LOCAL default_tablespace = ''; SET LOCAL default_table_access_method = heap;\nCREATE TABLE a ();"}, planOf(t, tasks.Around{NoTablespaces: true}, "TABLE", sql))
}
