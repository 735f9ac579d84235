package queue_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/natstest"
	"github.com/pgconvoy/pgconvoy/internal/queue"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// crew is some workers that ack all they get, each on its own connection.
type crew struct {
	mu     sync.Mutex
	acked  map[tasks.ID]int
	change chan struct{} // closed and replaced with every ack
}

func hire(t *testing.T, o queue.Options, n int) *crew {
	t.Helper()
	c := &crew{acked: map[tasks.ID]int{}, change: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range n {
		q, err := connect(t, o).Open(ctx, run.Name)
		require.NoError(t, err)
		all.Go(func() { c.work(ctx, t, q) })
	}
	t.Cleanup(func() { cancel(); all.Wait() })
	return c
}

func (c *crew) work(ctx context.Context, t *testing.T, q *queue.Queue) {
	for ctx.Err() == nil {
		d, err := q.Fetch(ctx, tasks.StageCopy, time.Second)
		var transient *queue.TransientError
		if err != nil && ctx.Err() == nil && !errors.As(err, &transient) {
			t.Errorf("fetch: %v", err)
			return
		}
		if d == nil {
			continue
		}
		e, err := d.Envelope()
		if err != nil {
			t.Errorf("envelope: %v", err)
			return
		}
		// An answer may have been heard although its confirmation is lost, so
		// the task does not always come again.
		persist(ctx, t, "ack", func(ctx context.Context) error { return d.Ack(ctx) })
		c.mu.Lock()
		c.acked[e.Task]++
		close(c.change)
		c.change = make(chan struct{})
		c.mu.Unlock()
	}
}

// await waits until n different tasks are acked.
func (c *crew) await(t *testing.T, n int) {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		c.mu.Lock()
		have, change := len(c.acked), c.change
		c.mu.Unlock()
		if have >= n {
			return
		}
		select {
		case <-change:
		case <-limit.C:
			require.FailNow(t, "no progress", "%d tasks of %d are acked", have, n)
		}
	}
}

func TestClusterWhoseLeaderIsKilled(t *testing.T) {
	t.Parallel()
	c := natstest.StartCluster(t)
	o := queue.Options{URL: c.URL(), Replicas: 3, AckWait: 10 * time.Second}
	b := newBundle(t, o)
	var q *queue.Queue
	persist(t.Context(), t, "create", func(ctx context.Context) (err error) {
		q, err = b.conn.Create(ctx, run, caps(8))
		return err
	})
	require.NotNil(t, q)
	stream := queue.StreamName(run.Name)
	for _, name := range []string{stream, "KV_pgconvoy", queue.DeadStream} {
		c.AwaitCurrent(name)
		s, err := b.jetStream(t).Stream(within(t, soon), name)
		require.NoError(t, err)
		require.Equal(t, 3, s.CachedInfo().Config.Replicas, name)
	}
	persist(t.Context(), t, "put", func(ctx context.Context) error { return q.PutStatus(ctx, status(tasks.RunRunning)) })
	persist(t.Context(), t, "bury", func(ctx context.Context) error { return q.Bury(ctx, deadLetter(1)) })

	// A worker holds a task of another stage the whole time.
	index := run.Envelope(tasks.KindIndex, tasks.NewID(tasks.KindIndex, "public", "t", "t_pkey"))
	persist(t.Context(), t, "publish", func(ctx context.Context) error { return q.Publish(ctx, []tasks.Envelope{index}) })
	var held *queue.Delivery
	persist(t.Context(), t, "fetch", func(ctx context.Context) (err error) {
		held, err = q.Fetch(ctx, tasks.StageIndex, soon)
		return err
	})
	require.NotNil(t, held)

	const perRound, rounds = 200, 2
	list := copies(perRound * rounds)
	members := hire(t, o, 4)
	publish := func(part []tasks.Envelope) {
		for ; len(part) > 0; part = part[20:] {
			persist(t.Context(), t, "publish", func(ctx context.Context) error { return q.Publish(ctx, part[:20]) })
		}
	}
	for round := range rounds {
		victim := c.Leader(stream)
		begin := round * perRound
		var published sync.WaitGroup
		published.Go(func() { publish(list[begin : begin+perRound/2]) })
		members.await(t, begin+20)
		victim.Kill()
		published.Go(func() { publish(list[begin+perRound/2 : begin+perRound]) })
		persist(t.Context(), t, "heartbeat", held.Heartbeat)
		victim.Start()
		c.AwaitCurrent(stream)
		published.Wait()
		members.await(t, begin+perRound)
	}
	persist(t.Context(), t, "ack", held.Ack)
	persist(t.Context(), t, "register", func(ctx context.Context) error { return q.RegisterKeeper(ctx, keeper("a")) })
	// Any of the three may answer, and may not have heard of the last yet.
	require.Eventually(t, func() bool {
		left, leftErr := q.Outstanding(t.Context())
		names, namesErr := q.Keepers(t.Context())
		letters, lettersErr := b.conn.Dead(t.Context(), run.Name)
		got, statusErr := b.conn.Status(t.Context(), run.Name)
		return errors.Join(leftErr, namesErr, lettersErr, statusErr) == nil &&
			left == 0 && len(names) == 1 && len(letters) == 1 && got.State == tasks.RunRunning
	}, patience, 100*time.Millisecond)
	again := 0
	members.mu.Lock()
	defer members.mu.Unlock()
	for _, e := range list {
		require.NotZero(t, members.acked[e.Task], e.Task)
		again += members.acked[e.Task] - 1
	}
	t.Logf("%d tasks were acked, %d of them more than once", len(list), again)
}
