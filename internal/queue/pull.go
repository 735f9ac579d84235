package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Pulling speaks the protocol of pull consumers itself: one request for one
// message. The client's Fetch cannot be cancelled without losing, for AckWait,
// a message that arrives in that moment; its iterators prefetch.
const pullSubject = "$JS.API.CONSUMER.MSG.NEXT.%s.%s"

// pullRequest is the body of a request; times are nanoseconds.
type pullRequest struct {
	Expires   time.Duration `json:"expires"`
	Batch     int           `json:"batch"`
	Heartbeat time.Duration `json:"idle_heartbeat,omitempty"`
}

// pull is one request under way.
type pull struct {
	queue    *Queue
	stage    tasks.Stage
	sub      *nats.Subscription
	messages chan *nats.Msg
}

// Fetch leases one task of the stage and returns it, or nil and no error when
// none came within the given time. Exactly one message is asked for, so no
// task waits in a worker that is busy.
//
// When ctx is done Fetch returns its error at once; a task that arrives in
// that moment goes back to the queue, and counts as an attempt. It returns
// [ErrGone] when stream or consumer do not exist or are of another run by now,
// [ErrClosed] after Close, and a [TransientError] when the connection is lost or
// the server has trouble; the caller then pauses before the next Fetch.
func (q *Queue) Fetch(ctx context.Context, stage tasks.Stage, wait time.Duration) (*Delivery, error) {
	d, err := q.fetch(ctx, stage, max(wait, time.Millisecond))
	if err == nil && d != nil && d.foreign() {
		// The stream may have been made anew for another run while this side was cut off.
		if _, gone := q.info(ctx); errors.Is(gone, ErrGone) {
			err = errors.Join(gone, d.Nak(0))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("fetch task of stage %s: %w", stage, err)
	}
	return d, nil
}

func (q *Queue) fetch(ctx context.Context, stage tasks.Stage, wait time.Duration) (*Delivery, error) {
	if !stage.Valid() {
		return nil, errors.New("the stage is unknown")
	}
	if err := q.conn.enter(); err != nil {
		return nil, err
	}
	defer q.conn.pulls.Done()

	down, err := q.conn.await(ctx, wait)
	if err != nil {
		return nil, err
	}
	p, err := q.ask(stage, wait)
	if err != nil {
		return nil, classify(ctx, err)
	}
	timeout := time.NewTimer(wait + pullGrace)
	defer timeout.Stop()
	var silence <-chan time.Time // stays silent without heartbeats
	for {
		if wait >= 2*pullHeartbeat {
			silence = time.After(2 * pullHeartbeat)
		}
		select {
		case m := <-p.messages:
			if d, final, err := p.receive(ctx, m); final {
				return d, err
			}
		case <-ctx.Done():
			p.abandon()
			return nil, ctx.Err()
		case <-q.conn.closing:
			p.abandon()
			return nil, ErrClosed
		case <-down:
			// The request died with the connection.
			p.end()
			return nil, &TransientError{Err: nats.ErrDisconnected}
		case <-silence:
			p.abandon()
			return nil, &TransientError{Err: jetstream.ErrNoHeartbeat}
		case <-timeout.C:
			p.abandon()
			return nil, &TransientError{Err: nats.ErrTimeout}
		}
	}
}

// ask sends the request for one message.
func (q *Queue) ask(stage tasks.Stage, wait time.Duration) (*pull, error) {
	request := pullRequest{Expires: wait, Batch: 1}
	if wait >= 2*pullHeartbeat {
		request.Heartbeat = pullHeartbeat
	}
	body, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	// Room for the message and some signs of life: a full channel drops.
	p := &pull{queue: q, stage: stage, messages: make(chan *nats.Msg, 8)}
	nc := q.conn.nc
	inbox := nc.NewInbox()
	if p.sub, err = nc.ChanSubscribe(inbox, p.messages); err != nil {
		return nil, err
	}
	if err := nc.PublishRequest(fmt.Sprintf(pullSubject, q.stream, stage), inbox, body); err != nil {
		p.end()
		return nil, err
	}
	return p, nil
}

// receive handles one answer of the server. final is false for a sign of life.
func (p *pull) receive(ctx context.Context, m *nats.Msg) (d *Delivery, final bool, err error) {
	status := statusOf(m)
	if status == "100" {
		return nil, false, nil
	}
	p.end()
	if status == "" {
		d, err = p.queue.delivery(p.stage, m)
		return d, true, err
	}
	return nil, true, p.refusal(ctx, status, m.Header.Get("Description"))
}

// statusOf returns the status code of an answer without a message, and "" for
// a message. Only a message is to be answered; a status without that condition
// could be a header of anybody's empty message.
func statusOf(m *nats.Msg) string {
	if len(m.Data) > 0 || m.Reply != "" {
		return ""
	}
	return m.Header.Get("Status")
}

// refusal translates the server's reason for ending a request; nil when there
// was nothing to hand out.
func (p *pull) refusal(ctx context.Context, status, description string) error {
	reason := strings.ToLower(description)
	switch {
	case status == "404", status == "408":
		return nil
	case status == "503":
		return classify(ctx, p.queue.whyNoConsumer(ctx, p.stage))
	case status == "409" && strings.Contains(reason, "consumer deleted"):
		return fmt.Errorf("%w (consumer deleted)", ErrGone)
	case status == "409":
		// The server shuts down, another one takes over, or too many wait.
		return &TransientError{Err: fmt.Errorf("the server says: %s", reason)}
	}
	return fmt.Errorf("the server refuses: %s %s", status, reason)
}

// whyNoConsumer finds out why nobody answers for a consumer.
func (q *Queue) whyNoConsumer(ctx context.Context, stage tasks.Stage) error {
	if _, err := q.conn.consumerInfo(ctx, q.stream, stage); err != nil {
		return err
	}
	return nats.ErrNoResponders
}

// end forgets the request. An error means that the connection is gone, and the
// request with it.
func (p *pull) end() { _ = p.sub.Unsubscribe() }

// abandon withdraws the request in the background and hands back a message
// that has come for it. Close waits for that.
func (p *pull) abandon() {
	p.queue.conn.pulls.Add(1)
	go func() {
		defer p.queue.conn.pulls.Done()
		p.withdraw()
	}()
}

// withdraw takes the interest in answers back. Answers that the server has
// sent before it saw that are here once it answers the flush; what it has not
// sent yet it hands to the next who asks.
func (p *pull) withdraw() {
	if err := p.sub.Drain(); err != nil {
		return
	}
	if err := p.queue.conn.nc.FlushTimeout(ackTimeout); err != nil {
		return
	}
	for {
		select {
		case m := <-p.messages:
			if statusOf(m) != "" {
				continue
			}
			if d, err := p.queue.delivery(p.stage, m); err == nil {
				err = d.Nak(0)
				p.queue.conn.log.Debug("handed back a task that came too late", "task", d.task(), "attempt", d.attempt, "err", err)
			}
		default:
			return
		}
	}
}
