package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Resumption is what a person says about a run whose snapshot nobody holds any
// more, and of which it cannot be proven that the source has not changed since.
type Resumption struct {
	Recopy        bool // copy what was read in it again
	NotConsistent bool // go on without that: tables may be of different moments
	Standby       bool // wait until no other planner owns the run
}

// errReshaped says that definitions on the source are not those of the plan.
var errReshaped = errors.New("definitions on the source have changed since the run was planned")

// afresh goes on in a new snapshot that is not proven to show what the lost one
// showed, as the person who resumed the run has said. What is recorded before the
// snapshot is good for any new one; what comes after it is finished by [running.mixed]
// if this process cannot.
func (r *running) afresh(ctx context.Context, c *pg.Conn, s pg.Snapshot, m pg.Mark, why string) error {
	target := r.prepared.target
	if !r.how.Recopy && !r.how.NotConsistent {
		lost, err := r.lostReads(ctx, 0, why)
		if err == nil {
			err = r.ledger.LoseSnapshot(ctx, target)
		}
		return cmp.Or(err, error(lost))
	}
	if err := r.sameShape(ctx, s.Name); err != nil {
		return err
	}
	if err := r.sameObjects(ctx, c); err != nil {
		return err
	}
	if err := r.mayRecopy(ctx); err != nil {
		return err
	}
	if err := r.renumber(ctx, c); err != nil {
		return err
	}
	if err := r.widenLargeObjects(ctx); err != nil {
		return err
	}
	id, err := r.ledger.AddSnapshot(ctx, target, s, m, 0)
	if err != nil {
		return err
	}
	if err := r.adopt(ctx, c, tasks.SnapshotRef{ID: id, Name: s.Name, Text: s.Text}); err != nil {
		return err
	}
	r.Log.Warn("run goes on in a new snapshot", "snapshot", s.Text, "consistent", r.how.Recopy)
	if err := r.decided(ctx, id, why); err != nil {
		return err
	}
	return r.reconcile(ctx)
}

// decided does what the person who resumed the run has said about what was read in
// other snapshots than the one with the number.
func (r *running) decided(ctx context.Context, snapshot int, why string) error {
	if r.how.NotConsistent {
		if err := r.ledger.Inconsistent(ctx, r.prepared.target, "the snapshot was lost ("+why+"), and --not-consistent was given"); err != nil {
			return err
		}
	}
	return r.again(ctx, snapshot, r.how.Recopy)
}

// again makes open again what was read in other snapshots than the one with the
// number: all of it, or the tables that would be of two moments. It is idempotent.
func (r *running) again(ctx context.Context, snapshot int, all bool) error {
	tables, err := r.toRecopy(ctx, snapshot, all)
	if err != nil {
		return err
	}
	if len(tables) > 0 {
		r.Log.Info("tables are copied again", "tables", len(tables))
	}
	if err := r.recopy(ctx, tables); err != nil || !all {
		return err
	}
	return r.againLargeObjects(ctx, snapshot)
}

// toRecopy returns the tables that [running.again] copies again; 0 means any new
// snapshot.
func (r *running) toRecopy(ctx context.Context, snapshot int, all bool) ([]tasks.Name, error) {
	if all {
		return r.ledger.LostTables(ctx, r.prepared.target, snapshot)
	}
	return r.ledger.TornTables(ctx, r.prepared.target, snapshot)
}

// mayRecopy looks whether what was copied may be removed from the tables, before
// anything is changed.
func (r *running) mayRecopy(ctx context.Context) error {
	lost, err := r.toRecopy(ctx, 0, r.how.Recopy)
	if err != nil {
		return err
	}
	copies, err := r.copiesOf(ctx, lost)
	if err != nil {
		return err
	}
	return pgx.BeginTxFunc(ctx, r.prepared.target, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite}, func(pgx.Tx) error {
		if err := r.onlyOurs(ctx, copies); err != nil || !r.how.Recopy {
			return err
		}
		return r.onlyOurObjects(ctx)
	})
}

// lostReads returns what was read in snapshots that the one with the number is
// not proven to show the same as, in an error that says so.
func (r *running) lostReads(ctx context.Context, snapshot int, why string) (*LostError, error) {
	target := r.prepared.target
	lost := &LostError{Run: r.Config.Run, Why: why, Standby: r.prepared.standby}
	var err error
	if lost.Tables, err = r.ledger.LostTables(ctx, target, snapshot); err != nil {
		return nil, err
	}
	if lost.Objects, err = r.ledger.LostObjects(ctx, target, snapshot); err != nil {
		return nil, err
	}
	lost.Open, err = r.ledger.ReadsOpen(ctx, target)
	return lost, err
}

// sameShape makes sure that what pg_dump writes of the source in the new
// snapshot is what it wrote when the run was planned.
func (r *running) sameShape(ctx context.Context, snapshot string) error {
	p := r.prepared
	if err := p.tempDir(); err != nil {
		return err
	}
	planned, fresh := filepath.Join(p.dir, "planned.dump"), filepath.Join(p.dir, "fresh.dump")
	if err := writeArchive(ctx, r.ledger, p.target, planned); err != nil {
		return err
	}
	tools, err := pg.FindTools(ctx, r.Config.PGBindir, p.source.Major(), p.target.Major())
	if err != nil {
		return err
	}
	if err := tools.DumpSchema(ctx, r.database(pg.Source), snapshot, fresh, p.without); err != nil {
		return err
	}
	same, err := tools.SameSchema(ctx, planned, fresh)
	if err == nil && !same {
		err = tasks.WithHint(errReshaped, "planner cleanup, then planner run begins anew")
	}
	return err
}

// sameObjects refuses large objects where there were none: no task copies them.
func (r *running) sameObjects(ctx context.Context, c *pg.Conn) error {
	ranges, err := r.ledger.LargeObjects(ctx, r.prepared.target)
	if err != nil || len(ranges) > 0 {
		return err
	}
	var there bool
	err = c.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata)").Scan(&there)
	if err != nil {
		return fmt.Errorf("look for large objects: %w", err)
	}
	if there {
		return tasks.WithHint(fmt.Errorf("%w: there are large objects now", errReshaped), "planner cleanup, then planner run begins anew")
	}
	return nil
}

// filenodes returns where the tables are stored now, by their oids. Their
// session has them locked.
func filenodes(ctx context.Context, c *pg.Conn) (map[uint32]uint32, error) {
	rows, err := c.Query(ctx, "SELECT oid, coalesce(pg_catalog.pg_relation_filenode(oid), 0)::oid FROM pg_catalog.pg_class WHERE relkind = 'r'")
	if err != nil {
		return nil, fmt.Errorf("read where tables are stored: %w", err)
	}
	nodes := map[uint32]uint32{}
	var id, node uint32
	_, err = pgx.ForEachRow(rows, []any{&id, &node}, func() error {
		nodes[id] = node
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read where tables are stored: %w", err)
	}
	return nodes, nil
}

// renumber makes all copies expect their tables where they are stored now: what
// was rewritten since the plan is whole in the new snapshot.
func (r *running) renumber(ctx context.Context, source *pg.Conn) error {
	nodes, err := filenodes(ctx, source)
	if err != nil {
		return err
	}
	copies, err := r.copies(ctx)
	if err != nil {
		return err
	}
	for _, t := range copies {
		spec, changed, err := renumbered(t, nodes)
		if err == nil && changed {
			err = r.respecify(ctx, t, spec)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// respecify stores another spec for a task.
func (r *running) respecify(ctx context.Context, t tasks.Task, spec any) error {
	changed, err := tasks.New(t.Kind, t.ID, spec)
	if err != nil {
		return err
	}
	return r.ledger.ReplaceSpec(ctx, r.prepared.target, changed)
}

// renumbered returns the spec of a copy with the tables where they are stored now,
// and whether that is another place.
func renumbered(t tasks.Task, nodes map[uint32]uint32) (spec any, changed bool, err error) {
	move := func(table *tasks.Table) {
		changed = changed || table.Filenode != nodes[table.OID]
		table.Filenode = nodes[table.OID]
	}
	if t.Kind == tasks.KindCopy {
		c, err := tasks.Decode[tasks.Copy](t)
		move(&c.Table)
		return c, changed, err
	}
	b, err := tasks.Decode[tasks.Bundle](t)
	for i := range b.Tables {
		move(&b.Tables[i].Copy.Table)
	}
	return b, changed, err
}

// recopyChunk is how many tasks one transaction opens again, more only if they
// fill the same table: what one of them has copied again is not to be emptied for
// another.
const recopyChunk = 50

// chunksOf cuts the list, in which tasks of one group follow each other.
func chunksOf(copies []tasks.Task) (chunks [][]tasks.Task) {
	start := 0
	for i := range copies {
		last := i == len(copies)-1
		if last || i+1-start >= recopyChunk && copies[i].Group != copies[i+1].Group {
			chunks = append(chunks, copies[start:i+1])
			start = i + 1
		}
	}
	return chunks
}

// recopy empties tables whose rows are to be copied again, and makes the tasks
// open again that fill them and that follow. It is idempotent.
func (r *running) recopy(ctx context.Context, tables []tasks.Name) error {
	target := r.prepared.target
	copies, err := r.copiesOf(ctx, tables)
	if err != nil || len(copies) == 0 {
		return err
	}
	for _, chunk := range chunksOf(copies) {
		if err := pgx.BeginTxFunc(ctx, target, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite}, func(pgx.Tx) error {
			return r.empty(ctx, chunk)
		}); err != nil {
			return fmt.Errorf("empty tables that are copied again: %w", err)
		}
	}
	return nil
}

func idsOf(list []tasks.Task) []tasks.ID {
	ids := make([]tasks.ID, len(list))
	for i, t := range list {
		ids[i] = t.ID
	}
	return ids
}

// copies returns all tasks that copy rows of tables.
func (r *running) copies(ctx context.Context) ([]tasks.Task, error) {
	return r.ledger.Tasks(ctx, r.prepared.target, []tasks.State{tasks.Pending, tasks.Ready, tasks.Done, tasks.Failed},
		tasks.KindCopy, tasks.KindBundle, tasks.KindExtensionData)
}

// copiesOf returns the tasks that copy rows of the tables, in whatever state they
// are: a part that ends while the table is being emptied would otherwise stay done
// without its rows. With each bundle come its other tables, and with each partition
// that was loaded through its root the others.
func (r *running) copiesOf(ctx context.Context, tables []tasks.Name) ([]tasks.Task, error) {
	all, err := r.copies(ctx)
	if err != nil {
		return nil, err
	}
	// A bundle that was split copies nothing any more: its pieces do, whose IDs begin with its own.
	copying := slices.DeleteFunc(slices.Clone(all), func(t tasks.Task) bool {
		return t.Kind == tasks.KindBundle && slices.ContainsFunc(all, func(o tasks.Task) bool { return strings.HasPrefix(string(o.ID), string(t.ID)+".") })
	})
	wanted := map[tasks.Name]bool{}
	for _, t := range tables {
		wanted[t] = true
	}
	roots := map[tasks.Name]bool{}
	var list, others []tasks.Task
	for _, t := range copying {
		copies, err := copiesIn(t)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(copies, func(c tasks.Copy) bool { return wanted[c.Table.Name] }) {
			others = append(others, t)
			continue
		}
		list = append(list, t)
		if copies[0].Into != nil {
			roots[*copies[0].Into] = true
		}
	}
	for _, t := range others {
		copies, err := copiesIn(t)
		if err == nil && len(copies) > 0 && copies[0].Into != nil && roots[*copies[0].Into] {
			list = append(list, t)
		}
	}
	// The parts of one table stay together.
	slices.SortStableFunc(list, func(x, y tasks.Task) int { return slices.Compare([]byte(x.Group), []byte(y.Group)) })
	return list, nil
}

// copiesIn returns what a task copies.
func copiesIn(t tasks.Task) ([]tasks.Copy, error) {
	if t.Kind == tasks.KindCopy {
		c, err := tasks.Decode[tasks.Copy](t)
		return []tasks.Copy{c}, err
	}
	b, err := tasks.Decode[tasks.Bundle](t)
	copies := make([]tasks.Copy, len(b.Tables))
	for i, l := range b.Tables {
		copies[i] = l.Copy
	}
	return copies, err
}

// largeObjects returns the tasks that copy large objects, with their ranges.
func (r *running) largeObjects(ctx context.Context) ([]tasks.Task, []tasks.LargeObjects, error) {
	all, err := r.ledger.Tasks(ctx, r.prepared.target, []tasks.State{tasks.Pending, tasks.Ready, tasks.Failed, tasks.Done}, tasks.KindLargeObjects)
	if err != nil {
		return nil, nil, err
	}
	ranges := make([]tasks.LargeObjects, len(all))
	for i, t := range all {
		if ranges[i], err = tasks.Decode[tasks.LargeObjects](t); err != nil {
			return nil, nil, err
		}
	}
	return all, ranges, nil
}

// widenLargeObjects makes the ranges of large objects, which follow each other,
// hold all that there may be in a new snapshot.
func (r *running) widenLargeObjects(ctx context.Context) error {
	all, ranges, err := r.largeObjects(ctx)
	if err != nil || len(all) == 0 {
		return err
	}
	first, last := 0, 0
	for i, o := range ranges {
		if o.From < ranges[first].From {
			first = i
		}
		if o.To > ranges[last].To {
			last = i
		}
	}
	ranges[first].From, ranges[last].To = 1, math.MaxUint32
	for _, i := range []int{first, last} {
		if err := r.respecify(ctx, all[i], ranges[i]); err != nil {
			return err
		}
	}
	return nil
}

// againLargeObjects drops the large objects that were copied, and makes their
// tasks open again, unless all were read in the snapshot with the number.
func (r *running) againLargeObjects(ctx context.Context, snapshot int) error {
	target := r.prepared.target
	lost, err := r.ledger.LostObjects(ctx, target, snapshot)
	if err != nil || !lost {
		return err
	}
	all, ranges, err := r.largeObjects(ctx)
	if err != nil {
		return err
	}
	return pgx.BeginTxFunc(ctx, target, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite}, func(pgx.Tx) error {
		if err := r.ledger.LockTasks(ctx, target, idsOf(all)); err != nil {
			return err
		}
		if err := r.onlyOurObjects(ctx); err != nil {
			return err
		}
		if err := r.ledger.Reopen(ctx, target, idsOf(all), false); err != nil {
			return err
		}
		for _, o := range ranges {
			if _, err := target.Conn.Exec(ctx, dropLargeObjectsSQL, o.From, o.To); err != nil {
				return fmt.Errorf("drop large objects: %w", err)
			}
		}
		return nil
	})
}
