package queue_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/natstest"
	"github.com/pgconvoy/pgconvoy/internal/queue"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

func TestEnds(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		q := b.create(t, 1)
		ctx, cancel := context.WithCancel(t.Context())
		ends, stop, err := q.Ends(ctx)
		require.NoError(t, err)
		second, stopSecond, err := q.Ends(t.Context())
		require.NoError(t, err)

		worker, err := connect(t, b.opts).Open(t.Context(), run.Name)
		require.NoError(t, err)
		for _, e := range []tasks.EventType{tasks.EventTaskRetried, tasks.EventStageDone, tasks.EventTaskDone, tasks.EventTaskDead} {
			require.NoError(t, worker.Notify(run.Event(e, time.Now())))
		}
		for range 2 { // of the four, as many are ends
			<-ends
			<-second
		}
		require.Zero(t, outstanding(t, q), "events are not tasks")

		stopSecond()
		stopSecond()
		_, open := <-second
		require.False(t, open)
		cancel()
		_, open = <-ends
		require.False(t, open)
		stop()
	})
}

// How a run ended is known when its queue is gone, for a while.
func TestLastEvent(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		_, err := b.conn.Last(t.Context(), run.Name)
		require.ErrorIs(t, err, queue.ErrGone, "no run was ever here")
		q := b.create(t, 1)
		_, err = b.conn.Last(t.Context(), run.Name)
		require.ErrorIs(t, err, queue.ErrNoStatus)
		for _, e := range []tasks.EventType{tasks.EventRunStarted, tasks.EventRunDone} {
			require.NoError(t, b.conn.PutLast(t.Context(), run.Event(e, time.Now())))
			last, err := b.conn.Last(t.Context(), run.Name)
			require.NoError(t, err)
			require.Equal(t, e, last.Type)
			require.Equal(t, run.UID, last.RunUID)
		}
		require.NoError(t, q.Delete(t.Context()))
		_, err = b.conn.Last(t.Context(), run.Name)
		require.NoError(t, err)
		stream, err := b.jetStream(t).Stream(t.Context(), "KV_pgconvoy")
		require.NoError(t, err)
		m, err := stream.GetLastMsgForSubject(t.Context(), "$KV.pgconvoy.shop.last")
		require.NoError(t, err)
		require.Equal(t, queue.LastTTL.String(), m.Header.Get(jetstream.MsgTTLHeader))

		_, err = b.conn.Last(t.Context(), "other")
		require.ErrorIs(t, err, queue.ErrNoStatus)
		for _, body := range []string{"no json", `{"run":"other"}`} { // what others left under the name of the run
			_, err := b.jetStream(t).Publish(t.Context(), "$KV.pgconvoy.shop.last", []byte(body))
			require.NoError(t, err)
			_, err = b.conn.Last(t.Context(), run.Name)
			require.ErrorIs(t, err, queue.ErrNoStatus, body)
		}
	})
}

// Who listens to the subjects sees what the event is, with its text.
func TestEventsCanBeRead(t *testing.T) {
	t.Parallel()
	b := newBundle(t, overTCP(t))
	q := b.create(t, 1)
	nc := natstest.Connect(t, b.opts.URL)
	sub, err := nc.SubscribeSync("pgconvoy.*.event.>")
	require.NoError(t, err)
	require.NoError(t, nc.Flush())

	sent := run.Event(tasks.EventTaskRetried, time.Now())
	sent.Task, sent.Kind, sent.Attempt, sent.Delay, sent.Reason = "copy.public.t.all", tasks.KindCopy, 1, time.Second, "SQLSTATE 40P01"
	require.NoError(t, q.Notify(sent))
	m, err := sub.NextMsg(soon)
	require.NoError(t, err)
	require.Equal(t, "pgconvoy.shop.event.task.retried", m.Subject)
	var got tasks.Event
	require.NoError(t, json.Unmarshal(m.Data, &got))
	require.Equal(t, sent.At.UnixNano(), got.At.UnixNano())
	got.At = sent.At
	require.Equal(t, sent, got)
	require.Contains(t, string(m.Data), `"text":"run shop: task copy.public.t.all is tried again in 1s, attempt 1 failed: SQLSTATE 40P01"`)
}

func TestEndsOfASlowReaderAreDropped(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		q := b.create(t, 1)
		ends, stop, err := q.Ends(t.Context())
		require.NoError(t, err)
		for range 1000 {
			require.NoError(t, q.Notify(run.Event(tasks.EventTaskDone, time.Now())))
		}
		<-ends
		// The queue itself is not held up.
		require.NoError(t, q.Publish(t.Context(), copies(1)))
		require.NoError(t, fetch(t, q).Ack(t.Context()))
		stop()
		n := 0
		for range ends {
			n++
		}
		require.Less(t, n, 1000)
	})
}
