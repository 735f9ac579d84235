package queue_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/pgconvoy/pgconvoy/internal/queue"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

var otherRun = tasks.RunID{Name: run.Name, UID: "0198c0de-2"}

func TestCreateMakesWhatTheDesignSays(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		q := b.create(t, 7)
		require.Equal(t, run.UID, q.RunUID())
		require.Equal(t, queue.DefaultAckWait, q.AckWait())

		stream, err := b.jetStream(t).Stream(t.Context(), "PGCONVOY-shop")
		require.NoError(t, err)
		c := stream.CachedInfo().Config
		require.Equal(t, []string{"pgconvoy.shop.task.>"}, c.Subjects)
		require.Equal(t, jetstream.WorkQueuePolicy, c.Retention)
		require.Equal(t, jetstream.DiscardNew, c.Discard)
		require.True(t, c.DiscardNewPerSubject)
		require.EqualValues(t, 1, c.MaxMsgsPerSubject)
		require.Zero(t, c.MaxAge)
		require.Equal(t, b.opts.Memory, c.Storage == jetstream.MemoryStorage)
		require.Equal(t, run.UID, c.Metadata[queue.MetaRunUID])
		require.Equal(t, "7301/shop", c.Metadata[queue.MetaSource])
		require.Equal(t, "7302/shop", c.Metadata[queue.MetaTarget])
		require.Equal(t, len(tasks.Stages()), stream.CachedInfo().State.Consumers)
		for _, stage := range tasks.Stages() {
			consumer, err := stream.Consumer(t.Context(), string(stage))
			require.NoError(t, err)
			c := consumer.CachedInfo().Config
			require.Equal(t, "pgconvoy.shop.task."+string(stage)+".>", c.FilterSubject)
			require.Equal(t, 7, c.MaxAckPending)
			require.Equal(t, -1, c.MaxDeliver)
			require.Empty(t, c.BackOff)
			require.Equal(t, 8192, c.MaxWaiting)
			require.Zero(t, c.InactiveThreshold)
		}
	})
}

func TestCreateAgainKeepsTasksAndEditedCaps(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		q := b.create(t, 2)
		require.NoError(t, q.Publish(t.Context(), copies(5)))
		stream, err := b.jetStream(t).Stream(t.Context(), queue.StreamName(run.Name))
		require.NoError(t, err)
		consumer, err := stream.Consumer(t.Context(), string(tasks.StageCopy))
		require.NoError(t, err)
		edited := consumer.CachedInfo().Config
		edited.MaxAckPending = 4
		_, err = stream.UpdateConsumer(t.Context(), edited)
		require.NoError(t, err)
		require.NoError(t, stream.DeleteConsumer(t.Context(), string(tasks.StageIndex)))

		q = b.create(t, 2)
		require.Equal(t, 5, outstanding(t, q))
		for range 4 {
			fetch(t, q)
		}
		fetchNothing(t, q)
		_, err = stream.Consumer(t.Context(), string(tasks.StageIndex))
		require.NoError(t, err, "a missing consumer is made")
	})
}

func TestCreateBesideAnotherRun(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		first := b.create(t, 2)
		require.NoError(t, first.Publish(t.Context(), copies(3)))
		d := fetch(t, first)
		_, err := b.conn.Create(t.Context(), otherRun, caps(2))
		var busy *queue.BusyError
		require.ErrorAs(t, err, &busy)
		require.Equal(t, queue.BusyError{Run: run.Name, UID: run.UID, Messages: 3}, *busy)
		require.Contains(t, hint(t, err), "nats stream rm PGCONVOY-shop")

		require.NoError(t, first.Purge(t.Context()))
		second, err := b.conn.Create(t.Context(), otherRun, caps(2))
		require.NoError(t, err, "an empty one is taken over")
		require.Equal(t, otherRun.UID, second.RunUID())

		// The first run has lost its queue and cannot touch the second one's.
		task := otherRun.Envelope(tasks.KindCopy, "copy.public.t.all")
		require.NoError(t, second.Publish(t.Context(), []tasks.Envelope{task}))
		_, err = first.Outstanding(t.Context())
		require.ErrorIs(t, err, queue.ErrGone)
		require.NoError(t, first.Purge(t.Context()))
		require.NoError(t, first.Delete(t.Context()))
		require.Equal(t, 1, outstanding(t, second))
		_ = d.Nak(0)
	})
}

func TestCreateChecksItsInput(t *testing.T) {
	t.Parallel()
	b := newBundle(t, inProcess(t))
	for _, name := range []string{"", "Shop", "a.b", "a b", "*", "ü", "123456789012345678901234567890123"} {
		_, err := b.conn.Create(t.Context(), tasks.RunID{Name: name, UID: "u"}, caps(1))
		require.ErrorContains(t, err, "not valid", name)
		_, err = b.conn.Open(t.Context(), name)
		require.ErrorContains(t, err, "not valid", name)
	}
	_, err := b.conn.Create(t.Context(), tasks.RunID{Name: "a"}, caps(1))
	require.ErrorContains(t, err, "no uid")
	missing := caps(1)
	delete(missing, tasks.StageFKey)
	_, err = b.conn.Create(t.Context(), run, missing)
	require.ErrorContains(t, err, "fkey")
	unknown := caps(1)
	unknown["vacuum"] = 1
	_, err = b.conn.Create(t.Context(), run, unknown)
	require.ErrorContains(t, err, "vacuum")
}

func TestConcurrentCreateOfOneRun(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		var g errgroup.Group
		for range 4 {
			c := connect(t, b.opts)
			g.Go(func() error {
				_, err := c.Create(t.Context(), run, caps(2))
				return err
			})
		}
		require.NoError(t, g.Wait())
	})
}

func TestOpenWaitsForThePlanner(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		_, err := b.conn.Open(within(t, 300*time.Millisecond), run.Name)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Contains(t, hint(t, err), "start the planner")

		opened := make(chan *queue.Queue, 1)
		other := connect(t, b.opts)
		go func() {
			q, _ := other.Open(t.Context(), run.Name)
			opened <- q
		}()
		b.create(t, 1)
		q := <-opened
		require.NotNil(t, q)
		require.Equal(t, run.UID, q.RunUID())
		require.Equal(t, queue.DefaultAckWait, q.AckWait())
	})
}

func TestOpenRefusesAForeignStream(t *testing.T) {
	t.Parallel()
	b := newBundle(t, inProcess(t))
	_, err := b.jetStream(t).CreateStream(t.Context(), jetstream.StreamConfig{Name: "PGCONVOY-shop", Subjects: []string{"other"}})
	require.NoError(t, err)
	_, err = b.conn.Open(t.Context(), run.Name)
	require.ErrorContains(t, err, "not made by pgconvoy")
	_, err = b.conn.Drop(t.Context(), run.Name)
	require.ErrorContains(t, err, "not made by pgconvoy")
}

func TestDrop(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		dropped, err := b.conn.Drop(t.Context(), run.Name)
		require.NoError(t, err)
		require.False(t, dropped, "there is none")
		q := b.create(t, 1)
		require.NoError(t, b.jetStream(t).DeleteConsumer(t.Context(), "PGCONVOY-shop", "copy"))
		require.NoError(t, q.PutStatus(t.Context(), status(tasks.RunRunning)))
		bury(t, q, deadLetter(1))
		dropped, err = b.conn.Drop(t.Context(), run.Name)
		require.NoError(t, err)
		require.True(t, dropped)
		require.Empty(t, dead(t, b.conn))
		_, err = q.Outstanding(t.Context())
		require.ErrorIs(t, err, queue.ErrGone)
		_, err = b.conn.Status(t.Context(), run.Name)
		require.ErrorIs(t, err, queue.ErrNoStatus)
		_, err = b.conn.Drop(t.Context(), "*")
		require.ErrorContains(t, err, "not valid")
	})
}

func TestCreateExplainsTakenSubjects(t *testing.T) {
	t.Parallel()
	b := newBundle(t, inProcess(t))
	_, err := b.jetStream(t).CreateStream(t.Context(), jetstream.StreamConfig{Name: "ALL", Subjects: []string{"pgconvoy.>"}})
	require.NoError(t, err)
	_, err = b.conn.Create(t.Context(), run, caps(1))
	require.Contains(t, hint(t, err), "another stream")
}

func TestGone(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		q := b.create(t, 1)
		stream, err := b.jetStream(t).Stream(t.Context(), queue.StreamName(run.Name))
		require.NoError(t, err)
		waiting := func(end func()) {
			t.Helper()
			failed := make(chan error, 1)
			go func() {
				_, err := q.Fetch(t.Context(), tasks.StageCopy, time.Minute)
				failed <- err
			}()
			awaitWaiting(t, b, tasks.StageCopy, 1)
			end()
			require.ErrorIs(t, <-failed, queue.ErrGone, "while waiting")
			_, err := q.Fetch(t.Context(), tasks.StageCopy, time.Minute)
			require.ErrorIs(t, err, queue.ErrGone, "afterwards")
		}
		waiting(func() { require.NoError(t, stream.DeleteConsumer(t.Context(), string(tasks.StageCopy))) })
		q = b.create(t, 1)
		require.NoError(t, q.Publish(t.Context(), copies(1)))
		fetch(t, q)
		waiting(func() { require.NoError(t, q.Delete(t.Context())) })

		require.ErrorIs(t, q.Publish(t.Context(), copies(1)), queue.ErrGone)
		_, err = q.Outstanding(t.Context())
		require.ErrorIs(t, err, queue.ErrGone)
		require.NoError(t, q.Delete(t.Context()), "idempotent")
		require.NoError(t, q.Purge(t.Context()), "idempotent")
	})
}

// TestQueueNamesItsDatabase: who opens the queue of a run of several databases learns
// which it is about, and whether others come after it.
func TestQueueNamesItsDatabase(t *testing.T) {
	t.Parallel()
	b := newBundle(t, overTCP(t))
	for _, of := range []tasks.RunID{{Name: "one", UID: "u"}, {Name: "first", UID: "u", Database: `odd "db" ü`, Follow: true}, {Name: "last", UID: "u", Database: "last"}} {
		made, err := b.conn.Create(t.Context(), of, caps(1))
		require.NoError(t, err)
		opened, err := b.conn.Open(t.Context(), of.Name)
		require.NoError(t, err)
		for _, q := range []*queue.Queue{made, opened} {
			require.Equal(t, of.Database, q.Database())
			require.Equal(t, of.Follow, q.Follow())
		}
	}
}
