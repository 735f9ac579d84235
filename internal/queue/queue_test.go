package queue_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/embedded"
	"github.com/pgconvoy/pgconvoy/internal/natstest"
	"github.com/pgconvoy/pgconvoy/internal/queue"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

func TestMain(m *testing.M) { os.Exit(natstest.Main(m)) }

// soon is the time that a Fetch gets which must find a task, and later the one
// of a Fetch that must find none.
const (
	soon  = 20 * time.Second
	later = 200 * time.Millisecond
)

var run = tasks.RunID{Name: "shop", UID: "0198c0de-1", FP: tasks.Fingerprint{Source: "7301/shop", Target: "7302/shop"}}

// bundle is a server, a way to it and a connection.
type bundle struct {
	opts queue.Options
	conn *queue.Conn
}

// overBoth runs a test over TCP with files and in-process with memory.
func overBoth(t *testing.T, test func(t *testing.T, b *bundle)) {
	t.Helper()
	for name, options := range map[string]func(*testing.T) queue.Options{"tcp": overTCP, "in-process": inProcess} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newBundle(t, options(t)))
		})
	}
}

func overTCP(t *testing.T) queue.Options {
	t.Helper()
	return queue.Options{URL: natstest.Start(t).URL()}
}

func inProcess(t *testing.T) queue.Options {
	t.Helper()
	s, err := embedded.Start(t.Context(), embedded.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Stop()) })
	return queue.Options{InProcess: s.InProcess(), Memory: true}
}

func newBundle(t *testing.T, o queue.Options) *bundle {
	t.Helper()
	o.Name = t.Name()
	return &bundle{opts: o, conn: connect(t, o)}
}

func connect(t *testing.T, o queue.Options) *queue.Conn {
	t.Helper()
	c, err := queue.Connect(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

// create makes the queue of the run with the same cap for every stage.
func (b *bundle) create(t *testing.T, most int) *queue.Queue {
	t.Helper()
	q, err := b.conn.Create(t.Context(), run, caps(most))
	require.NoError(t, err)
	return q
}

// jetStream returns the client's own view of the server.
func (b *bundle) jetStream(t *testing.T) jetstream.JetStream {
	t.Helper()
	opts := []nats.Option{nats.UserInfo(b.opts.User, b.opts.Password)}
	if b.opts.InProcess != nil {
		opts = append(opts, nats.InProcessServer(b.opts.InProcess))
	}
	js, err := jetstream.New(natstest.Connect(t, b.opts.URL, opts...))
	require.NoError(t, err)
	return js
}

func caps(most int) map[tasks.Stage]int {
	m := make(map[tasks.Stage]int)
	for _, s := range tasks.Stages() {
		m[s] = most
	}
	return m
}

// copies returns n tasks of stage copy: copy.public.t0001.all and so on.
func copies(n int) []tasks.Envelope {
	list := make([]tasks.Envelope, n)
	for i := range list {
		list[i] = run.Envelope(tasks.KindCopy, tasks.NewID(tasks.KindCopy, "public", fmt.Sprintf("t%04d", i+1), "all"))
	}
	return list
}

// fetch leases a task of stage copy, which must be there.
func fetch(t *testing.T, q *queue.Queue) *queue.Delivery {
	t.Helper()
	d, err := q.Fetch(t.Context(), tasks.StageCopy, soon)
	require.NoError(t, err)
	require.NotNil(t, d, "no task came")
	return d
}

// fetchNothing fetches a task of stage copy, which must not be there.
func fetchNothing(t *testing.T, q *queue.Queue) {
	t.Helper()
	persist(t.Context(), t, "fetch", func(ctx context.Context) error {
		d, err := q.Fetch(ctx, tasks.StageCopy, later)
		require.Nil(t, d, "a task came")
		return err
	})
}

// heartbeat renews a lease. The holder tries again, as one try is over after a second.
func heartbeat(t *testing.T, d *queue.Delivery) {
	t.Helper()
	persist(t.Context(), t, "heartbeat", d.Heartbeat)
}

// patience is how long a server or a cluster gets to recover, on a machine that is busy.
const patience = 3 * time.Minute

// persist does something until it succeeds or parent is done, as callers do:
// after a transient error, and at most ten times in a second.
func persist(parent context.Context, t *testing.T, what string, do func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(parent, patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := do(ctx)
		if err == nil || parent.Err() != nil {
			return
		}
		var transient *queue.TransientError
		if !errors.As(err, &transient) {
			t.Errorf("%s: %v", what, err)
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Errorf("%s: %v", what, err)
			return
		}
	}
}

func taskOf(t *testing.T, d *queue.Delivery) tasks.ID {
	t.Helper()
	e, err := d.Envelope()
	require.NoError(t, err)
	return e.Task
}

func outstanding(t *testing.T, q *queue.Queue) int {
	t.Helper()
	n, err := q.Outstanding(t.Context())
	require.NoError(t, err)
	return int(n)
}

// hint returns the advice that an error carries.
func hint(t *testing.T, err error) string {
	t.Helper()
	var h interface{ Hint() string }
	require.ErrorAs(t, err, &h)
	return h.Hint()
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
