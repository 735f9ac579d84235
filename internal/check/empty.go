package check

import (
	"context"
	"fmt"
	"slices"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// What is in the way of a copy, outside extensions, the system's schemas and
// our ledger: it would collide with what the archive creates, or fire on it.
const sqlNotEmpty = `SELECT o.label FROM object o WHERE NOT (o.member OR o.system OR o.ledger)
	AND o.kind IN ('table', 'view', 'materialized view', 'sequence', 'foreign table', 'type', 'function', 'procedure', 'aggregate',
		'large object', 'publication', 'event trigger')`

// Other objects stay as they are. Schemas are looked at by checkSchemas.
const sqlLeftovers = `SELECT o.label FROM object o WHERE NOT (o.member OR o.system OR o.ledger)
	AND o.kind NOT IN ('table', 'view', 'materialized view', 'sequence', 'foreign table', 'type', 'function', 'procedure', 'aggregate',
		'large object', 'publication', 'event trigger', 'schema', 'column')`

// checkTargetEmpty refuses a target that holds a relation, type, function,
// large object, publication or event trigger of its own, in whatever schema. A
// target with an unfinished run holds what that run made, and is reported as
// such instead.
func checkTargetEmpty(ctx context.Context, p *probe) (Findings, error) {
	if p.ledger == ledgerUnfinished {
		return nil, nil
	}
	var found Findings
	objects, err := queryList(ctx, p.Target, withObjects(sqlNotEmpty))
	if err != nil {
		return nil, err
	}
	if !objects.empty() {
		found = append(found, blocker("target-empty",
			fmt.Sprintf("copy into a new database: CREATE DATABASE … TEMPLATE template0; or drop this one, if nobody needs it: DROP DATABASE %[1]s; CREATE DATABASE %[1]s TEMPLATE template0",
				quoteIdent(p.target.Facts.Database)),
			"the %s is not empty, it holds %s: %s", p.target.place(), tasks.Plural(objects.total, "object"), objects))
	}
	leftovers, err := queryList(ctx, p.Target, withObjects(sqlLeftovers))
	if err != nil {
		return nil, err
	}
	if !leftovers.empty() {
		found = append(found, warning("target-leftovers", "drop them, if the source has objects of these names or nobody needs them",
			"the %s holds %s that will stay: %s", p.target.place(), tasks.Plural(leftovers.total, "object"), leftovers))
	}
	return found, nil
}

const sqlSchemas = `SELECT n.nspname::text FROM pg_catalog.pg_namespace n
	WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pgconvoy')
	AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
		WHERE d.classid = 'pg_catalog.pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e')
	ORDER BY 1`

// sqlPublic says whether schema public is as initdb makes it: its owner and
// privileges then need no mention in an archive.
const sqlPublic = `SELECT pg_catalog.format('owner %s, privileges %s', r.rolname, coalesce(n.nspacl::text, 'default'))
	FROM pg_catalog.pg_namespace n LEFT JOIN pg_catalog.pg_roles r ON r.oid = n.nspowner
	LEFT JOIN pg_catalog.pg_init_privs i ON i.objoid = n.oid AND i.classoid = 'pg_catalog.pg_namespace'::regclass AND i.objsubid = 0
	WHERE n.nspname = 'public'
	AND (n.nspowner <> CASE WHEN pg_catalog.current_setting('server_version_num')::int >= 150000
			THEN (SELECT o.oid FROM pg_catalog.pg_roles o WHERE o.rolname = 'pg_database_owner') ELSE 10 END
		OR n.nspacl::text IS DISTINCT FROM coalesce(i.initprivs, n.nspacl)::text)`

// checkSchemas compares the names of schemas: one of the source must not be on
// the target yet, except public, which must be.
func checkSchemas(ctx context.Context, p *probe) (Findings, error) {
	if p.ledger == ledgerUnfinished {
		return nil, nil
	}
	source, err := queryTexts(ctx, p.Source, sqlSchemas)
	if err != nil {
		return nil, err
	}
	target, err := queryTexts(ctx, p.Target, sqlSchemas)
	if err != nil {
		return nil, err
	}
	onSource, onTarget := set(source), set(target)
	var both, extra list
	for _, name := range target {
		switch {
		case name == "public" || slices.Contains(p.Choice.Without.Schemas, name):
		case onSource[name]:
			both.add(quoteIdent(name))
		default:
			extra.add(quoteIdent(name))
		}
	}
	var found Findings
	if !both.empty() {
		found = append(found, blocker("target-schemas", both.each("DROP SCHEMA %s; -- an extension in it has to move first, or be dropped"),
			"the run would create %s that the target has already: %s", tasks.Plural(both.total, "schema"), both))
	}
	if !extra.empty() {
		found = append(found, warning("target-leftovers", extra.each("DROP SCHEMA %s;"), "the %s has %s that the source lacks and that will stay: %s",
			p.target.place(), tasks.Plural(extra.total, "schema"), extra))
	}
	public, err := publicFindings(ctx, p, onSource["public"], onTarget["public"])
	return append(found, public...), err
}

func publicFindings(ctx context.Context, p *probe, onSource, onTarget bool) (Findings, error) {
	switch {
	case onSource && !onTarget:
		return Findings{blocker("target-public", "CREATE SCHEMA public;", "the %s has no schema public, which an archive takes for granted", p.target.place())}, nil
	case !onSource && onTarget:
		return Findings{warning("target-public", "DROP SCHEMA public;", "the source has no schema public, the %s has one, which will stay", p.target.place())}, nil
	}
	changed, err := queryTexts(ctx, p.Target, sqlPublic)
	if err != nil || len(changed) == 0 {
		return nil, err
	}
	return Findings{warning("target-public", "create the target database from template0, where public is as initdb made it",
		"schema public of the %s has another owner or other privileges than a new one (%s); they may stay", p.target.place(), changed[0])}, nil
}

func set(names []string) map[string]bool {
	s := make(map[string]bool, len(names))
	for _, n := range names {
		s[n] = true
	}
	return s
}
