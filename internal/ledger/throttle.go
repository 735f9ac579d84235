package ledger

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// workerAlive is the condition on x, a row of pgconvoy.worker, that the process was
// heard of lately: it says that it is alive every five seconds at least.
const workerAlive = "x.beat_at > pg_catalog.clock_timestamp() - interval '15 seconds'"

// SetLimits records limits, beside those that were recorded before.
func (l *Ledger) SetLimits(ctx context.Context, c *pg.Conn, limits tasks.Limits) error {
	text, err := json.Marshal(limits)
	if err != nil {
		return fmt.Errorf("encode limits: %w", err)
	}
	return l.set(ctx, c, "limits = limits || $2::text::jsonb", string(text))
}

// SetThrottle records what limits do to the run. Workers are told with their next
// sign of life.
func (l *Ledger) SetThrottle(ctx context.Context, c *pg.Conn, t tasks.Throttle) error {
	text, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("encode what the limits do: %w", err)
	}
	return l.set(ctx, c, "throttle = $2::text::jsonb", string(text))
}

// LetGo lets copies in hand go on that stand still, so that they can be finished:
// nobody looks after the run any more.
func (l *Ledger) LetGo(ctx context.Context, c *pg.Conn) error {
	return l.set(ctx, c, "throttle = throttle - $2", "held")
}

// Throttle returns what limits do to the run, as its planner has last said.
func (l *Ledger) Throttle(ctx context.Context, c *pg.Conn) (tasks.Throttle, error) {
	var t tasks.Throttle
	var text []byte
	err := c.QueryRow(ctx, "SELECT throttle::text FROM pgconvoy.run WHERE run = $1", l.run.Name).Scan(&text)
	if err == nil {
		err = json.Unmarshal(text, &t)
	}
	if err != nil {
		return t, fmt.Errorf("read what the limits do: %w", err)
	}
	return t, nil
}

// Workers returns what the worker processes have last said of themselves that were
// heard of lately, without what they have in hand.
func (l *Ledger) Workers(ctx context.Context, c *pg.Conn) ([]tasks.Pulse, error) {
	rows, err := c.Query(ctx, "SELECT x.worker, x.bytes_per_second, x.slowed FROM pgconvoy.worker x WHERE x.run = $1 AND "+workerAlive+" ORDER BY x.worker", l.run.Name)
	if err != nil {
		return nil, fmt.Errorf("list workers: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (tasks.Pulse, error) {
		var p tasks.Pulse
		err := row.Scan(&p.Worker, &p.BytesPerSecond, &p.Slowed)
		return p, err
	})
	if err != nil {
		return nil, fmt.Errorf("list workers: %w", err)
	}
	return list, nil
}

// SetShares records how many bytes per second each worker may move. Others have an
// equal part of the limit until they have one. Workers that are gone are forgotten.
func (l *Ledger) SetShares(ctx context.Context, c *pg.Conn, workers []tasks.Pulse, shares []int64) error {
	names := make([]string, len(workers))
	for i, w := range workers {
		names[i] = w.Worker
	}
	batch := &pgx.Batch{}
	batch.Queue("DELETE FROM pgconvoy.worker x WHERE x.run = $1 AND NOT ("+workerAlive+")", l.run.Name)
	batch.Queue(`UPDATE pgconvoy.worker w SET share = s.share FROM unnest($2::text[], $3::int8[]) s (worker, share)
		WHERE w.run = $1 AND w.worker = s.worker AND w.share IS DISTINCT FROM s.share`, l.run.Name, names, shares)
	if err := c.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("divide the rate among workers: %w", err)
	}
	return nil
}

// heed completes the orders of a worker by what limits do to the run.
func heed(o *tasks.Orders, throttle []byte, share *int64, workers int64) error {
	var t tasks.Throttle
	if err := json.Unmarshal(throttle, &t); err != nil {
		return err
	}
	o.Lean = t.Limits[tasks.SourceConnections] > 0 || t.Limits[tasks.TargetConnections] > 0
	o.Pace.Held = t.Held
	rate := t.Limits[tasks.SourceRate]
	switch {
	case rate <= 0:
	case share == nil || *share > rate: // nobody has divided it since the worker came, or since the limit changed
		o.Pace.BytesPerSecond = max(rate/max(workers, 1), 1)
	default:
		o.Pace.BytesPerSecond = *share
	}
	return nil
}
