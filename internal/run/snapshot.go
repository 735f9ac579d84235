package run

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// mark reads what proves later, should everybody lose the snapshot, that the
// source has not changed since.
func (p *Prepared) mark(ctx context.Context) (pg.Mark, error) {
	m, err := pg.ReadMark(ctx, p.checking, p.snapshot)
	p.checking.Discard()
	p.checking = nil
	return m, err
}

func readMark(ctx context.Context, o Options, s pg.Snapshot) (pg.Mark, error) {
	c, err := connectSide(ctx, o, pg.Source)
	if err != nil {
		return pg.Mark{}, err
	}
	defer c.Discard()
	return pg.ReadMark(ctx, c, s)
}

// releaseSnapshot ends the snapshot, and the locks that come with it, as soon
// as no task will read in it again: it keeps the source from cleaning up. What
// the tasks committed is made durable first, as it could not be read again.
func (r *running) releaseSnapshot(ctx context.Context) error {
	if r.released {
		return nil
	}
	n, err := r.ledger.ReadsOpen(ctx, r.prepared.target)
	if err != nil || n > 0 {
		return err
	}
	if err := r.keepLocks(ctx); err != nil || r.guard.unsure {
		return err
	}
	if err := r.ledger.ReleaseSnapshot(ctx, r.prepared.target); err != nil {
		return err
	}
	// A crash between the look and the commit would have taken tasks back.
	if n, err = r.ledger.ReadsOpen(ctx, r.prepared.target); err != nil || n > 0 {
		return err
	}
	r.keeper.Release(ctx)
	r.guard.release()
	r.released = true
	r.Log.Info("snapshot released")
	return nil
}

// lostRounds is how many rounds the planner looks for a keeper before it takes
// the snapshot for lost: the others register again within one.
const lostRounds = 4

// keepSnapshot makes sure that this process holds the snapshot for as long as
// rows are read in it.
func (r *running) keepSnapshot(ctx context.Context) error {
	if r.released {
		return nil
	}
	s, err := r.ledger.Snapshot(ctx, r.prepared.target)
	if errors.Is(err, tasks.ErrSnapshotLost) { // released, and tasks are open again since
		return r.replaceSnapshot(ctx)
	}
	if err != nil {
		return err
	}
	r.keeper.Beat(ctx)
	name, err := r.keeper.Hold(ctx, s)
	switch {
	case err == nil && name != s.Name:
		r.lost = 0
		if err := r.ledger.RenameSnapshot(ctx, r.prepared.target, s.ID, name); err != nil {
			return err
		}
		return r.keepLocks(ctx)
	case err == nil:
		r.lost = 0
		if err := r.harden(ctx); err != nil {
			return err
		}
		return r.keepLocks(ctx)
	case !errors.Is(err, tasks.ErrSnapshotLost):
		if ctx.Err() == nil {
			r.Log.Warn("source cannot be reached", "err", err)
			return nil // the tasks notice, too, and fail if it stays away
		}
		return err
	}
	r.lost++
	if r.lost < lostRounds && !r.alone() {
		r.Log.Warn("nobody was found that holds the snapshot", "snapshot", s.Text)
		return nil
	}
	return r.replaceSnapshot(ctx)
}

// alone reports whether no other process can be one of the run's: its queue is in
// this one, and listens to nobody.
func (r *running) alone() bool { return r.Config.Embedded() && r.Config.NATS.Listen == "" }

// harden records that what the snapshot shows is on the source's disk, if that
// was not known when it was taken: a busy source takes its time.
func (r *running) harden(ctx context.Context) error {
	if r.hard {
		return nil
	}
	records, err := r.ledger.Snapshots(ctx, r.prepared.target)
	if err != nil || len(records) == 0 {
		return err
	}
	last := records[len(records)-1]
	if last.Mark.LSN == "" || last.Mark.Durable {
		r.hard = true
		return nil
	}
	c, err := connectSide(ctx, r.Options, pg.Source)
	if err != nil {
		return nil //nolint:nilerr // the next round asks again
	}
	defer c.Discard()
	if flushed, err := pg.Flushed(ctx, c, last.Mark.LSN); err != nil || !flushed {
		return nil //nolint:nilerr // the next round asks again
	}
	r.hard = true
	return r.ledger.DurableSnapshot(ctx, r.prepared.target, last.ID)
}

// replaceSnapshot takes a new snapshot in place of one that nobody holds any
// more, if that is proven to show the same, or if the person who resumed the
// run has said what to do otherwise. If not it fails with a [*LostError].
func (r *running) replaceSnapshot(ctx context.Context) error {
	target := r.prepared.target
	records, err := r.ledger.Snapshots(ctx, target)
	if err != nil {
		return err
	}
	if len(records) == 0 {
		return errors.New("the ledger has no snapshot of the run")
	}
	last := records[len(records)-1]
	c, s, err := r.lockedSnapshot(ctx, lockWait)
	if err != nil {
		return err
	}
	now, err := readMark(ctx, r.Options, s)
	if err != nil {
		c.Discard()
		return err
	}
	proven, why, err := r.proof(ctx, last.Mark, now)
	if err != nil {
		c.Discard()
		return err
	}
	if proven {
		id, err := r.ledger.AddSnapshot(ctx, target, s, now, last.ID)
		if err != nil {
			c.Discard()
			return err
		}
		if err := r.adopt(ctx, c, tasks.SnapshotRef{ID: id, Name: s.Name, Text: s.Text}); err != nil {
			c.Discard()
			return err
		}
		r.Log.Warn("snapshot was lost; the source is proven not to have changed since, and the run goes on in a new one", "snapshot", s.Text)
		return nil
	}
	if err := r.afresh(ctx, c, s, now, why); err != nil {
		c.Discard()
		return err
	}
	return nil
}

// adopt makes c, which took the snapshot with the tables locked, this process's
// keeper.
func (r *running) adopt(ctx context.Context, c *pg.Conn, s tasks.SnapshotRef) error {
	if r.prepared.standby {
		if err := r.holdApart(ctx, c, s); err != nil {
			return err
		}
	} else {
		r.keeper.Give(c, s)
	}
	r.lost, r.released, r.hard = 0, false, false
	return nil
}

// proof reports whether a snapshot with the mark now shows what the one with
// the mark then showed. Unlogged tables are never proven: a crash empties them
// without a transaction.
func (r *running) proof(ctx context.Context, then, now pg.Mark) (proven bool, why string, err error) {
	if proven, why = then.Unchanged(now); !proven {
		return false, why, nil
	}
	open, err := r.ledger.UnloggedOpen(ctx, r.prepared.target)
	if err == nil && len(open) > 0 {
		return false, "a crash of the source may have emptied its unlogged tables, of which some are not copied: " + listNames(open), nil
	}
	return err == nil, "", err
}

// lockedSnapshot takes a snapshot of the source with all tables locked, waiting
// for each of the locks.
func (r *running) lockedSnapshot(ctx context.Context, wait string) (*pg.Conn, pg.Snapshot, error) {
	c, err := connectSide(ctx, r.Options, pg.Source)
	if err != nil {
		return nil, pg.Snapshot{}, err
	}
	names, err := pg.TableNames(ctx, c, r.prepared.without)
	if err == nil {
		var s pg.Snapshot
		if s, err = pg.ExportLocked(ctx, c, names, wait); err == nil {
			return c, s, nil
		}
	}
	c.Discard()
	return nil, pg.Snapshot{}, err
}

// LostError says that nobody holds the run's snapshot any more, that the source
// cannot be proven to be unchanged, and what would have to be copied again.
type LostError struct {
	Run    string
	Why    string
	Tables []tasks.Name // of which rows were copied already
	Open   int          // tasks that still have to read rows

	Objects bool // large objects were copied already

	// Standby says that the source is one, which may have ended the snapshot's sessions for the sake of its replay.
	Standby bool
}

func (e *LostError) Error() string {
	objects := ""
	if e.Objects {
		objects = " and large objects"
	}
	return fmt.Sprintf("run %s cannot go on: nobody holds its snapshot any more (%s); rows are still to be read by %s, and %s%s were read in the lost snapshot",
		e.Run, e.Why, tasks.Plural(e.Open, "task"), tasks.Plural(len(e.Tables), "table"), objects)
}

// Hint says how to go on.
func (e *LostError) Hint() string {
	hint := "planner resume --recopy copies the tables listed here again, in a new snapshot, with the rest; " +
		"planner resume --not-consistent goes on without that; planner cleanup drops what the run made"
	if e.Standby {
		hint = "the source is a standby, which cancels what is in the way of its replay: for the time of the run, set hot_standby_feedback = on there, " +
			"or max_standby_streaming_delay = -1 and max_standby_archive_delay = -1; then " + hint
	}
	return hint
}

// ExitCode is that of an incomplete run.
func (e *LostError) ExitCode() int { return 3 }

// Lines lists what was read, then what is wrong.
func (e *LostError) Lines() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, t := range e.Tables {
			if !yield("would have to be copied again: "+t.String(), "") {
				return
			}
		}
		if e.Objects && !yield("would have to be copied again: large objects", "") {
			return
		}
		yield(e.Error(), e.Hint())
	}
}

func listNames(names []tasks.Name) string {
	texts := make([]string, len(names))
	for i, n := range names {
		texts[i] = n.String()
	}
	return strings.Join(texts, ", ")
}
