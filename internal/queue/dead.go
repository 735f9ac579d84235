package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// deadConfig: the newest letter of each task is kept. When the stream is full
// the oldest letter makes room, so that no run is held up by what an earlier
// one left.
func (c *Conn) deadConfig() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              DeadStream,
		Description:       "Tasks of pgconvoy that failed for good; the ledger of their run is the truth",
		Subjects:          []string{deadPrefix("*") + ">"},
		Discard:           jetstream.DiscardOld,
		MaxMsgsPerSubject: 1,
		MaxMsgSize:        MaxTaskBytes,
		AllowDirect:       true,
	}
}

// Bury keeps a dead letter of a task of the run and waits until the server has
// stored it. It replaces an earlier letter of the task, so it may be repeated
// after any error. The reason is cut to one line of 1,000 bytes; the ledger has
// all of it. It returns [ErrGone] when there is no stream for letters, a
// [FullError] when it takes no more and a [TransientError] when the server
// cannot be reached. The caller goes on without the letter then: it is news for
// people, and no task depends on it.
//
// As with tasks there is no Nats-Msg-Id: the letter of a task that is tried
// again and fails again would be taken for a duplicate.
func (q *Queue) Bury(ctx context.Context, d tasks.DeadLetter) error {
	err := q.bury(ctx, d)
	if err != nil {
		return fmt.Errorf("bury task %s: %w", clip(string(d.Envelope.Task)), err)
	}
	return nil
}

func (q *Queue) bury(ctx context.Context, d tasks.DeadLetter) error {
	task, err := q.message(d.Envelope) // all checks of a task hold for its letter
	if err != nil {
		return err
	}
	d.Reason = oneLine(d.Reason, maxReason)
	m := nats.NewMsg(deadPrefix(q.run) + string(d.Envelope.Task))
	m.Header = task.Header
	if m.Data, err = json.Marshal(d); err != nil {
		return err
	}
	return q.conn.store(ctx, DeadStream, m)
}

// Dead returns the letters of a run, those of earlier runs with the same name
// included, in the order in which the tasks died. It returns [ErrGone] when
// there is no stream for letters and a [TransientError] when the server cannot
// be reached.
func (c *Conn) Dead(ctx context.Context, run string) ([]tasks.DeadLetter, error) {
	if err := checkRun(run); err != nil {
		return nil, err
	}
	list, err := c.stored(ctx, DeadStream, deadPrefix(run)+">")
	if err != nil {
		return nil, fmt.Errorf("list dead letters of run %s: %w", run, err)
	}
	var letters []tasks.DeadLetter
	for _, one := range list {
		if d, ok := letter(run, one); ok {
			letters = append(letters, d)
		}
	}
	return letters, nil
}

// letter decodes a dead letter. ok is false for what is none, or names another
// task than its subject does.
func letter(run string, one stored) (d tasks.DeadLetter, ok bool) {
	if json.Unmarshal(one.data, &d) != nil || deadPrefix(run)+string(d.Envelope.Task) != one.subject {
		return tasks.DeadLetter{}, false
	}
	return d, true
}

// Exhume removes the letters of these tasks of this run, of all if ids is nil.
// Letters of other runs with the same name stay. It is idempotent, and does
// nothing when there is no stream for letters.
func (q *Queue) Exhume(ctx context.Context, ids []tasks.ID) error {
	list, err := q.conn.stored(ctx, DeadStream, deadPrefix(q.run)+">")
	if err == nil {
		list = slices.DeleteFunc(list, func(one stored) bool {
			d, ok := letter(q.run, one)
			return !ok || d.Envelope.RunUID != q.uid || ids != nil && !slices.Contains(ids, d.Envelope.Task)
		})
		err = q.conn.discard(ctx, DeadStream, list)
	}
	if err == nil || errors.Is(err, ErrGone) {
		return nil
	}
	return fmt.Errorf("remove dead letters of run %s: %w", q.run, err)
}
