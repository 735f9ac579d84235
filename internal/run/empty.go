package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// empty takes out of the tables what some tasks have copied, in the target's
// transaction, with what stands in the way of copying it again.
func (r *running) empty(ctx context.Context, copies []tasks.Task) error {
	target := r.prepared.target
	ids := idsOf(copies)
	followers, err := r.ledger.Followers(ctx, target, ids)
	if err != nil {
		return err
	}
	if err := r.ledger.LockTasks(ctx, target, slices.Concat(ids, followers)); err != nil {
		return err
	}
	seen := map[tasks.Name]bool{}
	if err := r.onlyOurs(ctx, copies); err != nil {
		return err
	}
	for _, t := range copies {
		list, err := copiesIn(t)
		if err != nil {
			return err
		}
		slices.Reverse(list) // the configuration tables of extensions come in the order of their references
		for _, c := range list {
			if seen[c.Target()] {
				continue
			}
			seen[c.Target()] = true
			if err := r.emptyTable(ctx, t, c); err != nil {
				return fmt.Errorf("%s: %w", c.Target(), err)
			}
		}
	}
	if err := r.ledger.HoldUp(ctx, target, ids); err != nil {
		return err
	}
	// What looked at their rows looks again, also what failed because they were not there.
	late, err := r.ledger.Tasks(ctx, target, []tasks.State{tasks.Done, tasks.Failed}, tasks.KindMeasure, tasks.KindVerify, tasks.KindSequences, tasks.KindRefresh, tasks.KindFKeyValidate)
	if err != nil {
		return err
	}
	return r.ledger.Reopen(ctx, target, append(ids, idsOf(late)...), true)
}

// emptyTable removes the rows of a table, after the foreign keys that would
// refuse that, and its indexes and constraints if the table has tasks of its own
// that make them again.
func (r *running) emptyTable(ctx context.Context, t tasks.Task, c tasks.Copy) error {
	target := r.prepared.target
	name := c.Target()
	if t.Kind == tasks.KindExtensionData {
		sql := "DELETE FROM ONLY " + name.String()
		if c.Where != "" {
			sql += " WHERE " + c.Where
		}
		_, err := target.Exec(ctx, sql)
		return err
	}
	only := "ONLY "
	if c.Into != nil {
		only = "" // the rows are in its partitions
	}
	if c.Existing {
		return r.deleteRows(ctx, c, only)
	}
	if _, err := target.Exec(ctx, fmt.Sprintf("LOCK TABLE %s%s IN ACCESS EXCLUSIVE MODE", only, name)); err != nil {
		return err
	}
	if err := r.dropForeignKeys(ctx, name); err != nil {
		return err
	}
	if t.Kind == tasks.KindCopy {
		if err := r.dropIndexes(ctx, name); err != nil {
			return err
		}
	}
	if _, err := target.Exec(ctx, fmt.Sprintf("TRUNCATE %s%s", only, name)); err != nil {
		return err
	}
	ids, err := r.ledger.OnTable(ctx, target, name, tasks.KindAnalyze)
	if err != nil {
		return err
	}
	return r.ledger.Reopen(ctx, target, ids, true)
}

// onlyOurs makes sure that tables which were there before the run hold no rows but
// those that it has copied: they were empty when it began, and rows of others are
// not to be deleted. It keeps others from writing until the transaction ends.
func (r *running) onlyOurs(ctx context.Context, copies []tasks.Task) error {
	target := r.prepared.target
	sources := map[tasks.Name][]tasks.Name{} // by the table of the target that their rows go into
	only := map[tasks.Name]string{}
	for _, t := range copies {
		list, err := copiesIn(t)
		if err != nil {
			return err
		}
		for _, c := range list {
			if !c.Existing || slices.Contains(sources[c.Target()], c.Table.Name) {
				continue
			}
			sources[c.Target()] = append(sources[c.Target()], c.Table.Name)
			if c.Into == nil {
				only[c.Target()] = "ONLY "
			}
		}
	}
	for _, name := range slices.SortedFunc(maps.Keys(sources), tasks.CompareNames) {
		list := sources[name]
		if _, err := target.Exec(ctx, fmt.Sprintf("LOCK TABLE %s%s IN SHARE ROW EXCLUSIVE MODE", only[name], name)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		copied, err := r.ledger.Copied(ctx, target, list)
		if err != nil {
			return err
		}
		var ours int64
		for _, n := range copied {
			ours += n.Rows
		}
		there, err := target.Numbers(ctx, []string{fmt.Sprintf("SELECT pg_catalog.count(*) FROM %s%s", only[name], name)})
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if there[0] > ours {
			return tasks.WithHint(fmt.Errorf("%s holds %d rows, and %d of them were copied: the table was there before the run, so that it is not emptied", name, there[0], ours),
				"find out who else writes to it, and delete those rows; then planner resume")
		}
	}
	return nil
}

// onlyOurObjects makes the same sure of large objects, if the run did not begin with
// an empty target.
func (r *running) onlyOurObjects(ctx context.Context) error {
	target := r.prepared.target
	sections, err := r.ledger.Sections(ctx, target)
	if err != nil || sections.Has(tasks.SectionSchema) || !sections.Has(tasks.SectionLargeObjects) {
		return err
	}
	ours, err := r.ledger.CopiedObjects(ctx, target)
	if err != nil {
		return err
	}
	there, err := target.Numbers(ctx, []string{"SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata"})
	if err != nil {
		return fmt.Errorf("count the large objects of the target: %w", err)
	}
	if there[0] > ours {
		return tasks.WithHint(fmt.Errorf("the target has %d large objects, and %d of them were copied: those of others cannot be told from them, so that none is dropped", there[0], ours),
			"planner cleanup, then planner run with the sections that are left; large objects by a run of their own, when those are dropped")
	}
	return nil
}

// deleteRows removes what was copied into a table that was there before the run.
// Its indexes and foreign keys stay, for which reason it is not truncated.
func (r *running) deleteRows(ctx context.Context, c tasks.Copy, only string) error {
	target := r.prepared.target
	sql := fmt.Sprintf("DELETE FROM %s%s", only, c.Target())
	if c.Silent {
		sql = pg.SilentSQL + "; " + sql + "; " + pg.LoudSQL
	}
	if _, err := target.Exec(ctx, sql); err != nil {
		return err
	}
	ids, err := r.ledger.OnTable(ctx, target, c.Target(), tasks.KindAnalyze)
	if err != nil {
		return err
	}
	return r.ledger.Reopen(ctx, target, ids, true)
}

// foreignKeysSQL lists the foreign keys of and to a table or its partitions,
// each where it was declared.
const foreignKeysSQL = `WITH RECURSIVE tree AS (
		SELECT $1::text::regclass::oid AS oid UNION SELECT relid::oid FROM pg_catalog.pg_partition_tree($1::text::regclass)),
	up AS (
		SELECT k.oid, k.conparentid FROM pg_catalog.pg_constraint k JOIN tree ON k.conrelid = tree.oid OR k.confrelid = tree.oid WHERE k.contype = 'f'
		UNION SELECT p.oid, p.conparentid FROM up JOIN pg_catalog.pg_constraint p ON p.oid = up.conparentid)
	SELECT n.nspname::text, c.relname::text, k.conname::text FROM up JOIN pg_catalog.pg_constraint k ON k.oid = up.oid
	JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	WHERE up.conparentid = 0 ORDER BY 1, 2, 3`

// dropForeignKeys drops the foreign keys in both directions and makes their
// tasks open again.
func (r *running) dropForeignKeys(ctx context.Context, table tasks.Name) error {
	target := r.prepared.target
	rows, err := target.Query(ctx, foreignKeysSQL, table.String())
	if err != nil {
		return fmt.Errorf("list foreign keys: %w", err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ Schema, Table, Name string }])
	if err != nil {
		return fmt.Errorf("list foreign keys: %w", err)
	}
	var ids []tasks.ID
	for _, k := range keys {
		owner := tasks.Name{Schema: k.Schema, Name: k.Table}
		if _, err := target.Exec(ctx, fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT %s", owner, tasks.QuoteIdent(k.Name))); err != nil {
			return fmt.Errorf("drop foreign key %s of %s: %w", k.Name, owner, err)
		}
		ids = append(ids, tasks.NewID(tasks.KindFKeyAdd, k.Schema, k.Table, k.Name, "add"), tasks.NewID(tasks.KindFKeyValidate, k.Schema, k.Table, k.Name, "validate"))
	}
	return r.ledger.Reopen(ctx, target, ids, false)
}

// dropIndexesSQL makes the statements that drop the constraints and the indexes
// of a table, none if one of them belongs to an index of a partitioned table:
// the rows are then loaded with them in place.
const dropIndexesSQL = `SELECT CASE WHEN k.oid IS NOT NULL
		THEN pg_catalog.format('ALTER TABLE ONLY %s DROP CONSTRAINT %I', x.indrelid::regclass, k.conname)
		ELSE pg_catalog.format('DROP INDEX %s', x.indexrelid::regclass) END
	FROM pg_catalog.pg_index x LEFT JOIN pg_catalog.pg_constraint k ON k.conindid = x.indexrelid AND k.conrelid = x.indrelid AND k.contype IN ('p', 'u', 'x')
	WHERE x.indrelid = $1::text::regclass AND NOT EXISTS (SELECT FROM pg_catalog.pg_index a JOIN pg_catalog.pg_inherits i ON i.inhrelid = a.indexrelid
		WHERE a.indrelid = x.indrelid)`

// dropIndexes drops the table's constraints and indexes and makes their tasks
// open again. What something else depends on stays, with all others: loading
// takes longer then.
func (r *running) dropIndexes(ctx context.Context, table tasks.Name) error {
	target := r.prepared.target
	ids, err := r.ledger.OnTable(ctx, target, table, tasks.KindIndex, tasks.KindAttach)
	if err != nil || len(ids) == 0 {
		return err
	}
	if err := r.ledger.LockTasks(ctx, target, ids); err != nil {
		return err
	}
	rows, err := target.Query(ctx, dropIndexesSQL, table.String())
	if err != nil {
		return fmt.Errorf("list indexes: %w", err)
	}
	drops, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("list indexes: %w", err)
	}
	if len(drops) == 0 {
		return nil
	}
	err = target.Script(ctx, slices.Concat([]string{"SAVEPOINT indexes"}, drops))
	var script *pg.ScriptError
	if errors.As(err, &script) && !target.IsClosed() {
		r.Log.Info("indexes stay while the rows are copied again", "table", table.String(), "err", script.Err)
		_, err = target.Exec(ctx, "ROLLBACK TO SAVEPOINT indexes")
		return err
	}
	if err != nil {
		return fmt.Errorf("drop indexes: %w", err)
	}
	return r.ledger.Reopen(ctx, target, ids, false)
}
