package pg

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Columns returns the columns of each table in the transaction's snapshot that is
// not left out, by its quoted name. Where two snapshots have the same text for a
// table, a COPY that names its columns reads the same ones: a column that was
// dropped and made again, or has got the name of another, has another number.
func Columns(ctx context.Context, c *Conn, without Without) (map[string]string, error) {
	rows, err := c.Query(ctx, `SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname),
			pg_catalog.concat(c.oid, pg_catalog.string_agg(pg_catalog.format(' %s %I %s %s', a.attnum, a.attname, a.atttypid, a.atttypmod), ',' ORDER BY a.attnum))
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		WHERE c.relkind IN ('r', 'p') AND n.nspname <> ALL ($1) AND c.oid <> ALL ($2) AND `+userRelation+`
		GROUP BY n.nspname, c.relname, c.oid`, without.names(), without.IDs())
	if err != nil {
		return nil, fmt.Errorf("read columns of the %s: %w", c.side, err)
	}
	shapes := map[string]string{}
	var name, columns string
	_, err = pgx.ForEachRow(rows, []any{&name, &columns}, func() error {
		shapes[name] = columns
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read columns of the %s: %w", c.side, err)
	}
	return shapes, nil
}

// Column is a column of a table with its definition.
type Column struct{ Name, Definition string }

// ColumnDefinitions returns those of all tables that are not left out, in their
// order, with one query.
func ColumnDefinitions(ctx context.Context, c *Conn, without Without) (map[uint32][]Column, error) {
	rows, err := c.Query(ctx, `SELECT c.oid, a.attname::text, pg_catalog.concat_ws(' ', pg_catalog.format_type(a.atttypid, a.atttypmod),
			CASE WHEN a.attcollation <> 0 THEN a.attcollation::regcollation::text END, a.attnotnull, a.attidentity, a.attgenerated, pg_catalog.pg_get_expr(d.adbin, d.adrelid))
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
		WHERE c.relkind IN ('r', 'p') AND n.nspname <> ALL ($1) AND c.oid <> ALL ($2) AND `+userRelation+` ORDER BY c.oid, a.attnum`, without.names(), without.IDs())
	if err != nil {
		return nil, fmt.Errorf("read columns: %w", err)
	}
	columns := map[uint32][]Column{}
	var table uint32
	var column Column
	_, err = pgx.ForEachRow(rows, []any{&table, &column.Name, &column.Definition}, func() error {
		columns[table] = append(columns[table], column)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read columns: %w", err)
	}
	return columns, nil
}
