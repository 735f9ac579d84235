package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/fleet"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/queue"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
	"github.com/pgconvoy/pgconvoy/internal/worker"
)

const rows1000 = "INSERT INTO a SELECT i, 'value ' || i FROM generate_series(1, 1000) i"

func TestTaskAndItsFollowers(t *testing.T) {
	t.Parallel()
	b := databases(t, "CREATE TABLE a (id int, v text)", rows1000)
	copied := b.copyTask(t, "a")
	index := after(run(t, tasks.KindIndex, "index.public.a.a_v", "CREATE INDEX a_v ON public.a (v)"), copied)
	attach := after(run(t, tasks.KindAttach, "attach.public.a.all", "ALTER TABLE public.a ADD PRIMARY KEY (id)"), index)
	analyze := after(run(t, tasks.KindAnalyze, "analyze.public.a.all", "ANALYZE public.a"), attach)
	b.start(t, copied, index, attach, analyze)
	b.finish(t)
	require.Equal(t, 4, b.dst.Count(t, "pgconvoy.task WHERE state = 'done' AND attempts = 0 AND worker <> ''"))
	require.Equal(t, [][]string{{"1000", "1000"}}, b.dst.Rows(t, "SELECT rows, (SELECT rows FROM pgconvoy.copied) FROM pgconvoy.task WHERE kind = 'copy'"))
	pgtest.RequireEqual(t, b.src, b.dst, pgtest.DataOnly(), pgtest.IgnoreSchemas("pgconvoy"))
	require.Equal(t, "t", b.dst.Query(t, "SELECT reltuples = 1000 FROM pg_class WHERE oid = 'a'::regclass"))
	require.Equal(t, map[string]int{"copy done": 1, "index done": 1, "attach done": 1, "analyze done": 1}, b.outcomes(t))
}

func TestDeliveredAgainAfterItIsDone(t *testing.T) {
	t.Parallel()
	b := databases(t, "CREATE TABLE a (id int, v text)", rows1000)
	copied := b.copyTask(t, "a")
	follower := after(run(t, tasks.KindIndex, "index.public.a.a_v", "CREATE INDEX a_v ON public.a (v)"), copied)
	b.start(t, copied, follower)
	// Another worker does the copy, and dies before it has published the follower.
	c, err := pg.Connect(t.Context(), pg.Options{Side: pg.Target, URI: b.dst.URI()})
	require.NoError(t, err)
	taken, _, err := b.ledger.Take(t.Context(), c, copied.ID)
	require.NoError(t, err)
	require.NoError(t, b.ledger.Done(t.Context(), c, taken, tasks.Result{}, "dead worker"))
	c.Discard()

	b.finish(t)
	require.Equal(t, 2, b.dst.Count(t, "pgconvoy.task WHERE state = 'done'"))
	require.Equal(t, 0, b.dst.Count(t, "a"), "what is done is not done again")
	require.Equal(t, map[string]int{"index done": 1}, b.outcomes(t))
}

// While another worker has the task, a delivery of it is handed back.
func TestDeliveredWhileAnotherWorkerHasIt(t *testing.T) {
	t.Parallel()
	b := databases(t, "CREATE TABLE a (id int, v text)", rows1000)
	b.start(t, b.copyTask(t, "a"))
	c, err := pg.Connect(t.Context(), pg.Options{Side: pg.Target, URI: b.dst.URI()})
	require.NoError(t, err)
	defer c.Discard()
	taken, state, err := b.ledger.Take(t.Context(), c, copyID("a"))
	require.NoError(t, err)
	require.Equal(t, tasks.Ready, state)
	stop := b.worker(t)
	b.answered(t, `-NAK {"delay": 5000000000}`)
	require.NoError(t, b.ledger.Done(t.Context(), c, taken, tasks.Result{}, "other"))
	b.emptied(t)
	require.NoError(t, stop())
	require.Equal(t, 0, b.dst.Count(t, "a"))
	require.Equal(t, "0", b.attempts(t, copyID("a")))
}

// Whatever a message says, nothing but ready tasks of this run is ever done.
func TestHostileMessages(t *testing.T) {
	t.Parallel()
	const nak30 = `-NAK {"delay": 30000000000}`
	stranger := tasks.ID("copy.public.a.other")
	b := databases(t, "CREATE TABLE a (id int, v text)", rows1000)
	b.start(t, b.copyTask(t, "a"))
	require.NoError(t, b.queue.Purge(t.Context()))
	nc := b.nats(t)
	stop := b.worker(t)
	for name, test := range map[string]struct {
		state  string // of the task a
		edit   func(e *tasks.Envelope)
		body   string
		answer string
	}{
		"unknown task":   {edit: func(e *tasks.Envelope) { e.Task = stranger }, answer: "+TERM task is not ready"},
		"pending task":   {state: "pending", answer: "+TERM task is not ready"},
		"failed task":    {state: "failed", answer: "+TERM task is not ready"},
		"another run":    {edit: func(e *tasks.Envelope) { e.RunUID = "uid-0" }, answer: "+TERM stale run"},
		"another source": {edit: func(e *tasks.Envelope) { e.FP.Source = "1/x" }, answer: nak30},
		"another target": {edit: func(e *tasks.Envelope) { e.FP.Target = "1/x" }, answer: nak30},
		"newer version":  {edit: func(e *tasks.Envelope) { e.Version++ }, answer: nak30},
		"unknown kind":   {edit: func(e *tasks.Envelope) { e.Kind = "drop" }, answer: nak30},
		"another kind":   {state: "pending", edit: func(e *tasks.Envelope) { e.Kind = tasks.KindRefresh }, answer: "+TERM task is not ready"},
		"garbage":        {body: "\x00{]", answer: "+TERM not readable"},
		"no version":     {body: `{"sql": "DROP TABLE a"}`, answer: "+TERM not readable"},
		"empty":          {body: " ", answer: "+TERM not readable"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.state == "" {
				test.state = "ready"
			}
			b.dst.Exec(t, fmt.Sprintf("UPDATE pgconvoy.task SET state = '%s'", test.state))
			before := b.dst.Rows(t, "SELECT * FROM pgconvoy.task")
			e := b.ledger.Run().Envelope(tasks.KindCopy, copyID("a"))
			if test.edit != nil {
				test.edit(&e)
			}
			body, err := json.Marshal(e)
			require.NoError(t, err)
			if test.body != "" {
				body = []byte(test.body)
			}
			b.forgetAnswers()
			require.NoError(t, nc.Publish(queue.Subject("test", e.Task), body))
			b.answered(t, test.answer)
			require.NoError(t, b.queue.Purge(t.Context()))
			require.Equal(t, before, b.dst.Rows(t, "SELECT * FROM pgconvoy.task"))
			require.Equal(t, 0, b.dst.Count(t, "a"))
		})
	}
	require.NoError(t, stop())
}

func TestTransientErrorsAreRetriedAndCounted(t *testing.T) {
	t.Parallel()
	for name, side := range map[string]func(b *bundle) *pgtest.Database{
		"target": func(b *bundle) *pgtest.Database { b.dst.Exec(t, gated); return b.dst },
		"source": func(b *bundle) *pgtest.Database { return b.src },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := databases(t, "CREATE TABLE a (id int, v text)", `INSERT INTO a SELECT i, repeat('x', 1000) FROM generate_series(1, 20000) i;
				CREATE FUNCTION waits(id int) RETURNS bool LANGUAGE plpgsql AS 'BEGIN
				IF id = 15000 THEN PERFORM pg_advisory_xact_lock_shared(4711); END IF; RETURN true; END'`)
			spec := b.copyOf(t, "a")
			spec.Where = "public.waits(id)"
			b.start(t, task(t, tasks.KindCopy, copyID("a"), spec))
			db := side(b)
			open := shut(t, db)
			stop := b.worker(t)
			await(t, db, waiting(1))
			require.Equal(t, []string{"t"}, db.Column(t, `SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
				WHERE datname = current_database() AND application_name LIKE 'pgconvoy worker%' AND wait_event = 'advisory'`))
			b.await(t, "(SELECT attempts FROM pgconvoy.task) = 1")
			b.answered(t, `-NAK {"delay": 1000000000}`)
			require.Contains(t, b.reason(t, copyID("a")), fmt.Sprintf(`COPY "public"."a": %s: FATAL: terminating connection`, name))
			open()
			b.await(t, "(SELECT state FROM pgconvoy.task) = 'done'")
			require.NoError(t, stop())
			require.Equal(t, 20000, b.dst.Count(t, "a"))
			require.Equal(t, "1", b.attempts(t, copyID("a")))
			require.Equal(t, map[string]int{"copy retried": 1, "copy done": 1}, b.outcomes(t))
		})
	}
}

func TestFinalErrorsNameTableRowAndColumn(t *testing.T) {
	t.Parallel()
	b := databases(t, "CREATE TABLE good (id int)", `INSERT INTO good VALUES (1), (1); CREATE TABLE bad (id int, v text);
		INSERT INTO bad VALUES (1, '1'), (2, 'bad_, line 99, column z: '), (3, '3'); DELETE FROM bad WHERE id = 1; INSERT INTO bad VALUES (4, '4')`)
	b.dst.Exec(t, "CREATE TABLE bad (id int, v int); CREATE TABLE ref (id int PRIMARY KEY)")
	good, bad := b.copyTask(t, "good"), b.copyTask(t, "bad")
	follower := after(run(t, tasks.KindIndex, "index.public.bad.x", "CREATE INDEX ON public.bad (v)"), bad)
	unique := after(run(t, tasks.KindIndex, "index.public.good.u", "SELECT 1", "CREATE UNIQUE INDEX u ON public.good (id)"), good)
	orphans := after(run(t, tasks.KindFKeyAdd, "fkey.public.good.fk.add", "ALTER TABLE public.good ADD CONSTRAINT fk FOREIGN KEY (id) REFERENCES public.ref (id)"), good)
	b.start(t, good, bad, follower, unique, orphans)
	b.finish(t)
	require.Equal(t, "done", b.state(t, good.ID))
	require.Equal(t, "pending", b.state(t, follower.ID))
	for id, want := range map[tasks.ID][]string{
		bad.ID:     {`COPY "public"."bad"`, "row 1 of the COPY, at ctid (0,2) on the source", "column v", "22P02"},
		unique.ID:  {"CREATE UNIQUE INDEX u", "Key (id)=(1) is duplicated", "REINDEX"},
		orphans.ID: {"ADD CONSTRAINT fk", `Key (id)=(1) is not present in table "ref"`, "NOT VALID"},
	} {
		require.Equal(t, "failed", b.state(t, id))
		require.Equal(t, "1", b.attempts(t, id), "an error that stays is not tried again")
		for _, part := range want {
			require.Contains(t, b.reason(t, id), part)
		}
	}
	b.answered(t, "+TERM SQLSTATE 23505")
	require.Equal(t, map[string]int{"copy done": 1, "copy failed": 1, "index failed": 1, "fkey-add failed": 1}, b.outcomes(t))
	require.Equal(t, 0, b.dst.Count(t, "bad"))
}

func TestRewrittenTablesAreNeverCopied(t *testing.T) {
	t.Parallel()
	changes := map[string]string{
		"truncated": "TRUNCATE truncated",
		"vacuumed":  "VACUUM FULL vacuumed",
		"altered":   "ALTER TABLE altered ALTER id TYPE bigint",
		"renamed":   "ALTER TABLE renamed RENAME TO other_name",
		"moved":     "CREATE SCHEMA elsewhere; ALTER TABLE moved SET SCHEMA elsewhere",
		"dropped":   "DROP TABLE dropped",
		"replaced":  "ALTER TABLE replaced RENAME TO replaced_old; CREATE TABLE replaced (id int)",
		"view":      "ALTER TABLE view RENAME TO view_table; CREATE VIEW view AS SELECT 1 AS id",
	}
	var both, source string
	for name := range changes {
		both += fmt.Sprintf("CREATE TABLE %s (id int);", name)
		source += fmt.Sprintf("INSERT INTO %s VALUES (1), (2);", name)
	}
	b := databases(t, both+"CREATE TABLE intact (id int)", source+"INSERT INTO intact VALUES (1)")
	list := []tasks.Task{b.copyTask(t, "intact")}
	var bundle tasks.Bundle
	for name := range changes {
		list = append(list, b.copyTask(t, name))
		c := b.copyOf(t, name)
		bundle.Tables = append(bundle.Tables, tasks.Loaded{Copy: c})
	}
	list = append(list, task(t, tasks.KindBundle, "copy.bundle.b0001", bundle))
	for _, change := range changes {
		b.src.Exec(t, change)
	}
	b.start(t, list...)
	b.finish(t)
	require.Equal(t, "done", b.state(t, copyID("intact")))
	for name := range changes {
		for _, id := range []tasks.ID{copyID(name), tasks.NewID(tasks.KindBundle, "bundle", "b0001", "public", name)} {
			require.Equal(t, "failed", b.state(t, id), name)
			require.Contains(t, b.reason(t, id), pg.ErrRewritten.Error(), name)
			require.Contains(t, b.reason(t, id), fmt.Sprintf(`"public"."%s"`, name))
		}
		require.Equal(t, 0, b.dst.Count(t, name))
	}
}

// A task is no worse for it, either, if the keepers of the snapshot cannot be
// asked: the planner makes their list anew.
func TestKeepersCannotBeAsked(t *testing.T) {
	t.Parallel()
	b := databases(t, "CREATE TABLE a (id int, v text)", rows1000)
	copied := b.copyTask(t, "a")
	b.start(t, copied)
	pgtest.Close(t, b.keeper.Conn)
	js, err := jetstream.New(b.nats(t))
	require.NoError(t, err)
	require.NoError(t, js.DeleteStream(t.Context(), "KV_"+queue.Bucket))
	stop := b.worker(t)
	b.answered(t, `-NAK {"delay": 5000000000}`)
	require.NoError(t, stop())
	require.Equal(t, "ready", b.state(t, copied.ID))
	require.Equal(t, "0", b.attempts(t, copied.ID))
}

// TestLostSnapshot: a task whose snapshot nobody holds waits, and is no worse for
// it, until somebody takes a new one.
func TestLostSnapshot(t *testing.T) {
	t.Parallel()
	b := databases(t, "CREATE TABLE a (id int, v text); CREATE TABLE c (id int)", rows1000)
	bundle := task(t, tasks.KindBundle, "copy.bundle.b0001", tasks.Bundle{Tables: []tasks.Loaded{{Copy: b.copyOf(t, "a")}, {Copy: b.copyOf(t, "c")}}})
	b.start(t, bundle)
	pgtest.Close(t, b.keeper.Conn)
	stop := b.worker(t)
	b.answered(t, `-NAK {"delay": 5000000000}`)
	require.Equal(t, "ready", b.state(t, bundle.ID))
	require.Equal(t, "0", b.attempts(t, bundle.ID))
	require.Eventually(t, func() bool { return b.ready(t) == "the snapshot of the run cannot be had from the source" }, wait, tick)

	source, err := pg.Connect(t.Context(), pg.Options{Side: pg.Source, URI: b.src.URI()})
	require.NoError(t, err)
	defer source.Discard()
	fresh, err := pg.ExportSnapshot(t.Context(), source)
	require.NoError(t, err)
	target, err := pg.Connect(t.Context(), pg.Options{Side: pg.Target, URI: b.dst.URI()})
	require.NoError(t, err)
	defer target.Discard()
	_, err = b.ledger.AddSnapshot(t.Context(), target, fresh, pg.Mark{Text: fresh.Text}, 0)
	require.NoError(t, err)
	b.emptied(t)
	require.NoError(t, stop())
	require.Equal(t, "done", b.state(t, bundle.ID))
	require.Equal(t, "2", b.dst.Query(t, "SELECT snapshot_id FROM pgconvoy.task"))
	require.Equal(t, "1", b.dst.Query(t, "SELECT count(*) FROM pgconvoy.task"), "no table is to blame, so the bundle stays whole")
}

// TestSnapshotOutlivesItsSession: as long as one process holds it, others can
// join.
func TestSnapshotOutlivesItsSession(t *testing.T) {
	t.Parallel()
	b := databases(t, "CREATE TABLE a (id int, v text)", rows1000)
	b.dst.Exec(t, gated)
	copied := b.copyTask(t, "a")
	b.start(t, copied)
	open := shut(t, b.dst)
	defer open()
	other := fleet.NewKeeper(b.queue, b.ledger, b.options)
	defer other.Release(context.Background())
	name, err := other.Hold(t.Context(), tasks.SnapshotRef{ID: 1, Name: b.snapshot(t).Name, Text: b.snapshot(t).Text})
	require.NoError(t, err)
	pgtest.Close(t, b.keeper.Conn)
	b.src.Exec(t, "DELETE FROM a")

	late := fleet.NewKeeper(b.queue, b.ledger, b.options)
	defer late.Release(context.Background())
	got, err := late.Hold(t.Context(), tasks.SnapshotRef{ID: 1, Name: "00000009-00000009-1", Text: b.text})
	require.NoError(t, err, "found through the registry")
	require.NotEqual(t, name, got)
	_, err = late.Hold(t.Context(), tasks.SnapshotRef{ID: 2, Name: name, Text: "1:1:"})
	require.ErrorIs(t, err, tasks.ErrSnapshotLost, "a name of another snapshot is no use")
}

// TestSilentWorkerLosesItsTask: a worker that is frozen keeps its locks as long
// as its kernel answers; they are taken from it.
func TestSilentWorkerLosesItsTask(t *testing.T) {
	t.Parallel()
	b := databases(t, "CREATE TABLE a (id int, v text)", rows1000)
	copied := b.copyTask(t, "a")
	b.start(t, copied)
	frozen, err := pg.Connect(t.Context(), pg.Options{Side: pg.Target, URI: b.dst.URI(), Name: "pgconvoy worker frozen"})
	require.NoError(t, err)
	defer frozen.Discard()
	reading, err := pg.Connect(t.Context(), pg.Options{Side: pg.Source, URI: b.src.URI()})
	require.NoError(t, err)
	defer reading.Discard()
	_, _, err = b.ledger.Take(t.Context(), frozen, copied.ID)
	require.NoError(t, err)
	observer, err := pg.Connect(t.Context(), pg.Options{Side: pg.Target, URI: b.dst.URI()})
	require.NoError(t, err)
	defer observer.Discard()
	_, err = b.ledger.Beat(t.Context(), observer, tasks.Pulse{Worker: "frozen", Hand: []tasks.Lease{{
		Task: copied.ID, Target: tasks.Session(frozen.Backend()), Source: tasks.Session(reading.Backend())}}})
	require.NoError(t, err)
	b.finish(t)
	require.Equal(t, "done", b.state(t, copied.ID))
	require.Equal(t, 1000, b.dst.Count(t, "a"))
	require.Error(t, frozen.Ping(t.Context()), "its sessions are ended")
	require.Error(t, reading.Ping(t.Context()))
	require.Equal(t, "0", b.attempts(t, copied.ID))
}

// TestTaskThatKillsWorkersFails: no attempt is counted when a worker vanishes,
// so what they vanish with is counted.
func TestTaskThatKillsWorkersFails(t *testing.T) {
	t.Parallel()
	b := databases(t, "", "")
	deadly := run(t, tasks.KindSchema, "misc.deadly.x", "SELECT 1")
	b.start(t, deadly)
	b.dst.Exec(t, `INSERT INTO pgconvoy.lease (run, task, worker, target_pid, target_start, bytes, moved_at, beat_at, since)
		SELECT 'test', 'misc.deadly.x', 'w' || i, 1, 'then', 0, now() - interval '1 h', now() - interval '1 h', now() - interval '1 h' FROM generate_series(1, 8) i`)
	for range 3 { // as if so many workers had it
		d, err := b.queue.Fetch(t.Context(), tasks.StageMisc, wait)
		require.NoError(t, err)
		require.NoError(t, d.Nak(0))
	}
	b.finish(t)
	require.Equal(t, "failed", b.state(t, deadly.ID))
	require.Contains(t, b.reason(t, deadly.ID), "8 workers vanished")
}

func TestDrainFinishesWhatRuns(t *testing.T) {
	t.Parallel()
	b := databases(t, "CREATE TABLE a (id int, v text)", rows1000)
	b.dst.Exec(t, gated)
	copied := b.copyTask(t, "a")
	b.start(t, copied, run(t, tasks.KindSchema, "misc.later.x", "SELECT 1"))
	b.options.Slots = map[tasks.Stage]int{tasks.StageCopy: 1}
	open := shut(t, b.dst)
	cancel, done := b.background(t)
	b.await(t, waiting(1))
	cancel()
	open()
	require.NoError(t, <-done)
	require.Equal(t, "done", b.state(t, copied.ID))
	b.answered(t, "+ACK")
	require.Equal(t, 1000, b.dst.Count(t, "a"))
}

func TestDrainHandsBackAfterTheGrace(t *testing.T) {
	t.Parallel()
	b := databases(t, "CREATE TABLE a (id int, v text)", rows1000)
	b.dst.Exec(t, gated)
	copied := b.copyTask(t, "a")
	b.start(t, copied)
	b.options.Grace = 100 * time.Millisecond
	open := shut(t, b.dst)
	cancel, done := b.background(t)
	b.await(t, waiting(1))
	cancel()
	require.NoError(t, <-done)
	b.answered(t, "-NAK")
	require.Equal(t, "ready", b.state(t, copied.ID))
	require.Equal(t, "0", b.attempts(t, copied.ID), "what is handed back is no attempt")
	require.Equal(t, 0, b.dst.Count(t, "a"))
	open()
	b.finish(t) // by another worker
	require.Equal(t, 1000, b.dst.Count(t, "a"))
	require.Equal(t, map[string]int{"copy returned": 1, "copy done": 1}, b.outcomes(t))
}

func TestSlotsBoundWhatRuns(t *testing.T) {
	t.Parallel()
	b := databases(t, "", "")
	var list []tasks.Task
	for i := range 10 {
		list = append(list, run(t, tasks.KindSchema, tasks.ID(fmt.Sprintf("misc.x.t%d", i)), fmt.Sprintf("SELECT pg_advisory_xact_lock_shared(%d)", gate)))
	}
	b.start(t, list...)
	b.options.Slots = map[tasks.Stage]int{tasks.StageMisc: 3}
	open := shut(t, b.dst)
	stop := b.worker(t)
	b.await(t, waiting(3))
	require.Never(t, func() bool { return b.dst.Query(t, "SELECT "+waiting(3)) != "t" }, 500*time.Millisecond, 50*time.Millisecond)
	open()
	b.await(t, "(SELECT count(*) FROM pgconvoy.task WHERE state = 'done') = 10")
	require.NoError(t, stop())
}

// A long task is not idleness.
func TestIdle(t *testing.T) {
	t.Parallel()
	b := databases(t, "CREATE TABLE a (id int, v text)", rows1000)
	b.dst.Exec(t, gated)
	b.start(t, b.copyTask(t, "a"))
	b.options.Idle, b.options.Grace = 2*time.Second, 100*time.Millisecond // time enough to begin
	open := shut(t, b.dst)
	_, done := b.background(t)
	b.await(t, waiting(1))
	select {
	case err := <-done:
		require.Fail(t, "the worker ended while its task ran", "%v", err)
	case <-time.After(2 * b.options.Idle):
	}
	open()
	require.ErrorIs(t, <-done, worker.ErrIdle)
	require.Equal(t, "done", b.state(t, copyID("a")))
}

func TestQueueThatIsGoneEndsTheWorker(t *testing.T) {
	t.Parallel()
	b := databases(t, "", "")
	b.start(t)
	_, done := b.background(t)
	require.NoError(t, b.queue.Delete(t.Context()))
	require.ErrorIs(t, <-done, queue.ErrGone)
}
