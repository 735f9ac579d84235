package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgconvoy/pgconvoy/internal/fleet"
	"github.com/pgconvoy/pgconvoy/internal/ledger"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Resume goes on with a run that its planner has left, from the ledger alone:
// any planner on any host may do that. What failed is tried again. Rows go on
// being read in the run's snapshot if anybody still holds it; if nobody does, how
// says what to do unless the source is proven not to have changed. The result is
// that of [Run]; a run that is complete already is no error.
func Resume(ctx context.Context, o Options, how Resumption) (report tasks.Report, err error) {
	began := time.Now()
	p, l, err := find(ctx, o)
	if err != nil {
		return report, err
	}
	defer p.Close()
	if how.Standby && o.Config.Embedded() {
		return report, tasks.WithHint(errors.New("a planner can stand by only with a NATS server that others share"), "set nats.url")
	}
	conn, stop, err := openQueue(ctx, o)
	if err != nil {
		return report, err
	}
	defer stop()
	r := &running{Options: o, prepared: p, ledger: l, conn: conn, how: how}
	if how.Standby {
		state, err := r.standBy(ctx)
		if err != nil || state != tasks.RunRunning {
			return report, err
		}
	} else if err := own(ctx, o, p.target, ledger.Own); err != nil {
		return report, err
	}
	state, err := l.State(ctx, p.target)
	if err != nil {
		return report, err
	}
	if state == tasks.RunComplete {
		emptied, err := o.member.emptied(ctx, l, p.target)
		if err != nil {
			return report, err
		}
		if len(emptied) == 0 {
			o.Log.Info("run is complete already", "run", o.Config.Run)
			return r.clearAway(ctx)
		}
	}
	if err := r.takeOver(ctx); err != nil {
		return report, err
	}
	ctx, span := r.trace(ctx, "resume", began)
	return r.carryOut(ctx, span)
}

// clearAway does what a planner could not do any more that ended right after it
// had declared the run complete: it ends the queue, says so, and drops the ledger.
func (r *running) clearAway(ctx context.Context) (tasks.Report, error) {
	target := r.prepared.target
	report, err := r.ledger.Report(ctx, target)
	if err != nil {
		return report, err
	}
	q, err := r.conn.Create(ctx, r.member.identify(r.ledger.Run()), fleet.StageNumbers(r.Config.Caps)) // it may be gone already, its keepers not
	if err != nil {
		return report, err
	}
	r.leaveQueue(ctx, target, q, nil)
	r.started = true // by the other planner
	r.announceEnd(ctx, report)
	if !r.keepReport(report) {
		return report, nil
	}
	return report, r.dropLedger(ctx, target)
}

// find connects to both databases and opens the ledger of the run.
func find(ctx context.Context, o Options) (_ *Prepared, _ *ledger.Ledger, err error) {
	p, err := connectBoth(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	l, err := openLedger(ctx, p.target, o.Config.Run)
	if err != nil {
		return nil, nil, err
	}
	if p.without, err = l.Without(ctx, p.target); err != nil {
		return nil, nil, err
	}
	if err := p.fingerprints(ctx); err != nil {
		return nil, nil, err
	}
	if fp := l.Run().FP; fp != p.fingerprint {
		return nil, nil, tasks.WithHint(fmt.Errorf("run %s is about source %s and target %s, and these are %s and %s",
			o.Config.Run, fp.Source, fp.Target, p.fingerprint.Source, p.fingerprint.Target), "give the databases that the run was begun with")
	}
	return p, l, nil
}

// openLedger opens the ledger of the run, with a hint if there is none.
func openLedger(ctx context.Context, target *pg.Conn, name string) (*ledger.Ledger, error) {
	l, err := ledger.Open(ctx, target, name)
	if errors.Is(err, ledger.ErrNoRun) {
		return nil, tasks.WithHint(fmt.Errorf("run %s: %w", name, err), "a run has one from the time that it is planned until it is complete; planner runs lists those that are there, --run names another one")
	}
	return l, err
}

// takeOver makes this process the planner of the run.
func (r *running) takeOver(ctx context.Context) error {
	target := r.prepared.target
	n, err := r.ledger.Retry(ctx, target, nil)
	if err != nil {
		return err
	}
	if err := r.ledger.Resume(ctx, target, fleet.Name()); err != nil {
		return err
	}
	counts, err := r.ledger.Counts(ctx, target)
	if err != nil {
		return err
	}
	r.Log.Info("run goes on", "run", r.Config.Run, "uid", r.ledger.Run().UID, "done", counts[tasks.Done], "tasks", counts.Total(), "retried", n)
	return nil
}

// begin looks after the snapshot, and after what the target may have lost, before
// the first task of a resumed run is published.
func (r *running) begin(ctx context.Context) error {
	if err := r.mixed(ctx); err != nil {
		return err
	}
	if err := r.releaseSnapshot(ctx); err != nil {
		return err
	}
	for !r.released {
		if err := r.keepSnapshot(ctx); err != nil {
			return err
		}
		if _, held := r.keeper.Held(); held {
			break
		}
		select { // workers that are alive say so every few seconds
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(lookEvery * 2):
		}
	}
	return r.notice(ctx)
}

// takeBack ends the leases of workers that have died with the planner before, if
// no worker is there to hold any: nobody would be given their tasks before the
// leases are over. It leaves the publishing to [running.reconcile]. A worker that
// is frozen keeps its locks in the ledger, so a task of its own is not done twice.
func (r *running) takeBack(ctx context.Context) error {
	if r.began {
		return nil
	}
	workers, err := r.conn.Workers(ctx, r.Config.Run, askWorkersFor)
	if err == nil && len(workers) == 0 {
		q, _ := r.current()
		err = q.Purge(ctx)
	}
	if isPassing(err) && ctx.Err() == nil {
		return nil // then they run out
	}
	return err
}

// mixed finishes what an earlier resume began: to copy again what was read in a
// snapshot that is gone, or, if tables may be of different moments, those that
// would be of two.
func (r *running) mixed(ctx context.Context) error {
	target := r.prepared.target
	s, err := r.ledger.Snapshot(ctx, target)
	if errors.Is(err, tasks.ErrSnapshotLost) {
		return nil // nothing is read any more, or not before there is a new one
	}
	if err != nil {
		return err
	}
	const why = "an earlier resume was interrupted"
	lost, err := r.lostReads(ctx, s.ID, why)
	if err != nil || len(lost.Tables) == 0 && !lost.Objects {
		return err
	}
	consistent, err := r.ledger.Consistent(ctx, target)
	switch {
	case err != nil:
		return err
	case !consistent:
		return r.again(ctx, s.ID, false)
	case !r.how.Recopy && !r.how.NotConsistent:
		return lost
	}
	return r.decided(ctx, s.ID, why)
}

// standBy waits until no other planner owns the run, and keeps its snapshot alive
// meanwhile. It returns the state that the run is in then: running if it was
// left.
func (r *running) standBy(ctx context.Context) (tasks.RunState, error) {
	r.Log.Info("standing by", "run", r.Config.Run)
	q, err := r.conn.Open(ctx, r.Config.Run)
	if err != nil {
		return "", err
	}
	r.keeper = fleet.NewKeeper(q, r.ledger, r.fleetOptions())
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		target, err := r.prepared.liveTarget(ctx)
		if err != nil && ctx.Err() == nil {
			r.Log.Warn("target cannot be reached", "err", err)
		}
		if err == nil {
			state, err := r.ledger.State(ctx, target)
			if errors.Is(err, ledger.ErrNoRun) || err == nil && state != tasks.RunRunning {
				r.keeper.Release(ctx)
				r.Log.Info("run has ended without this planner", "run", r.Config.Run, "state", string(state))
				return state, nil
			}
			if owned, err := ledger.Own(ctx, target); err == nil && owned {
				return tasks.RunRunning, nil
			}
			if s, err := r.ledger.Snapshot(ctx, target); err == nil {
				r.keeper.Beat(ctx)
				_, _ = r.keeper.Hold(ctx, s) // the planner that owns the run says so if it is lost
			} else {
				r.keeper.Release(ctx)
			}
		}
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-tick.C:
		}
	}
}
