package check

import "context"

// sqlRemoved lists what 14 and later refuse to create: postfix operators, and
// aggregates and operators on functions whose argument types became the
// "compatible" ones.
const sqlRemoved = `SELECT pg_catalog.format('operator %s (postfix)', o.oid::regoperator) FROM pg_catalog.pg_operator o
	WHERE o.oid >= 16384 AND o.oprright = 0 AND o.oprleft <> 0
	UNION ALL
	SELECT pg_catalog.format('aggregate %s', a.aggfnoid::oid::regprocedure) FROM pg_catalog.pg_aggregate a
	JOIN pg_catalog.pg_proc f ON f.oid = a.aggtransfn
	WHERE a.aggfnoid >= 16384 AND f.oid < 16384 AND f.proname IN ('array_append', 'array_cat', 'array_prepend', 'array_remove', 'array_replace',
		'array_position', 'array_positions', 'width_bucket')
	AND 'anyarray'::regtype = ANY (f.proargtypes::oid[])
	UNION ALL
	SELECT pg_catalog.format('operator %s', o.oid::regoperator) FROM pg_catalog.pg_operator o
	JOIN pg_catalog.pg_proc f ON f.oid = o.oprcode
	WHERE o.oid >= 16384 AND f.oid < 16384 AND f.proname IN ('array_append', 'array_cat', 'array_prepend', 'array_remove', 'array_replace',
		'array_position', 'array_positions', 'width_bucket')
	AND 'anyarray'::regtype = ANY (f.proargtypes::oid[])`

// checkRemovedFeatures lists what the target's major version no longer has.
func checkRemovedFeatures(ctx context.Context, p *probe) (Findings, error) {
	if p.Source.Major() >= 14 {
		return nil, nil
	}
	removed, err := queryList(ctx, p.Source, sqlRemoved)
	if err != nil || removed.empty() {
		return nil, err
	}
	return Findings{blocker("removed-features", "drop them on the source, or make them anew: a prefix operator, an aggregate on anycompatiblearray after the copy",
		"PostgreSQL 14 and later cannot create %s of the source: %s", plural(removed.total, "object"), removed)}, nil
}
