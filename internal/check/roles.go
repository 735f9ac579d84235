package check

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

//go:embed sql/roles.sql
var sqlRoles string

// neededRole is a role that the archive of the source names.
type neededRole struct {
	OID     uint32
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

// neededRoles lists the roles that an archive of the source names, and those that
// are gone. One that has another name on the target has that one.
func neededRoles(ctx context.Context, source *pg.Conn, around tasks.Around) ([]neededRole, error) {
	all, err := query[neededRole](ctx, source, withObjects(sqlRoles), !around.NoOwner, !around.NoACL)
	if err != nil {
		return nil, err
	}
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
	return roles, nil
}

// checkRoles looks for roles that are named on the source (owners, grantees,
// policies, default privileges, user mappings) and are gone, missing on the
// target, or closed to the role that creates the copies.
func checkRoles(ctx context.Context, p *probe) (Findings, error) {
	all, err := neededRoles(ctx, p.Source, p.Around)
	if err != nil {
		return nil, err
	}
	var gone list
	var roles []neededRole
	var names []string
	for _, r := range all {
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

func roleFindings(p *probe, roles []neededRole, onTarget []targetRole) Findings {
	var missing, closed, create, grants list
	option := ""
	if p.Target.Major() >= 16 {
		option = " WITH INHERIT TRUE, SET TRUE"
	}
	for i, r := range roles {
		switch {
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
			"on the target (or copy all of them: pg_dumpall --roles-only):\n"+create.each("CREATE ROLE %s;"),
			"the target lacks %s that the source uses: %s", plural(missing.total, "role"), missing))
	}
	if !closed.empty() {
		found = append(found, blocker("target-privileges", "on the target:\n"+grants.each("%s")+"\nor connect to the target as superuser",
			"role %s cannot give objects on the target to %s that it is no member of, with inheritance: %s", p.target.role(), plural(closed.total, "owner"), closed))
	}
	return found
}
