package queue

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// Reading asks a stream directly for many messages at once. The client has no
// call for that, and the consumers that it makes instead want more rights.
const directSubject = "$JS.API.DIRECT.GET.%s"

// directRequest is the body of a request.
type directRequest struct {
	Sequence uint64 `json:"seq"`
	Filter   string `json:"next_by_subj"`
	Batch    int    `json:"batch"`
}

// stored is a message of a stream that keeps one per subject.
type stored struct {
	subject  string
	sequence uint64
	data     []byte // empty for the marker of a key that is gone
}

// stored returns the messages of a stream whose subjects match the filter,
// oldest first. In a cluster any copy of the stream answers, so that the last
// few milliseconds may be missing.
func (c *Conn) stored(ctx context.Context, stream, filter string) ([]stored, error) {
	found := map[string]stored{}
	for from, more := uint64(1), true; more; {
		body, err := json.Marshal(directRequest{Sequence: from, Filter: filter, Batch: readBatch})
		if err != nil {
			return nil, err
		}
		more = false
		err = c.gather(ctx, fmt.Sprintf(directSubject, stream), body, apiTimeout, func(m *nats.Msg) (bool, error) {
			switch status := statusOf(m); status {
			case "":
				one := stored{subject: m.Header.Get("Nats-Subject"), data: m.Data}
				var err error
				one.sequence, err = strconv.ParseUint(m.Header.Get("Nats-Sequence"), 10, 64)
				// One that is replaced while this reads comes twice.
				found[one.subject], from = one, one.sequence+1
				return false, err
			case "204": // the end of the batch
				more = m.Header.Get("Nats-Num-Pending") != "0"
				return true, nil
			case "404": // nothing matches
				return true, nil
			default:
				return true, fmt.Errorf("the server refuses: %s %s", status, m.Header.Get("Description"))
			}
		})
		if errors.Is(err, nats.ErrNoResponders) {
			err = c.whyNobody(ctx, stream, err)
		}
		if err != nil {
			return nil, classify(ctx, err)
		}
	}
	return slices.SortedFunc(maps.Values(found), func(a, b stored) int { return cmp.Compare(a.sequence, b.sequence) }), nil
}

// gather sends one request and passes every answer on, until one is said to be
// the last. It returns nats.ErrTimeout when that does not come in the given
// time, and nats.ErrNoResponders when nobody listens.
func (c *Conn) gather(ctx context.Context, subject string, body []byte, most time.Duration, each func(*nats.Msg) (last bool, err error)) error {
	if c.isClosing() {
		return ErrClosed
	}
	up, down := c.link.state()
	select {
	case <-up:
	default:
		return nats.ErrDisconnected
	}
	answers := make(chan *nats.Msg, answerBuffer) // a full channel drops
	inbox := c.nc.NewInbox()
	sub, err := c.nc.ChanSubscribe(inbox, answers)
	if err != nil {
		return err
	}
	// An error means that the connection is gone, and the subscription with it.
	defer func() { _ = sub.Unsubscribe() }()
	if err := c.nc.PublishRequest(subject, inbox, body); err != nil {
		return err
	}
	timeout := time.NewTimer(most)
	defer timeout.Stop()
	for {
		select {
		case m := <-answers:
			if statusOf(m) == "503" {
				return nats.ErrNoResponders
			}
			if last, err := each(m); last || err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		case <-c.closing:
			return ErrClosed
		case <-down:
			return nats.ErrDisconnected
		case <-timeout.C:
			return nats.ErrTimeout
		}
	}
}
