package chaos_test

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// way is one direction through a proxy.
type way int

const (
	toServer way = iota
	toClient
)

// slowBytes is what a slow proxy lets pass at once, and slowPause the time
// until it lets the next pass: 80 kB/s.
const (
	slowBytes = 4 << 10
	slowPause = 50 * time.Millisecond
)

// proxy stands between workers and a server and lets bytes pass, or not: as a
// network does whose packets are lost, nobody is told.
type proxy struct {
	listener net.Listener
	server   string
	wg       sync.WaitGroup
	over     chan struct{} // closed when the test ends

	mu     sync.Mutex
	open   [2]chan struct{} // closed while bytes pass this way
	slow   bool
	conns  map[net.Conn]struct{}
	closed bool
}

// startProxy listens on a free port of 127.0.0.1 until the test ends.
func startProxy(t *testing.T, server string) *proxy {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{listener: l, server: server, conns: map[net.Conn]struct{}{}, over: make(chan struct{})}
	for w := range p.open {
		p.open[w] = make(chan struct{})
		close(p.open[w])
	}
	p.wg.Go(p.serve)
	t.Cleanup(p.stop)
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.connect(client) })
	}
}

func (p *proxy) connect(client net.Conn) {
	server, err := net.DialTimeout("tcp4", p.server, 5*time.Second)
	if err != nil {
		_ = client.Close()
		return
	}
	if !p.track(client, server) {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { p.pass(toServer, client, server) })
	wg.Go(func() { p.pass(toClient, server, client) })
	wg.Wait()
}

// track notes a pair of connections; it closes them if the proxy has stopped.
func (p *proxy) track(pair ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range pair {
		if p.closed {
			_ = c.Close()
			continue
		}
		p.conns[c] = struct{}{}
	}
	return !p.closed
}

// pass moves bytes one way until one of the ends is closed, which closes both.
func (p *proxy) pass(w way, from, to net.Conn) {
	defer p.end(from, to)
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		for rest := buffer[:n]; len(rest) > 0; {
			open, slow := p.state(w)
			<-open
			piece := rest
			if slow {
				piece = rest[:min(len(rest), slowBytes)]
				select {
				case <-time.After(slowPause):
				case <-p.over:
				}
			}
			if _, err := to.Write(piece); err != nil {
				return
			}
			rest = rest[len(piece):]
		}
	}
}

func (p *proxy) end(pair ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range pair {
		delete(p.conns, c)
		_ = c.Close()
	}
}

func (p *proxy) state(w way) (open <-chan struct{}, slow bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open[w], p.slow
}

// cut lets nothing pass in the directions any more.
func (p *proxy) cut(ways ...way) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range ways {
		select {
		case <-p.open[w]:
			p.open[w] = make(chan struct{})
		default: // it is cut already
		}
	}
}

// brake makes the proxy slow, or not.
func (p *proxy) brake(slow bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slow = slow
}

// mend lets everything pass again, or, with reset, ends the connections that
// were cut, as a network does whose other end has forgotten them.
func (p *proxy) mend(reset bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if reset {
		for c := range p.conns {
			_ = c.Close()
		}
	}
	for w := range p.open {
		select {
		case <-p.open[w]:
		default:
			close(p.open[w])
		}
	}
}

func (p *proxy) stop() {
	_ = p.listener.Close()
	close(p.over)
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.mend(true)
	p.wg.Wait()
}
