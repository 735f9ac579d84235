package worker

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// hand is a task that this process has in hand.
type hand struct {
	task   tasks.ID
	kind   tasks.Kind
	since  time.Time
	cancel context.CancelCauseFunc // of the task's context

	mu      sync.Mutex
	target  *pg.Conn // nil while there is none
	source  *pg.Conn
	clone   *pg.Conn // of the source, in its place
	before  int64    // bytes that went through them before the task
	seen    int64    // bytes at the last look
	grownAt time.Time
}

// use notes a connection that works for the task from now on.
func (h *hand) use(c *pg.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.before += c.Moved()
	if c.Side() == pg.Source {
		h.source = c
	} else {
		h.target = c
	}
}

// useClone notes a connection to a clone of the source. The ledger is not told of
// it: on the source, nobody would find it.
func (h *hand) useClone(c *pg.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.before += c.Moved()
	h.clone = c
}

// bytes returns how many went through the task's connections so far.
func (h *hand) bytes() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.moved()
}

func (h *hand) moved() int64 {
	n := -h.before
	for _, c := range []*pg.Conn{h.source, h.clone, h.target} {
		if c != nil {
			n += c.Moved()
		}
	}
	return n
}

// paused reports whether the task waits because rows are not to be moved faster.
func (h *hand) paused() bool {
	return h.source != nil && h.source.Paused() || h.clone != nil && h.clone.Paused()
}

// lease returns what the ledger is told of the task; ok is false while it has
// no session on the target.
func (h *hand) lease(now time.Time) (l tasks.Lease, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.target == nil {
		return l, false
	}
	if n := h.moved(); n != h.seen || h.grownAt.IsZero() || h.paused() { // it does not stall if it is not to move
		h.seen, h.grownAt = n, now
	}
	l = tasks.Lease{Task: h.task, Target: tasks.Session(h.target.Backend()), Bytes: h.seen, Since: now.Sub(h.since), Still: now.Sub(h.grownAt)}
	if h.source != nil {
		l.Source = tasks.Session(h.source.Backend())
	}
	return l, true
}

// hands are the tasks that a worker has in hand. They are safe for concurrent use.
type hands struct {
	mu       sync.Mutex
	all      map[*hand]struct{}
	finished int64 // bytes of the tasks that are not in hand any more
}

// take notes that a task is in hand, until the returned function is called.
func (s *hands) take(h *hand) (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[*hand]struct{}{}
	}
	s.all[h] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.all, h)
		s.finished += h.bytes()
	}
}

// list returns what is in hand, oldest first.
func (s *hands) list() []*hand {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Keys(s.all), func(x, y *hand) int {
		return cmp.Or(x.since.Compare(y.since), cmp.Compare(x.task, y.task))
	})
}

// bytes returns how many bytes of COPY data the tasks have moved, those that
// are finished and those in hand.
func (s *hands) bytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.finished
	for h := range s.all {
		n += h.bytes()
	}
	return n
}
