package queue_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/pgconvoy/pgconvoy/internal/queue"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

func TestCapHoldsOverAllWorkers(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		const most, workers, total = 3, 8, 60
		q := b.create(t, most)
		require.NoError(t, q.Publish(t.Context(), copies(total)))

		var running, done atomic.Int32
		var mu sync.Mutex
		peak := int32(0)
		seen := map[tasks.ID]int{}
		g, ctx := errgroup.WithContext(within(t, time.Minute))
		for range workers {
			wq, err := connect(t, b.opts).Open(ctx, run.Name)
			require.NoError(t, err)
			g.Go(func() error {
				for done.Load() < total {
					d, err := wq.Fetch(ctx, tasks.StageCopy, later)
					var transient *queue.TransientError
					if err != nil && !errors.As(err, &transient) {
						return err
					}
					if d == nil {
						continue
					}
					e, err := d.Envelope()
					if err != nil {
						return err
					}
					mu.Lock()
					peak = max(peak, running.Add(1))
					seen[e.Task]++
					mu.Unlock()
					// The server lets the next one go only after the ack.
					running.Add(-1)
					done.Add(1)
					if err := d.Ack(ctx); err != nil {
						return err
					}
				}
				return nil
			})
		}
		require.NoError(t, g.Wait())
		require.LessOrEqual(t, peak, int32(most))
		require.Len(t, seen, total)
		for id, n := range seen {
			require.Equal(t, 1, n, id)
		}
		require.Zero(t, outstanding(t, q))
	})
}

func TestCapIsFullUntilAck(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		q := b.create(t, 2)
		require.NoError(t, q.Publish(t.Context(), copies(3)))
		first, second := fetch(t, q), fetch(t, q)
		fetchNothing(t, q)
		require.NoError(t, first.Ack(t.Context()))
		third := fetch(t, q)
		require.NoError(t, second.Ack(t.Context()))
		require.NoError(t, third.Ack(t.Context()))
		require.NoError(t, third.Ack(t.Context()), "a second ack is harmless")
		require.Zero(t, outstanding(t, q))
	})
}

func TestNoPrefetch(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		q := b.create(t, 100)
		require.NoError(t, q.Publish(t.Context(), copies(5)))
		fetch(t, q)
		js := b.jetStream(t)
		// The server counts what is pending a moment later.
		require.EventuallyWithT(t, func(t *assert.CollectT) {
			consumer, err := js.Consumer(context.Background(), queue.StreamName(run.Name), string(tasks.StageCopy))
			require.NoError(t, err)
			require.Equal(t, 1, consumer.CachedInfo().NumAckPending)
			require.EqualValues(t, 4, consumer.CachedInfo().NumPending)
			require.Zero(t, consumer.CachedInfo().NumWaiting, "nothing waits at the server after Fetch")
		}, soon, 5*time.Millisecond)
	})
}

func TestFetchWaitsForATask(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		q := b.create(t, 10)
		got := make(chan *queue.Delivery, 1)
		go func() {
			d, _ := q.Fetch(t.Context(), tasks.StageCopy, soon)
			got <- d
		}()
		awaitWaiting(t, b, tasks.StageCopy, 1)
		require.NoError(t, q.Publish(t.Context(), copies(1)))
		d := <-got
		require.NotNil(t, d)
		require.Equal(t, 1, d.Attempt())
		require.Equal(t, tasks.StageCopy, d.Stage())
	})
}

// awaitWaiting waits until so many requests for tasks of a stage wait at the
// server.
func awaitWaiting(t *testing.T, b *bundle, stage tasks.Stage, n int) {
	t.Helper()
	js := b.jetStream(t)
	require.Eventually(t, func() bool {
		c, err := js.Consumer(t.Context(), queue.StreamName(run.Name), string(stage))
		return err == nil && c.CachedInfo().NumWaiting == n
	}, soon, 5*time.Millisecond)
}

func TestFetchTellsStagesApart(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		q := b.create(t, 10)
		index := run.Envelope(tasks.KindIndex, tasks.NewID(tasks.KindIndex, "public", "t", "t_pkey"))
		require.NoError(t, q.Publish(t.Context(), []tasks.Envelope{index}))
		fetchNothing(t, q)
		d, err := q.Fetch(t.Context(), tasks.StageIndex, soon)
		require.NoError(t, err)
		require.Equal(t, index.Task, taskOf(t, d))
		_, err = q.Fetch(t.Context(), "vacuum", later)
		require.ErrorContains(t, err, "unknown")
	})
}

func TestCancelledFetchEndsAtOnceAndLeavesNoRequest(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		q := b.create(t, 10)
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 1)
		go func() {
			_, err := q.Fetch(ctx, tasks.StageCopy, time.Minute)
			failed <- err
		}()
		awaitWaiting(t, b, tasks.StageCopy, 1)
		cancel()
		require.ErrorIs(t, <-failed, context.Canceled)
		awaitWaiting(t, b, tasks.StageCopy, 0)
		require.NoError(t, q.Publish(t.Context(), copies(1)))
		require.Equal(t, 1, fetch(t, q).Attempt(), "nobody else was asked")
	})
}

// Cancelling races with the arrival of a task here. AckWait is the default
// minute, so a task that got stuck with a cancelled Fetch fails the test.
func TestCancelledFetchLosesNoTask(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		const rounds = 150
		q := b.create(t, 100)
		late, handedBack := 0, 0
		for i, e := range copies(rounds) {
			ctx, cancel := context.WithCancel(t.Context())
			type outcome struct {
				d   *queue.Delivery
				err error
			}
			got := make(chan outcome, 1)
			go func() {
				d, err := q.Fetch(ctx, tasks.StageCopy, time.Minute)
				got <- outcome{d, err}
			}()
			published := make(chan error, 1)
			go func() { published <- q.Publish(t.Context(), []tasks.Envelope{e}) }()
			spin(i * 1000)
			cancel()
			require.NoError(t, <-published)
			o := <-got
			if o.d == nil {
				require.ErrorIs(t, o.err, context.Canceled)
				late++
				o.d = fetch(t, q)
				handedBack += o.d.Attempt() - 1
			}
			require.Equal(t, e.Task, taskOf(t, o.d))
			require.NoError(t, o.d.Ack(t.Context()))
		}
		require.Zero(t, outstanding(t, q))
		t.Logf("of %d fetches %d were cancelled before their task came, of which %d handed it back", rounds, late, handedBack)
	})
}

// spin takes a little time, too little for a timer.
func spin(n int) {
	var x atomic.Int64
	for range n {
		x.Add(1)
	}
}

func TestCloseEndsFetch(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		q := b.create(t, 10)
		other := connect(t, b.opts)
		oq, err := other.Open(t.Context(), run.Name)
		require.NoError(t, err)
		failed := make(chan error, 1)
		go func() {
			_, err := oq.Fetch(t.Context(), tasks.StageCopy, time.Minute)
			failed <- err
		}()
		awaitWaiting(t, b, tasks.StageCopy, 1)
		require.NoError(t, other.Close())
		require.ErrorIs(t, <-failed, queue.ErrClosed)
		_, err = oq.Fetch(t.Context(), tasks.StageCopy, later)
		require.ErrorIs(t, err, queue.ErrClosed)
		require.ErrorIs(t, oq.Publish(t.Context(), copies(1)), queue.ErrClosed)

		require.NoError(t, q.Publish(t.Context(), copies(1)))
		require.Equal(t, 1, fetch(t, q).Attempt())
	})
}

func TestNakTermAndHeartbeat(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		q := b.create(t, 1)
		require.NoError(t, q.Publish(t.Context(), copies(1)))

		d := fetch(t, q)
		require.NoError(t, d.Nak(0))
		dropped := d
		d = fetch(t, q)
		require.Equal(t, 2, d.Attempt())
		require.NoError(t, dropped.Ack(t.Context()))
		require.NoError(t, dropped.Nak(0))
		require.NoError(t, dropped.Term("late"))
		require.NoError(t, dropped.Heartbeat(t.Context()))
		require.Equal(t, 1, outstanding(t, q), "who has handed back cannot end the next lease")

		const delay = 300 * time.Millisecond
		before := time.Now()
		require.NoError(t, d.Nak(delay))
		d = fetch(t, q)
		require.GreaterOrEqual(t, time.Since(before), delay)
		require.Equal(t, 3, d.Attempt())

		heartbeat(t, d)
		require.NoError(t, d.Term("23505 duplicate\nkey"))
		require.Zero(t, outstanding(t, q))
		require.NoError(t, d.Term("again"))
	})
}

func TestHeartbeatKeepsTheLease(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		b.opts.AckWait = 4 * time.Second
		b.conn = connect(t, b.opts)
		q := b.create(t, 10)
		require.Equal(t, b.opts.AckWait, q.AckWait())
		require.NoError(t, q.Publish(t.Context(), copies(1)))
		d := fetch(t, q)

		beat := time.NewTicker(q.AckWait() / 4)
		defer beat.Stop()
		for range 6 {
			<-beat.C
			heartbeat(t, d)
		}
		fetchNothing(t, q)
		again := fetch(t, q) // no heartbeat any more
		require.Equal(t, 2, again.Attempt())
		require.NoError(t, again.Ack(t.Context()))
		require.NoError(t, d.Ack(t.Context()), "the old holder's ack is harmless")
		require.Zero(t, outstanding(t, q))
	})
}

// TestFetchAfterTheStreamWasMadeAnew: who was cut off while the stream was deleted and
// made for another run takes nothing from that.
func TestFetchAfterTheStreamWasMadeAnew(t *testing.T) {
	t.Parallel()
	b := newBundle(t, overTCP(t))
	old := b.create(t, 1)
	require.NoError(t, old.Delete(t.Context()))
	next := run
	next.UID = "0198c0de-9"
	q, err := b.conn.Create(t.Context(), next, caps(1))
	require.NoError(t, err)
	e := copies(1)[0]
	e.RunUID = next.UID
	require.NoError(t, q.Publish(t.Context(), []tasks.Envelope{e}))
	_, err = old.Fetch(t.Context(), tasks.StageCopy, soon)
	require.ErrorIs(t, err, queue.ErrGone)
	d := fetch(t, q)
	require.Equal(t, 2, d.Attempt(), "it was handed back")
	require.NoError(t, d.Ack(t.Context()))
}
