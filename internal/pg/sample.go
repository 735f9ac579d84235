package pg

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Sample is what must be known of a table to copy some of its rows to a server
// that has none of the database's own types.
type Sample struct {
	Blocks  int64 // of the heap
	Ranges  bool  // ranges of ctid are read without a scan of the rest
	Columns []SampleColumn
	Index   []string // columns of its largest B-tree that is of plain columns only, none if there is none
}

// SampleColumn is a column with a type that every server has, and that takes what
// COPY sends of the column, in the format that the table's rows travel in: that of
// its own type, or text.
type SampleColumn struct{ Name, Type string }

// ReadSample reads that of one table; its name is quoted.
func ReadSample(ctx context.Context, c *Conn, table string) (Sample, error) {
	var s Sample
	err := c.QueryRow(ctx, `SELECT pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::int8,
		coalesce(am.amname = 'heap', false) AND pg_catalog.current_setting('server_version_num')::int >= 140000,
		coalesce((SELECT ARRAY(SELECT a.attname::text FROM unnest((x.indkey::int2[])[0:x.indnkeyatts - 1]) WITH ORDINALITY k (attnum, n)
				JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum ORDER BY k.n)
			FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid JOIN pg_catalog.pg_am m ON m.oid = i.relam
			WHERE x.indrelid = c.oid AND m.amname = 'btree' AND x.indexprs IS NULL AND x.indpred IS NULL AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
				WHERE a.attrelid = c.oid AND a.attnum = ANY ((x.indkey::int2[])[0:x.indnkeyatts - 1]) AND a.attgenerated <> '')
			ORDER BY pg_catalog.pg_relation_size(i.oid) DESC LIMIT 1), '{}')
		FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam WHERE c.oid = $1::text::regclass`, table).Scan(&s.Blocks, &s.Ranges, &s.Index)
	if err != nil {
		return s, fmt.Errorf("read what %s is like: %w", table, err)
	}
	rows, err := c.Query(ctx, portableTypes+`, base (attnum, name, id, mod) AS (
			SELECT a.attnum, a.attname::text, a.atttypid, a.atttypmod FROM pg_catalog.pg_attribute a
			WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
			UNION ALL SELECT b.attnum, b.name, t.typbasetype, CASE WHEN b.mod = -1 THEN t.typtypmod ELSE b.mod END
			FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.id AND t.typtype = 'd')
		SELECT b.name, CASE WHEN t.oid < 16384 AND t.oid IN (SELECT id FROM portable) THEN pg_catalog.format_type(t.oid, b.mod) ELSE 'text' END
		FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.id WHERE t.typtype <> 'd' ORDER BY b.attnum`, table)
	if err != nil {
		return s, fmt.Errorf("read columns of %s: %w", table, err)
	}
	if s.Columns, err = pgx.CollectRows(rows, pgx.RowToStructByPos[SampleColumn]); err != nil {
		return s, fmt.Errorf("read columns of %s: %w", table, err)
	}
	return s, nil
}
