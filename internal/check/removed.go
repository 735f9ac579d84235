package check

import (
	"context"
	"fmt"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

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
		"PostgreSQL 14 and later cannot create %s of the source: %s", tasks.Plural(removed.total, "object"), removed)}, nil
}

// checkOpenPublic warns of a target before 15, where everybody may create in schema
// public by default, if that is not so on the source: no archive mentions what is the
// default there.
func checkOpenPublic(ctx context.Context, p *probe) (Findings, error) {
	if p.Source.Major() < 15 || p.Target.Major() >= 15 {
		return nil, nil
	}
	const sqlOpen = `SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname = 'public' AND pg_catalog.has_schema_privilege('public', n.oid, 'CREATE'))`
	var open [2]bool
	if err := queryRow(ctx, p.Source, sqlOpen, &open[0]); err != nil {
		return nil, err
	}
	if err := queryRow(ctx, p.Target, sqlOpen, &open[1]); err != nil || open[0] || !open[1] {
		return nil, err
	}
	return Findings{warning("open-public", fmt.Sprintf("on the target, in database %s: REVOKE CREATE ON SCHEMA public FROM PUBLIC;", quoteIdent(p.target.Facts.Database)),
		"everybody may create objects in schema public of the %s, which is the default before PostgreSQL 15 and not so on the source", p.target.place())}, nil
}

// sqlPartitionExclusions lists exclusion constraints, and keys WITHOUT OVERLAPS, of
// partitioned tables that have partitions.
const sqlPartitionExclusions = `SELECT k.conindid, pg_catalog.format('%I on %I.%I', k.conname, n.nspname, c.relname)
	FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	WHERE c.relkind = 'p' AND (k.contype = 'x' OR k.contype IN ('p', 'u') AND pg_catalog.to_jsonb(k) ->> 'conperiod' = 'true')
	AND EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid) AND` + sqlChosen + `ORDER BY 2`

// checkPartitionExclusions refuses constraints whose indexes on partitions no server
// attaches to that of the root, up to 18.4 at least: neither a run nor pg_restore
// can make them again.
func checkPartitionExclusions(ctx context.Context, p *probe) (Findings, error) {
	if p.Source.Major() < 17 {
		return nil, nil
	}
	constraints, err := query[struct {
		Index uint32
		Name  string
	}](ctx, p.Source, sqlPartitionExclusions, p.Choice.args()...)
	if err != nil {
		return nil, err
	}
	var broken list
	for _, k := range constraints {
		if p.Choice.Scope.Has(k.Index) {
			broken.add(k.Name)
		}
	}
	if broken.empty() {
		return nil, nil
	}
	return Findings{blocker("partition-exclusions", "drop them on the source, or leave their indexes out with filter.exclude.indexes, and make them on the target before its tables have partitions",
		"PostgreSQL cannot attach the indexes of partitions to those of %s on partitioned tables, so these exclusion constraints, or keys WITHOUT OVERLAPS, cannot be made again: %s",
		tasks.Plural(broken.total, "constraint"), broken)}, nil
}
