package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Report reads what the run did.
func (l *Ledger) Report(ctx context.Context, c *pg.Conn) (tasks.Report, error) {
	r := tasks.Report{Run: l.run.Name, RunUID: l.run.UID}
	steps := []func(context.Context, *pg.Conn, *tasks.Report) error{l.reportRun, l.reportSnapshots, l.reportTables, l.reportStages, l.reportSkipped, l.reportFailures, l.reportNotes, l.reportTimeline}
	for _, step := range steps {
		if err := step(ctx, c, &r); err != nil {
			return r, fmt.Errorf("read report: %w", err)
		}
	}
	return r, nil
}

func (l *Ledger) reportRun(ctx context.Context, c *pg.Conn, r *tasks.Report) error {
	var seconds float64
	err := c.QueryRow(ctx, `SELECT r.state, r.version, r.source, r.target, r.created_at, extract(epoch FROM coalesce(r.finished_at, pg_catalog.clock_timestamp()) - r.created_at)::float8,
		coalesce((SELECT s.pg_snapshot FROM pgconvoy.snapshot s WHERE s.run = r.run ORDER BY s.id DESC LIMIT 1), ''),
		(SELECT pg_catalog.count(*) FROM pgconvoy.task t WHERE t.run = r.run AND t.state IN ('pending', 'ready')),
		(SELECT coalesce(pg_catalog.max(t.spec ->> 'level'), '') FROM pgconvoy.task t WHERE t.run = r.run AND t.kind = 'verify' AND t.state = 'done'
			AND NOT EXISTS (SELECT FROM pgconvoy.task o WHERE o.run = r.run AND o.kind = 'verify' AND o.state <> 'done')), coalesce(r.inconsistent, '')
		FROM pgconvoy.run r WHERE r.run = $1`, l.run.Name).Scan(&r.State, &r.Version, &r.Source, &r.Target, &r.Started, &seconds, &r.Snapshot, &r.Pending, &r.Verified, &r.Inconsistent)
	r.Elapsed = time.Duration(seconds * float64(time.Second))
	return err
}

func (l *Ledger) reportSnapshots(ctx context.Context, c *pg.Conn, r *tasks.Report) error {
	records, err := l.Snapshots(ctx, c)
	r.Snapshots = make([]tasks.SnapshotStatus, len(records))
	for i, s := range records {
		r.Snapshots[i] = s.status()
	}
	return err
}

func (l *Ledger) reportTables(ctx context.Context, c *pg.Conn, r *tasks.Report) error {
	// Indexes and constraints are counted by the table that their spec names.
	rows, err := c.Query(ctx, `SELECT p.schema, p.name, coalesce(k.rows, 0)::int8, coalesce(k.bytes, 0)::int8, p.parts, p.bundle, p.indexes,
			CASE WHEN p.bundle = '' THEN coalesce(k.seconds, 0) ELSE 0 END::float8, coalesce(x.seconds, 0)::float8
		FROM pgconvoy.planned p
		LEFT JOIN (SELECT c.schema, c.name, pg_catalog.sum(c.rows) AS rows, pg_catalog.sum(c.bytes) AS bytes,
				pg_catalog.sum(extract(epoch FROM t.done_at - t.started_at)) AS seconds
			FROM pgconvoy.copied c JOIN pgconvoy.task t ON t.run = c.run AND t.id = c.task
			WHERE c.run = $1 GROUP BY c.schema, c.name) k ON k.schema = p.schema AND k.name = p.name
		LEFT JOIN (SELECT t.spec #>> '{on,schema}' AS schema, t.spec #>> '{on,name}' AS name,
				pg_catalog.sum(extract(epoch FROM t.done_at - t.started_at)) AS seconds
			FROM pgconvoy.task t WHERE t.run = $1 AND t.kind IN ('index', 'attach') AND t.state = 'done' GROUP BY 1, 2) x
			ON x.schema = p.schema AND x.name = p.name
		WHERE p.run = $1 ORDER BY p.bytes DESC, p.schema, p.name`, l.run.Name)
	if err != nil {
		return err
	}
	r.Tables, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (tasks.TableReport, error) {
		var t tasks.TableReport
		var copied, indexed float64
		err := row.Scan(&t.Name.Schema, &t.Name.Name, &t.Rows, &t.Bytes, &t.Parts, &t.Bundle, &t.Indexes, &copied, &indexed)
		t.CopyTime, t.IndexTime = time.Duration(copied*float64(time.Second)), time.Duration(indexed*float64(time.Second))
		r.Rows += t.Rows
		r.Bytes += t.Bytes
		return t, err
	})
	return err
}

func (l *Ledger) reportStages(ctx context.Context, c *pg.Conn, r *tasks.Report) error {
	rows, err := c.Query(ctx, `SELECT kind, stage, pg_catalog.count(*)::int4,
			extract(epoch FROM pg_catalog.max(done_at) - pg_catalog.min(started_at))::float8,
			pg_catalog.sum(extract(epoch FROM done_at - started_at))::float8
		FROM pgconvoy.task WHERE run = $1 AND state = 'done' GROUP BY kind, stage ORDER BY pg_catalog.min(started_at)`, l.run.Name)
	if err != nil {
		return err
	}
	r.Stages, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (tasks.StageReport, error) {
		var s tasks.StageReport
		var wall, cumulative float64
		err := row.Scan(&s.Kind, &s.Stage, &s.Tasks, &wall, &cumulative)
		s.Wall, s.Cumulative = time.Duration(wall*float64(time.Second)), time.Duration(cumulative*float64(time.Second))
		return s, err
	})
	return err
}

func (l *Ledger) reportSkipped(ctx context.Context, c *pg.Conn, r *tasks.Report) error {
	rows, err := c.Query(ctx, "SELECT object, reason FROM pgconvoy.skipped WHERE run = $1 ORDER BY id", l.run.Name)
	if err != nil {
		return err
	}
	r.Skipped, err = pgx.CollectRows(rows, pgx.RowToStructByPos[tasks.Skipped])
	return err
}

func (l *Ledger) reportFailures(ctx context.Context, c *pg.Conn, r *tasks.Report) error {
	rows, err := c.Query(ctx, `SELECT id, kind, attempts, coalesce(last_error, '') FROM pgconvoy.task
		WHERE run = $1 AND state = 'failed' ORDER BY done_at, id`, l.run.Name)
	if err != nil {
		return err
	}
	r.Failures, err = pgx.CollectRows(rows, pgx.RowToStructByPos[tasks.Failure])
	return err
}

func (l *Ledger) reportNotes(ctx context.Context, c *pg.Conn, r *tasks.Report) error {
	rows, err := c.Query(ctx, `SELECT id, last_error FROM pgconvoy.task
		WHERE run = $1 AND state = 'done' AND last_error IS NOT NULL ORDER BY id`, l.run.Name)
	if err != nil {
		return err
	}
	r.Notes, err = pgx.CollectRows(rows, pgx.RowToStructByPos[tasks.Note])
	return err
}

func (l *Ledger) reportTimeline(ctx context.Context, c *pg.Conn, r *tasks.Report) error {
	rows, err := c.Query(ctx, `SELECT t.id, t.kind, coalesce(t.worker, ''), extract(epoch FROM t.started_at - r.created_at)::float8,
			extract(epoch FROM t.done_at - t.started_at)::float8, coalesce(t.rows, 0), coalesce(t.bytes, 0), t.attempts
		FROM pgconvoy.task t JOIN pgconvoy.run r ON r.run = t.run WHERE t.run = $1 AND t.state = 'done' AND t.started_at IS NOT NULL
		ORDER BY t.started_at, t.id`, l.run.Name)
	if err != nil {
		return err
	}
	r.Timeline, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (tasks.Span, error) {
		var s tasks.Span
		var start, took float64
		err := row.Scan(&s.Task, &s.Kind, &s.Worker, &start, &took, &s.Rows, &s.Bytes, &s.Retries)
		s.Start, s.Took = seconds(start), seconds(took)
		return s, err
	})
	return err
}
