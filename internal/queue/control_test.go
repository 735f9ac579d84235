package queue_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/natstest"
	"github.com/pgconvoy/pgconvoy/internal/queue"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// stage returns how the server sees stage copy.
func stage(t *testing.T, q *queue.Queue) tasks.StageStatus {
	t.Helper()
	list, err := q.Stages(t.Context())
	require.NoError(t, err)
	require.Len(t, list, len(tasks.Stages()))
	require.Equal(t, tasks.StageCopy, list[0].Stage)
	return list[0]
}

// scale changes the cap of stage copy.
func scale(t *testing.T, q *queue.Queue, most int) {
	t.Helper()
	require.NoError(t, q.Scale(t.Context(), map[tasks.Stage]int{tasks.StageCopy: most}))
}

// waitingFetch fetches a task of stage copy in the background, and returns
// when the server knows that it waits.
func waitingFetch(t *testing.T, q *queue.Queue) <-chan *queue.Delivery {
	t.Helper()
	before := stage(t, q).Waiting
	came := make(chan *queue.Delivery, 1)
	go func() {
		d, _ := q.Fetch(t.Context(), tasks.StageCopy, soon)
		came <- d
	}()
	require.Eventually(t, func() bool { return stage(t, q).Waiting > before }, soon, 5*time.Millisecond)
	return came
}

func TestStages(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		q := b.create(t, 2)
		require.NoError(t, q.Publish(t.Context(), copies(5)))
		held := fetch(t, q)
		require.Eventually(t, func() bool { return stage(t, q).Queued == 4 }, soon, time.Millisecond)
		require.Equal(t, tasks.StageStatus{Stage: tasks.StageCopy, Cap: 2, Queued: 4, Leased: 1}, stage(t, q))
		require.NoError(t, held.Ack(t.Context()))
		require.Zero(t, stage(t, q).Leased)
		require.NoError(t, q.Pause(t.Context()))
		require.True(t, stage(t, q).Paused)
	})
}

func TestScaleWhileTasksAreInFlight(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		q := b.create(t, 2)
		require.NoError(t, q.Publish(t.Context(), copies(10)))
		held := []*queue.Delivery{fetch(t, q), fetch(t, q)}
		came := waitingFetch(t, q)
		fetchNothing(t, q)

		scale(t, q, 4)
		held = append(held, <-came, fetch(t, q))
		require.NotNil(t, held[2], "the one that waited gets its task")
		fetchNothing(t, q)

		scale(t, q, 1)
		require.Equal(t, 4, stage(t, q).Leased, "nothing is taken back")
		for _, d := range held[:3] {
			require.NoError(t, d.Ack(t.Context()))
		}
		fetchNothing(t, q)
		require.NoError(t, held[3].Ack(t.Context()))
		fetch(t, q)
		fetchNothing(t, q)
		list, err := q.Stages(t.Context())
		require.NoError(t, err)
		for _, other := range list[1:] {
			require.Equal(t, 2, other.Cap, other.Stage)
		}
	})
}

func TestScaleKeepsWhatElseIsConfigured(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		q := b.create(t, 2)
		require.NoError(t, q.Publish(t.Context(), copies(1)))
		require.NoError(t, q.Pause(t.Context()))
		consumer := func() jetstream.ConsumerConfig {
			c, err := b.jetStream(t).Consumer(t.Context(), "PGCONVOY-shop", "copy")
			require.NoError(t, err)
			return c.CachedInfo().Config
		}
		want := consumer()
		require.NotNil(t, want.PauseUntil)
		want.MaxAckPending = 9
		scale(t, q, 9)
		require.Equal(t, want, consumer())
		fetchNothing(t, q)

		b.create(t, 2)
		require.Equal(t, want, consumer(), "it outlives another planner")
		require.NoError(t, q.Unpause(t.Context()))
		fetch(t, q)
		require.Equal(t, 9, stage(t, q).Cap)
	})
}

func TestScaleChecksItsInput(t *testing.T) {
	t.Parallel()
	q := newBundle(t, inProcess(t)).create(t, 3)
	require.ErrorContains(t, q.Scale(t.Context(), map[tasks.Stage]int{tasks.StageCopy: 0}), "at least 1")
	require.ErrorContains(t, q.Scale(t.Context(), map[tasks.Stage]int{tasks.StageCopy: 9, "vacuum": 1}), "unknown")
	require.NoError(t, q.Scale(t.Context(), nil))
	require.Equal(t, 3, stage(t, q).Cap, "nothing is done by halves")
}

func TestPause(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		q := b.create(t, 5)
		require.NoError(t, q.Publish(t.Context(), copies(2)))
		held := fetch(t, q)
		require.NoError(t, q.Pause(t.Context()))
		require.NoError(t, q.Pause(t.Context()), "idempotent")
		fetchNothing(t, q)
		heartbeat(t, held)
		require.NoError(t, held.Ack(t.Context()), "what is in flight may be answered")
		require.NoError(t, q.Publish(t.Context(), copies(3)))
		require.Equal(t, 3, outstanding(t, q))

		came := waitingFetch(t, q)
		require.NoError(t, q.Unpause(t.Context()))
		require.NotNil(t, <-came, "who waits meanwhile gets the first")
		require.NoError(t, q.Unpause(t.Context()), "idempotent")
		fetch(t, q)
	})
}

func TestPauseOutlivesARestart(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	b := newBundle(t, queue.Options{URL: s.URL()})
	q := b.create(t, 2)
	require.NoError(t, q.Publish(t.Context(), copies(3)))
	scale(t, q, 7)
	require.NoError(t, q.Pause(t.Context()))
	s.Restart()
	require.Eventually(t, func() bool {
		list, err := q.Stages(t.Context())
		return err == nil && list[0].Paused && list[0].Cap == 7
	}, soon, 10*time.Millisecond)
	fetchNothing(t, q)
	came := waitingFetch(t, q)
	require.NoError(t, q.Unpause(t.Context()))
	require.NotNil(t, <-came)
}

// control calls everything that an operator can do to the stages.
func control(ctx context.Context, q *queue.Queue) map[string]error {
	_, stagesErr := q.Stages(ctx)
	return map[string]error{
		"stages": stagesErr, "scale": q.Scale(ctx, map[tasks.Stage]int{tasks.StageCopy: 5}),
		"pause": q.Pause(ctx), "unpause": q.Unpause(ctx),
	}
}

func TestControlOfAQueueThatIsGone(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		q := b.create(t, 1)
		require.NoError(t, b.jetStream(t).DeleteConsumer(t.Context(), "PGCONVOY-shop", "copy"))
		for name, err := range control(t.Context(), q) {
			require.ErrorIs(t, err, queue.ErrGone, name)
		}
		_, err := b.conn.Create(t.Context(), otherRun, caps(1))
		require.NoError(t, err)
		for name, err := range control(t.Context(), q) {
			require.ErrorIs(t, err, queue.ErrGone, "the queue of another run: "+name)
		}
		require.NoError(t, q.Delete(t.Context()))
	})
}

func TestControlWhileTheServerIsAway(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	q := newBundle(t, queue.Options{URL: s.URL()}).create(t, 1)
	s.Stop()
	var transient *queue.TransientError
	require.Eventually(t, func() bool {
		_, err := q.Stages(t.Context())
		return err != nil
	}, soon, time.Millisecond)
	for name, err := range control(t.Context(), q) {
		require.ErrorAs(t, err, &transient, name)
	}
}
