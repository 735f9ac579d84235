package ledger_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/ledger"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// worker opens a session that is named as a worker's.
func worker(t *testing.T, db *pgtest.Database) *pg.Conn {
	t.Helper()
	c, err := pg.Connect(t.Context(), pg.Options{Side: pg.Target, URI: db.URI(), Name: "pgconvoy worker w1"})
	require.NoError(t, err)
	t.Cleanup(c.Discard)
	return c
}

func TestBeatTellsWhatIsInHandAndWhatToKeep(t *testing.T) {
	t.Parallel()
	db := pgtest.Target(t).Database(t)
	c, w := connect(t, db), worker(t, db)
	l := create(t, c, fanIn(t, 1)...)
	const id = tasks.ID("copy.public.t000.all")
	take(t, l, w, id)
	hand := tasks.Lease{Task: id, Target: tasks.Session(w.Backend()), Source: tasks.Session{PID: 42, Start: "then"}, Bytes: 7, Since: time.Hour, Still: time.Minute}
	orders, err := l.Beat(t.Context(), c, tasks.Pulse{Worker: "w1", Hand: []tasks.Lease{hand}})
	require.NoError(t, err)
	require.Equal(t, tasks.Orders{Run: tasks.RunRunning, Snapshot: tasks.SnapshotRef{ID: 1, Name: "00000003-1", Text: "700:701:"}}, orders)

	leases, err := l.Leases(t.Context(), c)
	require.NoError(t, err)
	require.Len(t, leases, 1)
	got := leases[0]
	require.Equal(t, tasks.KindCopy, got.Kind)
	require.Equal(t, hand.Source, got.Source)
	require.Equal(t, int64(7), got.Bytes)
	require.InDelta(t, time.Hour, got.Since, float64(time.Minute))
	require.InDelta(t, time.Minute, got.Still, float64(time.Minute))

	holder, there, err := l.Holder(t.Context(), c, id)
	require.NoError(t, err)
	require.True(t, there)
	require.Equal(t, hand.Target, holder.Target)
	require.Equal(t, hand.Source, holder.Source)
	require.Equal(t, "w1", holder.Worker)
	require.Less(t, holder.Silent, time.Minute)
	hands, err := l.Hands(t.Context(), c)
	require.NoError(t, err)
	require.Len(t, hands, 1)
	db.Exec(t, "UPDATE pgconvoy.lease SET beat_at = beat_at - interval '1 hour'")
	holder, _, err = l.Holder(t.Context(), c, id)
	require.NoError(t, err)
	require.Greater(t, holder.Silent, time.Minute)

	_, err = l.Beat(t.Context(), c, tasks.Pulse{Worker: "w1"})
	require.NoError(t, err)
	require.Equal(t, "0", db.Query(t, "SELECT count(*) FROM pgconvoy.lease"), "what is not in hand any more is forgotten")
	require.NoError(t, l.ReleaseSnapshot(t.Context(), c))
	orders, err = l.Beat(t.Context(), c, tasks.Pulse{Worker: "w1"})
	require.NoError(t, err)
	require.Zero(t, orders.Snapshot)
	rollback(t, w)
	require.NoError(t, ledger.Drop(t.Context(), c))
	_, err = l.Beat(t.Context(), c, tasks.Pulse{Worker: "w1"})
	require.ErrorIs(t, err, ledger.ErrNoRun)
}

// TestVanishedWorkers: a worker that ended with a task in hand is counted, one
// that has it in hand is not.
func TestVanishedWorkers(t *testing.T) {
	t.Parallel()
	db := pgtest.Target(t).Database(t)
	c := connect(t, db)
	l := create(t, c, fanIn(t, 1)...)
	const id = tasks.ID("copy.public.t000.all")
	for _, name := range []string{"w1", "w2"} {
		_, err := l.Beat(t.Context(), c, tasks.Pulse{Worker: name, Hand: []tasks.Lease{{Task: id, Target: tasks.Session{PID: 1, Start: name}}}})
		require.NoError(t, err)
	}
	_, err := l.Beat(t.Context(), c, tasks.Pulse{Worker: "w3", Hand: []tasks.Lease{{Task: id, Target: tasks.Session(c.Backend())}}})
	require.NoError(t, err)
	n, err := l.Vanished(t.Context(), c, id, 0)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	n, err = l.Vanished(t.Context(), c, id, time.Hour)
	require.NoError(t, err)
	require.Zero(t, n, "they may still be alive")
	require.NoError(t, l.Fail(t.Context(), c, id, "kills workers", "w4"))
	retried, err := l.Retry(t.Context(), c, nil)
	require.NoError(t, err)
	require.Equal(t, 1, retried)
	require.Equal(t, "0", db.Query(t, "SELECT count(*) FROM pgconvoy.lease"))
}

// TestFailuresOfAZombieAreNotRecorded: a worker that was frozen finds that
// another one has its task.
func TestFailuresOfAZombieAreNotRecorded(t *testing.T) {
	t.Parallel()
	db := pgtest.Target(t).Database(t)
	c, w := connect(t, db), worker(t, db)
	l := create(t, c, fanIn(t, 1)...)
	const id = tasks.ID("copy.public.t000.all")
	taken := take(t, l, w, id)
	_, err := l.Attempt(t.Context(), c, id, "lost its connection")
	require.ErrorIs(t, err, tasks.ErrBusy)
	require.ErrorIs(t, l.Fail(t.Context(), c, id, "lost its connection", "zombie"), tasks.ErrBusy)
	require.NoError(t, l.Done(t.Context(), w, taken, tasks.Result{}, "heir"))
	_, err = l.Attempt(t.Context(), c, id, "too late")
	require.ErrorIs(t, err, tasks.ErrBusy)
	require.Equal(t, "0", db.Query(t, "SELECT sum(attempts) FROM pgconvoy.task"))
}

func TestReopen(t *testing.T) {
	t.Parallel()
	db := pgtest.Target(t).Database(t)
	c := connect(t, db)
	l := create(t, c, fanIn(t, 2)...)
	copied(t, l, c, "copy.public.t000.all", "a", 1)
	copied(t, l, c, "copy.public.t001.all", "b", 1)
	_, err := l.Ready(t.Context(), c)
	require.NoError(t, err)
	do(t, l, c, "attach.public.t.all")
	require.NoError(t, l.Reopen(t.Context(), c, []tasks.ID{"copy.public.t000.all"}, true))
	require.NoError(t, l.Reopen(t.Context(), c, []tasks.ID{"attach.public.t.all"}, false))
	ready, err := l.Ready(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, []tasks.ID{"copy.public.t000.all"}, idsOf(ready), "what needs it waits again")
	require.True(t, take(t, l, c, "copy.public.t000.all").Again)
	rollback(t, c)
	require.Equal(t, []string{"b"}, db.Column(t, "SELECT name FROM pgconvoy.copied"))
	copied(t, l, c, "copy.public.t000.all", "a", 1)
	require.Equal(t, "f", db.Query(t, "SELECT again FROM pgconvoy.task WHERE id = 'copy.public.t000.all'"))
}

// What is ready waits again when rows that it needs are copied again, however
// many tasks are in between.
func TestFollowersWaitAgain(t *testing.T) {
	t.Parallel()
	db := pgtest.Target(t).Database(t)
	c := connect(t, db)
	other := task(t, tasks.KindAnalyze, "other", "other")
	l := create(t, c, append(fanIn(t, 2), other, task(t, tasks.KindRefresh, "v", "v", tasks.WaveData))...)
	for _, id := range []tasks.ID{"copy.public.t000.all", "copy.public.t001.all", "attach.public.t.all"} {
		unblocked(t, l, c, do(t, l, c, id))
	}
	require.Equal(t, "ready", state(t, db, "analyze.public.t.all"))
	copies := []tasks.ID{"copy.public.t000.all"}
	_, err := c.Exec(t.Context(), "BEGIN")
	require.NoError(t, err)
	followers, err := l.Followers(t.Context(), c, copies)
	require.NoError(t, err)
	require.Equal(t, []tasks.ID{"analyze.public.t.all"}, followers, "neither what is done nor what waits already, nor what needs other things")
	require.NoError(t, l.HoldUp(t.Context(), c, copies))
	require.NoError(t, l.Reopen(t.Context(), c, copies, true))

	second := connect(t, db)
	asked := make(chan []tasks.ID, 1)
	go func() {
		list, err := l.Unblocked(context.WithoutCancel(t.Context()), second, tasks.Task{ID: "attach.public.t.all", Kind: tasks.KindAttach, Group: "attach"})
		if err != nil {
			list = []tasks.Task{{ID: tasks.ID(err.Error())}}
		}
		asked <- idsOf(list)
	}()
	require.Eventually(t, func() bool {
		return db.Query(t, `SELECT count(*) FROM pg_locks WHERE relation = 'pgconvoy.need'::regclass AND NOT granted
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`) == "1"
	}, wait, tick)
	_, err = c.Exec(t.Context(), "COMMIT")
	require.NoError(t, err)
	require.Empty(t, <-asked, "who asks meanwhile what is ready is told what is so afterwards")
	require.Equal(t, "pending", state(t, db, "analyze.public.t.all"))
	require.Equal(t, "done", state(t, db, "attach.public.t.all"), "what is done stays so")
	require.Equal(t, "ready", state(t, db, other.ID))
	ready, err := l.Ready(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, []tasks.ID{"analyze.public.other.all", "copy.public.t000.all"}, sorted(idsOf(ready)), "although all that it was planned to need is done")
	require.Equal(t, []tasks.ID{"analyze.public.t.all"}, unblocked(t, l, c, do(t, l, c, "copy.public.t000.all")))
}

func TestControl(t *testing.T) {
	t.Parallel()
	c := connect(t, pgtest.Target(t).Database(t))
	l := create(t, c, fanIn(t, 1)...)
	require.NoError(t, l.SetPaused(t.Context(), c, true))
	require.NoError(t, l.SetCaps(t.Context(), c, map[tasks.Stage]int{tasks.StageCopy: 8, tasks.StageIndex: 2}))
	require.NoError(t, l.SetCaps(t.Context(), c, map[tasks.Stage]int{tasks.StageCopy: 9}))
	require.NoError(t, l.SetLimits(t.Context(), c, tasks.Limits{tasks.SourceRate: 7, tasks.TargetReplicaLag: 1}))
	require.NoError(t, l.SetLimits(t.Context(), c, tasks.Limits{tasks.SourceRate: 0}))
	require.NoError(t, l.SetWish(t.Context(), c, ledger.WishDrain))
	k, err := l.Control(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, ledger.Control{Paused: true, Caps: map[tasks.Stage]int{tasks.StageCopy: 9, tasks.StageIndex: 2},
		Limits: tasks.Limits{tasks.SourceRate: 0, tasks.TargetReplicaLag: 1}, Wish: ledger.WishDrain}, k)
	require.NoError(t, l.Resume(t.Context(), c, "me"))
	k, err = l.Control(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, ledger.WishNone, k.Wish)
	s, err := l.Status(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, "me", s.Planner)
	require.True(t, s.Paused)
	require.Equal(t, 1, s.Tasks[tasks.Ready])
	require.Equal(t, 2, s.Tasks[tasks.Pending])
	names, err := ledger.Runs(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, []string{"shop"}, names)
}

// TestThrottle: workers are told what the limits leave them, also before anybody has
// divided it.
func TestThrottle(t *testing.T) {
	t.Parallel()
	c := connect(t, pgtest.Target(t).Database(t))
	l := create(t, c, fanIn(t, 1)...)
	orders := func(p tasks.Pulse) tasks.Orders {
		t.Helper()
		o, err := l.Beat(t.Context(), c, p)
		require.NoError(t, err)
		return o
	}
	require.Zero(t, orders(tasks.Pulse{Worker: "w1"}).Pace)
	s, err := l.Status(t.Context(), c)
	require.NoError(t, err)
	require.Nil(t, s.Throttle, "there are no limits")

	limits := tasks.Limits{tasks.SourceRate: 1000, tasks.TargetConnections: 9}
	require.NoError(t, l.SetThrottle(t.Context(), c, tasks.Throttle{Limits: limits}))
	o := orders(tasks.Pulse{Worker: "w1", BytesPerSecond: 5, Slowed: true})
	require.Equal(t, tasks.Pace{BytesPerSecond: 1000}, o.Pace)
	require.True(t, o.Lean)
	require.Equal(t, tasks.Pace{BytesPerSecond: 500}, orders(tasks.Pulse{Worker: "w2"}).Pace)
	workers, err := l.Workers(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, []tasks.Pulse{{Worker: "w1", BytesPerSecond: 5, Slowed: true}, {Worker: "w2"}}, workers)
	require.NoError(t, l.SetShares(t.Context(), c, workers, []int64{900, 100}))
	require.Equal(t, tasks.Pace{BytesPerSecond: 900}, orders(tasks.Pulse{Worker: "w1"}).Pace)
	require.Equal(t, tasks.Pace{BytesPerSecond: 100}, orders(tasks.Pulse{Worker: "w2"}).Pace)

	told := tasks.Throttle{Limits: tasks.Limits{tasks.SourceRate: 80}, Held: true, Lowered: []tasks.Lowered{{Stage: tasks.StageCopy, From: 4}}}
	require.NoError(t, l.SetThrottle(t.Context(), c, told))
	require.Equal(t, tasks.Pace{BytesPerSecond: 40, Held: true}, orders(tasks.Pulse{Worker: "w1"}).Pace, "a share of another limit is none")
	s, err = l.Status(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, &told, s.Throttle)
	_, err = c.Exec(t.Context(), "UPDATE pgconvoy.worker SET beat_at = beat_at - interval '1 minute' WHERE worker = 'w2'")
	require.NoError(t, err)
	require.NoError(t, l.SetShares(t.Context(), c, nil, nil))
	require.Equal(t, tasks.Pace{BytesPerSecond: 80, Held: true}, orders(tasks.Pulse{Worker: "w1"}).Pace, "the other one is forgotten")
}
