package check

import (
	"context"
	"fmt"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// sqlTargetRights yields: may create schemas; may create in public; owns
// public (its owner). A schema public that is not there is another check's.
const sqlTargetRights = `SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'),
	coalesce((SELECT pg_catalog.has_schema_privilege(n.oid, 'CREATE') FROM pg_catalog.pg_namespace n WHERE n.nspname = 'public'), true),
	coalesce((SELECT pg_catalog.pg_has_role(n.nspowner, 'USAGE') FROM pg_catalog.pg_namespace n WHERE n.nspname = 'public'), true)`

// sqlUsesPublic says whether the source has a schema public, and objects in it.
const sqlUsesPublic = `SELECT EXISTS (SELECT FROM space s WHERE s.nspname = 'public'),
	EXISTS (SELECT FROM object o JOIN space s ON s.oid = o.space WHERE s.nspname = 'public' AND o.kind NOT IN ('schema', 'column') AND NOT o.member)`

// sqlStrangers lists pairs of roles: the owner of a schema and the owner of
// something in it.
const sqlStrangers = `SELECT DISTINCT s.rolname::text, r.rolname::text, n.nspname::text, n.oid, pg_catalog.pg_has_role(r.oid, s.oid, 'USAGE')
	FROM object o JOIN pg_catalog.pg_namespace n ON n.oid = o.space
	JOIN pg_catalog.pg_roles r ON r.oid = o.owner JOIN pg_catalog.pg_roles s ON s.oid = n.nspowner
	WHERE NOT (o.member OR o.system OR o.ledger) AND o.kind NOT IN ('schema', 'column') AND n.nspname <> 'public' AND o.owner <> n.nspowner
	ORDER BY 3, 2`

// sqlSettlers lists the owners of objects in public, with the owner of public,
// and of publications, for which that is empty.
const sqlSettlers = `SELECT DISTINCT r.rolname::text, CASE WHEN o.kind = 'publication' THEN '' ELSE s.rolname::text END
	FROM object o JOIN pg_catalog.pg_roles r ON r.oid = o.owner
	LEFT JOIN pg_catalog.pg_namespace n ON n.oid = o.space LEFT JOIN pg_catalog.pg_roles s ON s.oid = n.nspowner
	WHERE NOT (o.member OR o.system OR o.ledger)
	AND (o.kind = 'publication' OR n.nspname = 'public' AND o.kind NOT IN ('schema', 'column'))
	ORDER BY 1, 2`

// checkTargetPrivileges looks at what the role may create on the target. What
// only superusers may is checkSuperuserObjects' part, membership in the owners'
// roles checkRoles'.
func checkTargetPrivileges(ctx context.Context, p *probe) (Findings, error) {
	if p.target.Facts.Superuser {
		return nil, nil
	}
	var createSchema, createPublic, ownsPublic, hasPublic, usesPublic bool
	if err := queryRow(ctx, p.Target, sqlTargetRights, &createSchema, &createPublic, &ownsPublic); err != nil {
		return nil, err
	}
	if err := queryRow(ctx, p.Source, p.Choice.withObjects(sqlUsesPublic), &hasPublic, &usesPublic); err != nil {
		return nil, err
	}
	changed, err := queryTexts(ctx, p.Source, sqlPublic)
	if err != nil {
		return nil, err
	}
	var found Findings
	role, database := p.target.role(), quoteIdent(p.target.Facts.Database)
	if !createSchema {
		found = append(found, blocker("target-privileges", fmt.Sprintf("on the target: GRANT CREATE ON DATABASE %s TO %s;", database, role),
			"role %s may not create schemas in the %s", role, p.target.place()))
	}
	if !p.Only.Has(schema) {
		return found, nil // nothing is made but the ledger, and what belongs to tables
	}
	if !createPublic && usesPublic {
		found = append(found, blocker("target-privileges", fmt.Sprintf("on the target, in database %s: GRANT CREATE ON SCHEMA public TO %s;", database, role),
			"role %s may not create objects in schema public of the %s", role, p.target.place()))
	}
	if hasPublic && p.Source.Major() < 15 && p.Tools.Major >= 15 {
		// Then the archive restores what was the default of public before 15.
		changed = append(changed, "those of PostgreSQL before 15")
	}
	if !ownsPublic && len(changed) > 0 && (!p.Around.NoOwner || !p.Around.NoACL) {
		hint := fmt.Sprintf("on the target: ALTER DATABASE %s OWNER TO %s;", database, role)
		if p.Target.Major() < 15 {
			hint = fmt.Sprintf("on the target, in database %s: ALTER SCHEMA public OWNER TO %s;", database, role)
		}
		found = append(found, blocker("target-privileges", hint,
			"schema public of the source has its own owner or privileges (%s), and role %s may not give them to that of the %s, which it does not own",
			changed[0], role, p.target.place()))
	}
	if p.Around.NoOwner {
		return found, nil
	}
	settlers, err := checkSettlers(ctx, p)
	return append(found, settlers...), err
}

// Lodgers lists the owners of objects in schemas of other owners that may not create
// there, as the target calls them: an object can be given to such a role only while
// it may, and the archive grants that right last, if at all. makes says that the run
// makes missing roles, with the memberships that they have on the source.
func Lodgers(ctx context.Context, source, target *pg.Conn, around tasks.Around, choice Choice, makes bool) ([]tasks.Lodger, error) {
	type pair struct {
		SchemaOwner, Owner, Schema string
		SchemaOID                  uint32
		Member                     bool // on the source
	}
	pairs, err := query[pair](ctx, source, choice.withObjects(sqlStrangers))
	if err != nil || len(pairs) == 0 {
		return nil, err
	}
	lords, owners := make([]string, len(pairs)), make([]string, len(pairs))
	for i, s := range pairs {
		lords[i], owners[i] = around.Role(s.SchemaOwner), around.Role(s.Owner)
	}
	type right struct{ Missing, Has bool }
	rights, err := query[right](ctx, target, `SELECT o.oid IS NULL OR s.oid IS NULL, coalesce(pg_catalog.pg_has_role(o.oid, s.oid, 'USAGE'), false)
		FROM ROWS FROM (unnest($1::text[]), unnest($2::text[])) WITH ORDINALITY AS p (lord, owner, n)
		LEFT JOIN pg_catalog.pg_roles s ON s.rolname = p.lord LEFT JOIN pg_catalog.pg_roles o ON o.rolname = p.owner ORDER BY p.n`, lords, owners)
	if err != nil {
		return nil, err
	}
	var lodgers []tasks.Lodger
	for i, s := range pairs {
		if lords[i] != owners[i] && !rights[i].Has && (!rights[i].Missing || !makes || !s.Member) {
			lodgers = append(lodgers, tasks.Lodger{SchemaOID: s.SchemaOID, Schema: s.Schema, Role: owners[i]})
		}
	}
	return lodgers, nil
}

// checkSettlers looks for owners of objects in public, and of publications, that
// may not create such objects on the target: only a superuser can give them to
// such a role.
func checkSettlers(ctx context.Context, p *probe) (Findings, error) {
	type settler struct{ Owner, Lord string } // Lord owns public
	settlers, err := query[settler](ctx, p.Source, p.Choice.withObjects(sqlSettlers))
	if err != nil || len(settlers) == 0 {
		return nil, err
	}
	owners, lords := make([]string, len(settlers)), make([]string, len(settlers))
	for i, s := range settlers {
		owners[i], lords[i] = p.Around.Role(s.Owner), p.Around.Role(s.Lord)
	}
	// A role, or a schema public, that is missing is for other checks to report; a role that the run makes may do what
	// everybody may. That the source has given public another owner is the first thing that the archive repeats.
	type right struct{ Missing, Has bool }
	rights, err := query[right](ctx, p.Target, `SELECT o.oid IS NULL, coalesce(CASE WHEN p.lord = '' THEN pg_catalog.has_database_privilege(coalesce(o.rolname, 'public'), pg_catalog.current_database(), 'CREATE')
			ELSE pg_catalog.has_schema_privilege(coalesce(o.rolname, 'public'), n.oid, 'CREATE') OR coalesce(pg_catalog.pg_has_role(o.oid, s.oid, 'USAGE'), p.lord = p.owner) END, true)
		FROM ROWS FROM (unnest($1::text[]), unnest($2::text[])) WITH ORDINALITY AS p (owner, lord, n)
		LEFT JOIN pg_catalog.pg_roles o ON o.rolname = p.owner LEFT JOIN pg_catalog.pg_roles s ON s.rolname = p.lord
		LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = 'public' ORDER BY p.n`, owners, lords)
	if err != nil {
		return nil, err
	}
	database := quoteIdent(p.target.Facts.Database)
	var labels, grants list
	for i, s := range settlers {
		if rights[i].Missing && !rights[i].Has && p.Roles {
			grants.add(fmt.Sprintf("CREATE ROLE %s;", quoteIdent(owners[i])))
		}
		switch {
		case rights[i].Has, rights[i].Missing && !p.Roles:
		case s.Lord == "":
			labels.add(quoteIdent(owners[i]) + " (publications)")
			grants.add(fmt.Sprintf("GRANT CREATE ON DATABASE %s TO %s;", database, quoteIdent(owners[i])))
		default:
			labels.add(quoteIdent(owners[i]) + " (objects in schema public)")
			grants.add(fmt.Sprintf("GRANT CREATE ON SCHEMA public TO %s;", quoteIdent(owners[i])))
		}
	}
	if labels.empty() {
		return nil, nil
	}
	return Findings{blocker("target-privileges", fmt.Sprintf("on the target, in database %s, for the time of the run:\n%s\nor give it to that role (ALTER DATABASE %s OWNER TO …) and make %s a member of it",
		database, grants.each("%s"), database, p.target.role()),
		"roles own what they may not create in the %s, which only a superuser can set up: %s", p.target.place(), labels)}, nil
}
