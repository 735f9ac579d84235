package check

import (
	"context"
	"fmt"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

const sqlHidden = sqlCopied + `SELECT pg_catalog.format('%I.%I', c.nspname, c.relname) FROM copied c
	WHERE c.relrowsecurity AND pg_catalog.row_security_active(c.oid)`

const sqlForced = sqlCopied + `SELECT pg_catalog.format('%I.%I', c.nspname, c.relname) FROM copied c
	WHERE c.relrowsecurity AND c.relforcerowsecurity`

// sqlClosed lists tables that not even their owners may read.
const sqlClosed = sqlCopied + `SELECT pg_catalog.format('%I.%I', c.nspname, c.relname) FROM copied c JOIN pg_catalog.pg_class r ON r.oid = c.oid
	WHERE c.relkind = 'r' AND r.relacl IS NOT NULL
	AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(r.relacl) x WHERE x.grantee IN (0, r.relowner) AND x.privilege_type = 'SELECT')`

// checkClosedTables warns of tables that the role of the target, a member of their
// owners, could not read back to verify them.
func checkClosedTables(ctx context.Context, p *probe) (Findings, error) {
	var reads bool
	err := queryRow(ctx, p.Target, "SELECT pg_catalog.pg_has_role('pg_read_all_data', 'USAGE')", &reads)
	if err != nil || reads || p.Around.NoACL {
		return nil, err
	}
	closed, err := queryList(ctx, p.Source, sqlClosed, p.Choice.args()...)
	if err != nil || closed.empty() {
		return nil, err
	}
	return Findings{warning("target-closed-tables", fmt.Sprintf("on the target, for the time of the run: GRANT pg_read_all_data TO %s;", p.target.role()),
		"the owners of %s may not read them, and so role %s cannot read them back on the target to verify them: %s",
		tasks.Plural(closed.total, "table"), p.target.role(), closed)}, nil
}

// checkRowSecurity lists tables whose policies apply to the role. A copy of
// what they let through would be no copy, so the sessions ask for an error
// instead.
func checkRowSecurity(ctx context.Context, p *probe) (Findings, error) {
	var found Findings
	if !p.source.Facts.Superuser && !p.source.Facts.BypassRLS {
		hidden, err := queryList(ctx, p.Source, sqlHidden, p.Choice.args()...)
		if err != nil {
			return nil, err
		}
		if !hidden.empty() {
			found = append(found, blocker("source-row-security",
				fmt.Sprintf("on the source, as superuser: ALTER ROLE %s BYPASSRLS;\nor connect as the owner of the tables, if they do not FORCE ROW LEVEL SECURITY", p.source.role()),
				"row-level security hides rows of %s from role %s on the %s: %s", tasks.Plural(hidden.total, "table"), p.source.role(), p.source.place(), hidden))
		}
	}
	if p.target.Facts.Superuser || p.target.Facts.BypassRLS {
		return found, nil
	}
	forced, err := queryList(ctx, p.Source, sqlForced, p.Choice.args()...)
	if err != nil {
		return nil, err
	}
	if !forced.empty() {
		found = append(found, warning("target-row-security", fmt.Sprintf("on the target, as superuser: ALTER ROLE %s BYPASSRLS;", p.target.role()),
			"%s FORCE ROW LEVEL SECURITY, so role %s cannot read them back on the target to verify them: %s", tasks.Plural(forced.total, "table"), p.target.role(), forced))
	}
	return found, nil
}
