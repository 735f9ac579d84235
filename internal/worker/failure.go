package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// busy is called when another worker holds the lock of the task. If nothing was
// heard of that worker for two leases its sessions are ended: a worker that is
// frozen keeps its locks, as its kernel goes on answering for it. It returns
// how long to wait before the next try.
func (w *Worker) busy(ctx context.Context, j *Job, id tasks.ID) time.Duration {
	if err := w.evict(ctx, j, id); err != nil {
		j.Log.Debug("task is held by another worker", "err", err)
		return busyDelay
	}
	return time.Second
}

var errAlive = errors.New("its worker was heard of lately")

// evict ends the sessions of a worker that holds the task's lock and is not
// heard of any more. It fails if there is none.
func (w *Worker) evict(ctx context.Context, j *Job, id tasks.ID) error {
	if err := endTransaction(ctx, j.Target); err != nil {
		return err
	}
	h, there, err := w.ledger.Holder(ctx, j.Target, id)
	if err != nil {
		return err
	}
	if !there || h.Silent < 2*w.queue.AckWait() {
		return errAlive
	}
	ended, err := pg.Terminate(ctx, j.Target, pg.Backend(h.Target))
	if err != nil {
		return err
	}
	j.Log.Warn("worker is silent, its task is taken from it", "worker", h.Worker, "duration", h.Silent.Round(time.Second), "ended", ended)
	if h.Source.PID == 0 {
		return nil
	}
	source, err := j.Source(ctx)
	if err == nil {
		_, err = pg.Terminate(ctx, source, pg.Backend(h.Source))
	}
	if err != nil { // it reads rows for nobody, and ends when its worker does
		j.Log.Warn("session of a silent worker on the source goes on", "worker", h.Worker, "err", err)
	}
	return nil
}

// When a task is suspected of killing the workers that take it.
const (
	suspectDeliveries = 3 // before that nobody asks
	suspectVanished   = 8
)

// suspect fails a task with which many workers have vanished: it needs more
// memory than they have, or crashes them. No attempt was counted then, as
// nobody was left to do it.
func (w *Worker) suspect(ctx context.Context, j *Job, d Delivery) error {
	if d.Attempt() <= suspectDeliveries {
		return nil
	}
	n, err := w.ledger.Vanished(ctx, j.Target, j.Task.ID, 2*w.queue.AckWait())
	if err != nil || n < suspectVanished {
		return err
	}
	return tasks.Discard(tasks.WithHint(fmt.Errorf("%d workers vanished while they had this task in hand", n),
		"look whether they ran out of memory or were stopped from outside, then planner retry"))
}

// split replaces the task by the tasks it is split into.
func (w *Worker) split(ctx context.Context, d Delivery, t tasks.Task, s *tasks.SplitError, log *slog.Logger) {
	log.Warn("bundle is split into its tables", "err", pg.Describe(s.Err))
	j := &Job{Ledger: w.ledger, worker: w, hand: &hand{}, Log: log, Task: t}
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
	w.finish(ctx, j, d, t)
}

// fail decides whether the task is tried again, records it, and returns what it
// decided. What could not be recorded comes again.
func (w *Worker) fail(ctx context.Context, d Delivery, e tasks.Envelope, t tasks.Task, err error, log *slog.Logger) tasks.Outcome {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	reason := describe(err)
	c, connectErr := w.target.get(ctx)
	if connectErr != nil {
		log.Warn("task failed, and so did the connection to record it", "err", reason)
		w.answer(log, d.Nak(backoff(d.Attempt())))
		return tasks.Retried
	}
	ok := false
	defer func() {
		if ok {
			w.target.put(c)
		} else {
			c.Discard()
		}
	}()
	var attempts int
	countErr := whenRoom(ctx, func() (err error) {
		attempts, err = w.ledger.Attempt(ctx, c, t.ID, reason)
		return err
	})
	if errors.Is(countErr, tasks.ErrBusy) {
		log.Warn("task failed here, and another worker has it by now", "err", reason)
		w.answer(log, d.Nak(busyDelay))
		return tasks.Retried
	}
	if countErr != nil {
		log.Warn("attempt could not be counted", "err", countErr)
		w.answer(log, d.Nak(backoff(d.Attempt())))
		return tasks.Retried
	}
	if retry, delay := verdict(err, attempts); retry {
		ok = true
		log.Warn("task is tried again", "err", reason, "attempt", attempts, "delay", delay)
		w.answer(log, d.Nak(delay))
		retried := w.event(tasks.EventTaskRetried, t)
		retried.Attempt, retried.Delay, retried.Reason = attempts, delay, brief(err)
		w.queue.Notify(retried)
		return tasks.Retried
	}
	failErr := whenRoom(ctx, func() error { return w.ledger.Fail(ctx, c, t.ID, reason, w.o.Name) })
	if failErr != nil {
		log.Warn("failure could not be recorded", "err", failErr)
		w.answer(log, d.Nak(backoff(attempts)))
		return tasks.Retried
	}
	ok = true
	log.Error("task failed", "err", reason, "attempt", attempts)
	w.bury(ctx, e, brief(err), attempts, log)
	w.answer(log, d.Term(brief(err)))
	dead := w.event(tasks.EventTaskDead, t)
	dead.Attempt, dead.Reason = attempts, brief(err)
	w.queue.Notify(dead)
	return tasks.GivenUp
}

// roomPause is how long to wait before the target is asked again for room.
const roomPause = 100 * time.Millisecond

// whenRoom writes to the ledger, again and again until ctx ends if the target's disk
// is full: a server lets go of the locks of what it rolls back before it removes the
// files, so that the room which a failed copy gives back comes a moment later.
func whenRoom(ctx context.Context, write func() error) error {
	for {
		err := write()
		if !pg.IsCode(err, "53100") || !pg.Pause(ctx, roomPause) {
			return err
		}
	}
}

// brief says why a task failed in words that the queue may see: codes and names,
// neither SQL nor rows, which the reason in the ledger may quote.
func brief(err error) string {
	var server *pgconn.PgError
	switch {
	case errors.Is(err, pg.ErrRewritten):
		return pg.ErrRewritten.Error()
	case errors.As(err, &server):
		text := "SQLSTATE " + server.Code
		for _, part := range []struct{ word, name string }{{"table", server.TableName}, {"constraint", server.ConstraintName}} {
			if part.name != "" {
				text += fmt.Sprintf(", %s %s", part.word, part.name)
			}
		}
		return text + "; planner status says more"
	}
	return "planner status says why"
}

// bury keeps what failed for good in the queue, for people who look there. The
// ledger has it anyway.
func (w *Worker) bury(ctx context.Context, e tasks.Envelope, reason string, attempts int, log *slog.Logger) {
	err := w.queue.Bury(ctx, tasks.DeadLetter{Envelope: e, Reason: reason, Attempts: attempts, Worker: w.o.Name, At: time.Now().UTC()})
	if err != nil {
		log.Warn("no dead letter could be left", "err", err)
	}
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
	if errors.Is(err, errSessionGone) {
		return attempts < transientAttempts, backoff(attempts)
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
