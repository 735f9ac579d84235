package queue_test

import (
	"context"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/pgconvoy/pgconvoy/internal/queue"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

func TestPublishTwiceQueuesOnce(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		q := b.create(t, 10)
		list := copies(3)
		require.NoError(t, q.Publish(t.Context(), list))
		require.NoError(t, q.Publish(t.Context(), list))
		require.NoError(t, q.Publish(t.Context(), append(list, list...)), "also within one call")
		require.Equal(t, 3, outstanding(t, q))
	})
}

func TestPublishWhileInFlight(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		q := b.create(t, 10)
		list := copies(1)
		require.NoError(t, q.Publish(t.Context(), list))
		d := fetch(t, q)
		require.NoError(t, q.Publish(t.Context(), list), "in flight is success")
		require.Equal(t, 1, outstanding(t, q))
		require.NoError(t, d.Nak(0))
		d = fetch(t, q)
		require.NoError(t, q.Publish(t.Context(), list))
		require.NoError(t, d.Ack(t.Context()))
		require.Zero(t, outstanding(t, q), "the refused publish left nothing behind")
	})
}

func TestPublishAgainAfterAckTermAndPurge(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		q := b.create(t, 10)
		list := copies(1)
		again := func() *queue.Delivery {
			require.NoError(t, q.Publish(t.Context(), list))
			d := fetch(t, q)
			require.Equal(t, list[0].Task, taskOf(t, d))
			require.Equal(t, 1, d.Attempt())
			return d
		}
		require.NoError(t, again().Ack(t.Context()))
		require.NoError(t, again().Term("stale run"))
		old := again()
		require.NoError(t, q.Purge(t.Context()))
		require.Zero(t, outstanding(t, q))
		fresh := again()
		require.NoError(t, old.Ack(t.Context()), "the purged delivery acks nothing")
		require.Equal(t, 1, outstanding(t, q))
		require.NoError(t, fresh.Ack(t.Context()))
		require.Zero(t, outstanding(t, q))
	})
}

func TestDeliveryOrderIsPublishOrder(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		q := b.create(t, 10)
		list := copies(2500) // more than two windows
		require.NoError(t, q.Publish(t.Context(), list))
		require.Equal(t, len(list), outstanding(t, q))
		stream, err := b.jetStream(t).Stream(t.Context(), queue.StreamName(run.Name))
		require.NoError(t, err)
		// What comes before, and what lies between, goes unseen: a thousand fetches take long.
		for _, from := range []int{0, 950, 1950, 2400} {
			require.NoError(t, stream.Purge(t.Context(), jetstream.WithPurgeSequence(uint64(from+1))))
			for _, e := range list[from : from+100] {
				d := fetch(t, q)
				require.Equal(t, e.Task, taskOf(t, d))
				require.NoError(t, d.Ack(t.Context()))
			}
		}
		require.Zero(t, outstanding(t, q))
	})
}

func TestConcurrentPublishers(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		q := b.create(t, 10)
		list := copies(1500)
		var g errgroup.Group
		for range 4 {
			g.Go(func() error { return q.Publish(t.Context(), list) })
		}
		require.NoError(t, g.Wait())
		require.Equal(t, len(list), outstanding(t, q))
	})
}

func TestPublishedMessage(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		q := b.create(t, 10)
		e := run.Envelope(tasks.KindCopy, tasks.NewID(tasks.KindCopy, "my schema", "Größe.*>", "p0003"))
		require.NoError(t, q.Publish(t.Context(), []tasks.Envelope{e}))
		stream, err := b.jetStream(t).Stream(t.Context(), "PGCONVOY-shop")
		require.NoError(t, err)
		const subject = "pgconvoy.shop.task.copy.my=20schema.Gr=C3=B6=C3=9Fe=2E=2A=3E.p0003"
		m, err := stream.GetLastMsgForSubject(t.Context(), subject)
		require.NoError(t, err)
		require.Equal(t, "1", m.Header.Get(queue.HeaderVersion))
		require.Equal(t, "copy", m.Header.Get(queue.HeaderKind))
		require.Empty(t, m.Header.Get("Nats-Msg-Id"))
		require.JSONEq(t, `{"v":1,"kind":"copy","run":"shop","run_uid":"0198c0de-1",
			"task":"copy.my=20schema.Gr=C3=B6=C3=9Fe=2E=2A=3E.p0003","fp":{"source":"7301/shop","target":"7302/shop"}}`, string(m.Data))
		got, err := fetch(t, q).Envelope()
		require.NoError(t, err)
		require.Equal(t, e, got)
	})
}

func TestPublishRefusesWhatTheServerCannotTake(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		q := b.create(t, 10)
		long := strings.Repeat("é", 31)
		longest := run.Envelope(tasks.KindFKeyAdd, tasks.NewID(tasks.KindFKeyAdd, long, long, long, "validate"))
		other := run.Envelope(tasks.KindCopy, "copy.public.t.all")
		other.RunUID = "another"
		for name, bad := range map[string]tasks.Envelope{
			"no stage":     run.Envelope(tasks.KindCopy, "vacuum.public.t.all"),
			"stage only":   run.Envelope(tasks.KindCopy, "copy"),
			"empty token":  run.Envelope(tasks.KindCopy, "copy.public..all"),
			"space":        run.Envelope(tasks.KindCopy, "copy.public.a b.all"),
			"wildcard":     run.Envelope(tasks.KindCopy, "copy.public.*"),
			"line break":   run.Envelope(tasks.KindCopy, "copy.public.a\r\nPUB x 0"),
			"long subject": run.Envelope(tasks.KindCopy, tasks.ID("copy."+strings.Repeat("x", queue.MaxSubjectBytes))),
			"long body":    {Version: 1, Kind: tasks.Kind(strings.Repeat("x", queue.MaxTaskBytes)), Run: run.Name, RunUID: run.UID, Task: "copy.a.b.c"},
			"other run":    other,
		} {
			err := q.Publish(t.Context(), []tasks.Envelope{copies(1)[0], bad})
			require.Error(t, err, name)
			require.Less(t, len(err.Error()), 1000, name)
		}
		require.Zero(t, outstanding(t, q), "nothing is sent beside a bad one")
		require.NoError(t, q.Publish(t.Context(), []tasks.Envelope{longest}))
		require.Equal(t, 1, outstanding(t, q))
	})
}

func TestFullStreamIsNotTakenForADuplicate(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		b.opts.MaxBytes = 4000
		b.conn = connect(t, b.opts)
		q := b.create(t, 10)
		err := q.Publish(t.Context(), copies(100))
		var full *queue.FullError
		require.ErrorAs(t, err, &full)
		require.Contains(t, hint(t, err), "max-bytes")
		require.Less(t, outstanding(t, q), 100)
	})
}

func TestPublishStopsWithItsContext(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		q := b.create(t, 10)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, q.Publish(ctx, copies(2000)), context.Canceled)
		require.NoError(t, q.Publish(t.Context(), copies(2000)))
		require.Equal(t, 2000, outstanding(t, q))
	})
}
