package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Delays before a message is delivered again.
const (
	busyDelay    = 5 * time.Second  // another worker holds the task
	foreignDelay = 30 * time.Second // the message is for a newer worker
	maxDelay     = 2 * time.Minute
)

// Attempts that a task gets before it fails.
const (
	transientAttempts = 12 // about fifteen minutes, with backoff
	unknownAttempts   = 3
)

// endTimeout bounds what is done for a task after its work: recording,
// publishing, acknowledging.
const endTimeout = 30 * time.Second

// Job is a task that runs: what its handler works with.
type Job struct {
	Task   tasks.Task
	Target *pg.Conn // in the task's transaction
	Ledger Ledger
	Log    *slog.Logger

	worker *Worker
	hand   *hand
	source *pg.Conn
	pool   *pool // that source is of

	result tasks.Result // of a task that is done, and how long it took
	took   time.Duration
}

// Source returns the job's connection to the source, outside a transaction
// when it is first asked for.
func (j *Job) Source(ctx context.Context) (*pg.Conn, error) {
	if j.source == nil {
		c, err := j.worker.source.get(ctx)
		if err != nil {
			return nil, err
		}
		j.source, j.pool = c, j.worker.source
		j.hand.use(c)
	}
	return j.source, nil
}

// snapshotDelay is how long a task waits when the snapshot is not to be had:
// the planner may find it again, or take a new one.
const snapshotDelay = 5 * time.Second

// Snapshot returns the snapshot that rows are read in, with a name that works
// in this process. If there is none, or the keepers cannot be asked, the task is
// no worse for it: it is handed back, until the planner decides.
func (j *Job) Snapshot(ctx context.Context) (tasks.SnapshotRef, error) {
	s, err := j.Ledger.Snapshot(ctx, j.Target)
	if err != nil {
		return s, missing(err, false)
	}
	s.Name, err = j.worker.keeper.Hold(ctx, s)
	return s, missing(err, pg.Classify(err) == pg.Unknown) // an error of the source counts as that of any statement
}

// missing postpones the task if the snapshot is lost, or, for now, not found.
func missing(err error, notFound bool) error {
	if err != nil && (notFound || errors.Is(err, tasks.ErrSnapshotLost)) {
		return tasks.Postpone(snapshotDelay, err)
	}
	return err
}

// notImported translates the error of an import of the snapshot: a keeper that
// has just died is looked for again.
func (j *Job) notImported(s tasks.SnapshotRef, err error) error {
	if pg.IsSnapshotLost(err) {
		j.worker.keeper.Doubt(s.Name)
		return tasks.Postpone(time.Second, fmt.Errorf("import snapshot: %w", err))
	}
	return fmt.Errorf("import snapshot: %w", err)
}

// release gives the connections back if they are reusable, and ends them, with
// the transaction that is open on them, if not.
func (j *Job) release(ctx context.Context, reusable bool) {
	for _, c := range []struct {
		conn *pg.Conn
		pool *pool
	}{{j.source, j.pool}, {j.Target, j.worker.target}} {
		switch {
		case c.conn == nil:
		case reusable && endTransaction(ctx, c.conn) == nil:
			c.pool.put(c.conn)
		default:
			c.conn.Discard()
		}
	}
	j.source, j.Target = nil, nil
}

// endTransaction rolls back what is open; all that should stay is committed.
func endTransaction(ctx context.Context, c *pg.Conn) error {
	if c.IsClosed() {
		return errors.New("connection is closed")
	}
	if c.PgConn().TxStatus() == 'I' {
		return nil
	}
	_, err := c.Exec(ctx, "ROLLBACK")
	return err
}

// handle runs one delivery through to its acknowledgement. It returns nothing:
// whatever happens is in the ledger, in the queue, or in the log.
func (w *Worker) handle(ctx context.Context, d Delivery, log *slog.Logger) {
	e, err := d.Envelope()
	if err != nil || !w.accepts(e) {
		w.refuse(d, e, err, log)
		return
	}
	log = log.With("task", string(e.Task))
	ctx, span := w.traceTask(ctx, d, e)
	defer span.End()
	stop := w.heartbeat(ctx, d, log)
	defer stop()
	work, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	h := &hand{task: e.Task, kind: e.Kind, since: time.Now(), cancel: cancel}
	defer w.hands.take(h)()
	j := &Job{Ledger: w.ledger, worker: w, hand: h, Log: log}
	t, err := w.perform(work, j, d, e)
	if err != nil && ctx.Err() == nil && work.Err() != nil {
		err = errors.Join(context.Cause(work), err) // cut off: a failure as any other
	}
	endTask(span, j, err)
	outcome := w.settle(ctx, j, d, e, t, err)
	if outcome != "" && w.o.Ended != nil {
		w.o.Ended(tasks.Ending{Kind: t.Kind, Outcome: outcome, Took: time.Since(h.since), Rows: j.result.Rows})
	}
}

// settle ends a delivery by how the task went, and returns that, "" if nothing was
// done for it here.
func (w *Worker) settle(ctx context.Context, j *Job, d Delivery, e tasks.Envelope, t tasks.Task, err error) (outcome tasks.Outcome) {
	// Nothing was done yet on the connection of a task that is not taken.
	reusable := err == nil || errors.Is(err, tasks.ErrBusy) || errors.Is(err, errNotReady)
	defer j.release(context.WithoutCancel(ctx), reusable)
	var split *tasks.SplitError
	var later *tasks.PostponeError
	switch {
	case err == nil:
		w.finish(ctx, j, d, t)
		if j.Task.ID != "" { // or it was done before
			outcome = tasks.Succeeded
		}
	case errors.Is(err, tasks.ErrBusy):
		w.answer(j.Log, d.Nak(w.busy(ctx, j, e.Task)))
	case errors.Is(err, errNotReady):
		j.Log.Warn("message asks for a task that is not ready, or not in the plan")
		w.answer(j.Log, d.Term(errNotReady.Error()))
	case ctx.Err() != nil:
		j.Log.Info("task handed back", "err", context.Cause(ctx))
		j.release(context.WithoutCancel(ctx), false) // rolled back before another worker may take it
		w.answer(j.Log, d.Nak(0))
		outcome = tasks.HandedBack
	case errors.As(err, &later):
		j.Log.Warn("task has to wait", "err", err, "delay", later.Delay)
		j.release(ctx, false)
		w.answer(j.Log, d.Nak(later.Delay))
		outcome = tasks.HandedBack
	case errors.As(err, &split):
		j.release(ctx, false)
		w.split(ctx, d, t, split, j.Log)
		outcome = tasks.Split
	case errors.Is(err, errUnknownOutcome):
		// Neither ack nor nak: the redelivery asks the ledger whether the commit came through.
		j.Log.Warn("outcome of the commit is unknown", "err", err)
		outcome = tasks.HandedBack
	default:
		j.release(ctx, false)
		outcome = w.fail(ctx, d, e, t, err, j.Log)
	}
	return outcome
}

// accepts reports whether the message is for this run and this build.
func (w *Worker) accepts(e tasks.Envelope) bool {
	return e.Version == tasks.EnvelopeVersion && w.handlers[e.Kind] != nil && e.RunUID == w.run.UID && e.FP == w.run.FP
}

// refuse answers a message that this worker must not act on.
func (w *Worker) refuse(d Delivery, e tasks.Envelope, err error, log *slog.Logger) {
	var later *tasks.RetryError
	switch {
	case errors.As(err, &later):
		log.Error("message is for another version of the worker", "err", err)
		w.answer(log, d.Nak(later.Delay))
	case err != nil:
		log.Error("message is not readable", "err", err)
		w.answer(log, d.Term("not readable: "+err.Error()))
	case e.Version != tasks.EnvelopeVersion || w.handlers[e.Kind] == nil:
		log.Error("message is of a version or kind that this worker does not know", "version", e.Version, "kind", e.Kind)
		w.answer(log, d.Nak(foreignDelay))
	case e.RunUID != w.run.UID:
		log.Warn("message is of another run of the same name", "run", e.RunUID)
		w.answer(log, d.Term("stale run"))
	default:
		log.Error("message is for another pair of databases; check this worker's source and target")
		w.answer(log, d.Nak(foreignDelay))
	}
}

// heartbeat keeps the lease while the task runs. A beat that is not confirmed
// is only logged: the task goes on, and its lock keeps others out.
func (w *Worker) heartbeat(ctx context.Context, d Delivery, log *slog.Logger) (stop func()) {
	beating, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(w.queue.AckWait() / 4)
		defer tick.Stop()
		for {
			select {
			case <-beating.Done():
				return
			case <-tick.C:
				if err := d.Heartbeat(beating); err != nil && beating.Err() == nil {
					log.Warn("heartbeat is not confirmed", "err", err)
				}
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

var (
	errNotReady       = errors.New("task is not ready")
	errUnknownOutcome = errors.New("outcome of the commit is unknown")
)

// perform takes the task, does it and commits it with its done mark. A task
// that is already done is not an error.
func (w *Worker) perform(ctx context.Context, j *Job, d Delivery, e tasks.Envelope) (tasks.Task, error) {
	t := tasks.Task{ID: e.Task, Kind: e.Kind}
	target, err := w.target.get(ctx)
	if err != nil {
		return t, err
	}
	j.Target = target
	j.hand.use(target)
	taken, state, err := w.ledger.Take(ctx, target, e.Task)
	switch {
	case err != nil:
		return t, err
	case state == tasks.Done:
		return taken, endTransaction(ctx, target)
	case state != tasks.Ready:
		return taken, errNotReady
	}
	j.Task = taken
	handler := w.handlers[taken.Kind]
	if handler == nil {
		return taken, tasks.Discard(fmt.Errorf("no handler for tasks of kind %s", taken.Kind))
	}
	if err := w.suspect(ctx, j, d); err != nil {
		return taken, err
	}
	started := time.Now()
	result, err := handler.Do(ctx, j)
	if err != nil {
		return taken, err
	}
	committing, end := j.trace(ctx, pg.Target, "COMMIT")
	err = w.ledger.Done(committing, target, taken, result, w.o.Name)
	end(err)
	if err != nil {
		if pg.Classify(err) == pg.Transient || ctx.Err() != nil {
			return taken, errors.Join(errUnknownOutcome, err)
		}
		return taken, err
	}
	j.result, j.took = result, time.Since(started)
	j.Log.Info(label(taken), "kind", taken.Kind, "rows", result.Rows, "bytes", result.Bytes, "duration", j.took.Round(time.Millisecond))
	return taken, nil
}

// finish publishes what the done task has made ready and acknowledges it.
// Publishing comes first: a message is in the queue until its followers are.
func (w *Worker) finish(ctx context.Context, j *Job, d Delivery, t tasks.Task) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	if err := w.publishUnblocked(ctx, j.Target, t); err != nil {
		// The message stays unacknowledged, and its redelivery tries again.
		j.Log.Warn("tasks that are ready could not be published", "err", err)
		w.answer(j.Log, d.Nak(time.Second))
		return
	}
	w.answer(j.Log, d.Ack(ctx))
	e := w.event(tasks.EventTaskDone, t)
	e.Rows, e.Bytes, e.Took = j.result.Rows, j.result.Bytes, j.took
	w.queue.Notify(e)
}

// event returns an event about the task.
func (w *Worker) event(about tasks.EventType, t tasks.Task) tasks.Event {
	e := w.run.Event(about, time.Now())
	e.Task, e.Kind, e.Stage, e.Worker = t.ID, t.Kind, t.Kind.Stage(), w.o.Name
	return e
}

func (w *Worker) publishUnblocked(ctx context.Context, target *pg.Conn, t tasks.Task) error {
	ready, err := w.ledger.Unblocked(ctx, target, t)
	if err != nil || len(ready) == 0 {
		return err
	}
	envelopes := make([]tasks.Envelope, len(ready))
	for i, r := range ready {
		envelopes[i] = w.run.Envelope(r.Kind, r.ID)
	}
	return w.queue.Publish(ctx, envelopes)
}

// answer logs an acknowledgement that did not get through: the message comes
// again, and the ledger makes that a no-op.
func (w *Worker) answer(log *slog.Logger, err error) {
	if err != nil {
		log.Warn("message could not be answered", "err", err)
	}
}
