package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Beat records that a worker is alive and what it has in hand, and returns
// what the ledger has for it. c is in no transaction, and is not a task's
// connection, which is busy. A ledger that is gone is [ErrNoRun].
func (l *Ledger) Beat(ctx context.Context, c *pg.Conn, p tasks.Pulse) (tasks.Orders, error) {
	worker, n := p.Worker, len(p.Hand)
	ids, starts, sourceStarts := make([]string, n), make([]string, n), make([]string, n)
	pids, sourcePids := make([]int, n), make([]int, n)
	bytes := make([]int64, n)
	since, still := make([]float64, n), make([]float64, n)
	for i, h := range p.Hand {
		ids[i], pids[i], starts[i] = string(h.Task), h.Target.PID, h.Target.Start
		sourcePids[i], sourceStarts[i] = h.Source.PID, h.Source.Start
		bytes[i] = h.Bytes
		since[i], still[i] = h.Since.Seconds(), h.Still.Seconds()
	}
	batch := &pgx.Batch{}
	batch.Queue("DELETE FROM pgconvoy.lease WHERE run = $1 AND worker = $2 AND task <> ALL ($3)", l.run.Name, worker, ids)
	batch.Queue(`INSERT INTO pgconvoy.lease AS l (run, task, worker, target_pid, target_start, source_pid, source_start, bytes, moved_at, beat_at, since)
		SELECT $1, x.task, $2, x.pid, x.start, nullif(x.source_pid, 0), nullif(x.source_start, ''), x.bytes,
			pg_catalog.clock_timestamp() - x.still * interval '1 second', pg_catalog.clock_timestamp(), pg_catalog.clock_timestamp() - x.since * interval '1 second'
		FROM unnest($3::text[], $4::int4[], $5::text[], $6::int4[], $7::text[], $8::int8[], $9::float8[], $10::float8[])
			x (task, pid, start, source_pid, source_start, bytes, since, still)
		ON CONFLICT (run, task, worker) DO UPDATE SET target_pid = excluded.target_pid, target_start = excluded.target_start,
			source_pid = excluded.source_pid, source_start = excluded.source_start, bytes = excluded.bytes,
			moved_at = excluded.moved_at, beat_at = excluded.beat_at, since = excluded.since`,
		l.run.Name, worker, ids, pids, starts, sourcePids, sourceStarts, bytes, since, still)
	batch.Queue(`INSERT INTO pgconvoy.worker AS w (run, worker, beat_at, bytes_per_second, slowed) VALUES ($1, $2, pg_catalog.clock_timestamp(), $3, $4)
		ON CONFLICT (run, worker) DO UPDATE SET beat_at = excluded.beat_at, bytes_per_second = excluded.bytes_per_second, slowed = excluded.slowed`,
		l.run.Name, worker, p.BytesPerSecond, p.Slowed)
	var o tasks.Orders
	var uid string
	var throttle []byte
	var share *int64
	var workers int64
	batch.Queue(`SELECT r.uid, r.state, coalesce(s.id, 0), coalesce(s.name, ''), coalesce(s.pg_snapshot, ''), r.throttle::text, w.share,
			(SELECT pg_catalog.count(*) FROM pgconvoy.worker x WHERE x.run = r.run AND `+workerAlive+`)
		FROM pgconvoy.run r LEFT JOIN pgconvoy.worker w ON w.run = r.run AND w.worker = $2
		LEFT JOIN LATERAL (SELECT id, name, pg_snapshot `+currentSnapshot+`) s ON true WHERE r.run = $1`, l.run.Name, worker).
		QueryRow(func(row pgx.Row) error {
			return row.Scan(&uid, &o.Run, &o.Snapshot.ID, &o.Snapshot.Name, &o.Snapshot.Text, &throttle, &share, &workers)
		})
	err := c.SendBatch(ctx, batch).Close()
	if err == nil {
		err = heed(&o, throttle, share, workers)
	}
	switch {
	case errors.Is(err, pgx.ErrNoRows), pg.IsCode(err, "42P01"), pg.IsCode(err, "3F000"), err == nil && uid != l.run.UID:
		return o, ErrNoRun
	case err != nil:
		return o, fmt.Errorf("record what is in hand: %w", err)
	}
	return o, nil
}

// leaseColumns are those of a [tasks.Lease].
const leaseColumns = `l.task, t.kind, t.weight, l.worker, l.target_pid, l.target_start, coalesce(l.source_pid, 0), coalesce(l.source_start, ''), l.bytes,
	extract(epoch FROM pg_catalog.clock_timestamp() - l.since)::float8, extract(epoch FROM pg_catalog.clock_timestamp() - l.beat_at)::float8,
	extract(epoch FROM pg_catalog.clock_timestamp() - l.moved_at)::float8`

func scanLease(row pgx.CollectableRow) (tasks.Lease, error) {
	var h tasks.Lease
	var since, silent, still float64
	err := row.Scan(&h.Task, &h.Kind, &h.Weight, &h.Worker, &h.Target.PID, &h.Target.Start, &h.Source.PID, &h.Source.Start, &h.Bytes, &since, &silent, &still)
	h.Since, h.Silent, h.Still = seconds(since), seconds(silent), seconds(still)
	return h, err
}

// Leases returns what workers have said that they have in hand, of those whose
// session on the target is still there.
func (l *Ledger) Leases(ctx context.Context, c *pg.Conn) ([]tasks.Lease, error) {
	rows, err := c.Query(ctx, "SELECT "+leaseColumns+` FROM pgconvoy.lease l JOIN pgconvoy.task t ON t.run = l.run AND t.id = l.task AND t.state <> 'done'
		JOIN pg_catalog.pg_stat_activity a ON a.pid = l.target_pid AND a.backend_start::text = l.target_start WHERE l.run = $1 ORDER BY l.since, l.task`, l.run.Name)
	if err != nil {
		return nil, fmt.Errorf("list tasks in hand: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanLease)
	if err != nil {
		return nil, fmt.Errorf("list tasks in hand: %w", err)
	}
	return list, nil
}

// Vanished returns how many workers have vanished with the task in hand: they
// said that they have it, have not been heard of for the time, and their
// session is gone.
func (l *Ledger) Vanished(ctx context.Context, c *pg.Conn, id tasks.ID, silent time.Duration) (int, error) {
	var n int
	err := c.QueryRow(ctx, `SELECT pg_catalog.count(*) FROM pgconvoy.lease l WHERE l.run = $1 AND l.task = $2
		AND l.beat_at < pg_catalog.clock_timestamp() - $3 * interval '1 second' AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a
			WHERE a.pid = l.target_pid AND a.backend_start::text = l.target_start)`, l.run.Name, string(id), silent.Seconds()).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count workers that vanished with %s: %w", id, err)
	}
	return n, nil
}

// workerSessions is what the names of workers' sessions begin with.
const workerSessions = "pgconvoy worker"

// Holder returns the worker's session that holds the lock of the task; ok is
// false if none does. A worker that has not yet said what it has in hand counts
// as heard of when its transaction began.
func (l *Ledger) Holder(ctx context.Context, c *pg.Conn, id tasks.ID) (h tasks.Holder, ok bool, err error) {
	var silent float64
	err = c.QueryRow(ctx, `SELECT coalesce(l.worker, a.application_name), a.pid, a.backend_start::text, coalesce(l.source_pid, 0), coalesce(l.source_start, ''),
			extract(epoch FROM pg_catalog.clock_timestamp() - coalesce(l.beat_at, a.xact_start, a.backend_start))::float8
		FROM pg_catalog.pg_locks k JOIN pg_catalog.pg_stat_activity a ON a.pid = k.pid AND pg_catalog.starts_with(a.application_name, $5)
		LEFT JOIN pgconvoy.lease l ON l.run = $1 AND l.task = $2 AND l.target_pid = a.pid AND l.target_start = a.backend_start::text
		WHERE k.locktype = 'advisory' AND k.granted AND k.classid = $3::int8::oid AND k.objid = $4::int8::oid AND k.objsubid = 2
		AND k.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())`,
		l.run.Name, string(id), int64(lockClass), int64(l.lockKey(id)), workerSessions).
		Scan(&h.Worker, &h.Target.PID, &h.Target.Start, &h.Source.PID, &h.Source.Start, &silent)
	if errors.Is(err, pgx.ErrNoRows) {
		return h, false, nil
	}
	if err != nil {
		return h, false, fmt.Errorf("look who holds %s: %w", id, err)
	}
	h.Silent = time.Duration(silent * float64(time.Second))
	return h, true, nil
}
