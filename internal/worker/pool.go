package worker

import (
	"context"
	"sync"
	"time"

	"github.com/pgconvoy/pgconvoy/internal/pg"
)

// pool keeps connections between tasks. It opens as many as are in use at the
// same time, which the slots bound. It is safe for concurrent use.
type pool struct {
	open func(ctx context.Context) (*pg.Conn, error)

	mu     sync.Mutex
	idle   []idleConn
	lean   bool // keep none that is not in use
	closed bool
}

type idleConn struct {
	conn  *pg.Conn
	since time.Time
}

// pingAfter is how long a connection may be idle and still be trusted.
const pingAfter = 10 * time.Second

// get returns an idle connection that still answers, or a new one.
func (p *pool) get(ctx context.Context) (*pg.Conn, error) {
	for {
		p.mu.Lock()
		n := len(p.idle)
		if n == 0 {
			p.mu.Unlock()
			return p.open(ctx)
		}
		c := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		if time.Since(c.since) < pingAfter || c.conn.Ping(ctx) == nil {
			return c.conn, nil
		}
		c.conn.Discard()
	}
}

// put takes back a connection that is not in a transaction.
func (p *pool) put(c *pg.Conn) {
	p.mu.Lock()
	if !p.closed && !p.lean && !c.IsClosed() {
		p.idle = append(p.idle, idleConn{c, time.Now()})
		c = nil
	}
	p.mu.Unlock()
	if c != nil {
		c.Discard()
	}
}

// keep says whether connections that are not in use are kept.
func (p *pool) keep(idle bool) {
	p.mu.Lock()
	p.lean = !idle
	p.mu.Unlock()
	if !idle {
		p.drop()
	}
}

// close closes the idle connections; those in use are closed when they are put
// back.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.drop()
}

// drop closes the idle connections.
func (p *pool) drop() {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, c := range idle {
		c.conn.Discard()
	}
}
