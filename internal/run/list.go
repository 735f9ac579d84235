package run

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pgconvoy/pgconvoy/internal/check"
	"github.com/pgconvoy/pgconvoy/internal/filter"
	"github.com/pgconvoy/pgconvoy/internal/ledger"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/plan"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// lister makes one listing from what the source shows, and what a plan would make
// of it.
type lister func(ctx context.Context, c *pg.Conn, o Options) (tasks.Listing, error)

func listers() map[string]lister {
	lists := map[string]lister{"tables": listTables, "parts": listParts, "indexes": listIndexes}
	for what, sql := range listSQL {
		lists[what] = func(ctx context.Context, c *pg.Conn, _ Options) (tasks.Listing, error) { return queryList(ctx, c, sql) }
	}
	return lists
}

// Listings returns what [List] can list, in the order of the alphabet.
func Listings() []string { return slices.Sorted(maps.Keys(listers())) }

// List lists what a run would see on the source: one of [Listings]. It uses one
// session and one snapshot, and changes nothing.
func List(ctx context.Context, o Options, what string) (tasks.Listing, error) {
	list, known := listers()[what]
	if !known {
		return tasks.Listing{}, fmt.Errorf("%q is none of %s", what, strings.Join(Listings(), ", "))
	}
	c, err := connectSide(ctx, o, pg.Source)
	if err != nil {
		return tasks.Listing{}, check.Findings{check.ConnectFinding(pg.Source, err)}.Err()
	}
	defer c.Discard()
	if _, err := c.Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL quote_all_identifiers = on"); err != nil {
		return tasks.Listing{}, fmt.Errorf("begin on the source: %w", err)
	}
	listing, err := list(ctx, c, o)
	if err != nil {
		return listing, fmt.Errorf("list %s: %w", what, err)
	}
	return listing, nil
}

// queryList returns the rows of a query. Columns of numbers are of bytes if their
// name ends so, and counts otherwise.
func queryList(ctx context.Context, c *pg.Conn, sql string) (tasks.Listing, error) {
	var l tasks.Listing
	rows, err := c.Query(ctx, sql, []string{ledger.Schema})
	if err != nil {
		return l, err
	}
	defer rows.Close()
	for _, field := range rows.FieldDescriptions() {
		column := tasks.ListColumn{Name: field.Name}
		if field.DataTypeOID == int8OID {
			column.Unit = tasks.UnitCount
			if strings.HasSuffix(field.Name, "bytes") {
				column.Unit = tasks.UnitBytes
			}
		}
		l.Columns = append(l.Columns, column)
	}
	l.Rows, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) ([]any, error) { return row.Values() })
	return l, err
}

// int8OID is the oid of the type int8, which is the same on every server.
const int8OID = 20

func textColumn(name string) tasks.ListColumn { return tasks.ListColumn{Name: name} }
func countColumn(name string) tasks.ListColumn {
	return tasks.ListColumn{Name: name, Unit: tasks.UnitCount}
}
func bytesColumn(name string) tasks.ListColumn {
	return tasks.ListColumn{Name: name, Unit: tasks.UnitBytes}
}

// sized is a catalog with the sizes of the indexes of each table.
type sized struct {
	pg.Catalog
	indexes map[uint32]int64
}

func readSized(ctx context.Context, c *pg.Conn) (sized, error) {
	s := sized{indexes: map[uint32]int64{}}
	var err error
	if s.Catalog, err = pg.ReadCatalog(ctx, c, pg.Without{Schemas: []string{ledger.Schema}}); err != nil {
		return s, err
	}
	for _, x := range s.Indexes {
		s.indexes[x.Table] += x.Bytes
	}
	return s, nil
}

func relationName(r pg.Relation) string { return tasks.Name{Schema: r.Schema, Name: r.Name}.String() }

func listTables(ctx context.Context, c *pg.Conn, _ Options) (tasks.Listing, error) {
	l := tasks.Listing{Columns: []tasks.ListColumn{textColumn("table"), textColumn("kind"), bytesColumn("heap"), bytesColumn("TOAST"), bytesColumn("indexes"), countColumn("rows (estimate)"), textColumn("split by")}}
	cat, err := readSized(ctx, c)
	if err != nil {
		return l, err
	}
	for _, r := range cat.Tables {
		kind := "table"
		switch {
		case r.Kind == "p":
			kind = "partitioned table"
		case r.Parent != 0:
			kind = "partition"
		}
		if r.Unlogged {
			kind = "unlogged " + kind
		}
		var rows any
		if r.Rows >= 0 {
			rows = r.Rows
		}
		heap := r.Blocks * cat.BlockSize
		l.Rows = append(l.Rows, []any{relationName(r), kind, heap, r.Bytes - heap, cat.indexes[r.OID], rows, plan.SplitBy(cat.Version, r)})
	}
	slices.SortStableFunc(l.Rows, func(x, y []any) int { return strings.Compare(x[0].(string), y[0].(string)) })
	return l, nil
}

func listParts(ctx context.Context, c *pg.Conn, o Options) (tasks.Listing, error) {
	l := tasks.Listing{Columns: []tasks.ListColumn{textColumn("table"), countColumn("part"), countColumn("parts"), bytesColumn("bytes"), textColumn("rows where")}}
	cat, err := pg.ReadCatalog(ctx, c, pg.Without{Schemas: []string{ledger.Schema}})
	if err != nil {
		return l, err
	}
	options := planOptions(o.Config)
	bounds := map[uint32][]string{}
	for _, s := range plan.KeySplits(options, cat, filter.Scope{}) {
		if bounds[s.Table], err = pg.KeyBounds(ctx, c, s.Name.String(), s.Key, s.Blocks, s.NumParts); err != nil {
			return l, err
		}
	}
	for _, r := range cat.Tables {
		if r.Kind != "r" {
			continue
		}
		parts := plan.Parts(options, cat.Version, r, filter.Table{}, bounds[r.OID])
		for i, p := range parts {
			where := ""
			if !p.IsWhole() {
				where = p.Predicate()
			}
			l.Rows = append(l.Rows, []any{relationName(r), int64(i + 1), int64(len(parts)), r.Bytes / int64(len(parts)), where})
		}
	}
	slices.SortStableFunc(l.Rows, func(x, y []any) int { return strings.Compare(x[0].(string), y[0].(string)) })
	return l, nil
}

func listIndexes(ctx context.Context, c *pg.Conn, _ Options) (tasks.Listing, error) {
	l := tasks.Listing{Columns: []tasks.ListColumn{textColumn("index"), textColumn("table"), bytesColumn("bytes"), textColumn("constraint"), textColumn("definition")}}
	cat, err := pg.ReadCatalog(ctx, c, pg.Without{Schemas: []string{ledger.Schema}})
	if err != nil {
		return l, err
	}
	tables := map[uint32]pg.Relation{}
	for _, r := range cat.Tables {
		tables[r.OID] = r
	}
	for _, x := range cat.Indexes {
		table := tables[x.Table]
		constraint := ""
		if x.Constraint != nil {
			constraint = x.Constraint.Definition
		}
		l.Rows = append(l.Rows, []any{tasks.Name{Schema: table.Schema, Name: x.Name}.String(), relationName(table), x.Bytes, constraint, x.Definition})
	}
	slices.SortStableFunc(l.Rows, func(x, y []any) int { return strings.Compare(x[0].(string), y[0].(string)) })
	return l, nil
}
