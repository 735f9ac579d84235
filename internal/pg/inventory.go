package pg

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Without says what of a database is left out: schemas whole, and relations.
// It is JSON in the ledger.
type Without struct {
	Schemas   []string           `json:"schemas,omitempty"`
	Relations []ExcludedRelation `json:"relations,omitempty"` // those that pg_dump should leave out first come first
}

// ExcludedRelation is a relation that is left out.
type ExcludedRelation struct {
	OID    uint32 `json:"oid"`
	Quoted string `json:"quoted"` // schema and name; "" for what pg_dump may see: a sequence, which it locks nothing for
}

// IDs returns the oids of the relations, never nil.
func (w Without) IDs() []uint32 {
	ids := make([]uint32, len(w.Relations))
	for i, r := range w.Relations {
		ids[i] = r.OID
	}
	return ids
}

// names returns the schemas, never nil.
func (w Without) names() []string { return append([]string{}, w.Schemas...) }

// dumpBytes bounds the arguments of pg_dump that name single tables: systems
// allow about 2 MB for all arguments and the environment. Tables beyond it are
// in the archive, and locked, and not copied all the same.
const dumpBytes = 1 << 20

// dumpArgs returns the arguments of pg_dump. Its patterns are quoted as in SQL.
func (w Without) dumpArgs() []string {
	var args []string
	for _, schema := range w.Schemas {
		args = append(args, "--exclude-schema="+pgx.Identifier{schema}.Sanitize())
	}
	bytes := 0
	for _, r := range w.Relations {
		bytes += len(r.Quoted)
		if r.Quoted != "" && bytes < dumpBytes {
			args = append(args, "--exclude-table="+r.Quoted)
		}
	}
	return args
}

// Inventory is the names of what can be chosen in a database. Objects that
// belong to extensions are left out, temporary ones, and those of the system.
type Inventory struct {
	Schemas    []NamedSchema
	Relations  []NamedRelation
	Indexes    []NamedIndex
	Extensions []NamedExtension
}

// NamedSchema is a schema.
type NamedSchema struct {
	OID  uint32
	Name string
}

// NamedRelation is a table, view, materialized view, foreign table or sequence.
type NamedRelation struct {
	OID          uint32
	Schema, Name string
	Kind         string   // relkind: r, p, v, m, f or S
	Readable     bool     // the role may read it, and so lock it
	Parent       uint32   // of a partition, 0 otherwise
	HashKey      bool     // it is partitioned by hash
	Owner        uint32   // the table that owns the sequence, 0 otherwise
	Users        []uint32 // tables with defaults that use the sequence
}

// NamedIndex is an index.
type NamedIndex struct {
	OID          uint32
	Schema, Name string
	Table        uint32
	Parent       uint32 // the partitioned index that it is attached to, 0 if none
}

// NamedExtension is an extension that an archive would create.
type NamedExtension struct {
	OID          uint32
	Schema, Name string
}

// ReadInventory reads the inventory with a constant number of queries, as the
// transaction of c sees it.
func ReadInventory(ctx context.Context, c *Conn) (inv Inventory, err error) {
	inv.Schemas, err = collect[NamedSchema](ctx, c, "schemas", `SELECT n.oid, n.nspname::text FROM pg_catalog.pg_namespace n
		WHERE n.nspname NOT IN ('pg_catalog', 'pg_toast', 'information_schema') AND n.nspname !~ '^pg_(temp|toast_temp)_' ORDER BY n.oid`)
	if err != nil {
		return inv, err
	}
	inv.Relations, err = collect[NamedRelation](ctx, c, "relations", `SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text,
			pg_catalog.has_table_privilege(c.oid, 'SELECT'), CASE WHEN c.relispartition THEN coalesce(i.inhparent, 0::oid) ELSE 0::oid END,
			coalesce(p.partstrat = 'h', false), coalesce(o.refobjid, 0::oid), coalesce(u.oids, '{}')
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		LEFT JOIN pg_catalog.pg_inherits i ON c.relispartition AND i.inhrelid = c.oid
		LEFT JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = c.oid
		LEFT JOIN pg_catalog.pg_depend o ON c.relkind = 'S' AND o.classid = 'pg_catalog.pg_class'::regclass AND o.objid = c.oid
			AND o.refclassid = 'pg_catalog.pg_class'::regclass AND o.deptype IN ('a', 'i')
		LEFT JOIN (SELECT d.refobjid, pg_catalog.array_agg(a.adrelid) AS oids FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_attrdef a ON a.oid = d.objid
			WHERE d.classid = 'pg_catalog.pg_attrdef'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.deptype = 'n'
			GROUP BY d.refobjid) u ON c.relkind = 'S' AND u.refobjid = c.oid
		WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND `+userRelation+` ORDER BY c.oid`)
	if err != nil {
		return inv, err
	}
	inv.Indexes, err = collect[NamedIndex](ctx, c, "indexes", `SELECT x.indexrelid, n.nspname::text, ic.relname::text, x.indrelid, coalesce(i.inhparent, 0::oid)
		FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class c ON c.oid = x.indrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		JOIN pg_catalog.pg_class ic ON ic.oid = x.indexrelid LEFT JOIN pg_catalog.pg_inherits i ON i.inhrelid = x.indexrelid
		WHERE c.relkind IN ('r', 'p', 'm') AND `+userRelation+` ORDER BY x.indexrelid`)
	if err != nil {
		return inv, err
	}
	inv.Extensions, err = collect[NamedExtension](ctx, c, "extensions", `SELECT e.oid, n.nspname::text, e.extname::text
		FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.oid >= 16384 ORDER BY e.oid`)
	return inv, err
}

func collect[T any](ctx context.Context, c *Conn, what, sql string) ([]T, error) {
	rows, err := c.Query(ctx, sql)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", what, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[T])
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", what, err)
	}
	return list, nil
}

// Object is the address of an object: the oid of its catalog, and its own.
type Object struct{ Class, OID uint32 }

// The catalogs of objects that this program knows by name.
const (
	ClassType       = 1247 // pg_type
	ClassRelation   = 1259 // pg_class
	ClassDefault    = 2604 // pg_attrdef
	ClassConstraint = 2606 // pg_constraint
	ClassSchema     = 2615 // pg_namespace
	ClassExtension  = 3079 // pg_extension
)

// Dependency says that an object needs, or is part of, another one.
type Dependency struct {
	Object, On Object
	Type       string // deptype of pg_depend
}

// ReadDependencies reads what depends on what in the database, in one query.
func ReadDependencies(ctx context.Context, c *Conn) ([]Dependency, error) {
	type row struct {
		Class, OID, OnClass, OnOID uint32
		Type                       string
	}
	rows, err := collect[row](ctx, c, "dependencies", `SELECT DISTINCT d.classid, d.objid, d.refclassid, d.refobjid, d.deptype::text
		FROM pg_catalog.pg_depend d WHERE d.objid >= 16384 AND (d.classid, d.objid) IS DISTINCT FROM (d.refclassid, d.refobjid)
		ORDER BY 1, 2, 3, 4, 5`)
	if err != nil {
		return nil, err
	}
	deps := make([]Dependency, len(rows))
	for i, r := range rows {
		deps[i] = Dependency{Object{r.Class, r.OID}, Object{r.OnClass, r.OnOID}, r.Type}
	}
	return deps, nil
}

// DescribeObjects returns what people call the objects, such as "view app.open". One
// that is gone has no description.
func DescribeObjects(ctx context.Context, c *Conn, objects []Object) (map[Object]string, error) {
	classes, oids := make([]uint32, len(objects)), make([]uint32, len(objects))
	for i, o := range objects {
		classes[i], oids[i] = o.Class, o.OID
	}
	rows, err := c.Query(ctx, `SELECT o.class, o.oid, coalesce(pg_catalog.pg_describe_object(o.class, o.oid, 0), '')
		FROM unnest($1::oid[], $2::oid[]) AS o (class, oid)`, classes, oids)
	if err != nil {
		return nil, fmt.Errorf("describe objects: %w", err)
	}
	described := make(map[Object]string, len(objects))
	var o Object
	var text string
	if _, err := pgx.ForEachRow(rows, []any{&o.Class, &o.OID, &text}, func() error {
		described[o] = text
		return nil
	}); err != nil {
		return nil, fmt.Errorf("describe objects: %w", err)
	}
	return described, nil
}
