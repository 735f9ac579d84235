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
	source *pg.Conn
}

// Source returns the job's connection to the source, outside a transaction
// when it is first asked for.
func (j *Job) Source(ctx context.Context) (*pg.Conn, error) {
	if j.source == nil {
		c, err := j.worker.source.get(ctx)
		if err != nil {
			return nil, err
		}
		j.source = c
	}
	return j.source, nil
}

// release gives the connections back if they are reusable, and ends them, with
// the transaction that is open on them, if not.
func (j *Job) release(ctx context.Context, reusable bool) {
	for _, c := range []struct {
		conn *pg.Conn
		pool *pool
	}{{j.source, j.worker.source}, {j.Target, j.worker.target}} {
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
	stop := w.heartbeat(ctx, d, log)
	defer stop()
	j := &Job{Ledger: w.ledger, worker: w, Log: log}
	t, err := w.perform(ctx, j, e)
	// Nothing was done yet on the connection of a task that is not taken.
	reusable := err == nil || errors.Is(err, tasks.ErrBusy) || errors.Is(err, errNotReady)
	defer j.release(context.WithoutCancel(ctx), reusable)
	var split *tasks.SplitError
	switch {
	case err == nil:
		w.finish(ctx, j, d, t, tasks.Done)
	case errors.Is(err, tasks.ErrBusy):
		log.Debug("task is held by another worker")
		w.answer(log, d.Nak(busyDelay))
	case errors.Is(err, errNotReady):
		log.Warn("message asks for a task that is not ready, or not in the plan")
		w.answer(log, d.Term(errNotReady.Error()))
	case ctx.Err() != nil:
		log.Info("task handed back", "err", context.Cause(ctx))
		j.release(context.WithoutCancel(ctx), false) // rolled back before another worker may take it
		w.answer(log, d.Nak(0))
	case errors.As(err, &split):
		j.release(ctx, false)
		w.split(ctx, d, t, split, log)
	case errors.Is(err, errUnknownOutcome):
		// Neither ack nor nak: the redelivery asks the ledger whether the commit came through.
		log.Warn("outcome of the commit is unknown", "err", err)
	default:
		j.release(ctx, false)
		w.fail(ctx, d, t, err, log)
	}
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
func (w *Worker) perform(ctx context.Context, j *Job, e tasks.Envelope) (tasks.Task, error) {
	t := tasks.Task{ID: e.Task, Kind: e.Kind}
	target, err := w.target.get(ctx)
	if err != nil {
		return t, err
	}
	j.Target = target
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
	started := time.Now()
	result, err := handler.Do(ctx, j)
	if err != nil {
		return taken, err
	}
	if err := w.ledger.Done(ctx, target, taken, result, w.o.Name); err != nil {
		if pg.Classify(err) == pg.Transient || ctx.Err() != nil {
			return taken, errors.Join(errUnknownOutcome, err)
		}
		return taken, err
	}
	j.Log.Info(label(taken), "kind", taken.Kind, "rows", result.Rows, "bytes", result.Bytes, "duration", time.Since(started).Round(time.Millisecond))
	return taken, nil
}

// finish publishes what the done task has made ready and acknowledges it.
// Publishing comes first: a message is in the queue until its followers are.
func (w *Worker) finish(ctx context.Context, j *Job, d Delivery, t tasks.Task, state tasks.State) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	if err := w.publishUnblocked(ctx, j.Target, t); err != nil {
		// The message stays unacknowledged, and its redelivery tries again.
		j.Log.Warn("tasks that are ready could not be published", "err", err)
		w.answer(j.Log, d.Nak(time.Second))
		return
	}
	w.answer(j.Log, d.Ack(ctx))
	w.queue.Notify(tasks.Event{Task: t.ID, Kind: t.Kind, State: state})
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

// split replaces the task by the tasks it is split into.
func (w *Worker) split(ctx context.Context, d Delivery, t tasks.Task, s *tasks.SplitError, log *slog.Logger) {
	log.Warn("bundle is split into its tables", "err", pg.Describe(s.Err))
	j := &Job{Ledger: w.ledger, worker: w, Log: log, Task: t}
	ok := false
	defer func() { j.release(ctx, ok) }()
	var err error
	if j.Target, err = w.target.get(ctx); err == nil {
		var state tasks.State
		if _, state, err = w.ledger.Take(ctx, j.Target, t.ID); err == nil && state != tasks.Done {
			err = w.ledger.Done(ctx, j.Target, t, tasks.Result{Added: s.Into}, w.o.Name)
		}
	}
	if err != nil {
		log.Warn("bundle could not be split", "err", err)
		w.answer(log, d.Nak(busyDelay))
		return
	}
	ok = true
	w.finish(ctx, j, d, t, tasks.Done)
}

// fail decides whether the task is tried again, and records it.
func (w *Worker) fail(ctx context.Context, d Delivery, t tasks.Task, err error, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	reason := describe(err)
	c, connectErr := w.target.get(ctx)
	if connectErr != nil {
		log.Warn("task failed, and so did the connection to record it", "err", reason)
		w.answer(log, d.Nak(backoff(d.Attempt())))
		return
	}
	ok := false
	defer func() {
		if ok {
			w.target.put(c)
		} else {
			c.Discard()
		}
	}()
	attempts, countErr := w.ledger.Attempt(ctx, c, t.ID, reason)
	if countErr != nil {
		log.Warn("attempt could not be counted", "err", countErr)
		w.answer(log, d.Nak(backoff(d.Attempt())))
		return
	}
	if retry, delay := verdict(err, attempts); retry {
		ok = true
		log.Warn("task is tried again", "err", reason, "attempt", attempts, "delay", delay)
		w.answer(log, d.Nak(delay))
		return
	}
	if failErr := w.ledger.Fail(ctx, c, t.ID, reason, w.o.Name); failErr != nil {
		log.Warn("failure could not be recorded", "err", failErr)
		w.answer(log, d.Nak(backoff(attempts)))
		return
	}
	ok = true
	log.Error("task failed", "err", reason, "attempt", attempts)
	w.answer(log, d.Term("task failed")) // why is in the ledger: the reason may quote SQL and rows, which the queue never sees
	w.queue.Notify(tasks.Event{Task: t.ID, Kind: t.Kind, State: tasks.Failed})
}

// describe returns the error and what a person can do about it.
func describe(err error) string {
	reason := pg.Describe(err)
	hint := pg.Hint(err)
	if hinted, ok := errors.AsType[*tasks.HintError](err); ok {
		hint = hinted.Hint()
	}
	if hint != "" {
		reason += "; hint: " + hint
	}
	return reason
}

// verdict says whether a task that failed attempts times is tried again, and
// when. The error may carry the answer; if not, its code decides.
func verdict(err error, attempts int) (retry bool, delay time.Duration) {
	var again *tasks.RetryError
	var final *tasks.DiscardError
	switch {
	case errors.As(err, &final):
		return false, 0
	case errors.As(err, &again):
		return attempts < transientAttempts, max(again.Delay, backoff(attempts))
	}
	if pg.IsSnapshotLost(err) {
		return attempts < unknownAttempts, backoff(attempts)
	}
	switch pg.Classify(err) {
	case pg.Final:
		return false, 0
	case pg.Transient:
		return attempts < transientAttempts, backoff(attempts)
	}
	return attempts < unknownAttempts, backoff(attempts)
}

// backoff doubles from one second.
func backoff(attempts int) time.Duration {
	return min(time.Second<<min(max(attempts-1, 0), 10), maxDelay)
}

// answer logs an acknowledgement that did not get through: the message comes
// again, and the ledger makes that a no-op.
func (w *Worker) answer(log *slog.Logger, err error) {
	if err != nil {
		log.Warn("message could not be answered", "err", err)
	}
}
