package worker

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// analyzeTable does [tasks.KindAnalyze].
type analyzeTable struct{}

func (analyzeTable) Do(ctx context.Context, j *Job) (tasks.Result, error) {
	spec, err := tasks.Decode[tasks.Statements](j.Task)
	if err != nil {
		return tasks.Result{}, tasks.Discard(err)
	}
	ctx, end := j.trace(ctx, pg.Target, operation(j.Task.Kind, spec.On))
	notes, err := j.analyze(ctx, spec.Statements)
	end(err)
	return tasks.Result{Notes: notes}, err
}

// analyze runs ANALYZE statements in the task's transaction. One that the
// server refuses is a note, not an error: a copy without statistics is still a
// copy, and there are types and foreign partitions that cannot be analyzed.
func (j *Job) analyze(ctx context.Context, statements []tasks.Statement) (notes []string, err error) {
	for len(statements) > 0 {
		script := append([]string{"SAVEPOINT statistics"}, sqlOf(statements)...)
		err := j.Target.Script(ctx, script)
		var refused *pg.ScriptError
		switch {
		case err == nil:
			return notes, nil
		case !errors.As(err, &refused), ctx.Err() != nil, j.Target.IsClosed(), pg.Classify(err) == pg.Transient:
			return notes, err
		}
		at := max(refused.Index-1, 0) // the savepoint comes first
		if _, err := j.Target.Exec(ctx, "ROLLBACK TO SAVEPOINT statistics"); err != nil {
			return notes, fmt.Errorf("%s: %w", statements[at].Label, refused.Err)
		}
		note := fmt.Sprintf("%s: %s", statements[at].Label, pg.Describe(refused.Err))
		j.Log.Warn("table has no statistics", "err", note)
		notes = append(notes, note)
		// What succeeded before was rolled back with it: all but the refused one run again.
		statements = append(append([]tasks.Statement{}, statements[:at]...), statements[at+1:]...)
	}
	return notes, nil
}
