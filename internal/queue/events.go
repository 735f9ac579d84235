package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Notify announces an event, as JSON, to whoever listens. It does not wait,
// and an error costs nothing but time: an event is lost when nobody listens,
// when the listener is slow, and when the connection is down.
func (q *Queue) Notify(e tasks.Event) error {
	body, err := json.Marshal(e)
	if err == nil {
		err = q.conn.nc.Publish(eventPrefix(q.run)+"task", body)
	}
	if err != nil {
		return fmt.Errorf("announce event of run %s: %w", q.run, err)
	}
	return nil
}

// Events returns the announcements of all workers of the run from now on, until
// ctx is done, stop is called or the connection is closed; then the channel is
// closed. What is not an
// [tasks.Event] is left out, and so is what comes while 256 events wait to be read.
// stop may be called more than once.
func (q *Queue) Events(ctx context.Context) (events <-chan tasks.Event, stop func(), err error) {
	if q.conn.isClosing() {
		return nil, nil, ErrClosed
	}
	l := &listener{events: make(chan tasks.Event, eventBuffer)}
	sub, err := q.conn.nc.Subscribe(eventPrefix(q.run)+">", l.receive)
	if err != nil {
		return nil, nil, fmt.Errorf("listen to events of run %s: %w", q.run, classify(ctx, err))
	}
	sub.SetClosedHandler(func(string) { l.stop(sub) })
	// Whatever is announced after the return is heard.
	limited, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	if err := q.conn.nc.FlushWithContext(limited); err != nil {
		l.stop(sub)
		return nil, nil, fmt.Errorf("listen to events of run %s: %w", q.run, classify(ctx, err))
	}
	unwatch := context.AfterFunc(ctx, func() { l.stop(sub) })
	return l.events, func() { unwatch(); l.stop(sub) }, nil
}

// listener passes events on. The lock keeps an event from being sent on the
// closed channel.
type listener struct {
	mu      sync.Mutex
	stopped bool
	events  chan tasks.Event
}

func (l *listener) receive(m *nats.Msg) {
	var e tasks.Event
	if err := json.Unmarshal(m.Data, &e); err != nil || e.Task == "" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return
	}
	select {
	case l.events <- e:
	default:
	}
}

func (l *listener) stop(sub *nats.Subscription) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return
	}
	l.stopped = true
	close(l.events)
	// An error means that the connection is gone, and the subscription with it.
	_ = sub.Unsubscribe()
}
