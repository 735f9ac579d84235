package worker

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// pacer lets all copies of the process together move so many bytes per second. Who
// has read some pays for them and, if there is not enough, waits until what is owed
// has come in; so a piece may be larger than what comes in within a second. A new
// pace holds at once, also for those who wait: that is why this is no general
// limiter, whose reservations stay what they were. It is safe for concurrent use.
type pacer struct {
	first chan struct{} // closed when the first pace is set; until then nothing passes

	free    atomic.Bool // nothing is to be waited for, which costs no lock
	waited  atomic.Bool // somebody has since it was last asked
	waiting atomic.Int32

	mu      sync.Mutex
	pace    tasks.Pace
	credit  float64   // bytes; below 0 it is owed
	at      time.Time // when credit was so much
	changed chan struct{}
}

const (
	// paceBurst is for how long unused pace is kept.
	paceBurst = 100 * time.Millisecond
	// paceAwaited is how long the first pace is waited for: the worker asks for it as soon as it has a run. A ledger
	// that does not answer keeps its tasks from being done in any case.
	paceAwaited = 5 * time.Second
)

func newPacer() *pacer { return &pacer{first: make(chan struct{})} }

// set changes the pace.
func (p *pacer) set(pace tasks.Pace) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.changed != nil && p.pace == pace {
		return
	}
	p.earn(time.Now())
	p.pace = pace
	p.credit = min(p.credit, 0)
	p.free.Store(pace == tasks.Pace{})
	if p.changed != nil {
		close(p.changed)
	} else {
		close(p.first)
	}
	p.changed = make(chan struct{})
}

// earn adds what has come in since it was last called. The lock is held.
func (p *pacer) earn(now time.Time) {
	rate := float64(p.pace.BytesPerSecond)
	if p.pace.Held {
		rate = 0
	}
	p.credit = min(p.credit+rate*now.Sub(p.at).Seconds(), rate*paceBurst.Seconds())
	p.at = now
}

// pay waits as long as the bytes are to take.
func (p *pacer) pay(ctx context.Context, bytes int) error {
	if p.free.Load() {
		return ctx.Err()
	}
	select {
	case <-p.first:
	default:
		if err := p.await(ctx, paceAwaited, p.first); err != nil {
			return err
		}
	}
	p.mu.Lock()
	if p.changed == nil { // no order has come
		p.mu.Unlock()
		return ctx.Err()
	}
	p.earn(time.Now())
	p.credit -= float64(bytes)
	for {
		if p.pace == (tasks.Pace{}) {
			p.credit = 0
		}
		if p.credit >= 0 && !p.pace.Held {
			p.mu.Unlock()
			return ctx.Err()
		}
		wait, changed := time.Hour, p.changed
		if !p.pace.Held {
			wait = max(tasks.Seconds(-p.credit/float64(p.pace.BytesPerSecond)), time.Millisecond)
		}
		p.mu.Unlock()
		if err := p.await(ctx, wait, changed); err != nil {
			return err
		}
		p.mu.Lock()
		p.earn(time.Now())
	}
}

// await waits for a time, or until the pace is another one.
func (p *pacer) await(ctx context.Context, wait time.Duration, changed <-chan struct{}) error {
	p.waiting.Add(1)
	defer p.waiting.Add(-1)
	p.waited.Store(true)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-changed:
	case <-timer.C:
	}
	return nil
}

// slowed reports whether anybody waits, or has waited since it was last called.
func (p *pacer) slowed() bool { return p.waited.Swap(false) || p.waiting.Load() > 0 }

// paced returns what opens sessions that are read from at the process's pace.
func (w *Worker) paced(open func(context.Context) (*pg.Conn, error)) func(context.Context) (*pg.Conn, error) {
	return func(ctx context.Context) (*pg.Conn, error) {
		c, err := open(ctx)
		if err == nil {
			c.Pace = w.pacer.pay
		}
		return c, err
	}
}
