package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// A standby ends whatever is in the way of its replay, after a while: statements,
// and sessions that wait in a transaction. Two kinds of them matter here. Rows
// that its primary's VACUUM removes end every session with a snapshot that still
// shows them, and so the snapshot of the run: nothing can be done then but to say
// so. An exclusive lock, such as VACUUM takes to shorten a table, ends those that
// have the table locked: a copy, which is tried again, and the session that has
// all tables locked. So that the snapshot outlives that, it has a session of its
// own without locks, and the locks are taken again.

// guard is what a run from a standby knows of the tables that it reads.
type guard struct {
	locking *pg.Conn          // has the tables locked; nil if a conflict has ended it
	shapes  map[string]string // of the tables in the run's snapshot; nil if nobody has asked
	unsure  bool              // whether the tables are what they were: the locks are not had yet
}

// release ends the session with the locks.
func (g *guard) release() {
	if g.locking != nil {
		g.locking.Discard()
	}
	g.locking = nil
}

// holdApart makes a session without locks the one that keeps the snapshot, which
// c has taken with the tables locked.
func (r *running) holdApart(ctx context.Context, c *pg.Conn, s tasks.SnapshotRef) error {
	shapes, err := pg.Columns(ctx, c, r.prepared.without)
	if err != nil {
		return err
	}
	k, err := connectSide(ctx, r.Options, pg.Source)
	if err != nil {
		return err
	}
	got, err := pg.ReexportSnapshot(ctx, k, s.Name)
	if err != nil {
		k.Discard()
		return err
	}
	r.guard.release()
	r.guard = guard{locking: c, shapes: shapes}
	s.Name = got.Name
	r.keeper.Give(k, s)
	return nil
}

// relockWait bounds the wait for locks that a standby has taken away: the round
// after the next one tries again.
const relockWait = "1s"

// keepLocks makes sure, where the source is a standby, that the tables are locked
// and that their columns are those of the run's snapshot, and takes the locks
// again if not. Without an error, guard.unsure says whether that has to be tried
// again.
func (r *running) keepLocks(ctx context.Context) error {
	if !r.prepared.standby || r.compares {
		return nil
	}
	if c := r.guard.locking; c != nil {
		if _, err := c.Exec(ctx, "SELECT"); err == nil || ctx.Err() != nil {
			return err
		}
		r.Log.Warn("the standby has ended the session that has the tables locked; they are locked again")
		r.guard.release()
	}
	s, err := r.ledger.Snapshot(ctx, r.prepared.target)
	if errors.Is(err, tasks.ErrSnapshotLost) {
		return nil // released by an earlier planner, or to be replaced
	}
	if err != nil {
		return err
	}
	r.guard.unsure = true
	c, err := r.relock(ctx, s)
	switch {
	case err == nil:
		r.guard.locking, r.guard.unsure = c, false
		return nil
	case errors.Is(err, pg.ErrRewritten), errors.Is(err, errReshaped), ctx.Err() != nil:
		return err
	}
	r.Log.Warn("tables of the standby cannot be locked now", "err", err)
	return nil
}

// relock locks the tables and compares their columns with those that the run's
// snapshot shows, or, if nobody has that any more, all definitions with those of
// the plan. What replaces a table's file is noticed by its copies.
func (r *running) relock(ctx context.Context, s tasks.SnapshotRef) (*pg.Conn, error) {
	var err error
	if r.guard.shapes == nil {
		r.guard.shapes, err = r.recallShapes(ctx, s)
	}
	lost := errors.Is(err, tasks.ErrSnapshotLost)
	if err != nil && !lost {
		return nil, err
	}
	c, fresh, err := r.lockedSnapshot(ctx, relockWait)
	if err != nil {
		return nil, err
	}
	if lost {
		if err := r.sameShape(ctx, fresh.Name); err != nil {
			c.Discard()
			return nil, err
		}
		return c, nil
	}
	now, err := pg.Columns(ctx, c, r.prepared.without)
	if err != nil {
		c.Discard()
		return nil, err
	}
	var changed []string
	for name, columns := range r.guard.shapes {
		if now[name] != columns {
			changed = append(changed, name)
		}
	}
	if len(changed) > 0 {
		c.Discard()
		slices.Sort(changed)
		return nil, tasks.WithHint(fmt.Errorf("%w, and a standby cannot keep its primary from that: %s", pg.ErrRewritten, strings.Join(changed, ", ")),
			"planner cleanup, then planner run begins anew; no definition may change on the primary meanwhile")
	}
	return c, nil
}

// recallShapes reads what the tables looked like from the snapshot itself.
func (r *running) recallShapes(ctx context.Context, s tasks.SnapshotRef) (map[string]string, error) {
	name, err := r.keeper.Hold(ctx, s)
	if err != nil {
		return nil, err
	}
	c, err := connectSide(ctx, r.Options, pg.Source)
	if err != nil {
		return nil, err
	}
	defer c.Discard()
	if _, err := c.Exec(ctx, pg.ImportSnapshotSQL(name)); err != nil {
		return nil, fmt.Errorf("import snapshot: %w", err)
	}
	return pg.Columns(ctx, c, r.prepared.without)
}

// interrupted reports whether a standby may have ended what was at work in its
// snapshot for the sake of its replay; it is worth another try then.
func (p *Prepared) interrupted(ctx context.Context, err error) bool {
	if !p.standby || err == nil || ctx.Err() != nil {
		return false
	}
	return pg.Classify(err) == pg.Transient || p.source.IsClosed() || p.source.Ping(ctx) != nil
}
