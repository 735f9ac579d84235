package run

import (
	"context"
	"fmt"
	"iter"

	"github.com/pgconvoy/pgconvoy/internal/ledger"
	"github.com/pgconvoy/pgconvoy/internal/pg"
)

// UnsoundError says that every task is done, and the copy is not what the source
// is all the same.
type UnsoundError struct{ Findings []string }

func (e *UnsoundError) Error() string {
	return fmt.Sprintf("the copy is not complete although every task is done: %d objects are not what they are on the source", len(e.Findings))
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
	without := []string{ledger.Schema}
	var source *pg.Conn
	defer func() {
		if source != nil {
			source.Discard()
		}
	}()
	var findings []string
	for _, check := range []func(context.Context, *pg.Conn, []string) (map[string]string, error){pg.Invalid, pg.LaggingSequences} {
		here, err := check(ctx, target, without)
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
		there, err := check(ctx, source, without)
		if err != nil {
			return err
		}
		for object, what := range here {
			if _, alike := there[object]; !alike {
				findings = append(findings, object+" "+what)
			}
		}
	}
	if len(findings) > 0 {
		return &UnsoundError{Findings: findings}
	}
	return nil
}
