package check_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/check"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// What is left out, or has another name, is not asked for.
func TestRolesThatAreMappedOrLeftOut(t *testing.T) {
	t.Parallel()
	owner, reader := newRole(t, pgtest.Source(t), ""), newRole(t, pgtest.Source(t), "")
	other := newRole(t, pgtest.Target(t), "")
	b := setup(t)
	b.source.Exec(t, fmt.Sprintf("CREATE TABLE a (id int); ALTER TABLE a OWNER TO %s; GRANT SELECT ON a TO %s", owner, reader))
	missing := func(around tasks.Around, makes bool) check.Findings {
		b.edit = func(in *check.Input) { in.Around, in.Roles = around, makes }
		return b.run(t)
	}
	f := requireOnly(t, missing(tasks.Around{}, false), check.Blocker, "target-roles")
	require.Contains(t, f.Hint, "roles: referenced")
	require.Empty(t, missing(tasks.Around{NoOwner: true, NoACL: true}, false))
	f = requireOnly(t, missing(tasks.Around{NoACL: true}, false), check.Blocker, "target-roles")
	require.NotContains(t, f.What, reader)
	f = requireOnly(t, missing(tasks.Around{NoOwner: true}, false), check.Blocker, "target-roles")
	require.Contains(t, f.What, owner, "privileges name the owner all the same")
	require.Empty(t, missing(tasks.Around{Owners: map[string]string{owner: other, reader: other}}, false))
	require.Empty(t, missing(tasks.Around{}, true), "the run makes them")
	f = requireOnly(t, missing(tasks.Around{Owners: map[string]string{owner: "pg_none", reader: other}}, true), check.Blocker, "target-roles")
	require.Contains(t, f.What, "pg_none", "such a name is nobody's to make")
}

func TestPasswordsOfRolesMustBeReadable(t *testing.T) {
	t.Parallel()
	role := newRole(t, pgtest.Source(t), "LOGIN")
	b := setup(t)
	b.edit = func(in *check.Input) { in.RolePasswords = true }
	require.Empty(t, b.run(t))
	b.sourceRole = role
	requireOnly(t, b.run(t).Blockers(), check.Blocker, "role-passwords")
}

func TestRequirements(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.source.Exec(t, "CREATE EXTENSION hstore")
	pin := func(version string) {
		b.edit = func(in *check.Input) { in.Around.Versions = map[string]string{"hstore": version} }
	}
	pin("1.5")
	require.Empty(t, b.run(t), "it is not the source's, nor the default one, and wanted")
	pin("0.1")
	requireOnly(t, b.run(t), check.Blocker, "extensions")
	b.target.Exec(t, "CREATE EXTENSION hstore VERSION '1.5'")
	pin("1.6")
	f := requireOnly(t, b.run(t), check.Blocker, "extensions")
	b.target.Exec(t, sqlOfHint.FindString(f.Hint[:len("on the target: ALTER EXTENSION \"hstore\" UPDATE TO '1.6';")]))
	require.Empty(t, b.run(t))
}
