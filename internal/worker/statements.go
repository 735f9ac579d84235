package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// runStatements does the kinds whose spec is [tasks.Statements].
type runStatements struct{}

func (runStatements) Do(ctx context.Context, j *Job) (tasks.Result, error) {
	spec, err := tasks.Decode[tasks.Statements](j.Task)
	if err != nil {
		return tasks.Result{}, tasks.Discard(err)
	}
	if len(spec.Statements) == 0 {
		return tasks.Result{}, nil
	}
	ctx, end := j.trace(ctx, pg.Target, operation(j.Task.Kind, spec.On))
	err = j.Target.Script(ctx, sqlOf(spec.Statements))
	end(err)
	var script *pg.ScriptError
	if errors.As(err, &script) {
		err = fmt.Errorf("%s: %w", spec.Statements[script.Index].Label, script.Err)
	}
	return tasks.Result{}, err
}

func sqlOf(statements []tasks.Statement) []string {
	sql := make([]string, len(statements))
	for i, s := range statements {
		sql[i] = s.SQL
	}
	return sql
}

// labelOf describes copies that travel together.
func labelOf(copies []tasks.Copy) string {
	if len(copies) == 1 {
		return copies[0].Label()
	}
	return fmt.Sprintf("COPY of %d tables in one bundle", len(copies))
}

// label describes a task in a log line, in the words of the statements it ran.
func label(t tasks.Task) string {
	switch t.Kind {
	case tasks.KindCopy:
		if c, err := tasks.Decode[tasks.Copy](t); err == nil {
			return c.Label()
		}
	case tasks.KindBundle, tasks.KindExtensionData:
		if b, err := tasks.Decode[tasks.Bundle](t); err == nil {
			copies := make([]tasks.Copy, len(b.Tables))
			for i, t := range b.Tables {
				copies[i] = t.Copy
			}
			return labelOf(copies)
		}
	case tasks.KindSchema:
		if s, err := tasks.Decode[tasks.Statements](t); err == nil {
			return fmt.Sprintf("%d archive entries", len(s.Statements))
		}
	case tasks.KindSequences:
		if s, err := tasks.Decode[tasks.Sequences](t); err == nil {
			return fmt.Sprintf("SETVAL of %d sequences", len(s.Names))
		}
	case tasks.KindLargeObjects:
		return "copy of large objects"
	case tasks.KindMeasure:
		if m, err := tasks.Decode[tasks.Measure](t); err == nil {
			return m.Label()
		}
	case tasks.KindVerify:
		if v, err := tasks.Decode[tasks.Verify](t); err == nil {
			return fmt.Sprintf("%s of %s compared", v.Level, tasks.Plural(len(v.Tables), "table"))
		}
	default:
		if s, err := tasks.Decode[tasks.Statements](t); err == nil && len(s.Statements) > 0 {
			labels := make([]string, len(s.Statements))
			for i, statement := range s.Statements {
				labels[i] = statement.Label
			}
			return strings.Join(labels, "; ")
		}
	}
	return string(t.ID)
}
