package check

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pgconvoy/pgconvoy/internal/filter"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Choice is what is to be copied of the source: checks do not look at what is
// left out. The zero Choice is all of it.
type Choice struct {
	Scope   filter.Scope
	Without pg.Without
	Found   Findings // what is wrong with the rules
}

// sqlChosen is the condition that relation c of schema n is not left out, where
// $1 and $2 are [Choice.args].
const sqlChosen = ` (c.oid <> ALL ($1::oid[]) AND n.nspname <> ALL ($2::text[])) `

func (c Choice) args() []any {
	return []any{c.Without.IDs(), append([]string{}, c.Without.Schemas...)}
}

// checkChoice reports what is wrong with the rules that choose what is copied, and
// with the conditions and columns that are set for single tables.
func checkChoice(ctx context.Context, p *probe) (Findings, error) {
	found := slices.Clone(p.Choice.Found)
	for _, t := range p.Choice.Scope.Chosen() {
		if t.Where != "" {
			f, err := checkWhere(ctx, p, t)
			if err != nil {
				return nil, err
			}
			found = append(found, f...)
		}
		if len(t.Columns) > 0 {
			f, err := checkColumns(ctx, p, t)
			if err != nil {
				return nil, err
			}
			found = append(found, f...)
		}
	}
	return found, nil
}

// checkWhere has the source plan a query with the condition. What the role may not
// do is the matter of other checks.
func checkWhere(ctx context.Context, p *probe, t filter.Chosen) (Findings, error) {
	if _, err := p.Source.Exec(ctx, "SAVEPOINT choice"); err != nil {
		return nil, onSide(p.Source, err)
	}
	// In the extended protocol, which takes one statement only.
	_, refused := p.Source.Conn.Exec(ctx, "EXPLAIN SELECT FROM ONLY "+t.Name.String()+" WHERE ("+t.Where+"\n)", pgx.QueryExecModeExec)
	if _, err := p.Source.Exec(ctx, "ROLLBACK TO SAVEPOINT choice"); err != nil {
		return nil, onSide(p.Source, err)
	}
	if refused == nil || pg.IsCode(refused, "42501") {
		return nil, nil
	}
	return Findings{blocker("choice", "write a condition as it would stand after WHERE, with functions and types qualified by their schemas",
		"%s.where: %q is no condition on %s: %s", t.From, t.Where, t.Name, pg.Describe(refused))}, nil
}

const sqlColumns = `SELECT a.attname::text, a.attgenerated <> '', a.attnotnull AND NOT a.atthasdef AND a.attidentity = ''
	FROM pg_catalog.pg_attribute a WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`

// checkColumns compares the columns that are chosen with those that there are.
func checkColumns(ctx context.Context, p *probe, t filter.Chosen) (Findings, error) {
	type column struct {
		Name                string
		Generated, Required bool
	}
	columns, err := query[column](ctx, p.Source, sqlColumns, t.OID)
	if err != nil {
		return nil, err
	}
	var unknown, generated, required list
	for _, name := range t.Columns {
		i := slices.IndexFunc(columns, func(c column) bool { return c.Name == name })
		switch {
		case i < 0:
			unknown.add(tasks.QuoteIdent(name))
		case columns[i].Generated:
			generated.add(tasks.QuoteIdent(name))
		}
	}
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.Name
		if c.Required && !slices.Contains(t.Columns, c.Name) {
			required.add(tasks.QuoteIdent(c.Name))
		}
	}
	var found Findings
	for _, l := range []struct {
		list
		hint, what string
	}{
		{unknown, fmt.Sprintf("%s has the columns %s; write them as they are, without quotes", t.Name, strings.Join(names, ", ")), "no column of"},
		{generated, "leave them out: the target computes them itself", "generated in"},
		{required, "copy them, too: they have no default", "left out, and NOT NULL without a default in"},
	} {
		if !l.empty() {
			found = append(found, blocker("choice", l.hint, "%s.columns: %s %s %s", t.From, l.list, l.what, t.Name))
		}
	}
	return found, nil
}
