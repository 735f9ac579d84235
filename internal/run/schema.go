package run

import (
	"context"
	"fmt"

	"github.com/pgconvoy/pgconvoy/internal/filter"
	"github.com/pgconvoy/pgconvoy/internal/ledger"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/schema"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// SchemaDifferenceError is returned when definitions of source and target are not
// equal.
type SchemaDifferenceError struct{ Differences int }

func (e *SchemaDifferenceError) Error() string {
	return fmt.Sprintf("definitions of source and target differ in %d points", e.Differences)
}

// ExitCode is that of a difference.
func (e *SchemaDifferenceError) ExitCode() int { return 4 }

// VerifySchema compares the definitions on both sides, by what a run with these
// settings would make of the source, and returns a [*SchemaDifferenceError] beside
// the result if they are not the same. It changes nothing.
func VerifySchema(ctx context.Context, o Options) (tasks.SchemaComparison, error) {
	around, err := aroundTables(o.Config)
	if err != nil {
		return tasks.SchemaComparison{}, err
	}
	rules, err := rulesOf(o.Config)
	if err != nil {
		return tasks.SchemaComparison{}, err
	}
	p, err := connectBoth(ctx, o)
	if err != nil {
		return tasks.SchemaComparison{}, err
	}
	defer p.Close()
	p.around, p.rules = around, rules
	expected, err := p.expected(ctx)
	if err != nil {
		return tasks.SchemaComparison{}, err
	}
	result, err := schema.Compare(ctx, p.source, p.target, expected)
	if err == nil && len(result.Differences) > 0 {
		err = &SchemaDifferenceError{Differences: len(result.Differences)}
	}
	if pg.IsCode(err, "42501") {
		err = tasks.WithHint(err, "values of sequences are read by a SELECT on them: GRANT SELECT ON ALL SEQUENCES IN SCHEMA … to the role that pgconvoy connects as")
	}
	return result, err
}

// expected says what a run with these settings makes of the source, and what on
// the target would belong to it: the same rules choose from what that has. There,
// a name that matches nothing is no mistake.
func (p *Prepared) expected(ctx context.Context) (e schema.Expected, err error) {
	e = schema.Expected{Without: []string{ledger.Schema}, Around: p.around}
	if e.NoLabels, err = pg.LabelsNotLoaded(ctx, p.source, p.target); err != nil {
		return e, err
	}
	found, err := p.choose(ctx, p.source)
	if err == nil {
		err = found.Err()
	}
	if err != nil || p.scope.All() {
		return e, err
	}
	inv, err := inventoryOf(ctx, p.target)
	if err != nil {
		return e, err
	}
	there, _, _ := filter.Resolve(p.rules, inv)
	if e.Source, err = made(ctx, p.source, p.scope); err != nil {
		return e, err
	}
	e.Target, err = made(ctx, p.target, there)
	return e, err
}

// made follows what is chosen through the dependencies of one side.
func made(ctx context.Context, c *pg.Conn, scope filter.Scope) (filter.Made, error) {
	deps, err := pg.ReadDependencies(ctx, c)
	if err != nil {
		return filter.Made{}, fmt.Errorf("%s: %w", c.Side(), err)
	}
	return scope.Made(deps), nil
}
