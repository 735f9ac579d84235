package worker

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// sequenceQuery is how many sequences one query reads; each takes a lock.
const sequenceQuery = 200

// copySequences does [tasks.KindSequences]. Sequences are not transactional:
// what is read is the newest value, never one behind the copied rows.
type copySequences struct{}

func (copySequences) Do(ctx context.Context, j *Job) (_ tasks.Result, err error) {
	spec, err := tasks.Decode[tasks.Sequences](j.Task)
	if err != nil {
		return tasks.Result{}, tasks.Discard(err)
	}
	ctx, end := j.trace(ctx, pg.Target, label(j.Task))
	defer func() { end(err) }()
	source, err := j.Source(ctx)
	if err != nil {
		return tasks.Result{}, err
	}
	for names := range slices.Chunk(spec.Names, sequenceQuery) {
		selects := make([]string, len(names))
		for i, n := range names {
			selects[i] = fmt.Sprintf("SELECT %d AS i, last_value, is_called FROM %s", i, n)
		}
		rows, err := source.Query(ctx, strings.Join(selects, " UNION ALL ")+" ORDER BY i", pgx.QueryExecModeExec)
		if err != nil {
			return tasks.Result{}, fmt.Errorf("read sequences: %w", err)
		}
		quoted := make([]string, 0, len(names))
		values := make([]int64, 0, len(names))
		called := make([]bool, 0, len(names))
		var i int
		var value int64
		var isCalled bool
		_, err = pgx.ForEachRow(rows, []any{&i, &value, &isCalled}, func() error {
			quoted, values, called = append(quoted, names[i].String()), append(values, value), append(called, isCalled)
			return nil
		})
		if err != nil {
			return tasks.Result{}, fmt.Errorf("read sequences: %w", err)
		}
		_, err = j.Target.Conn.Exec(ctx, `SELECT pg_catalog.setval(x.name::regclass, x.value, x.called)
			FROM unnest($1::text[], $2::int8[], $3::bool[]) x (name, value, called)`, quoted, values, called)
		if err != nil {
			return tasks.Result{}, fmt.Errorf("set sequences: %w", err)
		}
	}
	return tasks.Result{}, nil
}
