package pg

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Work is how far a session is with a command that takes long, as its server tells
// in the pg_stat_progress views.
type Work struct {
	Phase       string // in the server's words, "" of COPY
	Done, Total int64  // blocks or rows of the phase, both 0 if the server does not tell
	Bytes       int64  // that COPY has taken or given
}

// Works returns what the sessions in the database work on, by their process ids:
// COPY, the build of an index, or ANALYZE. The server leaves out what the role may
// not see. It is cheap: nothing but shared memory is read.
func Works(ctx context.Context, c *Conn) (map[int]Work, error) {
	// Only of these two phases of a build the total is known; the counters of the one before stay where they were.
	rows, err := c.Query(ctx, `SELECT w.pid, coalesce(w.phase, ''), coalesce(w.done, 0), coalesce(w.total, 0), coalesce(w.bytes, 0) FROM (
			SELECT datid, pid, NULL::text AS phase, NULL::int8 AS done, NULL::int8 AS total, bytes_processed AS bytes FROM pg_catalog.pg_stat_progress_copy
			UNION ALL
			SELECT datid, pid, phase, CASE WHEN phase LIKE '%scanning table%' THEN blocks_done WHEN phase LIKE '%loading tuples%' THEN tuples_done END,
				CASE WHEN phase LIKE '%scanning table%' THEN blocks_total WHEN phase LIKE '%loading tuples%' THEN tuples_total END, NULL
			FROM pg_catalog.pg_stat_progress_create_index
			UNION ALL
			SELECT datid, pid, phase, CASE WHEN phase LIKE 'acquiring%' THEN sample_blks_scanned END, CASE WHEN phase LIKE 'acquiring%' THEN sample_blks_total END, NULL
			FROM pg_catalog.pg_stat_progress_analyze) w
		WHERE w.datid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())`)
	if err != nil {
		return nil, fmt.Errorf("read progress on the %s: %w", c.side, err)
	}
	works := map[int]Work{}
	var pid int
	var w Work
	_, err = pgx.ForEachRow(rows, []any{&pid, &w.Phase, &w.Done, &w.Total, &w.Bytes}, func() error {
		works[pid] = w
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read progress on the %s: %w", c.side, err)
	}
	return works, nil
}

// Busy counts what the sessions of workers do at a moment.
type Busy struct {
	Working    int // on a CPU, or with the disk
	Locked     int // waits for a lock
	ClientRead int // waits until the worker sends something, within a statement or a transaction
	Sending    int // waits until the worker takes something
}

// Total is the number of sessions that have something in hand.
func (b Busy) Total() int { return b.Working + b.Locked + b.ClientRead + b.Sending }

// WatchBusy counts what the workers' sessions in the database do right now.
func WatchBusy(ctx context.Context, c *Conn) (b Busy, err error) {
	err = c.QueryRow(ctx, `SELECT pg_catalog.count(*) FILTER (WHERE w.what = 'work'), pg_catalog.count(*) FILTER (WHERE w.what = 'lock'),
			pg_catalog.count(*) FILTER (WHERE w.what = 'read'), pg_catalog.count(*) FILTER (WHERE w.what = 'write')
		FROM (SELECT CASE WHEN wait_event_type = 'Lock' THEN 'lock' WHEN wait_event = 'ClientRead' THEN 'read' WHEN wait_event_type = 'Client' THEN 'write' ELSE 'work' END AS what
			FROM pg_catalog.pg_stat_activity WHERE pg_catalog.starts_with(application_name, 'pgconvoy worker')
			AND datname = pg_catalog.current_database() AND state = 'active') w`).
		Scan(&b.Working, &b.Locked, &b.ClientRead, &b.Sending)
	if err != nil {
		return b, fmt.Errorf("look what the sessions on the %s do: %w", c.side, err)
	}
	return b, nil
}
