package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Notify announces an event, as JSON, to whoever listens. It does not wait,
// and an error costs nothing but time: an event is lost when nobody listens,
// when the listener is slow, and when the connection is down.
func (c *Conn) Notify(e tasks.Event) error {
	body, err := json.Marshal(e)
	if err == nil {
		err = c.nc.Publish(eventSubject(e.Run, e.Type), body)
	}
	if err != nil {
		return fmt.Errorf("announce event of run %s: %w", e.Run, err)
	}
	return nil
}

// PutLast keeps the event with which a run has begun or ended for the next [LastTTL],
// for workers that come when its queue is gone. It is idempotent. It returns [ErrGone]
// when there is no bucket and a [TransientError] when the server cannot be reached.
func (c *Conn) PutLast(ctx context.Context, e tasks.Event) error {
	err := checkRun(e.Run)
	if err == nil {
		err = c.put(ctx, lastKey(e.Run), e, jetstream.WithMsgTTL(LastTTL))
	}
	if err != nil {
		return fmt.Errorf("keep event of run %s: %w", clip(e.Run), err)
	}
	return nil
}

// Last returns the event that [Conn.PutLast] has kept of the last run of a name. It
// returns [ErrNoStatus] if there is none, [ErrGone] when there is no bucket and a
// [TransientError] when the server cannot be reached.
func (c *Conn) Last(ctx context.Context, run string) (e tasks.Event, err error) {
	if err := checkRun(run); err != nil {
		return e, err
	}
	list, err := c.stored(ctx, bucketStream, lastKey(run))
	if err == nil && (len(list) == 0 || json.Unmarshal(list[0].data, &e) != nil || e.Run != run) {
		err = ErrNoStatus
	}
	if err != nil {
		return tasks.Event{}, fmt.Errorf("read last event of run %s: %w", run, err)
	}
	return e, nil
}

// Notify is that of the connection, for an event of this run; it adds the
// database that the run is about.
func (q *Queue) Notify(e tasks.Event) error {
	e.Database = q.database
	return q.conn.Notify(e)
}

// Ends tells, from now on, whenever a worker of the run has announced the end of a
// task, until ctx is done, stop is called or the connection is closed; then the
// channel is closed. What comes while 256 ends wait to be read is left out. Other
// events are not listened to: nobody who counts ends has to be woken by them.
// stop may be called more than once.
func (q *Queue) Ends(ctx context.Context) (ends <-chan struct{}, stop func(), err error) {
	if q.conn.isClosing() {
		return nil, nil, ErrClosed
	}
	l := &listener{ends: make(chan struct{}, endBuffer)}
	for _, t := range []tasks.EventType{tasks.EventTaskDone, tasks.EventTaskDead} {
		sub, err := q.conn.nc.Subscribe(eventSubject(q.run, t), l.receive)
		if err != nil {
			l.stop()
			return nil, nil, fmt.Errorf("listen to events of run %s: %w", q.run, classify(ctx, err))
		}
		l.add(sub)
	}
	// Whatever is announced after the return is heard.
	limited, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	if err := q.conn.nc.FlushWithContext(limited); err != nil {
		l.stop()
		return nil, nil, fmt.Errorf("listen to events of run %s: %w", q.run, classify(ctx, err))
	}
	unwatch := context.AfterFunc(ctx, l.stop)
	return l.ends, func() { unwatch(); l.stop() }, nil
}

// listener passes ends on. The lock keeps one from being sent on the closed
// channel.
type listener struct {
	mu      sync.Mutex
	stopped bool
	subs    []*nats.Subscription
	ends    chan struct{}
}

// add makes the listener stop when the subscription ends, and the other way round.
func (l *listener) add(sub *nats.Subscription) {
	l.mu.Lock()
	l.subs = append(l.subs, sub)
	l.mu.Unlock()
	sub.SetClosedHandler(func(string) { l.stop() })
}

func (l *listener) receive(*nats.Msg) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return
	}
	select {
	case l.ends <- struct{}{}:
	default:
	}
}

func (l *listener) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return
	}
	l.stopped = true
	close(l.ends)
	for _, sub := range l.subs {
		// An error means that the connection is gone, and the subscription with it.
		_ = sub.Unsubscribe()
	}
}
