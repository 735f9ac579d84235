package run_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/run"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// others are names on the target of the museum's roles.
var others = config.Renames{
	"museum_owner": "other owner", "museum_reader": "other_reader", "museum_writer": `other "writer"`, `museum "Odd" röle\'%`: "plain",
}

// elsewhere starts a server, has it filled, and then gives the
// museum's roles and its tablespace other names there.
func elsewhere(t *testing.T, fill func(*pgtest.Server)) *pgtest.Server {
	t.Helper()
	server := pgtest.Start(t, pgtest.Options{})
	server.MuseumRoles(t)
	fill(server)
	for old, name := range others {
		server.Exec(t, "ALTER ROLE "+tasks.QuoteIdent(old)+" RENAME TO "+tasks.QuoteIdent(name))
	}
	server.Exec(t, "ALTER TABLESPACE museum_space RENAME TO other_space")
	return server
}

// The target has the same roles and tablespaces under other names: the copy is
// what pg_dump would have made before they were renamed.
func TestMappedOwnersAndTablespaces(t *testing.T) {
	t.Parallel()
	src := pgtest.Source(t).Museum(t)
	var whole, bare *pgtest.Database
	server := elsewhere(t, func(s *pgtest.Server) {
		whole = pgtest.Reference(t, src, s)
		bare = pgtest.Reference(t, src, s, "--no-owner", "--no-acl", "--no-comments", "--no-tablespaces")
	})
	t.Run("mapped", func(t *testing.T) {
		dst := server.Database(t)
		o := options(t, src, dst)
		o.Config.OwnerMap, o.Config.TablespaceMap = others, config.Renames{"museum_space": "other_space"}
		copyAll(t, o)
		pgtest.RequireEqual(t, whole, dst)
		requireSameSchema(t, o)
		require.Equal(t, "0", dst.Query(t, "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'museum%'"))
	})
	t.Run("left out", func(t *testing.T) {
		dst := server.Database(t)
		o := options(t, src, dst)
		c := &o.Config
		c.OwnerMap = others // for policies and user mappings
		c.NoOwner, c.NoACL, c.NoComments, c.NoTablespaces = true, true, true, true
		report := copyAll(t, o)
		pgtest.RequireEqual(t, bare, dst)
		requireSameSchema(t, o)
		require.Contains(t, reasons(report), "no_acl is set")
		require.Contains(t, reasons(report), "no_comments is set")
	})
}

// With no_owner, privileges are those of the source but for what owners may do with
// what is theirs: that is nobody's loss.
func TestPrivilegesWithoutOwners(t *testing.T) {
	t.Parallel()
	src, server := pgtest.Source(t).Museum(t), pgtest.Target(t)
	server.MuseumRoles(t)
	dst := server.Database(t)
	o := options(t, src, dst)
	o.Config.NoOwner = true
	copyAll(t, o)
	requireSameSchema(t, o)
	dst.Exec(t, "REVOKE SELECT ON museum.plain FROM museum_reader; GRANT SELECT ON museum.duplicates TO museum_reader; COMMENT ON TABLE museum.big IS 'another'")
	result, err := run.VerifySchema(t.Context(), o)
	require.Error(t, err)
	var objects []string
	for _, d := range result.Differences {
		objects = append(objects, d.Object+" "+d.Property)
	}
	require.ElementsMatch(t, []string{`"museum"."plain" privileges`, `"museum"."duplicates" privileges`, `"museum"."big" comment`}, objects)
}

// reasons returns why objects were skipped.
func reasons(r tasks.Report) []string {
	var all []string
	for _, s := range r.Skipped {
		all = append(all, s.Reason)
	}
	return all
}

// No packaged server has a provider of security labels, so those of the source are
// put into its catalog by hand.
func TestSecurityLabelsWithoutTheirProvider(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	src.Exec(t, `CREATE TABLE a (id int); CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';
		INSERT INTO pg_seclabel VALUES ('a'::regclass, 'pg_class'::regclass, 0, 'it''s; "mine"', 'x; y'), ('a'::regclass, 'pg_class'::regclass, 1, 'it''s; "mine"', 'z'),
			('f'::regproc, 'pg_proc'::regclass, 0, 'selinux', 'f')`)
	report := copyAll(t, options(t, src, dst))
	require.Contains(t, report.Skipped, tasks.Skipped{Object: `2 security labels of provider it's; "mine"`, Reason: "the target has not loaded it"})
	require.Contains(t, report.Skipped, tasks.Skipped{Object: "1 security labels of provider selinux", Reason: "the target has not loaded it"})
	result, err := run.VerifySchema(t.Context(), options(t, src, dst))
	require.NoError(t, err, "%v", result.Differences)
	require.Contains(t, result.Notes, "security labels of provider selinux are not compared: the target has not loaded it")
	src.Exec(t, "DELETE FROM pg_seclabel")
	pgtest.RequireEqual(t, src, dst)
}
