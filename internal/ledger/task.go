package ledger

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// lockClass is the first key of the advisory locks that tasks are run under;
// it reads "pgcv".
const lockClass = 0x70676376

// snapshotLock is the first key of the lock that keeps tasks from being done
// while the snapshot is replaced.
const snapshotLock = lockClass + 1

// lockKey is the second key. Two tasks may share one: the second then waits
// for its next delivery, which costs time only.
func (l *Ledger) lockKey(id tasks.ID) int32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(l.run.UID + "/" + string(id)))
	return max(int32(h.Sum32()&math.MaxInt32), 1) // 0 is the planner's, see [Own]
}

// Take begins the task's transaction on c, takes the task's lock and reads the
// task. It returns [tasks.ErrBusy] if another worker holds the lock and
// [ErrNoTask] if there is no such task; whatever it returns, the transaction may
// be open, and the caller ends it.
//
// The isolation level is explicit, as a role or database may have another
// default, and the state is read by a statement of its own: one that also took
// the lock would have its snapshot from before, miss the commit of the last
// holder, and the task would run twice.
func (l *Ledger) Take(ctx context.Context, c *pg.Conn, id tasks.ID) (tasks.Task, tasks.State, error) {
	t := tasks.Task{ID: id}
	var locked bool
	var state tasks.State
	batch := &pgx.Batch{} // in one round trip; each statement has a snapshot of its own all the same
	batch.Queue("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
	batch.Queue("SELECT pg_catalog.pg_try_advisory_xact_lock($1, $2)", lockClass, l.lockKey(id)).
		QueryRow(func(row pgx.Row) error { return row.Scan(&locked) })
	batch.Queue(`SELECT t.kind, t.grp, t.wave, t.spec, t.weight, t.state, t.again FROM pgconvoy.task t
		JOIN pgconvoy.run r ON r.run = t.run WHERE t.run = $1 AND r.uid = $2 AND t.id = $3`, l.run.Name, l.run.UID, string(id)).
		QueryRow(func(row pgx.Row) error {
			return row.Scan(&t.Kind, &t.Group, &t.Wave, &t.Spec, &t.Weight, &state, &t.Again)
		})
	err := c.SendBatch(ctx, batch).Close()
	switch {
	case errors.Is(err, pgx.ErrNoRows) && locked, pg.IsCode(err, "42P01"):
		return t, "", ErrNoTask
	case err != nil && !errors.Is(err, pgx.ErrNoRows):
		return t, "", fmt.Errorf("take task: %w", err)
	case !locked:
		return tasks.Task{ID: id}, "", tasks.ErrBusy
	}
	return t, state, nil
}

// Done marks the task as done and commits, in the transaction that [Ledger.Take]
// began on c and that the work was done in. Tasks that it was split into are
// added to its group as ready ones. It fails with [tasks.ErrSnapshotLost] if
// rows are read by now in a newer snapshot than the task's, which is not proven
// to show the same.
func (l *Ledger) Done(ctx context.Context, c *pg.Conn, t tasks.Task, r tasks.Result, worker string) error {
	batch := &pgx.Batch{}
	var marked int64
	var replaced bool
	if r.Snapshot != 0 { // two statements: the second must see what the lock waited for
		batch.Queue("SELECT pg_catalog.pg_advisory_xact_lock_shared($1, 0)", snapshotLock)
		batch.Queue("SELECT EXISTS (SELECT FROM pgconvoy.snapshot WHERE run = $1 AND id > $2 AND same_as IS NULL)", l.run.Name, r.Snapshot).
			QueryRow(func(row pgx.Row) error { return row.Scan(&replaced) })
	}
	batch.Queue(`UPDATE pgconvoy.task SET state = 'done', rows = $3, bytes = $4, snapshot_id = nullif($5, 0), worker = $6,
		started_at = pg_catalog.now(), done_at = pg_catalog.clock_timestamp(), last_error = nullif($7, ''), again = false
		WHERE run = $1 AND id = $2 AND state <> 'done'`, l.run.Name, string(t.ID), r.Rows, r.Bytes, r.Snapshot, worker,
		text(strings.Join(r.Notes, "; "))).
		Exec(func(tag pgconn.CommandTag) error { marked = tag.RowsAffected(); return nil })
	if len(r.Tables) > 0 {
		k := columns(r.Tables)
		batch.Queue(`INSERT INTO pgconvoy.copied (run, task, schema, name, rows, bytes, digest)
			SELECT $1, $2, x.* FROM unnest($3::text[], $4::text[], $5::int8[], $6::int8[], $7::text[]) x`,
			l.run.Name, string(t.ID), k.schemas, k.names, k.rows, k.bytes, k.digests)
	}
	if err := l.queueMeasured(batch, t.ID, r); err != nil {
		return err
	}
	for _, a := range r.Added {
		batch.Queue(`INSERT INTO pgconvoy.task (run, id, kind, stage, grp, wave, bucket, spec, weight, state)
			SELECT run, $3, $4, $5, $8, wave, bucket, $6, $7, 'ready' FROM pgconvoy.task WHERE run = $1 AND id = $2`,
			l.run.Name, string(t.ID), string(a.ID), string(a.Kind), string(a.Kind.Stage()), a.Spec, a.Weight, string(a.Group))
	}
	if err := c.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("mark %s as done: %w", t.ID, err)
	}
	if replaced {
		return tasks.Postpone(time.Second, fmt.Errorf("%s: it read rows in snapshot %d, which was replaced: %w", t.ID, r.Snapshot, tasks.ErrSnapshotLost))
	}
	if marked != 1 {
		return fmt.Errorf("%s: %w", t.ID, ErrNotMarked)
	}
	tag, err := c.Exec(ctx, "COMMIT")
	if err != nil {
		return fmt.Errorf("commit %s: %w", t.ID, err)
	}
	if tag.String() != "COMMIT" { // so ends a transaction in which something had failed
		return fmt.Errorf("commit %s: the server answers %s: %w", t.ID, tag, ErrNotMarked)
	}
	return nil
}

// tableColumns is a list of counts as the columns of a table.
type tableColumns struct {
	schemas, names []string
	rows, bytes    []int64
	digests        []*string
}

func columns(tables []tasks.TableCount) tableColumns {
	var k tableColumns
	for _, t := range tables {
		k.schemas, k.names = append(k.schemas, t.Name.Schema), append(k.names, t.Name.Name)
		k.rows, k.bytes = append(k.rows, t.Rows), append(k.bytes, t.Bytes)
		var digest *string
		if t.Digest != nil {
			text := t.Digest.String()
			digest = &text
		}
		k.digests = append(k.digests, digest)
	}
	return k
}

// unblockSQL promotes what waits for the group $2 or the wave $3 of the done
// task $5. Most calls end with the first look: the group has open tasks, or the
// wave has some in the bucket of the task. Rows that others have locked are
// being promoted, and will be published, by those.
const unblockSQL = `WITH finished AS MATERIALIZED (
		SELECT $2::text AS grp WHERE NOT EXISTS (SELECT FROM pgconvoy.task o WHERE o.run = $1 AND o.grp = $2 AND o.state <> 'done')
		UNION ALL
		SELECT $3::text WHERE CASE
			WHEN EXISTS (SELECT FROM pgconvoy.task o WHERE o.run = $1 AND o.wave = $3 AND o.state <> 'done'
				AND o.bucket = (SELECT b.bucket FROM pgconvoy.task b WHERE b.run = $1 AND b.id = $5)) THEN false
			ELSE NOT EXISTS (SELECT FROM pgconvoy.task o WHERE o.run = $1 AND o.wave = $3 AND o.state <> 'done') END),
	waiting AS MATERIALIZED (
		SELECT DISTINCT n.task FROM finished f JOIN pgconvoy.need n ON n.run = $1 AND n.grp = f.grp),
	candidates AS (
		SELECT t.id FROM waiting w JOIN pgconvoy.task t ON t.run = $1 AND t.id = w.task
		WHERE t.state = 'pending' AND NOT EXISTS (SELECT FROM pgconvoy.need n
			WHERE n.run = $1 AND n.task = t.id AND n.grp NOT IN (SELECT f.grp FROM finished f) AND (
				EXISTS (SELECT FROM pgconvoy.task o WHERE o.run = $1 AND o.grp = n.grp AND o.state <> 'done')
				OR EXISTS (SELECT FROM pgconvoy.task o WHERE o.run = $1 AND o.wave = n.grp AND o.state <> 'done')))
		FOR NO KEY UPDATE OF t SKIP LOCKED),
	promoted AS (
		UPDATE pgconvoy.task t SET state = 'ready' FROM candidates c WHERE t.run = $1 AND t.id = c.id AND t.state = 'pending'
		RETURNING t.id, t.kind, t.weight)
	SELECT id, kind, weight FROM promoted
	UNION SELECT t.id, t.kind, t.weight FROM waiting w JOIN pgconvoy.task t ON t.run = $1 AND t.id = w.task WHERE t.state = 'ready'
	UNION SELECT t.id, t.kind, t.weight FROM pgconvoy.task t WHERE t.run = $1 AND t.state = 'ready' AND $4
		AND t.id > $5 || '.' AND t.id < $5 || '/' -- the pieces of a bundle begin with its ID and a dot, which / follows
	ORDER BY weight DESC, id`

// Unblocked returns the tasks that wait for the group or the wave of the done
// task t and have nothing left to wait for, largest first, with the pieces that
// t was split into. It runs after the commit of [Ledger.Done], in a transaction
// of its own, and may return what others have published already: every
// delivery asks, so that a worker that dies between its commit and its
// publishing loses nothing.
func (l *Ledger) Unblocked(ctx context.Context, c *pg.Conn, t tasks.Task) ([]tasks.Task, error) {
	var list []tasks.Task
	batch := &pgx.Batch{}
	batch.Queue("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
	batch.Queue(unblockSQL, l.run.Name, string(t.Group), string(t.Wave), t.Kind == tasks.KindBundle, string(t.ID)).
		Query(func(rows pgx.Rows) (err error) {
			list, err = pgx.CollectRows(rows, scanReference)
			return err
		})
	batch.Queue("COMMIT")
	if err := c.SendBatch(ctx, batch).Close(); err != nil {
		return nil, fmt.Errorf("promote unblocked tasks: %w", err)
	}
	return list, nil
}

func scanReference(row pgx.CollectableRow) (tasks.Task, error) {
	var t tasks.Task
	err := row.Scan(&t.ID, &t.Kind, &t.Weight)
	return t, err
}

// Attempt counts a try of the task that did not succeed, and why, and returns
// how many there were. c must not be in a transaction. It returns
// [tasks.ErrBusy] if another worker has the task by now: what became of this
// try is of no interest then.
func (l *Ledger) Attempt(ctx context.Context, c *pg.Conn, id tasks.ID, reason string) (int, error) {
	var attempts int
	err := l.alone(ctx, c, id, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `UPDATE pgconvoy.task SET attempts = attempts + 1, last_error = $3
			WHERE run = $1 AND id = $2 AND state <> 'done' RETURNING attempts`, l.run.Name, string(id), text(reason)).Scan(&attempts)
		if errors.Is(err, pgx.ErrNoRows) {
			return tasks.ErrBusy // it was, and has done the task
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("count attempt of %s: %w", id, err)
	}
	return attempts, nil
}

// Fail marks the task as failed: it is not tried again unless somebody asks for
// that, and what needs it never becomes ready. c must not be in a transaction.
// It returns [tasks.ErrBusy] if another worker has the task by now.
func (l *Ledger) Fail(ctx context.Context, c *pg.Conn, id tasks.ID, reason, worker string) error {
	err := l.alone(ctx, c, id, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE pgconvoy.task SET state = 'failed', last_error = $3, worker = $4, done_at = pg_catalog.clock_timestamp()
			WHERE run = $1 AND id = $2 AND state <> 'done'`, l.run.Name, string(id), text(reason), worker)
		return err
	})
	if err != nil {
		return fmt.Errorf("mark %s as failed: %w", id, err)
	}
	return nil
}

// aloneWait is how long the session of a failed try may take to vanish, which
// holds the lock of its task until then.
const aloneWait = "5s"

// alone runs do in a transaction that holds the task's lock, so that a worker
// which was frozen, and whose task another one has by now, records nothing.
func (l *Ledger) alone(ctx context.Context, c *pg.Conn, id tasks.ID, do func(pgx.Tx) error) error {
	return pgx.BeginTxFunc(ctx, c, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_catalog.set_config('lock_timeout', $1, true)", aloneWait); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "SELECT pg_catalog.pg_advisory_xact_lock($1, $2)", lockClass, l.lockKey(id))
		if pg.IsCode(err, "55P03") {
			return tasks.ErrBusy
		}
		if err != nil {
			return err
		}
		return do(tx)
	})
}
