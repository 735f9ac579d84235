package check

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// sqlCopied is the relations whose contents a run reads: tables, their
// partitioned parents, which pg_dump locks, and sequences. Of extensions, only
// the configuration tables. It has the parameters of sqlChosen.
const sqlCopied = `WITH copied AS MATERIALIZED (
	SELECT c.oid, c.relkind, c.relnamespace, n.nspname, c.relname, c.relrowsecurity, c.relforcerowsecurity
	FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	WHERE c.relkind IN ('r', 'p', 'S') AND c.relpersistence <> 't'
	AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pgconvoy')
	AND` + sqlChosen + `AND (NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
			WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0 AND d.deptype = 'e')
		OR EXISTS (SELECT FROM pg_catalog.pg_extension e WHERE c.oid = ANY (e.extconfig)))
) `

const sqlUnusableSchemas = sqlCopied + `SELECT DISTINCT pg_catalog.quote_ident(c.nspname) FROM copied c
	WHERE NOT pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE')`

// Per schema: with many relations, a grant on all tables of the schema is the
// hint.
const sqlUnreadable = sqlCopied + `SELECT pg_catalog.quote_ident(c.nspname), (pg_catalog.sum(pg_catalog.count(*)) OVER ())::int,
	(pg_catalog.array_agg(pg_catalog.format('%%I.%%I', c.nspname, c.relname) ORDER BY c.relname))[1:20]
	FROM copied c
	WHERE c.relkind IN (%s) AND NOT pg_catalog.has_table_privilege(c.oid, 'SELECT')
	GROUP BY c.nspname ORDER BY c.nspname LIMIT 20`

type unreadable struct {
	Schema string
	Total  int // of all schemas
	Names  []string
}

// checkSourcePrivileges lists what the role cannot read on the source.
func checkSourcePrivileges(ctx context.Context, p *probe) (Findings, error) {
	if p.source.Facts.Superuser { // to ask for 100,000 tables takes seconds
		return nil, nil
	}
	var found Findings
	schemas, err := queryList(ctx, p.Source, sqlUnusableSchemas, p.Choice.args()...)
	if err != nil {
		return nil, err
	}
	if !schemas.empty() {
		found = append(found, blocker("source-privileges", grant(p.source, "USAGE ON SCHEMA "+strings.Join(schemas.names, ", ")),
			"role %s may not use %s of the %s: %s", p.source.role(), tasks.Plural(schemas.total, "schema"), p.source.place(), schemas))
	}
	for _, kind := range []struct{ noun, object, relkinds string }{
		{"table", "TABLE", "'r', 'p'"},
		{"sequence", "SEQUENCE", "'S'"},
	} {
		rows, err := query[unreadable](ctx, p.Source, fmt.Sprintf(sqlUnreadable, kind.relkinds), p.Choice.args()...)
		if err != nil {
			return nil, err
		}
		if len(rows) == 0 {
			continue
		}
		names, inSchemas := list{total: rows[0].Total}, make([]string, len(rows))
		for i, r := range rows {
			inSchemas[i] = r.Schema
			names.names = append(names.names, r.Names...)
		}
		names.names = names.names[:min(len(names.names), shown)]
		hint := grant(p.source, fmt.Sprintf("SELECT ON %s %s", kind.object, strings.Join(names.names, ", ")))
		if len(names.names) < names.total {
			hint = grant(p.source, fmt.Sprintf("SELECT ON ALL %sS IN SCHEMA %s", kind.object, strings.Join(inSchemas, ", ")))
		}
		found = append(found, blocker("source-privileges", hint, "role %s may not read %s of the %s: %s",
			p.source.role(), tasks.Plural(names.total, kind.noun), p.source.place(), names))
	}
	return found, nil
}

// grant returns the hint to grant something to the session's role. A privilege
// on an object is part of the copy, where it needs the role to exist;
// membership in pg_read_all_data is not.
func grant(s *server, what string) string {
	narrow := fmt.Sprintf("GRANT %s TO %s;", what, s.role())
	if s.Major() < 14 {
		return fmt.Sprintf("on the %s: %s", s.Side(), narrow)
	}
	return fmt.Sprintf("on the %s: GRANT pg_read_all_data TO %s;\nor, which will be copied along: %s", s.Side(), s.role(), narrow)
}

// Before 18 there is no has_largeobject_privilege.
const sqlUnreadableLargeObjects = `SELECT l.oid::text FROM pg_catalog.pg_largeobject_metadata l
	WHERE NOT pg_catalog.pg_has_role(l.lomowner, 'USAGE')
	AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(l.lomacl) a
		WHERE a.privilege_type = 'SELECT' AND (a.grantee = 0 OR pg_catalog.pg_has_role(a.grantee, 'USAGE')))
	AND pg_catalog.current_setting('lo_compat_privileges') = 'off'`

// checkLargeObjects lists large objects that the role cannot read.
func checkLargeObjects(ctx context.Context, p *probe) (Findings, error) {
	if p.source.Facts.Superuser {
		return nil, nil
	}
	objects, err := queryList(ctx, p.Source, sqlUnreadableLargeObjects)
	if err != nil || objects.empty() {
		return nil, err
	}
	hint := fmt.Sprintf("on the source: GRANT SELECT ON LARGE OBJECT %s TO %s;", strings.Join(objects.names, ", "), p.source.role())
	if len(objects.names) < objects.total {
		hint = fmt.Sprintf("on the source, in psql: SELECT format('GRANT SELECT ON LARGE OBJECT %%s TO %%I', oid, %s) FROM pg_largeobject_metadata \\gexec",
			pg.QuoteLiteral(p.source.Facts.Role))
	}
	grantee := p.Around.Role(p.source.Facts.Role)
	var missing bool
	if err := p.Target.QueryRow(ctx, "SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = $1)", pgx.QueryExecModeExec, grantee).Scan(&missing); err != nil {
		return nil, onSide(p.Target, err)
	}
	if missing && !p.Around.NoACL && !p.makes(neededRole{Name: grantee}) {
		hint += fmt.Sprintf("\nand, as the grant is copied along, on the target: CREATE ROLE %s;", quoteIdent(grantee))
	}
	return Findings{blocker("source-privileges", hint, "role %s may not read %s of the %s: %s",
		p.source.role(), tasks.Plural(objects.total, "large object"), p.source.place(), objects)}, nil
}
