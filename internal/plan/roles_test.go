package plan_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/plan"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

func role(name string, edits ...func(*pg.Role)) pg.Role {
	r := pg.Role{Name: name, ConnLimit: -1, Attributes: pg.RoleAttributes{Inherit: true}}
	for _, e := range edits {
		e(&r)
	}
	return r
}

// in makes a role a member of another one.
func in(group string, admin, inherit, set bool) func(*pg.Role) {
	return func(r *pg.Role) {
		r.MemberOf = append(r.MemberOf, pg.Membership{Role: group, Member: r.Name, Admin: admin, Inherit: inherit, Set: set})
	}
}

func labels(steps []tasks.Step) []string {
	var all []string
	for _, s := range steps {
		all = append(all, s.Label)
	}
	return all
}

// Referenced roles bring along what they are members of, but not their members.
func TestRolesThatAreNamed(t *testing.T) {
	t.Parallel()
	source := []pg.Role{
		role("top"), role("middle", in("top", false, true, true)), role("named", in("middle", true, false, true), in("pg_monitor", false, true, true)), role("other", in("named", false, true, true)),
		role("postgres", func(r *pg.Role) { r.Bootstrap = true }), role("pg_monitor"),
	}
	steps, notes := plan.Roles(plan.RolesInput{
		Source: source, Named: []string{"named", "postgres"}, SourceMajor: 17, Session: plan.RoleSession{Name: "me", Major: 17, Superuser: true},
		Target: []pg.Role{role("pg_monitor")},
	})
	require.Empty(t, notes)
	require.Equal(t, []string{
		`CREATE ROLE "top" INHERIT`, `CREATE ROLE "middle" INHERIT`, `CREATE ROLE "named" INHERIT`,
		`GRANT "top" TO "middle" WITH ADMIN false, INHERIT true, SET true`, `GRANT "middle" TO "named" WITH ADMIN true, INHERIT false, SET true`,
		`GRANT "pg_monitor" TO "named" WITH ADMIN false, INHERIT true, SET true`,
	}, labels(steps))
}

// A target before 16 does not know the options of memberships.
func TestMembershipsBefore16(t *testing.T) {
	t.Parallel()
	source := []pg.Role{role("a"), role("b", in("a", true, true, false)), role("c", in("gone", false, true, true))}
	steps, notes := plan.Roles(plan.RolesInput{Source: source, SourceMajor: 17, Session: plan.RoleSession{Name: "me", Major: 15, Superuser: true}})
	require.Contains(t, labels(steps), `GRANT "a" TO "b" WITH ADMIN OPTION`)
	require.Len(t, notes, 2)
	require.Contains(t, notes[0], "INHERIT or SET options")
	require.Contains(t, notes[1], `"c" is no member of "gone"`)
}

// What an ordinary role may not give is left out and said; it becomes a member of
// those that own anything.
func TestRolesMadeByAnOrdinaryRole(t *testing.T) {
	t.Parallel()
	source := []pg.Role{role("strong", func(r *pg.Role) {
		r.Attributes = pg.RoleAttributes{Superuser: true, CreateRole: true, CreateDB: true, Login: true, Replication: true, BypassRLS: true}
	})}
	for major, want := range map[int][]string{
		15: {`CREATE ROLE "strong" NOINHERIT CREATEROLE CREATEDB LOGIN`, `GRANT "strong" TO "me"`},
		16: {`CREATE ROLE "strong" NOINHERIT CREATEROLE CREATEDB LOGIN BYPASSRLS`, `GRANT "strong" TO "me" WITH INHERIT TRUE, SET TRUE`},
	} {
		steps, notes := plan.Roles(plan.RolesInput{
			Source: source, SourceMajor: 15, Owns: []string{"strong"}, Session: plan.RoleSession{Name: "me", Major: major, CreateRole: true, BypassRLS: true},
		})
		require.Equal(t, want, labels(steps), major)
		require.Contains(t, notes, `role "strong" is made without SUPERUSER, which role "me" may not give`)
		require.Contains(t, notes, `role "strong" is made without REPLICATION, which role "me" may not give`)
	}
}

// No label holds a verifier, and one of MD5 is no good under another name.
func TestPasswordsOfRoles(t *testing.T) {
	t.Parallel()
	secret := func(verifier string) func(*pg.Role) { return func(r *pg.Role) { r.Password = verifier } }
	source := []pg.Role{role("a", secret("SCRAM-SHA-256$x")), role("b", secret("md5x")), role("c", secret("md5y"))}
	steps, notes := plan.Roles(plan.RolesInput{
		Source: source, SourceMajor: 15, Session: plan.RoleSession{Name: "me", Major: 15, Superuser: true},
		Around: tasks.Around{Owners: map[string]string{"c": "d"}},
	})
	require.Equal(t, []string{`CREATE ROLE "a" INHERIT`, `CREATE ROLE "b" INHERIT`, `CREATE ROLE "d" INHERIT`, `ALTER ROLE "a" PASSWORD '***'`, `ALTER ROLE "b" PASSWORD '***'`}, labels(steps))
	require.Equal(t, `ALTER ROLE "a" PASSWORD 'SCRAM-SHA-256$x'`, steps[3].SQL)
	require.Len(t, notes, 1)
	require.Contains(t, notes[0], "MD5 verifier")
}

// Whoever may not make roles leaves those that are there alone, too.
func TestRolesOfAnOrdinaryRole(t *testing.T) {
	t.Parallel()
	login := func(r *pg.Role) { r.Attributes.Login, r.Comment = true, "a comment" }
	steps, notes := plan.Roles(plan.RolesInput{
		Source: []pg.Role{role("there", login), role("missing", login)}, Target: []pg.Role{role("there")},
		SourceMajor: 15, Session: plan.RoleSession{Name: "me", Major: 15},
	})
	require.Empty(t, steps)
	require.Equal(t, []string{`role "missing" is not on the target, where role "me" may not make it`}, notes)
}
