package pg

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Invalid returns the indexes and constraints of user tables that are not valid,
// with the reason, by a name that is the same on every server.
func Invalid(ctx context.Context, c *Conn, without Without) (map[string]string, error) {
	return c.findings(ctx, "look for invalid indexes and constraints", `SELECT pg_catalog.format('index %I.%I', n.nspname, i.relname), 'is not valid'
		FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid JOIN pg_catalog.pg_class c ON c.oid = x.indrelid AND c.relkind IN ('r', 'p', 'm')
		JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE NOT x.indisvalid AND n.nspname <> ALL ($1) AND c.oid <> ALL ($2) AND `+userRelation+`
		UNION ALL SELECT pg_catalog.format('constraint %I of %I.%I', k.conname, n.nspname, c.relname), 'is not validated'
		FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE NOT k.convalidated AND k.conparentid = 0 AND n.nspname <> ALL ($1) AND c.oid <> ALL ($2) AND `+userRelation, without)
}

// lookChunk is how many sequences one query looks at; each takes locks.
const lookChunk = 100

// LaggingSequences returns the ascending sequences that a column owns and that
// are behind the largest value in it: the next row would get a number that is
// there already. Only columns with an index that begins with them are looked at,
// where that costs next to nothing, and only those that the role may read.
func LaggingSequences(ctx context.Context, c *Conn, without Without) (map[string]string, error) {
	rows, err := c.Query(ctx, `SELECT pg_catalog.format('sequence %I.%I', sn.nspname, s.relname),
			pg_catalog.format('SELECT pg_catalog.max(%I) > (SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM %I.%I) FROM ONLY %I.%I',
				a.attname, sn.nspname, s.relname, n.nspname, c.relname)
		FROM pg_catalog.pg_class s JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace
		JOIN pg_catalog.pg_sequence q ON q.seqrelid = s.oid AND q.seqincrement > 0 AND NOT q.seqcycle
		JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = s.oid AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
			AND d.refclassid = 'pg_catalog.pg_class'::regclass
		JOIN pg_catalog.pg_class c ON c.oid = d.refobjid AND c.relkind = 'r' JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid
		WHERE s.relkind = 'S' AND n.nspname <> ALL ($1) AND c.oid <> ALL ($2) AND `+userRelation+`
		AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
		AND pg_catalog.has_table_privilege(s.oid, 'SELECT') AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
		AND EXISTS (SELECT FROM pg_catalog.pg_index x WHERE x.indrelid = c.oid AND x.indkey[0] = a.attnum AND x.indisvalid AND x.indpred IS NULL)
		ORDER BY s.oid`, without.names(), without.IDs())
	if err != nil {
		return nil, fmt.Errorf("list sequences: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ Name, Query string }])
	if err != nil {
		return nil, fmt.Errorf("list sequences: %w", err)
	}
	lagging := map[string]string{}
	for chunk := range slices.Chunk(list, lookChunk) {
		selects := make([]string, len(chunk))
		for i, s := range chunk {
			selects[i] = fmt.Sprintf("SELECT %d AS i WHERE (%s)", i, s.Query)
		}
		rows, err := c.Query(ctx, strings.Join(selects, " UNION ALL "), pgx.QueryExecModeExec)
		if err != nil {
			return nil, fmt.Errorf("compare sequences with their columns: %w", err)
		}
		behind, err := pgx.CollectRows(rows, pgx.RowTo[int])
		if err != nil {
			return nil, fmt.Errorf("compare sequences with their columns: %w", err)
		}
		for _, i := range behind {
			lagging[chunk[i].Name] = "is behind the values of its column"
		}
	}
	return lagging, nil
}

func (c *Conn) findings(ctx context.Context, what, sql string, without Without) (map[string]string, error) {
	rows, err := c.Query(ctx, sql, without.names(), without.IDs())
	if err != nil {
		return nil, fmt.Errorf("%s on the %s: %w", what, c.side, err)
	}
	found := map[string]string{}
	var object, reason string
	_, err = pgx.ForEachRow(rows, []any{&object, &reason}, func() error {
		found[object] = reason
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s on the %s: %w", what, c.side, err)
	}
	return found, nil
}
