package queue_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/embedded"
	"github.com/pgconvoy/pgconvoy/internal/natstest"
	"github.com/pgconvoy/pgconvoy/internal/queue"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// fetchThrough fetches as a worker does: it tries again after trouble that is
// expected to pass.
func fetchThrough(t *testing.T, q *queue.Queue) *queue.Delivery {
	t.Helper()
	ctx := within(t, time.Minute) // the server starts, and the client has to notice
	for {
		d, err := q.Fetch(ctx, tasks.StageCopy, time.Second)
		if d != nil {
			return d
		}
		if err != nil {
			var transient *queue.TransientError
			require.ErrorAs(t, err, &transient)
		}
	}
}

func TestRestartOfAServerWithFiles(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	b := newBundle(t, queue.Options{URL: s.URL()})
	q := b.create(t, 10)
	list := copies(3)
	require.NoError(t, q.Publish(t.Context(), list))
	held := fetch(t, q)

	failed := make(chan error, 1)
	go func() {
		_, err := q.Fetch(t.Context(), tasks.StageIndex, time.Minute)
		failed <- err
	}()
	awaitWaiting(t, b, tasks.StageIndex, 1)
	s.Stop()
	var transient *queue.TransientError
	require.ErrorAs(t, <-failed, &transient, "a waiting fetch learns of it at once")
	require.ErrorAs(t, held.Heartbeat(t.Context()), &transient)
	require.Error(t, q.Publish(t.Context(), list))
	came := make(chan *queue.Delivery, 1)
	go func() {
		d, err := q.Fetch(t.Context(), tasks.StageCopy, soon)
		assert.NoError(t, err)
		came <- d
	}()
	s.Restart()

	d := <-came
	require.NotNil(t, d, "a fetch that was begun meanwhile gets its task as soon as the server is back")
	require.Equal(t, list[1].Task, taskOf(t, d))
	heartbeat(t, held) // the lease outlives the restart
	require.NoError(t, held.Ack(t.Context()))
	require.NoError(t, q.Publish(t.Context(), list))
	require.Equal(t, 3, outstanding(t, q), "the acked one is queued again, the others are not doubled")
	require.Equal(t, list[2].Task, taskOf(t, fetchThrough(t, q)))
}

func TestKillOfAServerWithFiles(t *testing.T) {
	t.Parallel()
	s := natstest.StartProcess(t)
	b := newBundle(t, queue.Options{URL: s.URL()})
	q := b.create(t, 10)
	list := copies(200)
	require.NoError(t, q.Publish(t.Context(), list))
	s.Kill()
	s.Start()
	for range list {
		require.NoError(t, fetchThrough(t, q).Ack(t.Context()))
	}
	require.Zero(t, outstanding(t, q))
}

func TestRestartOfAServerWithMemoryIsGone(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	b := newBundle(t, queue.Options{URL: s.URL(), Memory: true})
	q := b.create(t, 10)
	s.Restart()
	ctx := within(t, soon)
	for {
		_, err := q.Fetch(ctx, tasks.StageCopy, time.Second)
		var transient *queue.TransientError
		if !errors.As(err, &transient) {
			require.ErrorIs(t, err, queue.ErrGone)
			break
		}
	}
	b.create(t, 10)
	require.NoError(t, q.Publish(t.Context(), copies(1)), "the run's queue works again once it is made anew")
	require.NotNil(t, fetch(t, q))
}

// While nobody answers, a caller that would wait longer learns of it.
func TestServerThatIsFrozen(t *testing.T) {
	t.Parallel()
	s := natstest.StartProcess(t)
	b := newBundle(t, queue.Options{URL: s.URL()})
	q := b.create(t, 1)
	s.Freeze()
	ctx := within(t, 5*time.Minute)
	one := func(_ any, err error) error { return err }
	calls := map[string]func() error{
		"create":   func() error { return one(b.conn.Create(ctx, run, caps(1))) },
		"count":    func() error { return one(q.Outstanding(ctx)) },
		"purge":    func() error { return q.Purge(ctx) },
		"delete":   func() error { return q.Delete(ctx) },
		"drop":     func() error { return one(b.conn.Drop(ctx, run.Name)) },
		"stages":   func() error { return one(q.Stages(ctx)) },
		"scale":    func() error { return q.Scale(ctx, map[tasks.Stage]int{tasks.StageCopy: 2}) },
		"pause":    func() error { return q.Pause(ctx) },
		"unpause":  func() error { return q.Unpause(ctx) },
		"register": func() error { return q.RegisterKeeper(ctx, keeper("a")) },
		"remove":   func() error { return q.RemoveKeeper(ctx, "a") },
		"keepers":  func() error { return one(q.Keepers(ctx)) },
		"put":      func() error { return q.PutStatus(ctx, status(tasks.RunRunning)) },
		"status":   func() error { return one(b.conn.Status(ctx, run.Name)) },
		"statuses": func() error { return one(b.conn.Statuses(ctx)) },
		"forget":   func() error { return q.Forget(ctx) },
		"bury":     func() error { return q.Bury(ctx, deadLetter(1)) },
		"dead":     func() error { return one(b.conn.Dead(ctx, run.Name)) },
		"exhume":   func() error { return q.Exhume(ctx, nil) },
		"put last": func() error { return b.conn.PutLast(ctx, run.Event(tasks.EventRunDone, time.Now())) },
		"last":     func() error { return one(b.conn.Last(ctx, run.Name)) },
	}
	errs := make(chan error, len(calls))
	for name, call := range calls {
		go func() { errs <- fmt.Errorf("%s: %w", name, call()) }()
	}
	for range calls {
		var transient *queue.TransientError
		require.ErrorAs(t, <-errs, &transient)
	}
	list, err := b.conn.Workers(ctx, run.Name, later)
	require.NoError(t, err)
	require.Empty(t, list)
}

func TestTheSameOverBothWaysIntoOneServer(t *testing.T) {
	t.Parallel()
	s, err := embedded.Start(t.Context(), embedded.Options{Listen: "127.0.0.1:0", User: "fleet", Password: "secret"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Stop()) })
	user, password := s.Credentials()
	_, advice := refuse(t, queue.Options{URL: s.URL()})
	require.Contains(t, advice, "credentials")

	planner := newBundle(t, queue.Options{InProcess: s.InProcess(), User: user, Password: password, Memory: true, AckWait: embedded.AckWait})
	worker := newBundle(t, queue.Options{URL: s.URL(), User: user, Password: password})
	q := planner.create(t, 10)
	wq, err := worker.conn.Open(t.Context(), run.Name)
	require.NoError(t, err)
	require.Equal(t, embedded.AckWait, wq.AckWait())
	require.NoError(t, q.Publish(t.Context(), copies(1)))
	require.NoError(t, fetch(t, wq).Ack(t.Context()))
	require.Zero(t, outstanding(t, q))
}
