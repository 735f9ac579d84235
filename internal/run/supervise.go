package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgconvoy/pgconvoy/internal/ledger"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/queue"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// How often the planner looks at the ledger.
const (
	reconcileEvery = 30 * time.Second
	roundEvery     = 5 * time.Second
	lookEvery      = time.Second           // when no task ends
	lookPause      = 20 * time.Millisecond // at least, however many tasks end
	lookShare      = 10                    // the pause is so many times as long as the last look took
)

// supervise watches the ledger until everything is done, which is nil, or
// nothing can be done any more, which is an error. The ledger is asked when a
// worker announces the end of a task, and now and then without; the queue is
// filled again from the ledger every half minute, and made anew when it is gone.
func (r *running) supervise(ctx context.Context) error {
	defer r.beat(false)
	for {
		q, _ := r.current()
		ends, stop, err := q.Ends(ctx)
		if isPassing(err) && ctx.Err() == nil {
			ends, stop, err = nil, func() {}, nil // the clock does as well
		}
		if err != nil {
			return err
		}
		err = r.watchOver(ctx, ends)
		stop()
		if !errors.Is(err, errRenewed) {
			return err
		}
	}
}

// errRenewed says that the queue was made anew.
var errRenewed = errors.New("queue was made anew")

func (r *running) watchOver(ctx context.Context, ends <-chan struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		r.endLooking()
	}()
	reconcile := time.NewTicker(reconcileEvery)
	defer reconcile.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	var lastRound, nextShow time.Time
	var workers <-chan fleetAnswer
	for {
		r.beat(true)
		began := time.Now()
		done, err := r.look(ctx)
		pause := max(lookPause, lookShare*time.Since(began))
		if err == nil && !done && time.Since(lastRound) >= roundEvery {
			lastRound = time.Now()
			if err = r.round(ctx); err == nil {
				workers = r.askWorkers(ctx)
			}
		}
		if err == nil && !done && r.Progress != nil && time.Now().After(nextShow) {
			began := time.Now()
			err = r.show(ctx)
			nextShow = time.Now().Add(max(lookEvery-lookPause, lookShare*time.Since(began)))
		}
		if err = r.survive(ctx, err); err != nil || done {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-reconcile.C:
			err = r.reconcile(ctx)
		case <-look.C:
		case answer := <-workers:
			workers = nil
			err = r.watch(ctx, answer)
		case seen := <-r.looking(ctx):
			err = r.judge(ctx, seen)
		case _, ok := <-ends:
			if !ok {
				ends = nil
			}
			settle(ctx, ends, pause, r.open-1)
		}
		if err = r.survive(ctx, err); err != nil {
			return err
		}
	}
}

// beat tells who listens that the planner watches over the run, or does so no more.
func (r *running) beat(watching bool) {
	if r.Beat != nil {
		r.Beat(watching)
	}
}

// survive connects again if the error is that the target is away.
func (r *running) survive(ctx context.Context, err error) error {
	if pg.Classify(err) == pg.Transient && ctx.Err() == nil {
		return r.reconnect(ctx, err)
	}
	return err
}

// round is what is looked after every few seconds, beside how far the tasks are.
// What workers say of themselves is asked for next, and comes later.
func (r *running) round(ctx context.Context) error {
	if err := r.notice(ctx); err != nil {
		return err
	}
	return r.keepSnapshot(ctx)
}

// reconnectFor is how long the planner tries to reach the target again; the
// workers try their tasks for about as long.
const reconnectFor = 5 * time.Minute

// reconnect replaces the planner's lost connection to the target.
func (r *running) reconnect(ctx context.Context, cause error) error {
	deadline := time.Now().Add(reconnectFor)
	for {
		r.beat(true)
		r.Log.Warn("connection to the target is lost", "err", cause)
		target, err := r.prepared.liveTarget(ctx)
		if err == nil {
			err = own(ctx, r.Options, target, ledger.Own)
		}
		if err == nil {
			return r.notice(ctx)
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return cause
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(lookEvery):
		}
	}
}

// notice finds out whether the target was restarted, or has recovered from a
// crash. Tasks whose commits were lost are open again by that alone; tables that
// are empty now because they are unlogged are made so.
func (r *running) notice(ctx context.Context) error {
	target := r.prepared.target
	restarted, err := r.ledger.Restarted(ctx, target)
	if err != nil || !restarted {
		return err
	}
	unlogged, err := r.ledger.Unlogged(ctx, target)
	if err != nil {
		return err
	}
	r.Log.Warn("target was restarted: what it has lost is done again", "tables", len(unlogged))
	if len(unlogged) > 0 {
		if err := r.recopy(ctx, unlogged); err != nil {
			return err
		}
		r.released = false // they have to be read once more
	}
	if err := r.ledger.Intact(ctx, target); err != nil {
		return err
	}
	return r.reconcile(ctx)
}

// settle swallows the ends of a short while, so that a thousand tasks that
// end together are one look at the ledger. It returns at once after so many ends
// as there are open tasks: the run may have ended.
func settle(ctx context.Context, ends <-chan struct{}, pause time.Duration, open int) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for ; open > 0; open-- {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case _, ok := <-ends:
			if !ok {
				return
			}
		}
	}
}

// look asks the ledger how far the run is, and what people want of it.
func (r *running) look(ctx context.Context) (done bool, err error) {
	target := r.prepared.target
	counts, err := r.count(ctx)
	if err != nil {
		return false, err
	}
	if err := r.obey(ctx); err != nil {
		return false, err
	}
	if err := r.releaseSnapshot(ctx); err != nil {
		return false, err
	}
	retried := counts[tasks.Failed] < r.failed // somebody wants them to be tried again, and not in half a minute
	r.failed, r.open = counts[tasks.Failed], counts[tasks.Ready]+counts[tasks.Pending]
	switch {
	case counts[tasks.Done] == counts.Total():
		return !r.guard.unsure, nil
	case retried:
		return false, r.reconcile(ctx)
	case counts[tasks.Ready] > 0:
		return false, nil
	}
	// Nothing was ready a moment ago: a promotion is under way, or was lost, or what is left waits for failed tasks.
	if err := r.reconcile(ctx); err != nil {
		return false, err
	}
	stuck, err := r.ledger.Stuck(ctx, target)
	if err != nil || !stuck {
		return false, err
	}
	counts, err = r.count(ctx)
	if err != nil || counts[tasks.Done] == counts.Total() {
		return err == nil && !r.guard.unsure, err
	}
	return false, &stuckError{failed: counts[tasks.Failed], pending: counts[tasks.Pending]}
}

// count counts the tasks, and announces the stages that are done.
func (r *running) count(ctx context.Context) (ledger.Counts, error) {
	stages, err := r.ledger.Stages(ctx, r.prepared.target)
	if err != nil {
		return nil, err
	}
	r.announceStages(stages)
	return stages.All(), nil
}

// reconcile publishes every task that the ledger has as ready. The queue
// refuses those that it has, queued or in flight. A queue that is gone is made
// anew: it holds nothing that is not in the ledger.
func (r *running) reconcile(ctx context.Context) error {
	ready, err := r.ledger.Ready(ctx, r.prepared.target)
	if err != nil {
		return err
	}
	envelopes := make([]tasks.Envelope, len(ready))
	for i, t := range ready {
		envelopes[i] = r.ledger.Run().Envelope(t.Kind, t.ID)
	}
	q, _ := r.current()
	err = q.Publish(ctx, envelopes)
	switch {
	case errors.Is(err, queue.ErrGone) && ctx.Err() == nil:
		return r.renew(ctx, q)
	case isPassing(err) && ctx.Err() == nil:
		// The workers wait for the queue, too; the next round publishes what this one could not.
		r.Log.Warn("queue cannot be reached", "err", err)
		return nil
	case err != nil:
		return fmt.Errorf("publish ready tasks: %w", err)
	}
	return nil
}

// renew makes the queue anew, unless that was done since q was found to be gone.
func (r *running) renew(ctx context.Context, q *queue.Queue) error {
	if now, _ := r.current(); now != q {
		return errRenewed
	}
	control, err := r.ledger.Control(ctx, r.prepared.target)
	if err != nil {
		return err
	}
	if control.Wish != ledger.WishNone {
		return errCancelled // who cancels a run says so before the queue is deleted
	}
	r.Log.Warn("queue of the run is gone and is made anew", "run", r.Config.Run)
	err = r.openStream(ctx)
	if isPassing(err) && ctx.Err() == nil {
		r.Log.Warn("queue cannot be reached", "err", err)
		return nil
	}
	if err != nil {
		return err
	}
	if err := r.reconcile(ctx); err != nil {
		return err
	}
	return errRenewed
}

// isPassing reports whether the queue will be back without anybody's doing.
func isPassing(err error) bool {
	var passing *queue.TransientError
	return errors.As(err, &passing)
}

// errCancelled ends a run that somebody has cancelled.
var errCancelled = errors.New("the run was cancelled")

// obey does what people want of the run since the last look.
func (r *running) obey(ctx context.Context) error {
	control, err := r.ledger.Control(ctx, r.prepared.target)
	if err != nil {
		return err
	}
	if control.Wish != ledger.WishNone {
		return errCancelled
	}
	q, _ := r.current()
	wanted := r.limited(control)
	err = wanted.apply(ctx, q, r.applied)
	if (isPassing(err) || errors.Is(err, queue.ErrGone)) && ctx.Err() == nil {
		return nil // at the next look, or when the queue is made anew
	}
	if err == nil {
		r.applied = wanted
		err = r.tell(ctx)
	}
	return err
}
