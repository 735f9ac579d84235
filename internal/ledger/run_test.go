package ledger_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/ledger"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

func TestComplete(t *testing.T) {
	t.Parallel()
	db := pgtest.Target(t).Database(t)
	c := connect(t, db)
	l := create(t, c, task(t, tasks.KindCopy, "t000", "copy"))
	require.ErrorIs(t, l.Complete(t.Context(), c), ledger.ErrUnfinished)
	require.Equal(t, byte('I'), c.PgConn().TxStatus())
	require.NoError(t, l.Fail(t.Context(), c, first, "x", "w"))
	require.ErrorIs(t, l.Complete(t.Context(), c), ledger.ErrUnfinished)
	db.Exec(t, "UPDATE pgconvoy.task SET state = 'ready'")
	do(t, l, c, first)
	require.NoError(t, l.Complete(t.Context(), c))
	require.Equal(t, "complete", db.Query(t, "SELECT state FROM pgconvoy.run WHERE finished_at IS NOT NULL"))
	require.NoError(t, l.End(t.Context(), c, tasks.RunFailed))
	require.Equal(t, "complete", db.Query(t, "SELECT state FROM pgconvoy.run"), "what is complete stays so")
}

func TestEnd(t *testing.T) {
	t.Parallel()
	db := pgtest.Target(t).Database(t)
	c := connect(t, db)
	l := create(t, c, task(t, tasks.KindCopy, "t000", "copy"))
	require.NoError(t, l.End(t.Context(), c, tasks.RunCancelled))
	require.Equal(t, "cancelled", db.Query(t, "SELECT state FROM pgconvoy.run WHERE finished_at IS NOT NULL"))
	do(t, l, c, first)
	require.ErrorIs(t, l.Complete(t.Context(), c), ledger.ErrUnfinished)
}

// Tasks commit asynchronously, so whatever made the target recover, a restart
// or the crash of one of its processes, may have taken commits back.
func TestRestartedTargetIsNotComplete(t *testing.T) {
	t.Parallel()
	s := pgtest.Start(t, pgtest.Options{})
	for name, disturb := range map[string]func(db *pgtest.Database){
		"restart": func(*pgtest.Database) { s.Stop(t, syscall.SIGINT); s.Launch(t) },
		"crash":   func(*pgtest.Database) { s.Stop(t, syscall.SIGQUIT); s.Launch(t) },
		"crash of a backend": func(db *pgtest.Database) {
			c := connect(t, db)
			require.NoError(t, syscall.Kill(int(c.PgConn().PID()), syscall.SIGKILL))
			// The server takes a moment to notice, and then refuses sessions until it has recovered.
			recovered := "SELECT 1 / (SELECT count(*) FROM (SELECT WHERE NOT EXISTS (SELECT FROM pgconvoy.intact)) x)"
			require.Eventually(t, func() bool { return db.TryExec(recovered) == nil }, wait, tick)
		},
	} {
		t.Run(name, func(t *testing.T) {
			db := s.Database(t)
			c := connect(t, db)
			l := create(t, c, task(t, tasks.KindCopy, "t000", "copy"))
			do(t, l, c, first)
			restarted, err := l.Restarted(t.Context(), c)
			require.NoError(t, err)
			require.False(t, restarted)
			db.Exec(t, "CHECKPOINT")

			disturb(db)
			c = connect(t, db)
			restarted, err = l.Restarted(t.Context(), c)
			require.NoError(t, err)
			require.True(t, restarted)
			require.Equal(t, "done", state(t, db, first))
			require.ErrorIs(t, l.Complete(t.Context(), c), ledger.ErrUnfinished)
		})
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	db := pgtest.Target(t).Database(t)
	c := connect(t, db)
	a, b := tasks.Name{Schema: "public", Name: "a"}, tasks.Name{Schema: "public", Name: "b"}
	on := func(k tasks.Kind, item string, group tasks.Group) tasks.Task {
		made, err := tasks.New(k, tasks.NewID(k, "public", "a", item), tasks.Statements{On: &a})
		require.NoError(t, err)
		made.Group, made.Wave = group, tasks.WaveData
		return made
	}
	verify, err := tasks.New(tasks.KindVerify, tasks.NewID(tasks.KindVerify, "verify", "v0001"), tasks.Verify{Level: "rows"})
	require.NoError(t, err)
	verify.Wave = tasks.WaveVerify
	l, err := ledger.Create(t.Context(), c, newRun(""), tasks.Plan{
		Tasks: []tasks.Task{on(tasks.KindCopy, "p0001", "c"), on(tasks.KindCopy, "p0002", "c"), on(tasks.KindBundle, "b", "b"),
			on(tasks.KindIndex, "x", "i"), on(tasks.KindAttach, "all", ""), on(tasks.KindFKeyAdd, "fk", ""), on(tasks.KindRefresh, "m", ""), verify},
		Tables:  []tasks.PlannedTable{{Name: b, Bytes: 1, Parts: 1, Bundle: "copy.bundle.b0001", Indexes: 1}, {Name: a, Bytes: 100, Parts: 2, Indexes: 3}},
		Skipped: []tasks.Skipped{{Object: "y", Reason: "because"}, {Object: "x", Reason: "so"}},
	})
	require.NoError(t, err)
	finish := func(id tasks.ID, r tasks.Result) {
		require.NoError(t, l.Done(t.Context(), c, take(t, l, c, id), r, "w"))
	}
	count := func(n tasks.Name, rows int64) tasks.Result {
		return tasks.Result{Rows: rows, Bytes: 10 * rows, Tables: []tasks.TableCount{{Name: n, Rows: rows, Bytes: 10 * rows}}}
	}
	finish("copy.public.a.p0001", count(a, 3))
	finish("copy.public.a.p0002", count(a, 4))
	finish("copy.public.a.b", count(b, 5))
	finish("index.public.a.x", tasks.Result{})
	finish("attach.public.a.all", tasks.Result{Notes: []string{"look"}})
	finish("misc.verify.v0001", tasks.Result{})
	_, err = l.Attempt(t.Context(), c, "fkey.public.a.fk", "once")
	require.NoError(t, err)
	require.NoError(t, l.Fail(t.Context(), c, "fkey.public.a.fk", "orphans", "w"))
	// Known times: copies take 10 s each one after the other, the index 2 s and the attach task 1 s beside them.
	db.Exec(t, `UPDATE pgconvoy.task SET started_at = '2020-01-01 00:00:00+00'::timestamptz + x.begin * interval '1 s', done_at = '2020-01-01 00:00:00+00'::timestamptz + x.finish * interval '1 s'
		FROM (VALUES ('copy.public.a.p0001', 0, 10), ('copy.public.a.p0002', 10, 20), ('copy.public.a.b', 0, 5), ('index.public.a.x', 20, 22), ('attach.public.a.all', 22, 23)) x (id, begin, finish)
		WHERE task.id = x.id`)
	db.Exec(t, "UPDATE pgconvoy.run SET created_at = '2020-01-01 00:00:00+00', finished_at = '2020-01-01 00:01:00+00', state = 'failed'")

	r, err := l.Report(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, tasks.RunFailed, r.State)
	require.Equal(t, "700:701:", r.Snapshot)
	require.Equal(t, time.Minute, r.Elapsed)
	require.Equal(t, int64(12), r.Rows)
	require.Equal(t, int64(120), r.Bytes)
	require.Equal(t, 1, r.Pending)
	require.Equal(t, "rows", r.Verified)
	require.Equal(t, []tasks.TableReport{
		{Name: a, Rows: 7, Bytes: 70, Parts: 2, CopyTime: 20 * time.Second, Indexes: 3, IndexTime: 3 * time.Second},
		{Name: b, Rows: 5, Bytes: 50, Parts: 1, Bundle: "copy.bundle.b0001", Indexes: 1},
	}, r.Tables)
	stages := map[tasks.Kind]tasks.StageReport{}
	for _, s := range r.Stages {
		stages[s.Kind] = s
	}
	require.Equal(t, tasks.StageReport{Kind: tasks.KindCopy, Stage: tasks.StageCopy, Tasks: 2, Wall: 20 * time.Second, Cumulative: 20 * time.Second}, stages[tasks.KindCopy])
	require.Equal(t, tasks.StageReport{Kind: tasks.KindIndex, Stage: tasks.StageIndex, Tasks: 1, Wall: 2 * time.Second, Cumulative: 2 * time.Second}, stages[tasks.KindIndex])
	require.Equal(t, []tasks.Skipped{{Object: "y", Reason: "because"}, {Object: "x", Reason: "so"}}, r.Skipped)
	require.Equal(t, []tasks.Failure{{Task: "fkey.public.a.fk", Kind: tasks.KindFKeyAdd, Attempts: 1, Reason: "orphans"}}, r.Failures)
	require.Equal(t, []tasks.Note{{Task: "attach.public.a.all", Text: "look"}}, r.Notes)
}

func TestReportOfAFreshRun(t *testing.T) {
	t.Parallel()
	db := pgtest.Target(t).Database(t)
	c := connect(t, db)
	verify, err := tasks.New(tasks.KindVerify, tasks.NewID(tasks.KindVerify, "verify", "v0001"), tasks.Verify{Level: "rows"})
	require.NoError(t, err)
	l := create(t, c, verify)
	r, err := l.Report(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, tasks.RunRunning, r.State)
	require.Empty(t, r.Verified, "nothing was compared yet")
	require.Equal(t, 1, r.Pending)
	require.NotNil(t, r.Tables)
	require.NotNil(t, r.Failures)
}
