package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/nats-io/nats.go"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// What a holder answers to a delivery.
const (
	answerAck  = "+ACK"
	answerNak  = "-NAK"
	answerTerm = "+TERM"
	answerBeat = "+WPI"
)

// Delivery is one task that is leased to this worker until AckWait has passed
// since the delivery or the last heartbeat. The lease is not exclusive: the
// server may hand the task to another worker, and any holder can end it for
// all. So once Ack, Nak or Term has succeeded, every later answer is not sent
// and reports no error: it would act on the lease of the next holder. The
// methods may be called concurrently.
type Delivery struct {
	queue   *Queue
	stage   tasks.Stage
	msg     *nats.Msg
	attempt int
	settled atomic.Bool
}

// delivery wraps a message of a pull.
func (q *Queue) delivery(stage tasks.Stage, m *nats.Msg) (*Delivery, error) {
	meta, err := m.Metadata()
	if err != nil {
		return nil, fmt.Errorf("message on %s was not delivered by a consumer: %w", clip(m.Subject), err)
	}
	return &Delivery{queue: q, stage: stage, msg: m, attempt: int(meta.NumDelivered)}, nil
}

// Stage returns the stage that the task was fetched for.
func (d *Delivery) Stage() tasks.Stage { return d.stage }

// Attempt returns how often the task has been delivered, this time included. A
// server that was killed may have forgotten some, so it is a lower bound.
func (d *Delivery) Attempt() int { return d.attempt }

// task returns the ID that the subject names, for logs and errors.
func (d *Delivery) task() string { return strings.TrimPrefix(d.msg.Subject, taskPrefix(d.queue.run)) }

// foreign reports whether the message is of another run than the queue.
func (d *Delivery) foreign() bool {
	e, err := d.Envelope()
	return err == nil && e.RunUID != d.queue.uid
}

// Envelope decodes the message. Fields that this build does not know are
// ignored. The verdict is in the error: a [VersionError] is worth another
// attempt, by another worker ([tasks.RetryError]); a [MalformedError] and a
// [MismatchError] are final ([tasks.DiscardError]).
//
// The run's uid is not compared here: see [Queue.RunUID].
func (d *Delivery) Envelope() (tasks.Envelope, error) { return decode(d.msg.Subject, d.msg.Data) }

func decode(subject string, body []byte) (tasks.Envelope, error) {
	// The version first: the rest may have another shape in another version.
	var version struct {
		Version *int `json:"v"`
	}
	if err := json.Unmarshal(body, &version); err != nil {
		return tasks.Envelope{}, tasks.Discard(&MalformedError{Subject: subject, Err: err})
	}
	if version.Version == nil {
		return tasks.Envelope{}, tasks.Discard(&MalformedError{Subject: subject, Err: errors.New("it has no version")})
	}
	if *version.Version != tasks.EnvelopeVersion {
		return tasks.Envelope{}, tasks.Retry(unsupportedWait, &VersionError{Version: *version.Version})
	}
	var e tasks.Envelope
	if err := json.Unmarshal(body, &e); err != nil {
		return tasks.Envelope{}, tasks.Discard(&MalformedError{Subject: subject, Err: err})
	}
	if err := checkID(e.Task); err != nil {
		return tasks.Envelope{}, tasks.Discard(&MalformedError{Subject: subject, Err: err})
	}
	if Subject(e.Run, e.Task) != subject {
		return tasks.Envelope{}, tasks.Discard(&MismatchError{Subject: subject, Run: e.Run, Task: e.Task})
	}
	if e.Kind.Stage() == "" {
		return tasks.Envelope{}, tasks.Retry(unsupportedWait, &VersionError{Version: e.Version, Kind: e.Kind})
	}
	return e, nil
}

// Heartbeat renews the lease for another AckWait and waits up to a second for
// the server to confirm it. An error means that nothing is confirmed, and is
// always worth another heartbeat; the work goes on. A confirmation proves that
// the server is there, not that the lease is still held.
func (d *Delivery) Heartbeat(ctx context.Context) error {
	return d.request(ctx, heartbeatTimeout, "heartbeat", answerBeat)
}

// Ack takes the task out of the queue and waits up to five seconds for the
// server to confirm it. It is idempotent. After an error the task may be
// delivered again, which the ledger makes harmless.
func (d *Delivery) Ack(ctx context.Context) error {
	return d.request(ctx, ackTimeout, "ack", answerAck)
}

// Nak hands the task back, to be delivered again after the delay. Until then
// it keeps its place under the cap of its stage, which slows a stage down that
// fails. It does not wait for the server; if the answer is lost the task comes
// back after AckWait.
func (d *Delivery) Nak(delay time.Duration) error {
	answer := answerNak
	if delay > 0 {
		answer = fmt.Sprintf(`%s {"delay": %d}`, answerNak, delay.Nanoseconds())
	}
	if d.settled.Load() {
		return nil
	}
	if err := d.queue.conn.nc.Publish(d.msg.Reply, []byte(answer)); err != nil {
		return fmt.Errorf("hand back task %s: %w", d.task(), classify(context.Background(), err))
	}
	d.settled.Store(true)
	return nil
}

// Term takes the task out of the queue for good and waits up to five seconds
// for the server to confirm it. The reason, cut to one line, appears in the
// server's advisory. It is idempotent.
func (d *Delivery) Term(reason string) error {
	answer := strings.TrimSpace(answerTerm + " " + oneLine(reason, maxText))
	return d.request(context.Background(), ackTimeout, "terminate", answer)
}

func (d *Delivery) request(ctx context.Context, most time.Duration, verb, answer string) error {
	if d.settled.Load() {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	if _, err := d.queue.conn.nc.RequestWithContext(limited, d.msg.Reply, []byte(answer)); err != nil {
		return fmt.Errorf("%s task %s: %w", verb, d.task(), classify(ctx, err))
	}
	if answer != answerBeat {
		d.settled.Store(true)
	}
	return nil
}

// oneLine makes a reason fit to be shown in a list, in at most so many bytes.
func oneLine(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
	return clipTo(strings.Join(strings.Fields(s), " "), most)
}
