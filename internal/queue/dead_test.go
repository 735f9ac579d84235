package queue_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/natstest"
	"github.com/pgconvoy/pgconvoy/internal/queue"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// deadLetter is of the task copy.public.t<n>.all.
func deadLetter(n int) tasks.DeadLetter {
	return tasks.DeadLetter{
		Envelope: copies(n)[n-1], Reason: "ERROR 23505: duplicate key", Attempts: 3, Worker: "host/1", At: time.Unix(1e9, 0).UTC(),
	}
}

func bury(t *testing.T, q *queue.Queue, letters ...tasks.DeadLetter) {
	t.Helper()
	for _, d := range letters {
		require.NoError(t, q.Bury(t.Context(), d))
	}
}

func dead(t *testing.T, c *queue.Conn) []tasks.DeadLetter {
	t.Helper()
	list, err := c.Dead(t.Context(), run.Name)
	require.NoError(t, err)
	return list
}

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		q := b.create(t, 1)
		require.Empty(t, dead(t, b.conn))
		bury(t, q, deadLetter(2), deadLetter(1), deadLetter(3))
		require.Equal(t, []tasks.DeadLetter{deadLetter(2), deadLetter(1), deadLetter(3)}, dead(t, b.conn))

		stream, err := b.jetStream(t).Stream(t.Context(), queue.DeadStream)
		require.NoError(t, err)
		c := stream.CachedInfo().Config
		require.EqualValues(t, 256<<20, c.MaxBytes)
		require.Equal(t, b.opts.Memory, c.Storage == jetstream.MemoryStorage)
		require.Zero(t, c.MaxAge)
		m, err := stream.GetLastMsgForSubject(t.Context(), "pgconvoy.shop.dead.copy.public.t0001.all")
		require.NoError(t, err)
		require.Equal(t, "copy", m.Header.Get(queue.HeaderKind))

		again := deadLetter(2)
		again.Reason = "ERROR 22P02:\n" + strings.Repeat("x", 5000)
		bury(t, q, again)
		list := dead(t, b.conn)
		require.Len(t, list, 3, "one letter a task")
		require.Equal(t, again.Envelope.Task, list[2].Envelope.Task, "it died last")
		require.True(t, strings.HasPrefix(list[2].Reason, "ERROR 22P02: xxx"), "one line")
		require.Less(t, len(list[2].Reason), 1100)
	})
}

func TestExhume(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		q := b.create(t, 1)
		bury(t, q, deadLetter(1), deadLetter(2), deadLetter(3))
		second := deadLetter(2).Envelope.Task
		require.NoError(t, q.Exhume(t.Context(), []tasks.ID{second, "copy.public.unheard.of"}))
		require.NoError(t, q.Exhume(t.Context(), []tasks.ID{second}), "idempotent")
		require.NoError(t, q.Exhume(t.Context(), []tasks.ID{}))
		require.Equal(t, []tasks.DeadLetter{deadLetter(1), deadLetter(3)}, dead(t, b.conn))
		bury(t, q, deadLetter(2))
		require.Len(t, dead(t, b.conn), 3, "the same letter may come again at once")

		// A letter of another run with the same name, and what is none.
		require.NoError(t, q.Purge(t.Context()))
		next, err := b.conn.Create(t.Context(), otherRun, caps(1))
		require.NoError(t, err)
		other := tasks.DeadLetter{Envelope: otherRun.Envelope(tasks.KindCopy, "copy.public.other.all"), Reason: "x"}
		bury(t, next, other)
		_, err = b.jetStream(t).Publish(t.Context(), "pgconvoy.shop.dead.copy.x", []byte("no letter"))
		require.NoError(t, err)
		require.NoError(t, q.Exhume(t.Context(), nil))
		require.Equal(t, []tasks.DeadLetter{other}, dead(t, b.conn))
		require.NoError(t, next.Exhume(t.Context(), nil))
		require.Empty(t, dead(t, b.conn))
	})
}

func TestBuryRefusesForeignTasks(t *testing.T) {
	t.Parallel()
	q := newBundle(t, inProcess(t)).create(t, 1)
	d := deadLetter(1)
	d.Envelope.RunUID = otherRun.UID
	require.ErrorContains(t, q.Bury(t.Context(), d), otherRun.UID)
	d = deadLetter(1)
	d.Envelope.Task = "copy.*"
	require.ErrorContains(t, q.Bury(t.Context(), d), "token")
}

func TestDeadLettersMakeRoomForOthers(t *testing.T) {
	t.Parallel()
	b := newBundle(t, inProcess(t))
	q := b.create(t, 1)
	stream, err := b.jetStream(t).Stream(t.Context(), queue.DeadStream)
	require.NoError(t, err)
	c := stream.CachedInfo().Config
	c.MaxBytes = 10_000
	_, err = b.jetStream(t).UpdateStream(t.Context(), c)
	require.NoError(t, err)
	for i := range 100 {
		bury(t, q, deadLetter(i+1))
	}
	list := dead(t, b.conn)
	require.Less(t, len(list), 50)
	require.Equal(t, deadLetter(100), list[len(list)-1])

	c.Discard = jetstream.DiscardNew
	_, err = b.jetStream(t).UpdateStream(t.Context(), c)
	require.NoError(t, err)
	var full *queue.FullError
	for i := 0; err == nil; i++ {
		err = q.Bury(t.Context(), tasks.DeadLetter{Envelope: run.Envelope(tasks.KindCopy, tasks.ID(fmt.Sprintf("copy.public.x%d.all", i)))})
	}
	require.ErrorAs(t, err, &full, "an operator wanted it so")
}

func TestDeadStreamThatIsGone(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		q := b.create(t, 1)
		require.NoError(t, b.jetStream(t).DeleteStream(t.Context(), queue.DeadStream))
		require.ErrorIs(t, q.Bury(t.Context(), deadLetter(1)), queue.ErrGone)
		_, err := b.conn.Dead(t.Context(), run.Name)
		require.ErrorIs(t, err, queue.ErrGone)
		require.NoError(t, q.Exhume(t.Context(), nil))
		b.create(t, 1)
		bury(t, q, deadLetter(1))
	})
}

func TestDeadLettersWhileTheServerIsAway(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	b := newBundle(t, queue.Options{URL: s.URL()})
	q := b.create(t, 1)
	bury(t, q, deadLetter(1))
	s.Stop()
	var transient *queue.TransientError
	require.Eventually(t, func() bool {
		_, err := b.conn.Dead(t.Context(), run.Name)
		return err != nil
	}, soon, time.Millisecond)
	require.ErrorAs(t, q.Bury(t.Context(), deadLetter(2)), &transient)
	require.ErrorAs(t, q.Exhume(t.Context(), nil), &transient)
	s.Restart()
	require.Eventually(t, func() bool { return q.Bury(t.Context(), deadLetter(2)) == nil }, soon, 10*time.Millisecond)
	require.Eventually(t, func() bool {
		list, err := b.conn.Dead(t.Context(), run.Name)
		return err == nil && len(list) == 2
	}, soon, 10*time.Millisecond)
}
