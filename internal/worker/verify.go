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

// Counts is what the ledger knows of the rows of tables, all parts of each
// together.
type Counts interface {
	// DigestKey returns the key that the run's rows are hashed under.
	DigestKey() tasks.DigestKey
	// Copied returns what was copied.
	Copied(ctx context.Context, c *pg.Conn, tables []tasks.Name) (map[tasks.Name]tasks.TableCount, error)
	// Measured returns what was found on the side.
	Measured(ctx context.Context, c *pg.Conn, side string, tables []tasks.Name) (map[tasks.Name]tasks.TableCount, error)
}

// digests returns what hashes the rows of the copies, nil if that is not asked
// for. All copies of a run ask for the same.
func (j *Job) digests(copies []tasks.Copy) ([]*verify.Rows, []pg.RowSink, error) {
	if len(copies) == 0 || !copies[0].Digest {
		return nil, nil, nil
	}
	digests, sinks := make([]*verify.Rows, len(copies)), make([]pg.RowSink, len(copies))
	for i := range copies {
		r, err := verify.NewRows(j.Ledger.DigestKey())
		if err != nil {
			return nil, nil, err
		}
		digests[i], sinks[i] = r, r
	}
	return digests, sinks, nil
}

// measureTables does [tasks.KindMeasure].
type measureTables struct{}

func (measureTables) Do(ctx context.Context, j *Job) (result tasks.Result, err error) {
	spec, err := tasks.Decode[tasks.Measure](j.Task)
	if err != nil {
		return tasks.Result{}, tasks.Discard(err)
	}
	result.Side = spec.Side
	ctx, end := j.trace(ctx, pg.Side(spec.Side), spec.Label())
	defer func() { end(err) }()
	err = j.reading(ctx, spec.Side, spec.Snapshot, func(c *pg.Conn) (err error) {
		result.Measured, err = verify.Measure(ctx, c, spec.Level, j.Ledger.DigestKey(), spec.Tables)
		return err
	})
	for _, n := range result.Measured {
		result.Rows += n.Rows
	}
	return result, err
}

// reading calls read with a session of the side that sees the exported
// snapshot. Without one it is the task's own session on the target.
func (j *Job) reading(ctx context.Context, side, snapshot string, read func(*pg.Conn) error) error {
	if snapshot == "" {
		return read(j.Target)
	}
	pool := j.worker.target
	if side == tasks.SideSource {
		pool = j.worker.source
	}
	c, err := pool.get(ctx)
	if err != nil {
		return err
	}
	if _, err = c.Exec(ctx, pg.ImportSnapshotSQL(snapshot)); err != nil {
		err = fmt.Errorf("import snapshot on the %s: %w", side, err)
	} else {
		err = read(c)
	}
	if err == nil {
		err = endTransaction(ctx, c)
	}
	if err != nil {
		c.Discard()
		return err
	}
	pool.put(c)
	return nil
}

// verifyTables does [tasks.KindVerify]: it compares what was measured.
type verifyTables struct{}

func (verifyTables) Do(ctx context.Context, j *Job) (tasks.Result, error) {
	spec, err := tasks.Decode[tasks.Verify](j.Task)
	if err != nil {
		return tasks.Result{}, tasks.Discard(err)
	}
	differ, rows, err := j.compare(ctx, spec)
	if err != nil {
		return tasks.Result{}, err
	}
	if spec.Source == "" {
		return tasks.Result{Rows: rows}, differing(differ)
	}
	result := tasks.Result{Rows: rows}
	for _, d := range differ {
		if spec.Level == tasks.LevelDigest {
			if err := j.locateRows(ctx, spec, d); err != nil {
				return tasks.Result{}, err
			}
		}
		j.Log.Warn("table differs", "table", d.Table.String())
		result.Differences = append(result.Differences, *d.Difference)
	}
	return result, nil
}

// differing is the failure of a verify task after a copy, nil if there are no
// differences. The source's snapshot is gone by then.
func differing(list []different) error {
	if len(list) == 0 {
		return nil
	}
	texts := make([]string, len(list))
	for i, d := range list {
		texts[i] = d.String()
	}
	return tasks.Discard(tasks.WithHint(fmt.Errorf("rows differ: %s", strings.Join(texts, "; ")),
		"planner verify --verify digest names the rows that differ from the source as it is now"))
}

// different is a table that differs.
type different struct {
	*tasks.Difference
	table tasks.VerifyTable
}

// compare compares what was measured on the target with what was copied, or in
// a comparison measured on the source. It returns the number of rows on the
// target, too.
func (j *Job) compare(ctx context.Context, spec tasks.Verify) (found []different, rows int64, err error) {
	var names []tasks.Name
	for _, t := range spec.Tables {
		names = append(append(names, t.Name), t.Leaves...)
	}
	var source map[tasks.Name]tasks.TableCount
	if spec.Source == "" {
		source, err = j.Ledger.Copied(ctx, j.Target, names)
	} else {
		source, err = j.Ledger.Measured(ctx, j.Target, tasks.SideSource, names)
	}
	if err != nil {
		return nil, 0, err
	}
	target, err := j.Ledger.Measured(ctx, j.Target, tasks.SideTarget, names)
	if err != nil {
		return nil, 0, err
	}
	for _, t := range spec.Tables {
		want, there := sum(source, t)
		got, also := target[t.Name]
		if !there || !also {
			return nil, 0, errors.New("ledger has no count of " + t.String())
		}
		rows += got.Rows
		d, err := verify.Differ(spec.Level, want, got)
		if err != nil {
			return nil, 0, err
		}
		if d != nil {
			found = append(found, different{d, t})
		}
	}
	return found, rows, nil
}

// sum returns the count of the table, or of its leaves if those were copied.
func sum(counts map[tasks.Name]tasks.TableCount, t tasks.VerifyTable) (tasks.TableCount, bool) {
	all, there := counts[t.Name]
	for _, leaf := range t.Leaves {
		n, ok := counts[leaf]
		switch {
		case !ok:
		case there:
			all = all.Add(n)
		default:
			all, there = n, true
		}
	}
	return all, there
}

// locateRows adds to the difference which rows differ.
func (j *Job) locateRows(ctx context.Context, spec tasks.Verify, d different) error {
	return j.reading(ctx, tasks.SideSource, spec.Source, func(source *pg.Conn) error {
		return j.reading(ctx, tasks.SideTarget, spec.Target, func(target *pg.Conn) error {
			return verify.Locate(ctx, source, target, j.Ledger.DigestKey(), d.table, d.Difference)
		})
	})
}
