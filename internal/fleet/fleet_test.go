package fleet_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/fleet"
	"github.com/pgconvoy/pgconvoy/internal/ledger"
	"github.com/pgconvoy/pgconvoy/internal/natstest"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/queue"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// How long a condition is waited for, and how often it is looked at.
const (
	wait = 30 * time.Second
	tick = 10 * time.Millisecond
)

// bundle is two databases and a queue server.
type bundle struct {
	src, dst *pgtest.Database
	conn     *queue.Conn
	options  fleet.Options
}

func newBundle(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{src: pgtest.Source(t).Database(t), dst: pgtest.Target(t).Database(t)}
	conn, err := queue.Connect(t.Context(), queue.Options{URL: natstest.Start(t).URL(), Name: t.Name()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	b.conn = conn
	b.options = fleet.Options{
		Run: "test", Source: pg.Options{URI: b.src.URI()}, Target: pg.Options{URI: b.dst.URI()}, Grace: wait, Slots: stages(1),
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	return b
}

func stages(n int) map[tasks.Stage]int {
	all := map[tasks.Stage]int{}
	for _, s := range tasks.Stages() {
		all[s] = n
	}
	return all
}

func connect(t *testing.T, side pg.Side, uri string) *pg.Conn {
	t.Helper()
	c, err := pg.Connect(t.Context(), pg.Options{Side: side, URI: uri})
	require.NoError(t, err)
	t.Cleanup(c.Discard)
	return c
}

// begin starts a run with one task, which inserts the uid into table done.
func (b *bundle) begin(t *testing.T, uid string, edit func(*tasks.RunID)) *queue.Queue {
	t.Helper()
	source, target := connect(t, pg.Source, b.src.URI()), connect(t, pg.Target, b.dst.URI())
	run := tasks.RunID{Name: "test", UID: uid}
	var err error
	run.FP.Source, err = pg.Fingerprint(t.Context(), source)
	require.NoError(t, err)
	run.FP.Target, err = pg.Fingerprint(t.Context(), target)
	require.NoError(t, err)
	if edit != nil {
		edit(&run)
	}
	one, err := tasks.New(tasks.KindSchema, "misc.one.x", tasks.Statements{Statements: []tasks.Statement{
		{Label: "one", SQL: "CREATE TABLE IF NOT EXISTS public.done (uid text); INSERT INTO public.done VALUES ('" + uid + "')"}}})
	require.NoError(t, err)
	one.Wave = tasks.WaveSchema
	require.NoError(t, ledger.Drop(t.Context(), target))
	_, err = ledger.Create(t.Context(), target, ledger.New{Run: run, Archive: strings.NewReader("")}, tasks.Plan{Tasks: []tasks.Task{one}})
	require.NoError(t, err)
	q, err := b.conn.Create(t.Context(), run, stages(4))
	require.NoError(t, err)
	require.NoError(t, q.Publish(t.Context(), []tasks.Envelope{run.Envelope(one.Kind, one.ID)}))
	return q
}

func (b *bundle) awaitEmpty(t *testing.T, q *queue.Queue) {
	t.Helper()
	require.Eventually(t, func() bool {
		n, err := q.Outstanding(context.Background())
		return err == nil && n == 0
	}, wait, tick)
}

// serve runs Serve until the test ends, or stop is called.
func (b *bundle) serve(t *testing.T) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		done <- fleet.Serve(ctx, b.conn, b.options)
	}()
	t.Cleanup(func() {
		cancel()
		<-finished
	})
	return func() error {
		cancel()
		return <-done
	}
}

func TestServeWaitsForTheRunAndForTheNext(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	stop := b.serve(t)
	for _, uid := range []string{"uid-1", "uid-2"} {
		q := b.begin(t, uid, nil)
		b.awaitEmpty(t, q)
		require.NoError(t, q.Delete(t.Context()))
	}
	require.NoError(t, stop())
	require.Equal(t, []string{"uid-1", "uid-2"}, b.dst.Column(t, "SELECT uid FROM done ORDER BY uid"))
}

func TestServeStopsWhileItWaits(t *testing.T) {
	t.Parallel()
	require.NoError(t, newBundle(t).serve(t)())
}

func TestServeEndsWhenIdle(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.options.Idle = 300 * time.Millisecond
	b.options.WaitRun = 300 * time.Millisecond
	var gaveUp *fleet.GaveUpError
	require.ErrorAs(t, fleet.Serve(t.Context(), b.conn, b.options), &gaveUp, "no run came")
	require.Equal(t, 3, gaveUp.ExitCode())
	b.options.WaitRun = wait
	q := b.begin(t, "uid-1", nil)
	// A worker that is too slow gives up before its first task has come, and hands that back.
	for began := time.Now(); ; {
		require.NoError(t, fleet.Serve(t.Context(), b.conn, b.options), "no more tasks came")
		left, err := q.Outstanding(t.Context())
		require.NoError(t, err)
		if left == 0 {
			break
		}
		require.Less(t, time.Since(began), wait, "the task is never done")
	}
	require.Equal(t, 1, b.dst.Count(t, "done"))
}

// A worker that comes when the run is over has missed nothing, if that is complete.
func TestServeComesTooLate(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.options.Idle, b.options.WaitRun = 300*time.Millisecond, 300*time.Millisecond
	require.NoError(t, b.conn.Share(t.Context()))
	run := tasks.RunID{Name: b.options.Run, UID: "uid-1"}
	for event, over := range map[tasks.EventType]bool{
		tasks.EventRunStarted: false, tasks.EventRunFailed: false, tasks.EventRunCancelled: false, tasks.EventRunDone: true,
		tasks.EventVerifyStarted: false, tasks.EventVerifyFailed: false, tasks.EventVerifyDone: true, tasks.EventVerifyDiffers: true,
	} {
		require.NoError(t, b.conn.PutLast(t.Context(), run.Event(event, time.Now())))
		err := fleet.Serve(t.Context(), b.conn, b.options)
		var gaveUp *fleet.GaveUpError
		require.Equal(t, !over, errors.As(err, &gaveUp), "%s: %v", event, err)
		require.Equal(t, over, err == nil, "%s: %v", event, err)
	}
}

func TestWrongDatabasesAreRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		edit   func(t *testing.T, b *bundle) // after the run has begun
		run    func(*tasks.RunID)
		reason string
		hint   string
	}{
		"target without a ledger": {
			edit:   func(t *testing.T, b *bundle) { b.options.Target.URI = pgtest.Target(t).Database(t).URI() },
			reason: "target holds no ledger of this run", hint: "PGCONVOY_TARGET_URI",
		},
		"target of another run": {
			edit:   func(t *testing.T, b *bundle) { b.dst.Exec(t, "UPDATE pgconvoy.run SET uid = 'other'") },
			reason: "target holds no ledger of this run", hint: "PGCONVOY_TARGET_URI",
		},
		"copy of the target": {
			run:    func(r *tasks.RunID) { r.FP.Target = "1/other" },
			reason: "and run test is about 1/other", hint: "give this worker the databases that the planner has",
		},
		"another source": {
			edit:   func(t *testing.T, b *bundle) { b.options.Source.URI = pgtest.Source(t).Database(t).URI() },
			reason: "source is ", hint: "give this worker the databases that the planner has",
		},
		"source and target exchanged": {
			edit:   func(_ *testing.T, b *bundle) { b.options.Source = b.options.Target },
			reason: "source is ", hint: "give this worker the databases that the planner has",
		},
		"no such database": {
			edit:   func(t *testing.T, _ *bundle) {},
			reason: "does not exist",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t)
			q := b.begin(t, "uid-1", test.run)
			if test.edit != nil {
				test.edit(t, b)
			}
			if test.hint == "" {
				b.options.Source.URI = pgtest.Source(t).URI("missing")
			}
			err := fleet.Serve(t.Context(), b.conn, b.options)
			require.ErrorContains(t, err, test.reason)
			if test.hint != "" {
				var hinted *tasks.HintError
				require.ErrorAs(t, err, &hinted)
				require.Contains(t, hinted.Hint(), test.hint)
			}
			n, err := q.Outstanding(t.Context())
			require.NoError(t, err)
			require.Equal(t, uint64(1), n, "the task waits for another worker")
			require.Equal(t, "t", b.dst.Query(t, "SELECT to_regclass('public.done') IS NULL"))
		})
	}
}

func TestOptionsFromConfig(t *testing.T) {
	t.Parallel()
	c := config.Default()
	c.Source.URI, c.Target.URI = "postgres://a", "postgres://b"
	c.ExitWhenIdle = time.Minute
	c.NATS.URL, c.NATS.User, c.NATS.Password, c.NATS.Replicas = "nats://x", "me", "secret", 3
	log := slog.New(slog.DiscardHandler)
	o := fleet.FromConfig(c, "v1", log)
	require.Equal(t, fleet.Options{
		Run: "main", Version: "v1", Source: pg.Options{Side: pg.Source, URI: "postgres://a"}, Target: pg.Options{Side: pg.Target, URI: "postgres://b"},
		Grace: c.Grace, Idle: time.Minute, WaitRun: 5 * time.Minute, Log: log,
		Slots: map[tasks.Stage]int{"copy": 4, "index": 4, "attach": 2, "analyze": 2, "fkey": 2, "blob": 1, "misc": 2},
	}, o)
	require.ElementsMatch(t, tasks.Stages(), keys(o.Slots))
	q := fleet.QueueOptions(c, "worker", log)
	require.Equal(t, "nats://x", q.URL)
	require.Equal(t, "secret", q.Password)
	require.Equal(t, 3, q.Replicas)
	require.Equal(t, "pgconvoy-worker/main/"+fleet.Name(), q.Name)
	require.Regexp(t, "^[A-Za-z0-9_=-]+-[0-9]+-[0-9a-f]{4}$", fleet.Name(), "one token of a subject")
	require.Equal(t, "_INBOX.worker", q.InboxPrefix)
}

func keys(m map[tasks.Stage]int) []tasks.Stage {
	var list []tasks.Stage
	for s := range maps.Keys(m) {
		list = append(list, s)
	}
	return list
}
