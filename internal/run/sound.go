package run

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/pgconvoy/pgconvoy/internal/ledger"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/plan"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// UnsoundError says that every task is done, and the copy is not what the source
// is all the same.
type UnsoundError struct{ Findings []string }

func (e *UnsoundError) Error() string {
	return fmt.Sprintf("the copy is not complete although every task is done: not as on the source: %s", tasks.Plural(len(e.Findings), "object"))
}

// Hint says what to do.
func (e *UnsoundError) Hint() string {
	return "somebody may have changed the target meanwhile; mend the objects there, then planner resume"
}

// ExitCode is that of an incomplete run.
func (e *UnsoundError) ExitCode() int { return 3 }

// Lines lists the findings, then what is wrong.
func (e *UnsoundError) Lines() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, f := range e.Findings {
			if !yield(f, "") {
				return
			}
		}
		yield(e.Error(), e.Hint())
	}
}

// sound makes sure, before a run is declared complete, that every index and
// constraint of the target is valid that is valid on the source, and that no
// sequence is behind the rows that were copied: sequences are read after the last
// row, and so at least as far as the source had them in the snapshot.
func (r *running) sound(ctx context.Context, target *pg.Conn) error {
	var source *pg.Conn
	defer func() {
		if source != nil {
			source.Discard()
		}
	}()
	sections, err := r.ledger.Sections(ctx, target)
	if err != nil {
		return err
	}
	checks := []func(context.Context, *pg.Conn, pg.Without) (map[string]string, error){pg.Invalid}
	if sections.Has(tasks.SectionSequences) {
		checks = append(checks, pg.LaggingSequences)
	}
	var findings []string
	for _, check := range checks {
		here, err := check(ctx, target, pg.Without{Schemas: []string{ledger.Schema}})
		if err != nil {
			return err
		}
		if len(here) == 0 {
			continue // whatever the source is like
		}
		if source == nil {
			if source, err = connectSide(ctx, r.Options, pg.Source); err != nil {
				return err
			}
		}
		there, err := check(ctx, source, r.prepared.without)
		if err != nil {
			return err
		}
		expected, err := r.unvalidated(ctx, target)
		if err != nil {
			return err
		}
		for object, what := range here {
			if _, alike := there[object]; !alike && !expected[unquoted(object)] {
				findings = append(findings, object+" "+what)
			}
		}
	}
	if len(findings) > 0 {
		return &UnsoundError{Findings: findings}
	}
	return nil
}

// unvalidated returns the foreign keys that the plan adds without a look at the
// rows, by the names of [pg.Invalid] without quotes.
func (r *running) unvalidated(ctx context.Context, target *pg.Conn) (map[string]bool, error) {
	report, err := r.ledger.Report(ctx, target)
	if err != nil {
		return nil, err
	}
	expected := map[string]bool{}
	for _, s := range report.Skipped {
		if object, ok := strings.CutPrefix(s.Object, plan.ValidationOf); ok {
			expected[unquoted(object)] = true
		}
	}
	return expected, nil
}

func unquoted(name string) string { return strings.ReplaceAll(name, `"`, "") }
