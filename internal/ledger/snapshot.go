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

// readsRows names the kinds of tasks that read in the snapshot.
const readsRows = `kind IN ('copy', 'bundle', 'extension-data', 'large-objects')`

// currentSnapshot is the snapshot that rows are read in, if any still are.
const currentSnapshot = `FROM pgconvoy.snapshot WHERE run = $1 AND lost_at IS NULL AND released_at IS NULL ORDER BY id DESC LIMIT 1`

// Snapshot returns the snapshot that rows are read in. It works inside a task's
// transaction. It returns [tasks.ErrSnapshotLost] if the ledger has none that
// is alive.
func (l *Ledger) Snapshot(ctx context.Context, c *pg.Conn) (tasks.SnapshotRef, error) {
	var s tasks.SnapshotRef
	err := c.QueryRow(ctx, "SELECT id, name, pg_snapshot, CASE WHEN replayed THEN timeline ELSE '' END, CASE WHEN replayed THEN lsn ELSE '' END "+currentSnapshot, l.run.Name).
		Scan(&s.ID, &s.Name, &s.Text, &s.Timeline, &s.LSN)
	if errors.Is(err, pgx.ErrNoRows) {
		return s, tasks.ErrSnapshotLost
	}
	if err != nil {
		return s, fmt.Errorf("read snapshot of the run: %w", err)
	}
	return s, nil
}

// SnapshotRecord is what the ledger knows of one snapshot.
type SnapshotRecord struct {
	tasks.SnapshotRef
	Mark     pg.Mark
	SameAs   int // an older snapshot that is proven to show the same, 0 if none
	TakenAt  time.Time
	Age      time.Duration
	Released *time.Time
	Lost     *time.Time
}

// Snapshots returns all snapshots of the run, oldest first.
func (l *Ledger) Snapshots(ctx context.Context, c *pg.Conn) ([]SnapshotRecord, error) {
	rows, err := c.Query(ctx, `SELECT id, name, pg_snapshot, timeline, lsn, durable, replayed, coalesce(same_as, 0), taken_at,
		extract(epoch FROM pg_catalog.clock_timestamp() - taken_at)::float8, released_at, lost_at
		FROM pgconvoy.snapshot WHERE run = $1 ORDER BY id`, l.run.Name)
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (SnapshotRecord, error) {
		var s SnapshotRecord
		var age float64
		err := row.Scan(&s.ID, &s.Name, &s.Text, &s.Mark.Timeline, &s.Mark.LSN, &s.Mark.Durable, &s.Mark.Replayed, &s.SameAs, &s.TakenAt, &age, &s.Released, &s.Lost)
		s.Mark.Text, s.Age = s.Text, seconds(age)
		return s, err
	})
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	return list, nil
}

// AddSnapshot records a new snapshot that rows are read in from now on, in
// place of those before it. sameAs is an older one that it is proven to show
// the same as, 0 if there is none: no task is done any more then that read in an
// older one, and all that are done already can be seen.
func (l *Ledger) AddSnapshot(ctx context.Context, c *pg.Conn, s pg.Snapshot, m pg.Mark, sameAs int) (id int, err error) {
	err = pgx.BeginTxFunc(ctx, c, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_catalog.pg_advisory_xact_lock($1, 0)", snapshotLock); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `WITH gone AS (UPDATE pgconvoy.snapshot SET lost_at = pg_catalog.now() WHERE run = $1 AND lost_at IS NULL AND released_at IS NULL)
			INSERT INTO pgconvoy.snapshot (run, id, name, pg_snapshot, timeline, lsn, durable, replayed, same_as)
			SELECT $1, coalesce(pg_catalog.max(id), 0) + 1, $2, $3, $4, $5, $6, $7, nullif($8, 0) FROM pgconvoy.snapshot WHERE run = $1 RETURNING id`,
			l.run.Name, s.Name, s.Text, m.Timeline, m.LSN, m.Durable, m.Replayed, sameAs).Scan(&id)
	})
	if err != nil {
		return 0, fmt.Errorf("record snapshot: %w", err)
	}
	return id, nil
}

// RenameSnapshot records the name under which a planner that has adopted the
// snapshot holds it.
func (l *Ledger) RenameSnapshot(ctx context.Context, c *pg.Conn, id int, name string) error {
	_, err := c.Conn.Exec(ctx, "UPDATE pgconvoy.snapshot SET name = $3, lost_at = NULL WHERE run = $1 AND id = $2", l.run.Name, id, name)
	if err != nil {
		return fmt.Errorf("record who holds the snapshot: %w", err)
	}
	return nil
}

// DurableSnapshot records that what the snapshot shows is on the source's disk.
func (l *Ledger) DurableSnapshot(ctx context.Context, c *pg.Conn, id int) error {
	_, err := c.Conn.Exec(ctx, "UPDATE pgconvoy.snapshot SET durable = true WHERE run = $1 AND id = $2", l.run.Name, id)
	if err != nil {
		return fmt.Errorf("record that the snapshot is durable: %w", err)
	}
	return nil
}

// ReadsOpen returns how many tasks that read rows in the snapshot are not done.
func (l *Ledger) ReadsOpen(ctx context.Context, c *pg.Conn) (int, error) {
	var n int
	err := c.QueryRow(ctx, "SELECT pg_catalog.count(*) FROM pgconvoy.task WHERE run = $1 AND state <> 'done' AND "+readsRows, l.run.Name).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count the tasks that read rows: %w", err)
	}
	return n, nil
}

// ReleaseSnapshot records that no row will be read any more. Its commit is
// synchronous, and every commit before it is then on disk, too: a crash of the
// target cannot bring back a task that would need the snapshot.
func (l *Ledger) ReleaseSnapshot(ctx context.Context, c *pg.Conn) error {
	return l.durably(ctx, c, "release the snapshot",
		"UPDATE pgconvoy.snapshot SET released_at = pg_catalog.now() WHERE run = $1 AND lost_at IS NULL AND released_at IS NULL", l.run.Name)
}

// LoseSnapshot records that nobody holds the run's snapshot any more.
func (l *Ledger) LoseSnapshot(ctx context.Context, c *pg.Conn) error {
	_, err := c.Conn.Exec(ctx, "UPDATE pgconvoy.snapshot SET lost_at = pg_catalog.now() WHERE run = $1 AND lost_at IS NULL AND released_at IS NULL", l.run.Name)
	if err != nil {
		return fmt.Errorf("record the loss of the snapshot: %w", err)
	}
	return nil
}

// durably runs one statement and commits it synchronously.
func (l *Ledger) durably(ctx context.Context, c *pg.Conn, what, sql string, args ...any) error {
	tx, err := c.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if _, err := c.Exec(ctx, "SET LOCAL synchronous_commit = on"); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if _, err := tx.Exec(ctx, sql, args...); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// Mixed returns the numbers of the snapshots that rows which are now in the
// target were read in, if these are not proven to show the same.
func (l *Ledger) Mixed(ctx context.Context, c *pg.Conn) ([]int, error) {
	rows, err := c.Query(ctx, `WITH RECURSIVE same AS (
			SELECT id, id AS first FROM pgconvoy.snapshot WHERE run = $1 AND same_as IS NULL
			UNION ALL SELECT s.id, o.first FROM pgconvoy.snapshot s JOIN same o ON s.run = $1 AND s.same_as = o.id)
		SELECT DISTINCT same.first FROM pgconvoy.task t JOIN same ON same.id = t.snapshot_id
		WHERE t.run = $1 AND t.state = 'done' AND t.`+readsRows+` ORDER BY 1`, l.run.Name)
	if err != nil {
		return nil, fmt.Errorf("compare the snapshots of the tasks: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		return nil, fmt.Errorf("compare the snapshots of the tasks: %w", err)
	}
	if len(ids) < 2 {
		return nil, nil
	}
	return ids, nil
}

// showsSame begins a statement about the snapshots that are proven to show the same
// as the one with the number $2: same has them. There are none if that is 0.
const showsSame = `WITH RECURSIVE same AS (
		SELECT id, coalesce(same_as, 0) AS older FROM pgconvoy.snapshot WHERE run = $1 AND id = $2
		UNION SELECT s.id, coalesce(s.same_as, 0) FROM pgconvoy.snapshot s JOIN same o ON s.run = $1 AND s.id = o.older) `

// readInLost is what holds of tasks that were done in any other snapshot.
const readInLost = `(t.state = 'done' AND t.snapshot_id IS NOT NULL AND t.snapshot_id NOT IN (SELECT id FROM same))`

// LostTables returns the tables of which rows were read in a snapshot that the
// one with the number is not proven to show the same as: what would have to be
// copied again for one consistent copy. 0 means any new snapshot.
func (l *Ledger) LostTables(ctx context.Context, c *pg.Conn, current int) ([]tasks.Name, error) {
	return l.names(ctx, c, showsSame+`SELECT DISTINCT k.schema, k.name FROM pgconvoy.copied k JOIN pgconvoy.task t ON t.run = k.run AND t.id = k.task
		WHERE k.run = $1 AND `+readInLost+` ORDER BY 1, 2`, current)
}

// LostObjects reports whether large objects were read in a snapshot that the one
// with the number is not proven to show the same as.
func (l *Ledger) LostObjects(ctx context.Context, c *pg.Conn, current int) (lost bool, err error) {
	err = c.QueryRow(ctx, showsSame+`SELECT EXISTS (SELECT FROM pgconvoy.task t WHERE t.run = $1 AND t.kind = 'large-objects' AND `+readInLost+`)`,
		l.run.Name, current).Scan(&lost)
	if err != nil {
		return false, fmt.Errorf("look for large objects of a lost snapshot: %w", err)
	}
	return lost, nil
}

// TornTables returns those of the [Ledger.LostTables] of which some parts are not
// copied, or were read in the snapshot with the number.
func (l *Ledger) TornTables(ctx context.Context, c *pg.Conn, current int) ([]tasks.Name, error) {
	return l.names(ctx, c, showsSame+`, torn AS (SELECT t.grp FROM pgconvoy.task t WHERE t.run = $1 AND t.kind = 'copy'
			GROUP BY t.grp HAVING bool_or(`+readInLost+`) AND NOT bool_and(`+readInLost+`))
		SELECT DISTINCT k.schema, k.name FROM torn JOIN pgconvoy.task t ON t.run = $1 AND t.kind = 'copy' AND t.grp = torn.grp
			JOIN pgconvoy.copied k ON k.run = $1 AND k.task = t.id ORDER BY 1, 2`, current)
}
