package pg

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Role is a role of a cluster, with what belongs to it in no database.
type Role struct {
	Name       string
	Bootstrap  bool // the superuser that initdb has made
	Attributes RoleAttributes
	ConnLimit  int
	ValidUntil string // "" if there is none
	Comment    string
	Settings   []string // ALTER ROLE … SET, each name=value as the catalog has it
	Password   string   // the verifier, "" if there is none or it was not asked for
	MemberOf   []Membership
}

// RoleAttributes are what a role may do.
type RoleAttributes struct {
	Superuser, Inherit, CreateRole, CreateDB, Login, Replication, BypassRLS bool
}

// Membership is that of a role in another one. Before 16, Inherit and Set have no
// meaning.
type Membership struct {
	Role, Member        string
	Admin, Inherit, Set bool
}

// Reserved reports whether the role belongs to the system: names with pg_ do.
func (r Role) Reserved() bool { return len(r.Name) > 3 && r.Name[:3] == "pg_" }

const sqlRoles = `SELECT r.rolname::text, r.oid = 10, r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin, r.rolreplication, r.rolbypassrls,
	r.rolconnlimit, coalesce(r.rolvaliduntil::text, ''), coalesce(pg_catalog.shobj_description(r.oid, 'pg_authid'), ''),
	coalesce((SELECT s.setconfig FROM pg_catalog.pg_db_role_setting s WHERE s.setrole = r.oid AND s.setdatabase = 0), '{}'), %s
	FROM pg_catalog.pg_roles r ORDER BY r.rolname`

// ReadRoles reads all roles of the cluster, in the order of their names. With
// passwords it reads pg_authid, which takes a superuser or a grant.
func ReadRoles(ctx context.Context, c *Conn, passwords bool) ([]Role, error) {
	password := "''"
	if passwords {
		password = "coalesce((SELECT a.rolpassword FROM pg_catalog.pg_authid a WHERE a.oid = r.oid), '')"
	}
	rows, err := c.Query(ctx, fmt.Sprintf(sqlRoles, password))
	if err != nil {
		return nil, fmt.Errorf("list roles of the %s: %w", c.side, err)
	}
	place := map[string]int{}
	roles, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r Role, err error) {
		a := &r.Attributes
		err = row.Scan(&r.Name, &r.Bootstrap, &a.Superuser, &a.Inherit, &a.CreateRole, &a.CreateDB, &a.Login, &a.Replication, &a.BypassRLS,
			&r.ConnLimit, &r.ValidUntil, &r.Comment, &r.Settings, &r.Password)
		place[r.Name] = len(place)
		return r, err
	})
	if err != nil {
		return nil, fmt.Errorf("list roles of the %s: %w", c.side, err)
	}
	all, err := readMemberships(ctx, c)
	if err != nil {
		return nil, err
	}
	for _, m := range all {
		if i, there := place[m.Member]; there {
			roles[i].MemberOf = append(roles[i].MemberOf, m)
		}
	}
	return roles, nil
}

// readMemberships reads who is a member of what. Where several have granted it
// (16), all that any of them has given counts.
func readMemberships(ctx context.Context, c *Conn) ([]Membership, error) {
	options := "false, false"
	if c.Major() >= 16 {
		options = "pg_catalog.bool_or(m.inherit_option), pg_catalog.bool_or(m.set_option)"
	}
	rows, err := c.Query(ctx, `SELECT g.rolname::text, u.rolname::text, pg_catalog.bool_or(m.admin_option), `+options+`
		FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles g ON g.oid = m.roleid JOIN pg_catalog.pg_roles u ON u.oid = m.member
		GROUP BY 1, 2 ORDER BY 1, 2`)
	if err != nil {
		return nil, fmt.Errorf("list memberships of the %s: %w", c.side, err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Membership])
	if err != nil {
		return nil, fmt.Errorf("list memberships of the %s: %w", c.side, err)
	}
	return all, nil
}
