package ledger

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// ErrUnfinished is returned when a run is to be declared complete and is not.
var ErrUnfinished = errors.New("run is not complete")

// Counts is how many tasks of a run are in which state.
type Counts map[tasks.State]int

// Total returns the number of tasks.
func (c Counts) Total() int {
	total := 0
	for _, n := range c {
		total += n
	}
	return total
}

// Own takes the right to plan and to end runs in this target, for as long as
// the session of c lives. It reports false if another planner has it.
func Own(ctx context.Context, c *pg.Conn) (bool, error) {
	var owned bool
	err := c.QueryRow(ctx, "SELECT pg_catalog.pg_try_advisory_lock($1, 0)", lockClass).Scan(&owned)
	if err != nil {
		return false, fmt.Errorf("own the target: %w", err)
	}
	return owned, nil
}

// Disown gives up what the session owns. Its end does so, too, but the server may take
// a while to notice that.
func Disown(ctx context.Context, c *pg.Conn) error {
	if _, err := c.Exec(ctx, "SELECT pg_catalog.pg_advisory_unlock_all()"); err != nil {
		return fmt.Errorf("give the target up: %w", err)
	}
	return nil
}

// Owned reports whether a planner has that right at the moment.
func Owned(ctx context.Context, c *pg.Conn) (bool, error) { return lockHeld(ctx, c, lockClass) }

// lockHeld reports whether a session has the lock of planners of the class in this
// database.
func lockHeld(ctx context.Context, c *pg.Conn, class int64) (bool, error) {
	var owned bool
	err := c.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND granted
		AND classid = $1::int8::oid AND objid = 0 AND objsubid = 2
		AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()))`, class).Scan(&owned)
	if err != nil {
		return false, fmt.Errorf("look for a planner: %w", err)
	}
	return owned, nil
}

// StageCounts is [Counts] of each stage that has tasks.
type StageCounts map[tasks.Stage]Counts

// All counts the tasks of all stages.
func (s StageCounts) All() Counts {
	all := Counts{}
	for _, counts := range s {
		for state, n := range counts {
			all[state] += n
		}
	}
	return all
}

// Counts counts the tasks by state.
func (l *Ledger) Counts(ctx context.Context, c *pg.Conn) (Counts, error) {
	stages, err := l.Stages(ctx, c)
	return stages.All(), err
}

// Stages counts the tasks by stage and state.
func (l *Ledger) Stages(ctx context.Context, c *pg.Conn) (StageCounts, error) {
	rows, err := c.Query(ctx, "SELECT stage, state, pg_catalog.count(*) FROM pgconvoy.task WHERE run = $1 GROUP BY stage, state", l.run.Name)
	if err != nil {
		return nil, fmt.Errorf("count tasks: %w", err)
	}
	stages := StageCounts{}
	var stage tasks.Stage
	var state tasks.State
	var n int
	_, err = pgx.ForEachRow(rows, []any{&stage, &state, &n}, func() error {
		if stages[stage] == nil {
			stages[stage] = Counts{}
		}
		stages[stage][state] = n
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("count tasks: %w", err)
	}
	return stages, nil
}

// withOpen begins a statement that asks about all tasks: what is open. satisfied
// is then the condition that task t has nothing left to wait for. Two sets are
// compared, however many tasks there are.
const (
	withOpen = `WITH open AS MATERIALIZED (
		SELECT grp FROM pgconvoy.task WHERE run = $1 AND state <> 'done' UNION SELECT wave FROM pgconvoy.task WHERE run = $1 AND state <> 'done')`
	satisfied = `NOT EXISTS (SELECT FROM pgconvoy.need n JOIN open o ON o.grp = n.grp WHERE n.run = $1 AND n.task = t.id)`
)

// Ready makes every pending task ready that has nothing left to wait for, and
// returns all ready tasks, largest first: what the queue should hold or have
// in flight.
func (l *Ledger) Ready(ctx context.Context, c *pg.Conn) ([]tasks.Task, error) {
	// Rows that others have locked are being promoted.
	_, err := c.Conn.Exec(ctx, withOpen+`, candidates AS (
			SELECT t.id FROM pgconvoy.task t WHERE t.run = $1 AND t.state = 'pending' AND `+satisfied+` FOR NO KEY UPDATE OF t SKIP LOCKED)
		UPDATE pgconvoy.task t SET state = 'ready' FROM candidates c WHERE t.run = $1 AND t.id = c.id AND t.state = 'pending'`, l.run.Name)
	if err != nil {
		return nil, fmt.Errorf("promote tasks: %w", err)
	}
	rows, err := c.Query(ctx, `SELECT id, kind, weight FROM pgconvoy.task WHERE run = $1 AND state = 'ready'
		ORDER BY weight DESC, id`, l.run.Name)
	if err != nil {
		return nil, fmt.Errorf("list ready tasks: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanReference)
	if err != nil {
		return nil, fmt.Errorf("list ready tasks: %w", err)
	}
	return list, nil
}

// Running returns how many tasks workers have in hand, wherever those are: each
// holds the lock of its task.
func (l *Ledger) Running(ctx context.Context, c *pg.Conn) (int, error) {
	var n int
	err := c.QueryRow(ctx, `SELECT pg_catalog.count(*) FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND granted
		AND classid = $1::int8::oid AND objid <> 0 AND objsubid = 2
		AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())`, int64(lockClass)).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count running tasks: %w", err)
	}
	return n, nil
}

// Stuck reports whether nothing can be done any more: no task is ready, and
// none that is pending could be. It asks in one statement, and so of one moment:
// a task that ends meanwhile is either still ready in it, or has made others so.
func (l *Ledger) Stuck(ctx context.Context, c *pg.Conn) (bool, error) {
	var stuck bool
	err := c.QueryRow(ctx, withOpen+`SELECT NOT EXISTS (SELECT FROM pgconvoy.task t WHERE t.run = $1 AND t.state = 'ready')
		AND NOT EXISTS (SELECT FROM pgconvoy.task t WHERE t.run = $1 AND t.state = 'pending' AND `+satisfied+`)`, l.run.Name).Scan(&stuck)
	if err != nil {
		return false, fmt.Errorf("look for tasks that can be done: %w", err)
	}
	return stuck, nil
}

// Complete declares the run complete, in one transaction with a synchronous
// commit that itself counts again what is not done: the tasks committed
// asynchronously, and a crash of the target may have taken some back. It
// returns [ErrUnfinished] if anything is left, if the target was restarted, or
// has recovered from a crash, since the run began or last went on, or if rows
// are of different snapshots without anybody having said that they may be.
func (l *Ledger) Complete(ctx context.Context, c *pg.Conn) error {
	mixed, err := l.Mixed(ctx, c)
	if err != nil {
		return fmt.Errorf("declare run complete: %w", err)
	}
	tx, err := c.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite})
	if err != nil {
		return fmt.Errorf("declare run complete: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if _, err := c.Exec(ctx, "SET LOCAL synchronous_commit = on"); err != nil {
		return fmt.Errorf("declare run complete: %w", err)
	}
	tag, err := tx.Exec(ctx, `UPDATE pgconvoy.run SET state = 'complete', finished_at = pg_catalog.clock_timestamp()
		WHERE run = $1 AND uid = $2 AND state = 'running' AND target_start = pg_catalog.pg_postmaster_start_time()
		AND (inconsistent IS NOT NULL OR NOT $3)
		AND EXISTS (SELECT FROM pgconvoy.intact WHERE run = $1) AND NOT EXISTS (SELECT FROM pgconvoy.task WHERE run = $1 AND state <> 'done')`,
		l.run.Name, l.run.UID, len(mixed) > 0)
	if err != nil {
		return fmt.Errorf("declare run complete: %w", err)
	}
	if tag.RowsAffected() != 1 {
		return ErrUnfinished
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("declare run complete: %w", err)
	}
	return nil
}

// End records that the run ended in a state other than complete.
func (l *Ledger) End(ctx context.Context, c *pg.Conn, state tasks.RunState) error {
	_, err := c.Conn.Exec(ctx, "UPDATE pgconvoy.run SET state = $2, finished_at = pg_catalog.clock_timestamp() WHERE run = $1 AND state = 'running'",
		l.run.Name, string(state))
	if err != nil {
		return fmt.Errorf("record that the run is %s: %w", state, err)
	}
	return nil
}

// State returns the state of the run, [ErrNoRun] if its ledger is gone.
func (l *Ledger) State(ctx context.Context, c *pg.Conn) (tasks.RunState, error) {
	var state tasks.RunState
	err := c.QueryRow(ctx, "SELECT state FROM pgconvoy.run WHERE run = $1 AND uid = $2", l.run.Name, l.run.UID).Scan(&state)
	if errors.Is(err, pgx.ErrNoRows) || pg.IsCode(err, "42P01") || pg.IsCode(err, "3F000") {
		return "", ErrNoRun
	}
	if err != nil {
		return "", fmt.Errorf("read state of the run: %w", err)
	}
	return state, nil
}

// LargeObjects returns the ranges of large objects that the run copies.
func (l *Ledger) LargeObjects(ctx context.Context, c *pg.Conn) ([]tasks.LargeObjects, error) {
	rows, err := c.Query(ctx, `SELECT (spec ->> 'from')::oid, (spec ->> 'to')::oid FROM pgconvoy.task
		WHERE run = $1 AND kind = 'large-objects' ORDER BY 1`, l.run.Name)
	if err != nil {
		return nil, fmt.Errorf("list ranges of large objects: %w", err)
	}
	ranges, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (o tasks.LargeObjects, err error) {
		return o, row.Scan(&o.From, &o.To)
	})
	if err != nil {
		return nil, fmt.Errorf("list ranges of large objects: %w", err)
	}
	return ranges, nil
}

// Restarted reports whether the target was restarted, or has recovered from a
// crash of one of its processes, since the run began: commits may then be lost
// and unlogged tables may be empty.
func (l *Ledger) Restarted(ctx context.Context, c *pg.Conn) (bool, error) {
	var restarted bool
	err := c.QueryRow(ctx, `SELECT target_start <> pg_catalog.pg_postmaster_start_time() OR NOT EXISTS (SELECT FROM pgconvoy.intact WHERE run = $1)
		FROM pgconvoy.run WHERE run = $1`, l.run.Name).Scan(&restarted)
	if err != nil {
		return false, fmt.Errorf("ask for the target's start time: %w", err)
	}
	return restarted, nil
}

// Intact records, durably, that everything which a restart of the target took
// back has been noticed: the run goes on from here.
func (l *Ledger) Intact(ctx context.Context, c *pg.Conn) error {
	return l.durably(ctx, c, "record that the target is intact", `WITH marked AS (
			INSERT INTO pgconvoy.intact (run) VALUES ($1) ON CONFLICT DO NOTHING)
		UPDATE pgconvoy.run SET target_start = pg_catalog.pg_postmaster_start_time() WHERE run = $1`, l.run.Name)
}

// Drop removes the ledger from the target, whatever run it is of. It does
// nothing if there is none.
func Drop(ctx context.Context, c *pg.Conn) error {
	// An event trigger that was just copied must not see, or refuse, our own DROP. Only superusers may say so;
	// for others the plain DROP has to do.
	quiet := "SET LOCAL session_replication_role = replica"
	if c.Major() >= 17 {
		quiet = "SET LOCAL event_triggers = off" // also those that are marked ENABLE ALWAYS
	}
	_, err := c.Exec(ctx, "BEGIN; "+quiet+"; DROP SCHEMA IF EXISTS pgconvoy CASCADE; COMMIT")
	if err != nil {
		_, _ = c.Exec(ctx, "ROLLBACK")
		_, err = c.Exec(ctx, "DROP SCHEMA IF EXISTS pgconvoy CASCADE")
	}
	if err != nil {
		return fmt.Errorf("drop ledger: %w", err)
	}
	return nil
}
