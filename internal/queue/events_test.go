package queue_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

func TestEvents(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		q := b.create(t, 1)
		ctx, cancel := context.WithCancel(t.Context())
		events, stop, err := q.Events(ctx)
		require.NoError(t, err)
		second, stopSecond, err := q.Events(t.Context())
		require.NoError(t, err)

		worker, err := connect(t, b.opts).Open(t.Context(), run.Name)
		require.NoError(t, err)
		sent := tasks.Event{Task: "copy.public.t.all", Kind: tasks.KindCopy, State: tasks.Done}
		require.NoError(t, worker.Notify(tasks.Event{}), "without a task it is dropped by who listens")
		require.NoError(t, worker.Notify(sent))
		require.Equal(t, sent, <-events)
		require.Equal(t, sent, <-second)
		require.Zero(t, outstanding(t, q), "events are not tasks")

		stopSecond()
		stopSecond()
		_, open := <-second
		require.False(t, open)
		cancel()
		_, open = <-events
		require.False(t, open)
		stop()
	})
}

func TestEventsOfASlowReaderAreDropped(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		q := b.create(t, 1)
		events, stop, err := q.Events(t.Context())
		require.NoError(t, err)
		for range 1000 {
			require.NoError(t, q.Notify(tasks.Event{Task: "copy.public.t.all", Kind: tasks.KindCopy, State: tasks.Done}))
		}
		<-events
		// The queue itself is not held up.
		require.NoError(t, q.Publish(t.Context(), copies(1)))
		require.NoError(t, fetch(t, q).Ack(t.Context()))
		stop()
		n := 0
		for range events {
			n++
		}
		require.Less(t, n, 1000)
	})
}
