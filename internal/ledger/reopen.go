package ledger

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Retry makes failed tasks ready to be tried again, with their attempts
// forgotten, and returns how many. No IDs mean all that failed. It is
// idempotent.
func (l *Ledger) Retry(ctx context.Context, c *pg.Conn, ids []tasks.ID) (int, error) {
	tag, err := c.Conn.Exec(ctx, `UPDATE pgconvoy.task SET state = 'pending', attempts = 0, done_at = NULL
		WHERE run = $1 AND state = 'failed' AND ($2 OR id = ANY ($3::text[]))`, l.run.Name, len(ids) == 0, stringsOf(ids))
	if err == nil { // a task that has outlived several workers is no longer suspected of having killed them
		_, err = c.Conn.Exec(ctx, "DELETE FROM pgconvoy.lease l USING pgconvoy.task t WHERE t.run = $1 AND t.state = 'pending' AND l.run = t.run AND l.task = t.id", l.run.Name)
	}
	if err != nil {
		return 0, fmt.Errorf("open failed tasks: %w", err)
	}
	return int(tag.RowsAffected()), nil
}

// LockTasks takes the locks of the tasks in c's transaction, waiting for those
// that run, so that no worker begins one before it ends.
func (l *Ledger) LockTasks(ctx context.Context, c *pg.Conn, ids []tasks.ID) error {
	keys := make([]int32, len(ids))
	for i, id := range ids {
		keys[i] = l.lockKey(id)
	}
	_, err := c.Conn.Exec(ctx, "SELECT pg_catalog.pg_advisory_xact_lock($1, k) FROM unnest($2::int4[]) k ORDER BY k", lockClass, keys)
	if err != nil {
		return fmt.Errorf("lock tasks: %w", err)
	}
	return nil
}

// laterSQL begins a statement about what waits for the tasks $2, directly or
// through others: later has the groups and waves of those tasks, as origin, with
// each task that comes after them.
const laterSQL = `WITH RECURSIVE later AS (
		SELECT o.name AS origin, o.name AS grp, NULL::text COLLATE "C" AS id FROM pgconvoy.task t CROSS JOIN LATERAL (VALUES (t.grp), (t.wave)) o (name)
			WHERE t.run = $1 AND t.id = ANY ($2::text[])
		UNION SELECT l.origin, t.grp, t.id FROM later l JOIN pgconvoy.need n ON n.run = $1 AND n.grp = l.grp
			JOIN pgconvoy.task t ON t.run = $1 AND t.id = n.task) `

// Followers returns the ready tasks that come, directly or through others, after
// the tasks with the IDs. Until c's transaction ends no other task becomes ready
// for anybody: whoever looks what a task has unblocked waits, so that nobody
// takes those with the IDs for done any more who goes on after it.
func (l *Ledger) Followers(ctx context.Context, c *pg.Conn, ids []tasks.ID) ([]tasks.ID, error) {
	if _, err := c.Exec(ctx, "LOCK TABLE pgconvoy.need IN ACCESS EXCLUSIVE MODE"); err != nil {
		return nil, fmt.Errorf("keep tasks from becoming ready: %w", err)
	}
	rows, err := c.Query(ctx, laterSQL+"SELECT id FROM pgconvoy.task WHERE run = $1 AND state = 'ready' AND id IN (SELECT id FROM later) ORDER BY id",
		l.run.Name, stringsOf(ids))
	if err != nil {
		return nil, fmt.Errorf("list followers of tasks: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[tasks.ID])
	if err != nil {
		return nil, fmt.Errorf("list followers of tasks: %w", err)
	}
	return list, nil
}

// HoldUp lets everything that comes after the tasks with the IDs wait for them
// again, in c's transaction, which has the locks of the [Ledger.Followers]. What
// comes between may be done and stay so: a task that waits for that only would
// otherwise be ready at once, so that it waits for the tasks themselves as well.
func (l *Ledger) HoldUp(ctx context.Context, c *pg.Conn, ids []tasks.ID) error {
	_, err := c.Conn.Exec(ctx, laterSQL+"INSERT INTO pgconvoy.need (run, task, grp) SELECT DISTINCT $1, id, origin FROM later WHERE id IS NOT NULL ON CONFLICT DO NOTHING",
		l.run.Name, stringsOf(ids))
	if err == nil {
		_, err = c.Conn.Exec(ctx, laterSQL+"UPDATE pgconvoy.task SET state = 'pending' WHERE run = $1 AND state = 'ready' AND id IN (SELECT id FROM later)",
			l.run.Name, stringsOf(ids))
	}
	if err != nil {
		return fmt.Errorf("hold up the followers of tasks: %w", err)
	}
	return nil
}

// Reopen makes tasks open again, in c's transaction, which has their locks. Of
// those that were done what they counted is forgotten; again says that what
// they made but the rows is still in the target.
func (l *Ledger) Reopen(ctx context.Context, c *pg.Conn, ids []tasks.ID, again bool) error {
	texts := stringsOf(ids)
	_, err := c.Conn.Exec(ctx, `UPDATE pgconvoy.task SET state = 'pending', again = $3 AND state = 'done' OR again, attempts = 0, rows = NULL, bytes = NULL,
		snapshot_id = NULL, started_at = NULL, done_at = NULL, last_error = NULL, worker = NULL WHERE run = $1 AND id = ANY ($2::text[])`, l.run.Name, texts, again)
	if err == nil {
		_, err = c.Conn.Exec(ctx, `WITH copied AS (DELETE FROM pgconvoy.copied WHERE run = $1 AND task = ANY ($2::text[]))
			DELETE FROM pgconvoy.measured WHERE run = $1 AND task = ANY ($2::text[])`, l.run.Name, texts)
	}
	if err != nil {
		return fmt.Errorf("open tasks again: %w", err)
	}
	return nil
}

// Tasks returns the tasks of the kinds, in any state but those given, with
// their specs and in the order of their IDs.
func (l *Ledger) Tasks(ctx context.Context, c *pg.Conn, states []tasks.State, kinds ...tasks.Kind) ([]tasks.Task, error) {
	rows, err := c.Query(ctx, `SELECT id, kind, grp, wave, spec, weight, again FROM pgconvoy.task
		WHERE run = $1 AND kind = ANY ($2::text[]) AND state = ANY ($3::text[]) ORDER BY id`, l.run.Name, stringsOf(kinds), stringsOf(states))
	if err != nil {
		return nil, fmt.Errorf("list tasks: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (tasks.Task, error) {
		var t tasks.Task
		err := row.Scan(&t.ID, &t.Kind, &t.Group, &t.Wave, &t.Spec, &t.Weight, &t.Again)
		return t, err
	})
	if err != nil {
		return nil, fmt.Errorf("list tasks: %w", err)
	}
	return list, nil
}

// OnTable returns the tasks of the kinds whose spec names the table that they
// work on.
func (l *Ledger) OnTable(ctx context.Context, c *pg.Conn, table tasks.Name, kinds ...tasks.Kind) ([]tasks.ID, error) {
	rows, err := c.Query(ctx, `SELECT id FROM pgconvoy.task WHERE run = $1 AND kind = ANY ($2::text[])
		AND spec #>> '{on,schema}' = $3 AND spec #>> '{on,name}' = $4 ORDER BY id`, l.run.Name, stringsOf(kinds), table.Schema, table.Name)
	if err != nil {
		return nil, fmt.Errorf("list tasks on %s: %w", table, err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[tasks.ID])
	if err != nil {
		return nil, fmt.Errorf("list tasks on %s: %w", table, err)
	}
	return ids, nil
}

// CopiedObjects returns how many large objects were copied.
func (l *Ledger) CopiedObjects(ctx context.Context, c *pg.Conn) (n int64, err error) {
	err = c.QueryRow(ctx, "SELECT coalesce(pg_catalog.sum(rows), 0)::int8 FROM pgconvoy.task WHERE run = $1 AND kind = 'large-objects' AND state = 'done'", l.run.Name).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count the large objects that were copied: %w", err)
	}
	return n, nil
}

// ReplaceSpec stores another spec for a task, which holds from the next time on
// that it is done.
func (l *Ledger) ReplaceSpec(ctx context.Context, c *pg.Conn, t tasks.Task) error {
	_, err := c.Conn.Exec(ctx, "UPDATE pgconvoy.task SET spec = $3 WHERE run = $1 AND id = $2", l.run.Name, string(t.ID), t.Spec)
	if err != nil {
		return fmt.Errorf("change %s: %w", t.ID, err)
	}
	return nil
}

// Unlogged returns the unlogged tables of the plan whose rows were copied: a
// crash of the target empties them.
func (l *Ledger) Unlogged(ctx context.Context, c *pg.Conn) ([]tasks.Name, error) {
	return l.names(ctx, c, `SELECT DISTINCT p.schema, p.name FROM pgconvoy.planned p
		JOIN pgconvoy.copied k ON k.run = p.run AND k.schema = p.schema AND k.name = p.name
		WHERE p.run = $1 AND p.unlogged ORDER BY 1, 2`)
}

// UnloggedOpen returns the unlogged tables of the plan whose rows are not all
// copied.
func (l *Ledger) UnloggedOpen(ctx context.Context, c *pg.Conn) ([]tasks.Name, error) {
	return l.names(ctx, c, `SELECT p.schema, p.name FROM pgconvoy.planned p WHERE p.run = $1 AND p.unlogged AND EXISTS (
			SELECT FROM pgconvoy.task t WHERE t.run = p.run AND t.state <> 'done' AND (t.id = p.bundle
				OR t.kind = 'copy' AND t.spec #>> '{table,schema}' = p.schema AND t.spec #>> '{table,name}' = p.name
				OR t.kind = 'bundle' AND t.spec #>> '{tables,0,copy,table,schema}' = p.schema AND t.spec #>> '{tables,0,copy,table,name}' = p.name))
		ORDER BY 1, 2`)
}

// names returns the tables that a query about the run lists.
func (l *Ledger) names(ctx context.Context, c *pg.Conn, sql string, args ...any) ([]tasks.Name, error) {
	rows, err := c.Query(ctx, sql, append([]any{l.run.Name}, args...)...)
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowToStructByPos[tasks.Name])
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	return names, nil
}

func stringsOf[T ~string](list []T) []string {
	texts := make([]string, len(list))
	for i, s := range list {
		texts[i] = string(s)
	}
	return texts
}
