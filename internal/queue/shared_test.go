package queue_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/natstest"
	"github.com/pgconvoy/pgconvoy/internal/queue"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

func keeper(id string) tasks.Keeper {
	return tasks.Keeper{ID: id, RunUID: run.UID, Snapshot: 1, Name: "00000003-0000001B-1", Holder: "host/" + id}
}

func keepers(t *testing.T, q *queue.Queue) []tasks.Keeper {
	t.Helper()
	list, err := q.Keepers(t.Context())
	require.NoError(t, err)
	return list
}

func TestCreateMakesTheBucket(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		b.create(t, 1)
		kv, err := b.jetStream(t).KeyValue(t.Context(), queue.Bucket)
		require.NoError(t, err)
		status, err := kv.Status(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 1, status.History())
		_, err = kv.PutString(t.Context(), "a.b", "tools can use it")
		require.NoError(t, err)
		entry, err := kv.Get(t.Context(), "a.b")
		require.NoError(t, err)
		require.Equal(t, "tools can use it", string(entry.Value()))
		require.NoError(t, kv.Delete(t.Context(), "a.b"))
		stream, err := b.jetStream(t).Stream(t.Context(), "KV_pgconvoy")
		require.NoError(t, err)
		c := stream.CachedInfo().Config
		require.EqualValues(t, 64<<20, c.MaxBytes)
		require.Equal(t, b.opts.Memory, c.Storage == jetstream.MemoryStorage)

		c.MaxBytes = 1 << 20
		_, err = b.jetStream(t).UpdateStream(t.Context(), c)
		require.NoError(t, err)
		b.create(t, 1)
		stream, err = b.jetStream(t).Stream(t.Context(), "KV_pgconvoy")
		require.NoError(t, err)
		require.EqualValues(t, 1<<20, stream.CachedInfo().Config.MaxBytes, "what an operator edited stays")
	})
}

func TestCreateRefusesWhatOthersMade(t *testing.T) {
	t.Parallel()
	b := newBundle(t, inProcess(t))
	_, err := b.jetStream(t).CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: queue.Bucket, Storage: jetstream.MemoryStorage})
	require.NoError(t, err)
	_, err = b.conn.Create(t.Context(), run, caps(1))
	require.Contains(t, hint(t, err), "nats stream rm KV_pgconvoy")

	b = newBundle(t, inProcess(t))
	_, err = b.jetStream(t).CreateStream(t.Context(), jetstream.StreamConfig{Name: queue.DeadStream, Storage: jetstream.MemoryStorage})
	require.NoError(t, err)
	_, err = b.conn.Create(t.Context(), run, caps(1))
	require.Contains(t, hint(t, err), "nats stream rm PGCONVOY-DEAD")
}

func TestSmallAccountsGetWhatFits(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		room         int64
		bucket, dead int64 // 0 if there is none
	}{
		"all":          {320 << 20, 64 << 20, 256 << 20},
		"enough":       {96 << 20, 64 << 20, 32 << 20},
		"a little":     {13 << 20, 8 << 20, 4 << 20},
		"hardly any":   {2 << 20, 1 << 20, 0},
		"nothing left": {0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const most = 16 << 20
			s := natstest.Start(t, func(o *server.Options) { o.JetStreamMaxStore = most + test.room })
			var told bytes.Buffer
			b := newBundle(t, queue.Options{URL: s.URL(), MaxBytes: most, Log: slog.New(slog.NewTextHandler(&told, nil))})
			q := b.create(t, 1)
			require.NoError(t, q.Publish(t.Context(), copies(1)), "the run goes on")
			for name, want := range map[string]int64{"KV_pgconvoy": test.bucket, queue.DeadStream: test.dead} {
				stream, err := b.jetStream(t).Stream(t.Context(), name)
				if want == 0 {
					require.ErrorIs(t, err, jetstream.ErrStreamNotFound)
					continue
				}
				require.NoError(t, err)
				require.Equal(t, want, stream.CachedInfo().Config.MaxBytes)
			}
			require.Equal(t, test.dead == 0, errors.Is(q.Bury(t.Context(), deadLetter(1)), queue.ErrGone))
			require.Equal(t, test.dead == 0, strings.Contains(told.String(), "stream PGCONVOY-DEAD"))
			require.Equal(t, test.bucket == 0, errors.Is(q.RegisterKeeper(t.Context(), keeper("a")), queue.ErrGone))
			require.Equal(t, test.bucket == 0, strings.Contains(told.String(), "stream KV_pgconvoy"))
		})
	}
}

func TestKeepers(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		q := b.create(t, 1)
		require.Empty(t, keepers(t, q))
		for _, id := range []string{"b", "a", "c", "a"} {
			require.NoError(t, q.RegisterKeeper(t.Context(), keeper(id)))
		}
		require.Equal(t, []tasks.Keeper{keeper("a"), keeper("b"), keeper("c")}, keepers(t, q))
		stream, err := b.jetStream(t).Stream(t.Context(), "KV_pgconvoy")
		require.NoError(t, err)
		m, err := stream.GetLastMsgForSubject(t.Context(), "$KV.pgconvoy.shop.keeper.a")
		require.NoError(t, err)
		require.Equal(t, queue.KeeperTTL.String(), m.Header.Get(jetstream.MsgTTLHeader))

		require.NoError(t, q.RemoveKeeper(t.Context(), "b"))
		require.NoError(t, q.RemoveKeeper(t.Context(), "b"), "idempotent")
		require.NoError(t, q.RemoveKeeper(t.Context(), "never-was"))
		require.Equal(t, []tasks.Keeper{keeper("a"), keeper("c")}, keepers(t, q))
		require.NoError(t, q.RegisterKeeper(t.Context(), keeper("b")), "it may come back")
		require.Len(t, keepers(t, q), 3)

		// What others left under the name of the run.
		js := b.jetStream(t)
		for key, value := range map[string]string{"x": "no json", "y": `{"id":"z","run_uid":"` + run.UID + `"}`, "w": `{"id":"w","run_uid":"other"}`} {
			_, err := js.Publish(t.Context(), "$KV.pgconvoy.shop.keeper."+key, []byte(value))
			require.NoError(t, err)
		}
		require.Len(t, keepers(t, q), 3)
	})
}

func TestKeeperThatFallsSilentExpires(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		q := b.create(t, 1)
		// As RegisterKeeper writes it, but for a shorter time.
		_, err := b.jetStream(t).Publish(t.Context(), "$KV.pgconvoy.shop.keeper.a",
			[]byte(`{"id":"a","run_uid":"`+run.UID+`"}`), jetstream.WithMsgTTL(5*time.Second))
		require.NoError(t, err)
		require.Len(t, keepers(t, q), 1)
		require.Eventually(t, func() bool { return len(keepers(t, q)) == 0 }, soon, 50*time.Millisecond)
	})
}

func TestMoreKeysThanOneAnswerHolds(t *testing.T) {
	t.Parallel()
	b := newBundle(t, inProcess(t))
	q := b.create(t, 1)
	js := b.jetStream(t)
	const many = 1500
	for i := range many {
		_, err := js.PublishAsync("$KV.pgconvoy.shop.keeper."+fmt.Sprint(i), fmt.Appendf(nil, `{"id":"%d","run_uid":"%s"}`, i, run.UID))
		require.NoError(t, err)
	}
	<-js.PublishAsyncComplete()
	require.Len(t, keepers(t, q), many)
}

func status(state tasks.RunState) tasks.RunStatus {
	return tasks.RunStatus{Run: run.Name, RunUID: run.UID, State: state, Tasks: map[tasks.State]int{tasks.Done: 3}, At: time.Unix(1e9, 0).UTC()}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		q := b.create(t, 1)
		_, err := b.conn.Status(t.Context(), run.Name)
		require.ErrorIs(t, err, queue.ErrNoStatus)
		list, err := b.conn.Statuses(t.Context())
		require.NoError(t, err)
		require.Empty(t, list)

		other, err := b.conn.Create(t.Context(), tasks.RunID{Name: "a", UID: "1"}, caps(1))
		require.NoError(t, err)
		require.NoError(t, q.PutStatus(t.Context(), status(tasks.RunPlanning)))
		require.NoError(t, q.PutStatus(t.Context(), status(tasks.RunRunning)))
		require.NoError(t, other.PutStatus(t.Context(), tasks.RunStatus{Run: "a", RunUID: "1"}))
		got, err := b.conn.Status(t.Context(), run.Name)
		require.NoError(t, err)
		require.Equal(t, status(tasks.RunRunning), got)
		list, err = b.conn.Statuses(t.Context())
		require.NoError(t, err)
		require.Equal(t, []string{"a", "shop"}, []string{list[0].Run, list[1].Run})

		require.NoError(t, q.RegisterKeeper(t.Context(), keeper("k")))
		require.NoError(t, q.Forget(t.Context()))
		require.NoError(t, q.Forget(t.Context()), "idempotent")
		_, err = b.conn.Status(t.Context(), run.Name)
		require.ErrorIs(t, err, queue.ErrNoStatus)
		require.Empty(t, keepers(t, q))
		_, err = b.conn.Status(t.Context(), "a")
		require.NoError(t, err, "the other run's stays")
	})
}

func TestForgetLeavesTheNextRunOfTheSameNameAlone(t *testing.T) {
	t.Parallel()
	b := newBundle(t, inProcess(t))
	first := b.create(t, 1)
	require.NoError(t, first.RegisterKeeper(t.Context(), keeper("old")))
	second, err := b.conn.Create(t.Context(), otherRun, caps(1))
	require.NoError(t, err)
	require.NoError(t, second.PutStatus(t.Context(), tasks.RunStatus{Run: run.Name, RunUID: otherRun.UID}))
	require.NoError(t, first.Forget(t.Context()))
	got, err := b.conn.Status(t.Context(), run.Name)
	require.NoError(t, err)
	require.Equal(t, otherRun.UID, got.RunUID)
	require.Empty(t, keepers(t, first))
}

func TestStatusIsCutToWhatAMessageHolds(t *testing.T) {
	t.Parallel()
	b := newBundle(t, inProcess(t))
	q := b.create(t, 1)
	s := status(tasks.RunRunning)
	for i := range 5000 {
		s.Failures = append(s.Failures, tasks.Failure{Task: tasks.ID(fmt.Sprint(i, strings.Repeat("x", 500)))})
	}
	s.Tasks[tasks.Failed] = len(s.Failures)
	require.NoError(t, q.PutStatus(t.Context(), s))
	got, err := b.conn.Status(t.Context(), run.Name)
	require.NoError(t, err)
	require.Equal(t, 5000, got.Tasks[tasks.Failed])
	require.Equal(t, s.Public().Failures[:len(got.Failures)], got.Failures)
	require.Greater(t, len(got.Failures), 500)
	require.Len(t, s.Failures, 5000, "the caller's own is not cut")

	s.Failures = []tasks.Failure{{Task: tasks.ID(strings.Repeat("x", 1<<20))}}
	require.ErrorContains(t, q.PutStatus(t.Context(), s), "bytes")
}

// Failures quote rows, and stalls the statements of other people.
func TestStatusIsPublic(t *testing.T) {
	t.Parallel()
	b := newBundle(t, inProcess(t))
	q := b.create(t, 1)
	s := status(tasks.RunRunning)
	s.Running = []tasks.RunningTask{{Task: "copy.public.t.all", Worker: "host/1", Stall: "waits for a lock", SQL: "UPDATE t SET secret = 'x'"}}
	s.Failures = []tasks.Failure{{Task: "index.public.i.all", Attempts: 1, Reason: "Key (secret)=(x) is duplicated"}}
	require.NoError(t, q.PutStatus(t.Context(), s))
	got, err := b.conn.Status(t.Context(), run.Name)
	require.NoError(t, err)
	require.Equal(t, s.Public().Failures, got.Failures)
	require.NotContains(t, fmt.Sprint(got), "secret")
	require.Equal(t, []string{"stalled: copy.public.t.all on host/1: waits for a lock"}, got.Stalls())
	require.Equal(t, []string{"stalled: copy.public.t.all on host/1: waits for a lock; in: UPDATE t SET secret = 'x'"}, s.Stalls())
}

func TestBucketChecksItsInput(t *testing.T) {
	t.Parallel()
	b := newBundle(t, inProcess(t))
	q := b.create(t, 1)
	for _, id := range []string{"", "a.b", "*", ">", "a b", "ü"} {
		require.ErrorContains(t, q.RegisterKeeper(t.Context(), keeper(id)), "token", id)
		require.ErrorContains(t, q.RemoveKeeper(t.Context(), id), "token", id)
	}
	foreign := keeper("a")
	foreign.RunUID = otherRun.UID
	require.ErrorContains(t, q.RegisterKeeper(t.Context(), foreign), otherRun.UID)
	require.ErrorContains(t, q.PutStatus(t.Context(), tasks.RunStatus{Run: run.Name, RunUID: otherRun.UID}), otherRun.UID)
	_, err := b.conn.Status(t.Context(), "*")
	require.ErrorContains(t, err, "not valid")
}

// allOfTheBucket calls everything that needs the bucket.
func allOfTheBucket(t *testing.T, c *queue.Conn, q *queue.Queue) map[string]error {
	t.Helper()
	_, keepersErr := q.Keepers(t.Context())
	_, statusErr := c.Status(t.Context(), run.Name)
	_, statusesErr := c.Statuses(t.Context())
	return map[string]error{
		"register": q.RegisterKeeper(t.Context(), keeper("a")), "put": q.PutStatus(t.Context(), status(tasks.RunRunning)),
		"keepers": keepersErr, "status": statusErr, "statuses": statusesErr,
	}
}

func TestBucketThatIsGone(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		q := b.create(t, 1)
		require.NoError(t, b.jetStream(t).DeleteKeyValue(t.Context(), queue.Bucket))
		for name, err := range allOfTheBucket(t, b.conn, q) {
			require.ErrorIs(t, err, queue.ErrGone, name)
		}
		require.NoError(t, q.RemoveKeeper(t.Context(), "a"))
		require.NoError(t, q.Forget(t.Context()))

		b.create(t, 1)
		require.NoError(t, q.RegisterKeeper(t.Context(), keeper("a")))
		require.Len(t, keepers(t, q), 1)
	})
}

func TestShareMakesTheBucketAnew(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		q := b.create(t, 1)
		require.NoError(t, q.RegisterKeeper(t.Context(), keeper("a")))
		require.NoError(t, b.conn.Share(t.Context()))
		require.Equal(t, []tasks.Keeper{keeper("a")}, keepers(t, q), "what is there stays as it is")
		require.NoError(t, b.jetStream(t).DeleteStream(t.Context(), "KV_pgconvoy"))
		require.ErrorIs(t, q.RegisterKeeper(t.Context(), keeper("a")), queue.ErrGone)
		require.NoError(t, b.conn.Share(t.Context()))
		require.NoError(t, q.RegisterKeeper(t.Context(), keeper("a")))
		require.Equal(t, []tasks.Keeper{keeper("a")}, keepers(t, q))
	})
}

func TestBucketWhileTheServerIsAway(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	b := newBundle(t, queue.Options{URL: s.URL()})
	q := b.create(t, 1)
	require.NoError(t, q.RegisterKeeper(t.Context(), keeper("a")))
	s.Stop()
	require.Eventually(t, func() bool {
		_, err := q.Keepers(t.Context())
		return err != nil
	}, soon, time.Millisecond)
	var transient *queue.TransientError
	for name, err := range allOfTheBucket(t, b.conn, q) {
		require.ErrorAs(t, err, &transient, name)
	}
	require.ErrorAs(t, q.RemoveKeeper(t.Context(), "a"), &transient)
	require.ErrorAs(t, q.Forget(t.Context()), &transient)
	s.Restart()
	require.Eventually(t, func() bool {
		list, err := q.Keepers(t.Context())
		return err == nil && len(list) == 1
	}, soon, 10*time.Millisecond, "keys outlive a restart")
	require.NoError(t, b.conn.Close())
	for name, err := range allOfTheBucket(t, b.conn, q) {
		require.ErrorIs(t, err, queue.ErrClosed, name)
	}
}

func TestFullBucket(t *testing.T) {
	t.Parallel()
	b := newBundle(t, inProcess(t))
	q := b.create(t, 1)
	stream, err := b.jetStream(t).Stream(t.Context(), "KV_pgconvoy")
	require.NoError(t, err)
	c := stream.CachedInfo().Config
	c.MaxBytes = 100
	_, err = b.jetStream(t).UpdateStream(t.Context(), c)
	require.NoError(t, err)
	var full *queue.FullError
	require.ErrorAs(t, q.RegisterKeeper(t.Context(), keeper("a")), &full)
}
