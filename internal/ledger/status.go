package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Status says how far the run is, as the ledger knows it.
func (l *Ledger) Status(ctx context.Context, c *pg.Conn) (tasks.RunStatus, error) {
	s := tasks.RunStatus{Run: l.run.Name, RunUID: l.run.UID, Tasks: map[tasks.State]int{}, Running: []tasks.RunningTask{}}
	steps := []func(context.Context, *pg.Conn, *tasks.RunStatus) error{l.statusRun, l.statusKinds, l.statusSnapshot, l.statusRunning}
	for _, step := range steps {
		if err := step(ctx, c, &s); err != nil {
			return s, fmt.Errorf("read status: %w", err)
		}
	}
	r := tasks.Report{}
	if err := l.reportFailures(ctx, c, &r); err != nil {
		return s, fmt.Errorf("read status: %w", err)
	}
	s.Failures = r.Failures
	return s, nil
}

func (l *Ledger) statusRun(ctx context.Context, c *pg.Conn, s *tasks.RunStatus) error {
	var throttle tasks.Throttle
	var text []byte
	err := c.QueryRow(ctx, `SELECT r.state, r.paused, r.throttle::text, coalesce(r.planner, ''), r.created_at, pg_catalog.clock_timestamp(),
		(SELECT coalesce(pg_catalog.sum(k.rows), 0)::int8 FROM pgconvoy.copied k WHERE k.run = r.run),
		(SELECT coalesce(pg_catalog.sum(k.bytes), 0)::int8 FROM pgconvoy.copied k WHERE k.run = r.run),
		(SELECT coalesce(pg_catalog.sum(p.bytes), 0)::int8 FROM pgconvoy.planned p WHERE p.run = r.run)
		FROM pgconvoy.run r WHERE r.run = $1`, l.run.Name).
		Scan(&s.State, &s.Paused, &text, &s.Planner, &s.Started, &s.At, &s.Rows, &s.Bytes, &s.TableBytes)
	if err == nil {
		err = json.Unmarshal(text, &throttle)
	}
	if err == nil && s.State == tasks.RunRunning && len(throttle.Limits) > 0 {
		s.Throttle = &throttle
	}
	return err
}

func (l *Ledger) statusKinds(ctx context.Context, c *pg.Conn, s *tasks.RunStatus) error {
	rows, err := c.Query(ctx, `SELECT kind, state, pg_catalog.count(*), pg_catalog.sum(weight)::int8, pg_catalog.sum(attempts)::int FROM pgconvoy.task WHERE run = $1 GROUP BY kind, state ORDER BY kind, state`, l.run.Name)
	if err != nil {
		return err
	}
	var kind tasks.Kind
	var state tasks.State
	var n, attempts int
	var weight int64
	_, err = pgx.ForEachRow(rows, []any{&kind, &state, &n, &weight, &attempts}, func() error {
		if len(s.Kinds) == 0 || s.Kinds[len(s.Kinds)-1].Kind != kind {
			s.Kinds = append(s.Kinds, tasks.KindStatus{Kind: kind, Tasks: map[tasks.State]int{}, Weight: map[tasks.State]int64{}})
		}
		k := &s.Kinds[len(s.Kinds)-1]
		k.Tasks[state], k.Weight[state] = n, weight
		k.Attempts += attempts
		s.Tasks[state] += n
		return nil
	})
	return err
}

func (l *Ledger) statusSnapshot(ctx context.Context, c *pg.Conn, s *tasks.RunStatus) error {
	records, err := l.Snapshots(ctx, c)
	if err != nil || len(records) == 0 {
		return err
	}
	s.Snapshot = records[len(records)-1].status()
	return nil
}

func (s SnapshotRecord) status() tasks.SnapshotStatus {
	return tasks.SnapshotStatus{
		ID: s.ID, Text: s.Text, Held: s.Lost == nil && s.Released == nil, Age: s.Age, XminAge: -1, SameAs: s.SameAs,
		TakenAt: s.TakenAt, Released: s.Released,
	}
}

func (l *Ledger) statusRunning(ctx context.Context, c *pg.Conn, s *tasks.RunStatus) error {
	leases, err := l.Leases(ctx, c)
	if err != nil {
		return err
	}
	for _, h := range leases {
		s.Leases = append(s.Leases, h)
		s.Running = append(s.Running, tasks.RunningTask{
			Task: h.Task, Kind: h.Kind, Weight: h.Weight, Worker: h.Worker, Since: s.At.Add(-h.Since).Truncate(time.Millisecond), Bytes: h.Bytes,
		})
	}
	return nil
}

// Hands returns the sessions that hold the locks of the run's tasks.
func (l *Ledger) Hands(ctx context.Context, c *pg.Conn) ([]tasks.Holder, error) {
	rows, err := c.Query(ctx, `SELECT a.application_name, a.pid, a.backend_start::text, coalesce(h.source_pid, 0), coalesce(h.source_start, '')
		FROM pg_catalog.pg_locks k JOIN pg_catalog.pg_stat_activity a ON a.pid = k.pid AND pg_catalog.starts_with(a.application_name, $3)
		LEFT JOIN LATERAL (SELECT l.source_pid, l.source_start FROM pgconvoy.lease l
			WHERE l.run = $1 AND l.target_pid = a.pid AND l.target_start = a.backend_start::text LIMIT 1) h ON true
		WHERE k.locktype = 'advisory' AND k.granted AND k.classid = $2::int8::oid AND k.objid <> 0 AND k.objsubid = 2
		AND k.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())`,
		l.run.Name, int64(lockClass), workerSessions)
	if err != nil {
		return nil, fmt.Errorf("list sessions of tasks: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (tasks.Holder, error) {
		var h tasks.Holder
		err := row.Scan(&h.Worker, &h.Target.PID, &h.Target.Start, &h.Source.PID, &h.Source.Start)
		return h, err
	})
	if err != nil {
		return nil, fmt.Errorf("list sessions of tasks: %w", err)
	}
	return list, nil
}

// Runs returns the names of the runs that the target has ledgers of, newest
// first.
func Runs(ctx context.Context, c *pg.Conn) ([]string, error) {
	var there bool
	if err := c.QueryRow(ctx, "SELECT pg_catalog.to_regclass('pgconvoy.run') IS NOT NULL").Scan(&there); err != nil || !there {
		return nil, err
	}
	rows, err := c.Query(ctx, "SELECT run FROM pgconvoy.run ORDER BY created_at DESC")
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	return names, nil
}
