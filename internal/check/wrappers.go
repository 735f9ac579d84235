package check

import (
	"context"
	"fmt"
)

// sqlServerOwners lists the foreign-data wrappers that have servers, with the
// servers' owners.
const sqlServerOwners = `SELECT DISTINCT w.fdwname::text, r.rolname::text FROM pg_catalog.pg_foreign_server s
	JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = s.srvfdw JOIN pg_catalog.pg_roles r ON r.oid = s.srvowner
	WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_foreign_server'::regclass AND d.objid = s.oid AND d.deptype = 'e')
	ORDER BY 1, 2`

// sqlMayUse says of wrappers and roles whether the role may use the wrapper. One that
// is not there yet is made by a superuser, who lets nobody use it.
const sqlMayUse = `SELECT w.oid IS NOT NULL AND r.oid IS NOT NULL AND pg_catalog.has_foreign_data_wrapper_privilege(r.oid, w.oid, 'USAGE')
	FROM ROWS FROM (unnest($1::text[]), unnest($2::text[])) WITH ORDINALITY AS p (wrapper, role, n)
	LEFT JOIN pg_catalog.pg_foreign_data_wrapper w ON w.fdwname = p.wrapper LEFT JOIN pg_catalog.pg_roles r ON r.rolname = p.role ORDER BY p.n`

// checkWrappers looks for foreign-data wrappers that the role of the target, which
// makes servers with them, or the servers' owners may not use there.
func checkWrappers(ctx context.Context, p *probe) (Findings, error) {
	if p.target.Facts.Superuser {
		return nil, nil
	}
	type use struct{ Wrapper, Role string }
	owned, err := query[use](ctx, p.Source, sqlServerOwners)
	if err != nil || len(owned) == 0 {
		return nil, err
	}
	var uses []use
	seen := map[use]bool{}
	for _, u := range owned {
		for _, role := range []string{p.target.Facts.Role, p.Around.Role(u.Role)} {
			if u := (use{u.Wrapper, role}); !seen[u] && (role == p.target.Facts.Role || !p.Around.NoOwner) {
				seen[u] = true
				uses = append(uses, u)
			}
		}
	}
	wrappers, roles := make([]string, len(uses)), make([]string, len(uses))
	for i, u := range uses {
		wrappers[i], roles[i] = u.Wrapper, u.Role
	}
	may, err := query[struct{ May bool }](ctx, p.Target, sqlMayUse, wrappers, roles)
	if err != nil {
		return nil, err
	}
	var labels, grants list
	for i, u := range uses {
		if !may[i].May {
			labels.add(fmt.Sprintf("%s (%s)", quoteIdent(u.Wrapper), quoteIdent(u.Role)))
			grants.add(fmt.Sprintf("GRANT USAGE ON FOREIGN DATA WRAPPER %s TO %s;", quoteIdent(u.Wrapper), quoteIdent(u.Role)))
		}
	}
	if labels.empty() {
		return nil, nil
	}
	return Findings{blocker("target-privileges", "on the target, as superuser, once the wrappers are there:\n"+grants.each("%s"),
		"roles may not use foreign-data wrappers of the %s that they make servers with, or own some: %s", p.target.place(), labels)}, nil
}
