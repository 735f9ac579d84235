package run

import (
	"context"
	"fmt"

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

// VerifySchema compares the definitions of source and target as they are now. It
// needs no more than a session on each side, and changes nothing. Its error, if
// the sides differ, is a [*SchemaDifferenceError].
func VerifySchema(ctx context.Context, o Options) (tasks.SchemaComparison, error) {
	p, err := connectBoth(ctx, o)
	if err != nil {
		return tasks.SchemaComparison{}, err
	}
	defer p.Close()
	result, err := schema.Compare(ctx, p.source, p.target, []string{ledger.Schema})
	if err == nil && len(result.Differences) > 0 {
		err = &SchemaDifferenceError{Differences: len(result.Differences)}
	}
	if pg.IsCode(err, "42501") {
		err = tasks.WithHint(err, "values of sequences are read by a SELECT on them: GRANT SELECT ON ALL SEQUENCES IN SCHEMA … to the role that pgconvoy connects as")
	}
	return result, err
}
