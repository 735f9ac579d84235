package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pgconvoy/pgconvoy/internal/fleet"
	"github.com/pgconvoy/pgconvoy/internal/ledger"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/queue"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// regime is how tasks are given out.
type regime struct {
	paused []tasks.Stage
	caps   map[tasks.Stage]int // where they are not those that the queue was made with
}

// regimeOf is what people want, without limits.
func regimeOf(c ledger.Control) regime {
	r := regime{caps: c.Caps}
	if c.Paused {
		r.paused = tasks.Stages()
	}
	return r
}

// apply makes the queue what it is to be, where that is not what was applied
// before.
func (r regime) apply(ctx context.Context, q *queue.Queue, before regime) error {
	if !maps.Equal(before.caps, r.caps) {
		if err := q.Scale(ctx, r.caps); err != nil {
			return err
		}
	}
	if stages := except(r.paused, before.paused); len(stages) > 0 {
		if err := q.Pause(ctx, stages...); err != nil {
			return err
		}
	}
	if stages := except(before.paused, r.paused); len(stages) > 0 {
		return q.Unpause(ctx, stages...)
	}
	return nil
}

// except returns the stages that are not among the others.
func except(stages, others []tasks.Stage) []tasks.Stage {
	return slices.DeleteFunc(slices.Clone(stages), func(s tasks.Stage) bool { return slices.Contains(others, s) })
}

// Pause stops the dispatch of tasks; those in hand are finished. Unpause goes on.
// The planner of the run applies it within a second; where none is alive, the
// command does.
func Pause(ctx context.Context, o Options) error {
	return change(ctx, o, func(ctx context.Context, l *ledger.Ledger, c *pg.Conn) error { return l.SetPaused(ctx, c, true) })
}

// Unpause undoes [Pause].
func Unpause(ctx context.Context, o Options) error {
	return change(ctx, o, func(ctx context.Context, l *ledger.Ledger, c *pg.Conn) error { return l.SetPaused(ctx, c, false) })
}

// Scale changes how many tasks of the stages run at once in the whole fleet.
func Scale(ctx context.Context, o Options, caps map[tasks.Stage]int) error {
	return change(ctx, o, func(ctx context.Context, l *ledger.Ledger, c *pg.Conn) error { return l.SetCaps(ctx, c, caps) })
}

// Limit changes limits of the run. The planner of the run keeps them, and where none is
// alive, the one that resumes it.
func Limit(ctx context.Context, o Options, limits tasks.Limits) error {
	return change(ctx, o, func(ctx context.Context, l *ledger.Ledger, c *pg.Conn) error { return l.SetLimits(ctx, c, limits) })
}

// change records what somebody wants of an unfinished run, and applies it to the
// queue if no planner does that.
func change(ctx context.Context, o Options, record func(context.Context, *ledger.Ledger, *pg.Conn) error) (err error) {
	if o.Config.Several() {
		if o, err = awaitCurrent(ctx, o); err != nil {
			return err
		}
	}
	target, l, err := unfinished(ctx, o)
	if err != nil {
		return err
	}
	defer target.Discard()
	before, err := l.Control(ctx, target)
	if err != nil {
		return err
	}
	if err := record(ctx, l, target); err != nil {
		return err
	}
	owned, err := ledger.Own(ctx, target)
	if err != nil || !owned || o.Config.Embedded() {
		return err
	}
	defer disown(target)
	now, err := l.Control(ctx, target)
	if err != nil {
		return err
	}
	return onQueue(ctx, o, func(q *queue.Queue) error { return regimeOf(now).apply(ctx, q, regimeOf(before)) })
}

// unfinished opens the ledger of a run that is not complete.
func unfinished(ctx context.Context, o Options) (*pg.Conn, *ledger.Ledger, error) {
	target, err := connectTarget(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	l, err := openLedger(ctx, target, o.Config.Run)
	var state tasks.RunState
	if err == nil {
		state, err = l.State(ctx, target)
	}
	if err == nil && state == tasks.RunComplete {
		err = fmt.Errorf("run %s is complete", o.Config.Run)
	}
	if err != nil {
		target.Discard()
		return nil, nil, err
	}
	return target, l, nil
}

// onQueue calls do with the queue of the run; it does nothing if there is none.
func onQueue(ctx context.Context, o Options, do func(*queue.Queue) error) error {
	conn, err := queue.Connect(ctx, fleet.QueueOptions(o.Config, "planner", o.Log))
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, openQueueFor)
	defer cancel()
	q, err := conn.Open(limited, o.Config.Run)
	switch {
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		err = nil
	case err == nil:
		err = do(q)
	}
	if errors.Is(err, queue.ErrGone) {
		err = nil
	}
	return errors.Join(err, conn.Close())
}

// openQueueFor is how long a command looks for the queue of a run that should
// have one.
const openQueueFor = 3 * time.Second

// Retry makes failed tasks ready to be tried again, all that failed if no IDs are
// given, and returns how many. The planner of the run takes them up at once; where
// none is alive, [Resume] does. Of a run of several databases, those of all of them
// are meant.
func Retry(ctx context.Context, o Options, ids []tasks.ID) (int, error) {
	if o.Config.Several() {
		total := 0
		err := onUnfinished(ctx, o, func(ctx context.Context, o Options) error {
			n, err := Retry(ctx, o, ids)
			total += n
			return err
		})
		return total, err
	}
	target, l, err := unfinished(ctx, o)
	if err != nil {
		return 0, err
	}
	defer target.Discard()
	n, err := l.Retry(ctx, target, ids)
	if err != nil {
		return 0, err
	}
	if n < len(ids) {
		o.Log.Warn("not all of the tasks had failed", "tasks", len(ids), "retried", n)
	}
	if o.Config.Embedded() {
		return n, nil
	}
	return n, onQueue(ctx, o, func(q *queue.Queue) error { return q.Exhume(ctx, ids) })
}

// Cancellation says how a run is cancelled.
type Cancellation struct {
	Now  bool // do not wait for what is in hand
	Keep bool // keep what was copied, and the ledger
}

// Cancel ends a run: nothing new is given out, what is in hand is finished, or
// ended at once, and then everything that the run made is dropped, its ledger
// and its stream with it, unless it is to be kept.
func Cancel(ctx context.Context, o Options, how Cancellation) error {
	if o.Config.Several() {
		return cancelInstance(ctx, o, how)
	}
	target, l, err := unfinished(ctx, o)
	if err != nil {
		return err
	}
	defer target.Discard()
	wish := ledger.WishDrain
	if how.Now {
		wish = ledger.WishCancel
	}
	if err := errors.Join(l.SetWish(ctx, target, wish), l.LetGo(ctx, target)); err != nil {
		return err
	}
	if err := stopWork(ctx, o, l, target, how); err != nil {
		return err
	}
	if err := awaitOwn(ctx, o, target, ledger.Own, nil); err != nil {
		return err
	}
	// The planner may have made the queue anew before it saw the wish.
	if err := stopWork(ctx, o, l, target, how); err != nil {
		return err
	}
	if err := awaitHands(ctx, l, target); err != nil {
		return err
	}
	if err := l.Cancelled(ctx, target); err != nil {
		return err
	}
	if how.Keep {
		disown(target)
		o.Log.Info("run is cancelled, and can be resumed", "run", o.Config.Run)
		return nil
	}
	if err := ledger.Disown(ctx, target); err != nil { // cleanup takes it itself
		return err
	}
	return Cleanup(ctx, o)
}

// stopWork takes the queue from the workers and, if they are not to be waited for,
// what they have in hand.
func stopWork(ctx context.Context, o Options, l *ledger.Ledger, target *pg.Conn, how Cancellation) error {
	if !o.Config.Embedded() {
		if _, err := deleteStream(ctx, o); err != nil {
			return err
		}
	}
	if !how.Now {
		return nil
	}
	return endSessions(ctx, o, l, target)
}

// endSessions ends the sessions of all tasks that workers have in hand.
func endSessions(ctx context.Context, o Options, l *ledger.Ledger, target *pg.Conn) error {
	hands, err := l.Hands(ctx, target)
	if err != nil {
		return err
	}
	var source *pg.Conn
	for _, h := range hands {
		if _, err := pg.Terminate(ctx, target, pg.Backend(h.Target)); err != nil {
			return err
		}
		if h.Source.PID == 0 {
			continue
		}
		if source == nil {
			if source, err = connectSide(ctx, o, pg.Source); err != nil {
				return err
			}
			defer source.Discard() // runs once: source is opened once
		}
		if _, err := pg.Terminate(ctx, source, pg.Backend(h.Source)); err != nil {
			return err
		}
	}
	return nil
}
