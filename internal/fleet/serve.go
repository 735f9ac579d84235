package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgconvoy/pgconvoy/internal/ledger"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/queue"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
	"github.com/pgconvoy/pgconvoy/internal/worker"
)

// GaveUpError says that a worker that ends when idle ends although there may be
// work left: no run began, or nobody gave it a task that is there.
type GaveUpError struct {
	Reason string
	Advice string
}

func (e *GaveUpError) Error() string { return "gave up: " + e.Reason }

// Hint says what to do about it.
func (e *GaveUpError) Hint() string { return e.Advice }

// ExitCode is that of an incomplete run.
func (e *GaveUpError) ExitCode() int { return 3 }

// reopenPause is how long a worker waits when a database cannot be reached.
const reopenPause = time.Second

// Serve works for one run after the other: it waits for the run's stream, does
// its tasks until the stream is gone, and waits again. It returns nil when ctx
// is cancelled and what ran is finished, or, with Idle, when nothing is left to
// do; a [*GaveUpError] if it was idle although something may be left.
func Serve(ctx context.Context, conn *queue.Conn, o Options) error {
	var last *served
	for ctx.Err() == nil {
		q, err := awaitRun(ctx, conn, o, last)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // whatever err is, it comes from that
		}
		if err != nil || q == nil {
			return err
		}
		// In a run of several databases, the planner says of each which it is. The URIs say where.
		of := o
		of.Source.Database, of.Target.Database = q.Database(), q.Database()
		last = &served{options: of, uid: q.RunUID(), follow: q.Follow() && o.Linger}
		err = serveRun(ctx, q, of)
		switch {
		case ctx.Err() != nil: // whatever err is, it comes from that
		case errors.Is(err, errNothingLeft):
			o.Log.Info("nothing is left to do", "run", o.Run)
			return nil
		case errors.Is(err, queue.ErrGone):
			o.Log.Info("queue of the run is gone", "run", o.Run)
		case pg.Classify(err) == pg.Transient:
			o.Log.Warn("database cannot be reached", "err", err)
			o.Meter.Away()
			select {
			case <-ctx.Done():
			case <-time.After(reopenPause):
			}
		case err != nil:
			return err
		}
	}
	return nil
}

// errNothingLeft ends a worker that ends when idle.
var errNothingLeft = errors.New("nothing is left to do")

// served is what a worker remembers of the last run that it served.
type served struct {
	options Options
	uid     string
	follow  bool // it was about one of several databases, and the next one is to be waited for
}

// awaitRun waits for the queue of the run. A worker that ends when idle waits
// for a while only; the queue is nil if one has ended and no other comes.
func awaitRun(ctx context.Context, conn *queue.Conn, o Options, last *served) (*queue.Queue, error) {
	o.Log.Info("waiting for run", "run", o.Run)
	if o.Idle == 0 {
		return conn.Open(ctx, o.Run)
	}
	began, wait, look := time.Now(), max(o.WaitRun, o.Idle), max(o.WaitRun, o.Idle)
	switch {
	case last != nil && last.follow:
		look = o.Idle // the next database may be done already, by others
	case last != nil:
		wait, look = o.Idle, o.Idle // its stream may have been deleted by hand, and comes back then
	}
	for {
		q, err := openFor(ctx, conn, o.Run, look)
		if q != nil || err != nil {
			return q, err
		}
		ended := last != nil && !last.follow
		if last != nil && last.follow {
			if ended, err = last.ended(ctx); err != nil {
				return nil, err
			}
		}
		switch {
		case ended:
			o.Log.Info("run has ended", "run", o.Run)
			return nil, nil
		case time.Since(began) < wait:
		case last == nil && missed(ctx, conn, o):
			return nil, nil
		default:
			return nil, &GaveUpError{Reason: fmt.Sprintf("no run %s began within %s", o.Run, wait), Advice: "start the planner of this run first, or check the name of the run"}
		}
	}
}

// missed reports whether the last run of the name has ended with nothing left to do,
// before this worker came.
func missed(ctx context.Context, conn *queue.Conn, o Options) bool {
	last, err := conn.Last(ctx, o.Run)
	if err != nil && !errors.Is(err, queue.ErrNoStatus) {
		o.Log.Debug("how the last run ended cannot be read", "err", err)
	}
	switch last.Type {
	case tasks.EventRunDone, tasks.EventVerifyDone, tasks.EventVerifyDiffers:
		o.Log.Info("run had ended before this worker came, and no other has begun", "run", o.Run, "uid", last.RunUID, "ended", last.At)
		return true
	}
	return false
}

// openFor returns the queue of the run, or nil if there is none within the time.
func openFor(ctx context.Context, conn *queue.Conn, run string, wait time.Duration) (*queue.Queue, error) {
	limited, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	q, err := conn.Open(limited, run)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil, nil
	}
	return q, err
}

// ended reports whether all databases of the run are complete.
func (s *served) ended(ctx context.Context) (bool, error) {
	target, err := s.options.connect(ctx, pg.Target)
	if err != nil {
		return false, err
	}
	defer target.Discard()
	l, err := ledger.OpenUID(ctx, target, s.uid)
	if errors.Is(err, ledger.ErrNoRun) {
		return true, nil // dropped, as it is when all are
	}
	if err != nil {
		return false, err
	}
	in, err := l.Instance(ctx, target)
	return in != nil && in.Complete, err
}

// serveRun does the tasks of a run until its queue is gone, or, with Idle, until
// nothing is left for this worker.
func serveRun(ctx context.Context, q *queue.Queue, o Options) error {
	l, err := openLedger(ctx, q, o)
	if err != nil {
		return err
	}
	o.Log.Info("working", "run", o.Run, "uid", l.Run().UID)
	idleSince := time.Now()
	for {
		began := time.Now()
		err := Work(ctx, q, l, o)
		if !errors.Is(err, worker.ErrIdle) {
			return err
		}
		if time.Since(began) > 2*o.Idle { // it had something to do
			idleSince = time.Now().Add(-o.Idle)
		}
		if err := stay(ctx, q, l, o, time.Since(idleSince)); err != nil {
			return err
		}
	}
}

// patience is how long an idle worker waits for tasks that are there and are
// not given out.
const patience = 2 * time.Minute

// stay decides whether an idle worker goes on: nil means that it does.
func stay(ctx context.Context, q *queue.Queue, l *ledger.Ledger, o Options, idle time.Duration) error {
	stages, err := q.Stages(ctx)
	if err != nil {
		return err
	}
	queued, leased := 0, 0
	for _, s := range stages {
		leased += s.Leased
		if o.Slots[s.Stage] > 0 {
			queued += s.Queued
		}
	}
	switch {
	case queued > 0 && idle < patience:
		return nil
	case queued > 0:
		return &GaveUpError{Reason: fmt.Sprintf("%d tasks are queued, and none was given out for %s", queued, idle.Round(time.Second)),
			Advice: "the run may be paused (planner unpause), held back by limits (planner status), or the caps of its stages reached (planner scale)"}
	case !o.Linger:
		return errNothingLeft // what others have in hand is theirs
	case leased > 0, q.Follow(): // the planner deletes the queue when it comes to the next database
		return nil
	}
	final, err := ended(ctx, l, o)
	if err == nil && final {
		err = errNothingLeft
	}
	return err
}

// ended reports whether the run has ended, in whatever state.
func ended(ctx context.Context, l *ledger.Ledger, o Options) (bool, error) {
	target, err := o.connect(ctx, pg.Target)
	if err != nil {
		return false, err
	}
	defer target.Discard()
	state, err := l.State(ctx, target)
	if errors.Is(err, ledger.ErrNoRun) {
		return true, nil
	}
	return err == nil && state != tasks.RunRunning, err
}
