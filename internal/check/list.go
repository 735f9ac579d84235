package check

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pgconvoy/pgconvoy/internal/pg"
)

// shown bounds how many objects a finding names.
const shown = 20

// list is the beginning of a list of names, and how long the list is.
type list struct {
	names []string
	total int
}

// add appends a name if there is still room.
func (l *list) add(name string) {
	l.total++
	if len(l.names) < shown {
		l.names = append(l.names, name)
	}
}

func (l list) empty() bool { return l.total == 0 }

// String returns the names, and how many more there are.
func (l list) String() string {
	text := strings.Join(l.names, ", ")
	if more := l.total - len(l.names); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// each returns one line per name, and a last one that says how many more
// there are.
func (l list) each(format string) string {
	lines := make([]string, 0, len(l.names)+1)
	for _, n := range l.names {
		lines = append(lines, fmt.Sprintf(format, n))
	}
	if more := l.total - len(l.names); more > 0 {
		lines = append(lines, fmt.Sprintf("-- and so on for %d more", more))
	}
	return strings.Join(lines, "\n")
}

// queryList runs a query of one text column. The query is wrapped, so that only
// what a finding shows and the count travel.
func queryList(ctx context.Context, c *pg.Conn, sql string, args ...any) (list, error) {
	type row struct {
		Name  string
		Total int
	}
	rows, err := query[row](ctx, c, fmt.Sprintf(
		"SELECT name, pg_catalog.count(*) OVER ()::int FROM (%s) AS listed (name) ORDER BY 1 LIMIT %d", sql, shown), args...)
	if err != nil || len(rows) == 0 {
		return list{}, err
	}
	l := list{total: rows[0].Total}
	for _, r := range rows {
		l.names = append(l.names, r.Name)
	}
	return l, nil
}

// query runs a query whose rows have the fields of T, by position.
func query[T any](ctx context.Context, c *pg.Conn, sql string, args ...any) ([]T, error) {
	rows, err := c.Query(ctx, sql, withMode(args)...)
	if err != nil {
		return nil, onSide(c, err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[T])
	return found, onSide(c, err)
}

// queryTexts runs a query of one text column and returns all of it. It is for
// what is few: roles, extensions, schemas.
func queryTexts(ctx context.Context, c *pg.Conn, sql string, args ...any) ([]string, error) {
	rows, err := c.Query(ctx, sql, withMode(args)...)
	if err != nil {
		return nil, onSide(c, err)
	}
	texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return texts, onSide(c, err)
}

// queryRow runs a query of one row into dest.
func queryRow(ctx context.Context, c *pg.Conn, sql string, dest ...any) error {
	return onSide(c, c.QueryRow(ctx, sql, pgx.QueryExecModeExec).Scan(dest...))
}

// withMode asks for the unnamed statement: one round trip, and it works through
// a pooler, which a prepared one does not.
func withMode(args []any) []any {
	return slices.Insert(slices.Clone(args), 0, any(pgx.QueryExecModeExec))
}

func onSide(c *pg.Conn, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", c.Side(), err)
}

// quoteIdent quotes one identifier for use in SQL.
func quoteIdent(name string) string { return pgx.Identifier{name}.Sanitize() }
