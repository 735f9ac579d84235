package queue_test

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/natstest"
	"github.com/pgconvoy/pgconvoy/internal/queue"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// mainRun is the run that deployments/nats-server.conf is for.
var mainRun = tasks.RunID{Name: "main", UID: "0198c0de-3"}

// deployed is a server with the configuration that people start from.
type deployed struct{ url string }

func deploy(t *testing.T) deployed {
	t.Helper()
	s := natstest.StartConfig(t, filepath.Join("..", "..", "deployments", "nats-server.conf"),
		"PLANNER_PASSWORD=planner-secret", "WORKER_PASSWORD=worker-secret", "OBSERVER_PASSWORD=observer-secret")
	return deployed{url: s.URL()}
}

// as connects with a role. The server must not refuse anything until the end.
func (d deployed) as(t *testing.T, role string) *queue.Conn {
	t.Helper()
	var told lockedBuffer
	c := connect(t, queue.Options{
		URL: d.url, User: role, Password: role + "-secret", InboxPrefix: "_INBOX." + role, Log: slog.New(slog.NewTextHandler(&told, nil)),
	})
	t.Cleanup(func() { require.NotContains(t, told.String(), "ermission", role) })
	return c
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// raw connects with a role and shows what the server refuses.
func (d deployed) raw(t *testing.T, role string) (nc *nats.Conn, refused <-chan error) {
	t.Helper()
	errs := make(chan error, 100)
	nc = natstest.Connect(t, d.url, nats.UserInfo(role, role+"-secret"), nats.CustomInboxPrefix("_INBOX."+role),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { errs <- err }))
	return nc, errs
}

func mainTask(n int) tasks.Envelope {
	e := copies(n)[n-1]
	return mainRun.Envelope(e.Kind, e.Task)
}

func TestDeployedRolesCanDoTheirPart(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	ctx := t.Context()
	planner := d.as(t, "planner")
	q, err := planner.Create(ctx, mainRun, caps(2))
	require.NoError(t, err)
	ends, stop, err := q.Ends(ctx)
	require.NoError(t, err)
	defer stop()
	require.NoError(t, q.Publish(ctx, []tasks.Envelope{mainTask(1), mainTask(2)}))
	require.NoError(t, q.PutStatus(ctx, tasks.RunStatus{Run: "main", RunUID: mainRun.UID, State: tasks.RunRunning}))
	require.NoError(t, planner.PutLast(ctx, mainRun.Event(tasks.EventRunStarted, time.Now())))

	worker := d.as(t, "worker")
	wq, err := worker.Open(ctx, "main")
	require.NoError(t, err)
	last, err := worker.Last(ctx, "main")
	require.NoError(t, err)
	require.Equal(t, tasks.EventRunStarted, last.Type)
	for _, member := range []struct {
		name  string
		queue *queue.Queue
	}{{"planner", q}, {"worker", wq}} { // the planner works, too
		workAs(t, member.queue, member.name)
		<-ends
	}

	for _, c := range []*queue.Conn{planner, d.as(t, "observer")} {
		oq, err := c.Open(ctx, "main")
		require.NoError(t, err)
		status, err := c.Status(ctx, "main")
		require.NoError(t, err)
		require.Equal(t, tasks.RunRunning, status.State)
		all, err := c.Statuses(ctx)
		require.NoError(t, err)
		require.Len(t, all, 1)
		stages, err := oq.Stages(ctx)
		require.NoError(t, err)
		require.Equal(t, 2, stages[0].Cap)
		letters, err := c.Dead(ctx, "main")
		require.NoError(t, err)
		require.Len(t, letters, 2)
		names, err := oq.Keepers(ctx)
		require.NoError(t, err)
		require.Len(t, names, 1)
		count, err := oq.Outstanding(ctx)
		require.NoError(t, err)
		require.EqualValues(t, 2, count, "each has published one more")
		for wait := later; ; wait *= 2 {
			list, err := c.Workers(ctx, "main", wait)
			require.NoError(t, err)
			if len(list) == 2 {
				break
			}
			require.Less(t, wait, soon)
		}
	}
	nc, _ := d.raw(t, "observer")
	for _, subject := range []string{"$SRV.PING", "$SRV.INFO.pgconvoy-worker", "pgconvoy.main.worker.worker.status"} {
		_, err := nc.RequestWithContext(within(t, soon), subject, nil)
		require.NoError(t, err, subject)
	}
	heard, err := nc.SubscribeSync("pgconvoy.main.event.>")
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
	require.NoError(t, planner.Notify(mainRun.Event(tasks.EventRunDone, time.Now())))
	_, err = heard.NextMsg(soon)
	require.NoError(t, err)

	require.NoError(t, q.Scale(ctx, map[tasks.Stage]int{tasks.StageCopy: 9}))
	require.NoError(t, q.Pause(ctx))
	require.NoError(t, q.Unpause(ctx))
	require.NoError(t, q.Exhume(ctx, nil))
	require.NoError(t, q.Forget(ctx))
	require.NoError(t, q.Purge(ctx))
	require.NoError(t, q.Delete(ctx))
	next := mainRun
	next.UID = "0198c0de-4"
	_, err = planner.Create(ctx, next, caps(2))
	require.NoError(t, err)
	_, err = planner.Drop(ctx, "main")
	require.NoError(t, err)
}

// workAs does all that a worker does.
func workAs(t *testing.T, q *queue.Queue, name string) {
	t.Helper()
	ctx := t.Context()
	_, err := q.ServeWorker(queue.WorkerService{
		ID: name, Status: func() tasks.WorkerStatus { return tasks.WorkerStatus{ID: name, RunUID: mainRun.UID} }, Drain: func() {},
	})
	require.NoError(t, err)
	k := keeper(name)
	k.RunUID = mainRun.UID
	require.NoError(t, q.RegisterKeeper(ctx, k))
	require.NotEmpty(t, keepers(t, q))
	if name == "planner" {
		require.NoError(t, q.RemoveKeeper(ctx, name))
		require.Empty(t, keepers(t, q))
	}
	d := fetch(t, q)
	heartbeat(t, d)
	require.NoError(t, d.Nak(0))
	d = fetch(t, q)
	e, err := d.Envelope()
	require.NoError(t, err)
	next := map[string]int{"planner": 3, "worker": 4}[name]
	require.NoError(t, q.Publish(ctx, []tasks.Envelope{mainTask(next)}))
	require.NoError(t, q.Bury(ctx, tasks.DeadLetter{Envelope: e}))
	require.NoError(t, q.Notify(mainRun.Event(tasks.EventTaskDone, time.Now())))
	require.NoError(t, d.Term("poison"))
}

func TestDeployedRolesCanDoNothingElse(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	q, err := d.as(t, "planner").Create(t.Context(), mainRun, caps(2))
	require.NoError(t, err)
	require.NoError(t, q.Publish(t.Context(), []tasks.Envelope{mainTask(1)}))

	administer := strings.Fields(`$JS.API.STREAM.CREATE.PGCONVOY-main $JS.API.STREAM.UPDATE.PGCONVOY-main $JS.API.STREAM.DELETE.PGCONVOY-main
		$JS.API.STREAM.PURGE.PGCONVOY-main $JS.API.STREAM.MSG.DELETE.PGCONVOY-main
		$JS.API.CONSUMER.CREATE.PGCONVOY-main.copy.pgconvoy.main.task.copy.> $JS.API.CONSUMER.DELETE.PGCONVOY-main.copy
		$JS.API.CONSUMER.PAUSE.PGCONVOY-main.copy $JS.API.STREAM.PURGE.KV_pgconvoy $JS.API.STREAM.DELETE.KV_pgconvoy
		$JS.API.STREAM.PURGE.PGCONVOY-DEAD $JS.API.STREAM.DELETE.PGCONVOY-DEAD $JS.API.STREAM.CREATE.MINE
		$KV.pgconvoy.main.run $KV.pgconvoy.main.last pgconvoy.other.task.copy.x pgconvoy.main.worker.a.drain
		pgconvoy.main.event.run.done pgconvoy.main.event.stage.done $JS.API.STREAM.INFO.OTHER $JS.ACK.OTHER.copy.1.1.1.1.1 _INBOX.planner.x _INBOX.worker.x _INBOX.observer.x elsewhere`)
	for role, forbidden := range map[string]struct{ publish, subscribe []string }{
		"planner": {
			publish: strings.Fields(`$JS.API.STREAM.CREATE.MINE $JS.API.STREAM.DELETE.OTHER $JS.API.STREAM.DELETE.KV_pgconvoy
				$JS.API.STREAM.DELETE.PGCONVOY-DEAD pgconvoy.other.task.copy.x $KV.pgconvoy.other.run $KV.other.main.run elsewhere`),
			subscribe: strings.Fields(`_INBOX.worker.> _INBOX.> pgconvoy.> $KV.> > elsewhere`),
		},
		"worker": {
			publish: append(strings.Fields(`$JS.API.STREAM.LIST $JS.API.CONSUMER.LIST.PGCONVOY-main $JS.API.STREAM.MSG.GET.PGCONVOY-main
				$JS.API.DIRECT.GET.PGCONVOY-main`), administer...),
			subscribe: strings.Fields(`_INBOX.planner.> _INBOX.> pgconvoy.main.task.> pgconvoy.main.event.> pgconvoy.> $KV.> $JS.> > elsewhere`),
		},
		"observer": {
			publish: append(strings.Fields(`pgconvoy.main.task.copy.x pgconvoy.main.event.task.done pgconvoy.main.dead.copy.x $KV.pgconvoy.main.keeper.a
				$JS.API.CONSUMER.LIST.OTHER $JS.API.STREAM.MSG.GET.OTHER $JS.API.CONSUMER.MSG.NEXT.PGCONVOY-main.copy $JS.ACK.PGCONVOY-main.copy.1.1.1.1.1`), administer...),
			subscribe: strings.Fields(`_INBOX.planner.> _INBOX.worker.> _INBOX.> pgconvoy.main.> pgconvoy.main.task.> pgconvoy.> $SRV.PING $JS.> $KV.> > elsewhere`),
		},
	} {
		nc, refused := d.raw(t, role)
		expect := func(verb, subject string) {
			t.Helper()
			select {
			case err := <-refused:
				require.ErrorIs(t, err, nats.ErrPermissionViolation)
				require.Contains(t, err.Error(), subject, role)
			case <-time.After(soon):
				require.Fail(t, "not refused", "%s may %s %s", role, verb, subject)
			}
		}
		for _, subject := range forbidden.publish {
			require.NoError(t, nc.Publish(subject, nil))
			expect("publish to", subject)
		}
		for _, subject := range forbidden.subscribe {
			_, err := nc.SubscribeSync(subject)
			require.NoError(t, err)
			expect("subscribe to", subject)
		}
	}
	require.Equal(t, 1, outstanding(t, q))

	planner := connect(t, queue.Options{URL: d.url, User: "planner", Password: "planner-secret", InboxPrefix: "_INBOX.planner"})
	_, err = planner.Create(within(t, 5*time.Second), tasks.RunID{Name: "other", UID: "1"}, caps(1))
	var hinted *tasks.HintError
	require.ErrorAs(t, err, &hinted, "%v", err)
	require.ErrorContains(t, err, `Publish to "$JS.API.STREAM.CREATE.PGCONVOY-other"`)
	require.Contains(t, hinted.Hint(), "a run called main")
}

// Who may write one key may not empty the bucket.
func TestDeployedWorkerCannotRollTheBucketUp(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	planner := d.as(t, "planner")
	q, err := planner.Create(t.Context(), mainRun, caps(2))
	require.NoError(t, err)
	require.NoError(t, q.PutStatus(t.Context(), tasks.RunStatus{Run: "main", RunUID: mainRun.UID}))
	nc, _ := d.raw(t, "worker")
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	m := nats.NewMsg("$KV.pgconvoy.main.keeper.a")
	m.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupAll)
	_, err = js.PublishMsg(t.Context(), m)
	require.ErrorContains(t, err, "rollup not permitted")
	_, err = planner.Status(t.Context(), "main")
	require.NoError(t, err)
}
