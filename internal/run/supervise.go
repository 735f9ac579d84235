package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/queue"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// How often the planner looks at the ledger.
const (
	reconcileEvery = 30 * time.Second
	lookEvery      = time.Second           // without an event
	lookPause      = 20 * time.Millisecond // at least, however many events there are
	lookShare      = 10                    // the pause is so many times as long as the last look took
)

// supervise watches the ledger until everything is done, which is nil, or
// nothing can be done any more, which is an error. The ledger is asked when a
// worker announces the end of a task, and now and then without; the queue is
// filled again from the ledger every half minute.
func (r *running) supervise(ctx context.Context) error {
	events, stop, err := r.queue.Events(ctx)
	if err != nil {
		return err
	}
	defer stop()
	reconcile := time.NewTicker(reconcileEvery)
	defer reconcile.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		began := time.Now()
		done, err := r.look(ctx)
		pause := max(lookPause, lookShare*time.Since(began))
		if pg.Classify(err) == pg.Transient && ctx.Err() == nil {
			err = r.reconnect(ctx, err)
		}
		if err != nil || done {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-reconcile.C:
			if err := r.reconcile(ctx); err != nil {
				return err
			}
		case <-look.C:
		case <-events:
			settle(ctx, events, pause)
		}
	}
}

// reconnectFor is how long the planner tries to reach the target again; the
// workers try their tasks for about as long.
const reconnectFor = 5 * time.Minute

// reconnect replaces the planner's lost connection to the target.
func (r *running) reconnect(ctx context.Context, cause error) error {
	deadline := time.Now().Add(reconnectFor)
	for {
		r.Log.Warn("connection to the target is lost", "err", cause)
		target, err := r.prepared.liveTarget(ctx)
		if err == nil {
			err = own(ctx, target) // the server may not yet have noticed that the old session is gone
		}
		if err == nil {
			return nil
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

// settle swallows the events of a short while, so that a thousand tasks that
// end together are one look at the ledger.
func settle(ctx context.Context, events <-chan tasks.Event, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case _, ok := <-events:
			if !ok {
				return
			}
		}
	}
}

// look asks the ledger how far the run is.
func (r *running) look(ctx context.Context) (done bool, err error) {
	target := r.prepared.target
	counts, err := r.ledger.Counts(ctx, target)
	if err != nil {
		return false, err
	}
	if err := r.releaseSnapshot(ctx); err != nil {
		return false, err
	}
	switch {
	case counts[tasks.Done] == counts.Total():
		return true, nil
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
	counts, err = r.ledger.Counts(ctx, target)
	if err != nil || counts[tasks.Done] == counts.Total() {
		return err == nil, err
	}
	return false, &stuckError{failed: counts[tasks.Failed], pending: counts[tasks.Pending]}
}

// reconcile publishes every task that the ledger has as ready. The queue
// refuses those that it has, queued or in flight.
func (r *running) reconcile(ctx context.Context) error {
	ready, err := r.ledger.Ready(ctx, r.prepared.target)
	if err != nil {
		return err
	}
	envelopes := make([]tasks.Envelope, len(ready))
	for i, t := range ready {
		envelopes[i] = r.ledger.Run().Envelope(t.Kind, t.ID)
	}
	err = r.queue.Publish(ctx, envelopes)
	var passing *queue.TransientError
	if errors.As(err, &passing) && ctx.Err() == nil {
		// The workers wait for the queue, too; the next round publishes what this one could not.
		r.Log.Warn("queue cannot be reached", "err", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("publish ready tasks: %w", err)
	}
	return nil
}

// releaseSnapshot ends the snapshot, and the locks that come with it, as soon
// as no task will read in it again: it keeps the source from cleaning up.
func (r *running) releaseSnapshot(ctx context.Context) error {
	if r.released {
		return nil
	}
	done, err := r.ledger.WaveDone(ctx, r.prepared.target, tasks.WaveData)
	if err != nil || !done {
		return err
	}
	if err := r.ledger.LoseSnapshot(ctx, r.prepared.target); err != nil {
		return err
	}
	r.prepared.source.Discard()
	r.released = true
	r.Log.Info("snapshot released", "snapshot", r.prepared.snapshot.Text)
	return nil
}
