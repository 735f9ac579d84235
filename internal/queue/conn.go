package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Conn is a connection to the server that holds queues. It reconnects by
// itself. All methods may be called concurrently.
type Conn struct {
	nc   *nats.Conn
	js   jetstream.JetStream
	opts Options
	log  *slog.Logger
	link *link

	mu      sync.Mutex
	closing chan struct{}  // closed when Close begins
	pulls   sync.WaitGroup // fetches under way, and what they left behind
	ended   chan struct{}  // closed when the client has let go of the connection
}

// Connect connects to the server and checks that it can hold a queue: version
// 2.11 or newer, with JetStream. It tries every server of the URL once; ctx
// bounds that. Errors carry a hint for people ([tasks.HintError]).
func Connect(ctx context.Context, o Options) (*Conn, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	opts, err := o.natsOptions()
	if err != nil {
		return nil, err
	}
	c := &Conn{opts: o, log: o.Log, link: newLink(), closing: make(chan struct{}), ended: make(chan struct{})}
	opts = append(opts, c.handlers()...)
	if c.nc, err = dial(ctx, o.URL, opts); err != nil {
		return nil, explainConnect(o, err)
	}
	if err := c.prepare(ctx); err != nil {
		c.nc.Close()
		<-c.ended
		return nil, err
	}
	return c, nil
}

// dial connects, or gives up when ctx is done. The client takes no context, so
// a connection that comes up too late is closed again.
func dial(ctx context.Context, url string, opts []nats.Option) (*nats.Conn, error) {
	type outcome struct {
		nc  *nats.Conn
		err error
	}
	done := make(chan outcome)
	go func() {
		nc, err := nats.Connect(url, opts...)
		select {
		case done <- outcome{nc, err}:
		case <-ctx.Done():
			if nc != nil {
				nc.Close()
			}
		}
	}()
	select {
	case r := <-done:
		return r.nc, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// prepare checks the server and opens JetStream.
func (c *Conn) prepare(ctx context.Context) error {
	if err := checkVersion(c.nc.ConnectedServerVersion()); err != nil {
		return err
	}
	js, err := jetstream.New(c.nc,
		jetstream.WithDefaultTimeout(apiTimeout),
		jetstream.WithPublishAsyncMaxPending(publishWindow),
		jetstream.WithPublishAsyncTimeout(publishTimeout))
	if err != nil {
		return fmt.Errorf("open JetStream: %w", err)
	}
	c.js = js
	if enabled, _ := c.nc.ConnectedServerJetStream(); enabled {
		return nil
	}
	// Another server of the cluster may have it. Somebody answers then, be it
	// with "not found"; silence means that this account may not ask.
	probe, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	_, err = js.Stream(probe, strings.TrimSuffix(StreamPrefix, "-"))
	if isAny(err, nats.ErrNoResponders, jetstream.ErrJetStreamNotEnabled, jetstream.ErrJetStreamNotEnabledForAccount) {
		return explainJetStream(c.opts, err)
	}
	return nil
}

// checkVersion refuses servers that lack something used here.
func checkVersion(version string) error {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) == 3 {
		major, err1 := strconv.Atoi(parts[0])
		minor, err2 := strconv.Atoi(parts[1])
		if err1 == nil && err2 == nil && (major > minServerMajor || major == minServerMajor && minor >= minServerMinor) {
			return nil
		}
	}
	return tasks.WithHint(fmt.Errorf("the NATS server has version %s, %d.%d or newer is needed", version, minServerMajor, minServerMinor),
		"upgrade the server, or leave the URL out to use the one that the planner brings along")
}

// handlers report the connection's state to the log and to waiting fetches.
func (c *Conn) handlers() []nats.Option {
	return []nats.Option{
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			c.link.set(false)
			if err != nil {
				c.log.Warn("queue connection lost", "err", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			c.link.set(true)
			c.log.Info("queue connection is back", "addr", nc.ConnectedUrlRedacted())
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			c.log.Warn("queue connection reports an error", "err", err)
		}),
		nats.ClosedHandler(func(*nats.Conn) { close(c.ended) }),
	}
}

// Close hands back what was not taken yet, sends what was not sent yet, and
// ends the connection. Fetches under way return [ErrClosed]. Deliveries that
// are neither acked nor handed back stay leased until AckWait is over. A
// second Close does nothing.
func (c *Conn) Close() error {
	c.mu.Lock()
	if c.isClosing() {
		c.mu.Unlock()
		<-c.ended
		return nil
	}
	close(c.closing)
	c.mu.Unlock()

	c.pulls.Wait()
	err := c.nc.Drain()
	<-c.ended
	// Without a connection there is nothing to drain, and nothing to lose.
	if err != nil && !isAny(err, nats.ErrConnectionReconnecting, nats.ErrConnectionClosed) {
		return fmt.Errorf("close queue connection: %w", err)
	}
	return nil
}

// enter counts a fetch in, unless the connection is being closed. The caller
// counts it out with c.pulls.Done.
func (c *Conn) enter() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isClosing() {
		return ErrClosed
	}
	c.pulls.Add(1)
	return nil
}

func (c *Conn) isClosing() bool {
	select {
	case <-c.closing:
		return true
	default:
		return false
	}
}

// Up reports whether there is a connection to a server at the moment.
func (c *Conn) Up() bool { return c.nc.IsConnected() }

// link tells whether the connection is up. Both channels are replaced when the
// state changes, so that who waits for one state sees the very next change.
type link struct {
	mu   sync.Mutex
	up   chan struct{} // closed while connected
	down chan struct{} // closed while not connected
}

func newLink() *link {
	l := &link{up: make(chan struct{}), down: make(chan struct{})}
	close(l.up)
	return l
}

func (l *link) set(up bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	on, off := &l.up, &l.down
	if !up {
		on, off = off, on
	}
	select {
	case <-*on:
		return
	default:
	}
	close(*on)
	*off = make(chan struct{})
}

func (l *link) state() (up, down <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.up, l.down
}

// await waits until the connection is up, for at most the given time, and
// returns the channel that is closed when it is lost again.
func (c *Conn) await(ctx context.Context, most time.Duration) (<-chan struct{}, error) {
	timer := time.NewTimer(most)
	defer timer.Stop()
	for {
		up, down := c.link.state()
		select {
		case <-down:
		default:
			return down, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-c.closing:
			return nil, ErrClosed
		case <-c.ended:
			return nil, ErrClosed
		case <-up: // down is that of the connection before
		case <-timer.C:
			return nil, &TransientError{Err: errors.New("not connected to the queue")}
		}
	}
}
