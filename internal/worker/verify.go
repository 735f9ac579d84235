package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
	"github.com/pgconvoy/pgconvoy/internal/verify"
)

// verifyTables does [tasks.KindVerify]. At level rows it counts the target's
// rows and compares them with what the source's COPY reported; at level digest
// it reads both sides, the source in the run's snapshot.
type verifyTables struct{}

func (verifyTables) Do(ctx context.Context, j *Job) (tasks.Result, error) {
	spec, err := tasks.Decode[tasks.Verify](j.Task)
	if err != nil {
		return tasks.Result{}, tasks.Discard(err)
	}
	compare, err := j.comparison(ctx, spec)
	if err != nil {
		return tasks.Result{}, err
	}
	var result tasks.Result
	var differences []string
	for _, t := range spec.Tables {
		rows, difference, err := compare(ctx, t)
		if err != nil {
			return tasks.Result{}, err
		}
		if difference != nil {
			differences = append(differences, difference.String())
		}
		result.Rows += rows
	}
	if len(differences) > 0 {
		return result, tasks.Discard(fmt.Errorf("rows differ: %s", strings.Join(differences, "; ")))
	}
	return result, nil
}

type comparison func(ctx context.Context, t tasks.VerifyTable) (int64, *tasks.Difference, error)

func (j *Job) comparison(ctx context.Context, spec tasks.Verify) (comparison, error) {
	if spec.Level == "digest" {
		snapshot, err := j.Snapshot(ctx)
		if err != nil {
			return nil, err
		}
		source, err := j.Source(ctx)
		if err != nil {
			return nil, err
		}
		if _, err := source.Exec(ctx, pg.ImportSnapshotSQL(snapshot.Name)); err != nil {
			return nil, j.notImported(snapshot, err)
		}
		return func(ctx context.Context, t tasks.VerifyTable) (int64, *tasks.Difference, error) {
			return verify.Contents(ctx, source, j.Target, t)
		}, nil
	}
	var names []tasks.Name
	for _, t := range spec.Tables {
		names = append(append(names, t.Name), t.Leaves...)
	}
	copied, err := j.Ledger.Copied(ctx, j.Target, names)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, t tasks.VerifyTable) (int64, *tasks.Difference, error) {
		want, counted := copied[t.Name]
		for _, leaf := range t.Leaves {
			rows, there := copied[leaf]
			want, counted = want+rows, counted || there
		}
		if !counted {
			return 0, nil, errors.New("ledger has no count of " + t.String())
		}
		got, err := verify.Count(ctx, j.Target, t)
		return got, verify.RowsDiffer(t.Name, want, got), err
	}, nil
}
