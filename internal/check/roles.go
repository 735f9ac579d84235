package check

import (
	"context"
	_ "embed"
	"fmt"
	"strings"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

//go:embed sql/roles.sql
var sqlRoles string

// neededRole is a role that the archive of the source names.
type neededRole struct {
	OID     uint32 // on the source
	Name    string // "" if the role is gone
	Owns    bool
	Example string
	Uses    int64
}

func (r neededRole) String() string {
	verb := "is named by"
	if r.Owns {
		verb = "owns"
	}
	text := fmt.Sprintf("%s (%s %s", quoteIdent(r.Name), verb, r.Example)
	if r.Uses > 1 {
		text += fmt.Sprintf(" and %d more", r.Uses-1)
	}
	return text + ")"
}

type targetRole struct{ Exists, May bool }

// sqlTargetRoles says of each role whether it exists, and whether the session
// can give objects to it and go on working on them.
const sqlTargetRoles = `SELECT r.oid IS NOT NULL, coalesce(pg_catalog.pg_has_role(r.oid, 'USAGE') AND pg_catalog.pg_has_role(r.oid, '%s'), false)
	FROM unnest($1::text[]) WITH ORDINALITY AS w (name, n) LEFT JOIN pg_catalog.pg_roles r ON r.rolname = w.name
	ORDER BY w.n`

// NamedRoles are the roles that are named by what a run copies, as the source
// calls them, and those that own anything, as the target does.
type NamedRoles struct{ Named, Owners []string }

func namedRoles(needed []neededRole, around tasks.Around) NamedRoles {
	roles := NamedRoles{Named: []string{}}
	for _, r := range needed {
		roles.Named = append(roles.Named, r.Name)
		if r.Owns {
			roles.Owners = append(roles.Owners, around.Role(r.Name))
		}
	}
	return roles
}

// merged gives roles their names on the target, where several may be one.
func merged(all []neededRole, around tasks.Around) []neededRole {
	var roles []neededRole
	place := map[string]int{}
	for _, r := range all {
		r.Name = around.Role(r.Name)
		i, there := place[r.Name]
		if r.Name == "" || !there {
			place[r.Name] = len(roles)
			roles = append(roles, r)
			continue
		}
		roles[i].Owns = roles[i].Owns || r.Owns
		roles[i].Uses += r.Uses
	}
	return roles
}

// checkRoles looks for roles that are named on the source (owners, grantees,
// policies, default privileges, user mappings) and are gone, missing on the
// target, or closed to the role that creates the copies.
func checkRoles(ctx context.Context, p *probe) (Findings, error) {
	needed, err := query[neededRole](ctx, p.Source, p.Choice.withObjects(sqlRoles), !p.Around.NoOwner, !p.Around.NoACL)
	if err != nil {
		return nil, err
	}
	p.named = namedRoles(needed, p.Around)
	var gone list
	var roles []neededRole
	var names []string
	for _, r := range merged(needed, p.Around) {
		if r.Name == "" {
			gone.add(fmt.Sprintf("%d (%s)", r.OID, r.Example))
			continue
		}
		roles = append(roles, r)
		names = append(names, r.Name)
	}
	var found Findings
	if !gone.empty() {
		found = append(found, blocker("source-roles",
			"on the source, as superuser: ALTER … OWNER TO an existing role; if such a role only holds privileges, set the ACL of the object anew in its catalog",
			"the source has objects whose owner, or a role with privileges on them, is gone; its number alone is left: %s", gone))
	}
	setMode := "MEMBER"
	if p.Target.Major() >= 16 {
		setMode = "SET"
	}
	onTarget, err := query[targetRole](ctx, p.Target, fmt.Sprintf(sqlTargetRoles, setMode), names)
	if err != nil {
		return nil, err
	}
	return append(found, roleFindings(p, roles, onTarget)...), nil
}

// bootstrap is the oid of the superuser that initdb makes.
const bootstrap = 10

// makes reports whether the run makes the role where it is missing.
func (p *probe) makes(r neededRole) bool {
	return p.Roles && (p.target.Facts.Superuser || p.target.Facts.CreateRole) && r.OID != bootstrap && !strings.HasPrefix(r.Name, "pg_")
}

// makeHint says what keeps the run from making roles.
func (p *probe) makeHint() string {
	switch {
	case !p.Roles:
		return "have the run make them, with roles: referenced; or "
	case !p.target.Facts.Superuser && !p.target.Facts.CreateRole:
		return fmt.Sprintf("let the run make them: ALTER ROLE %s CREATEROLE; or ", p.target.role())
	}
	return "" // they are of a kind that it does not make
}

// checkRolePasswords makes sure that passwords that are to be copied can be read.
func checkRolePasswords(ctx context.Context, p *probe) (Findings, error) {
	if !p.RolePasswords {
		return nil, nil
	}
	var can bool
	if err := queryRow(ctx, p.Source, `SELECT pg_catalog.has_column_privilege('pg_catalog.pg_authid', 'rolpassword', 'SELECT')
		AND pg_catalog.has_column_privilege('pg_catalog.pg_authid', 'oid', 'SELECT')`, &can); err != nil || can {
		return nil, err
	}
	return Findings{blocker("role-passwords", "connect to the source as superuser, or leave role_passwords out",
		"role %s of the source may not read the passwords of roles (pg_authid)", p.source.role())}, nil
}

func roleFindings(p *probe, roles []neededRole, onTarget []targetRole) Findings {
	var missing, closed, create, grants list
	option := ""
	if p.Target.Major() >= 16 {
		option = " WITH INHERIT TRUE, SET TRUE"
	}
	for i, r := range roles {
		switch {
		case !onTarget[i].Exists && p.makes(r):
		case !onTarget[i].Exists:
			missing.add(r.String())
			create.add(quoteIdent(r.Name))
		case r.Owns && !onTarget[i].May:
			closed.add(r.String())
			grants.add(fmt.Sprintf("GRANT %s TO %s%s;", quoteIdent(r.Name), p.target.role(), option))
		}
	}
	var found Findings
	if !missing.empty() {
		found = append(found, blocker("target-roles",
			p.makeHint()+"on the target:\n"+create.each("CREATE ROLE %s;")+"\nor give what is theirs to others with owner_map, or to nobody with no_owner: true and no_acl: true",
			"the target lacks %s that the source uses: %s", tasks.Plural(missing.total, "role"), missing))
	}
	if !closed.empty() {
		found = append(found, blocker("target-privileges", "on the target:\n"+grants.each("%s")+"\nor give what is theirs to others with owner_map, or to "+p.target.role()+" with no_owner: true; or connect to the target as superuser",
			"role %s cannot give objects on the target to %s that it is no member of, with inheritance: %s", p.target.role(), tasks.Plural(closed.total, "owner"), closed))
	}
	return found
}
