package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Publish puts tasks into the queue, in the order given, and returns when the
// server has stored all of them. A task that is queued or in flight already is
// not doubled, and that is no error. Publish may be repeated after any error;
// nothing is sent if one of the tasks cannot be a message.
//
// Messages carry no Nats-Msg-Id on purpose: within its window a task that was
// acked, terminated or purged could not be published again.
func (q *Queue) Publish(ctx context.Context, envelopes []tasks.Envelope) error {
	if q.conn.isClosing() {
		return ErrClosed
	}
	messages := make([]*nats.Msg, len(envelopes))
	for i, e := range envelopes {
		m, err := q.message(e)
		if err != nil {
			return fmt.Errorf("publish task %s: %w", clip(string(e.Task)), err)
		}
		messages[i] = m
	}
	// At most a window of messages is unconfirmed, so an error is seen soon.
	pending := make([]jetstream.PubAckFuture, 0, min(len(messages), publishWindow))
	for _, m := range messages {
		if len(pending) == publishWindow {
			if err := q.confirm(ctx, pending[0]); err != nil {
				return err
			}
			pending = pending[1:]
		}
		future, err := q.conn.js.PublishMsgAsync(m, jetstream.WithStallWait(publishTimeout))
		if err != nil {
			return q.publishError(ctx, m, err)
		}
		pending = append(pending, future)
	}
	for _, future := range pending {
		if err := q.confirm(ctx, future); err != nil {
			return err
		}
	}
	return nil
}

// message encodes a task and checks what the server would answer badly: a
// subject or body that is too long closes the connection or times out.
func (q *Queue) message(e tasks.Envelope) (*nats.Msg, error) {
	if err := checkID(e.Task); err != nil {
		return nil, err
	}
	if e.Run != q.run || e.RunUID != q.uid {
		return nil, fmt.Errorf("the task belongs to run %s (uid %s), the queue to run %s (uid %s)", e.Run, e.RunUID, q.run, q.uid)
	}
	body, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	m := nats.NewMsg(Subject(q.run, e.Task))
	m.Data = body
	m.Header.Set(HeaderVersion, strconv.Itoa(e.Version))
	m.Header.Set(HeaderKind, string(e.Kind))
	if n := len(m.Subject); n > MaxSubjectBytes {
		return nil, fmt.Errorf("the subject has %d bytes, at most %d are possible", n, MaxSubjectBytes)
	}
	if n, most := m.Size(), min(int64(MaxTaskBytes), q.conn.nc.MaxPayload()); int64(n) > most {
		return nil, fmt.Errorf("the message has %d bytes, at most %d are possible", n, most)
	}
	return m, nil
}

// confirm waits for the server's answer to one message.
func (q *Queue) confirm(ctx context.Context, f jetstream.PubAckFuture) error {
	select {
	case <-f.Ok():
		return nil
	case err := <-f.Err():
		return q.publishError(ctx, f.Msg(), err)
	case <-ctx.Done():
		return fmt.Errorf("publish tasks of run %s: %w", q.run, ctx.Err())
	}
}

// publishError returns nil if the message was refused because its task is
// queued or in flight already.
func (q *Queue) publishError(ctx context.Context, m *nats.Msg, err error) error {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == codeStoreFailed {
		if strings.Contains(api.Description, "per subject") {
			return nil
		}
		err = &FullError{Err: err}
	}
	if isAny(err, jetstream.ErrNoStreamResponse, nats.ErrNoResponders) {
		err = q.conn.whyNobody(ctx, q.stream, err)
	}
	task := strings.TrimPrefix(m.Subject, taskPrefix(q.run))
	return fmt.Errorf("publish task %s: %w", task, classify(ctx, err))
}

// whyNobody finds out why nobody answers on a subject of a stream: the stream
// does not exist, otherwise the error as it was.
func (c *Conn) whyNobody(ctx context.Context, stream string, err error) error {
	if _, infoErr := c.streamInfo(ctx, stream); errors.Is(infoErr, jetstream.ErrStreamNotFound) {
		return infoErr
	}
	return err
}
