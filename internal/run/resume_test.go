package run_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/natstest"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/run"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// startPlanner starts a planner process that is configured by environment alone.
func startPlanner(t *testing.T, binary string, o run.Options, args ...string) *process {
	t.Helper()
	return startPlannerWith(t, binary, o, nil, args...)
}

// startPlannerWith starts one with more environment variables.
func startPlannerWith(t *testing.T, binary string, o run.Options, settings []string, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.CommandContext(context.WithoutCancel(t.Context()), binary, args...)}
	c := o.Config
	p.Env = append(os.Environ(), "PGCONVOY_SOURCE_URI="+string(c.Source.URI), "PGCONVOY_TARGET_URI="+string(c.Target.URI),
		"PGCONVOY_NATS_URL="+string(c.NATS.URL), "PGCONVOY_RUN="+c.Run, "PGCONVOY_PG_BINDIR="+c.PGBindir,
		"PGCONVOY_VERIFY="+string(c.Verify), fmt.Sprint("PGCONVOY_KEEP_LEDGER=", c.KeepLedger),
		fmt.Sprint("PGCONVOY_SPLIT_LARGER_THAN=", int64(c.Split.LargerThan)), fmt.Sprint("PGCONVOY_SPLIT_MAX_PARTS=", c.Split.MaxParts),
		fmt.Sprint("PGCONVOY_BUNDLE_MAX_TABLE=", int64(c.Bundle.MaxTable)))
	p.Env = append(p.Env, settings...)
	p.Dir = t.TempDir() // it leaves reports there
	return p.launch(t)
}

// kill ends a process as kill -9 does.
func (p *process) kill(t *testing.T) {
	t.Helper()
	require.NoError(t, p.Process.Signal(syscall.SIGKILL))
	_ = p.Wait()
}

// interrupted is a run whose planner was killed in the middle of its copies.
type interrupted struct {
	src, dst *pgtest.Database
	o        run.Options
	release  func() // the gate that parts of table big wait at
	workers  []*process
}

// interrupt begins a run with the number of worker processes and kills its
// planner while copies wait at the gate. Table small and its like are copied
// then. settings are environment variables of the planner.
func interrupt(t *testing.T, workers int, settings ...string) *interrupted {
	t.Helper()
	// Other tests assign transaction ids on the shared server, and would disprove that nothing has changed.
	return interruptOf(t, pgtest.Start(t, pgtest.Options{}).Database(t), workers, func(*interrupted) {}, settings...)
}

// interruptOf is interrupt of a run from src; filled is called when that has its rows.
func interruptOf(t *testing.T, src *pgtest.Database, workers int, filled func(*interrupted), settings ...string) *interrupted {
	t.Helper()
	r := &interrupted{src: src, dst: pgtest.Target(t).Database(t)}
	r.release = gated(t, r.src, r.dst, 30_000)
	r.src.Exec(t, `CREATE TABLE small (id int PRIMARY KEY, note text); INSERT INTO small SELECT i, 'n' || i FROM generate_series(1, 500) i; CREATE INDEX ON small (note);
		CREATE TABLE refers (id int REFERENCES small, big int8 REFERENCES big); INSERT INTO refers SELECT i, i FROM generate_series(1, 500) i;
		CREATE TABLE whole (id int PRIMARY KEY, pad text); INSERT INTO whole SELECT i, repeat('x', 200) FROM generate_series(1, 1000) i; CREATE INDEX ON whole (pad, id);
		CREATE FUNCTION noisy() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.note = ''trigger''; RETURN NEW; END';
		CREATE TRIGGER noisy BEFORE INSERT ON small FOR EACH ROW EXECUTE FUNCTION noisy(); SELECT lo_from_bytea(0, 'object')`)
	filled(r)
	r.o = options(t, r.src, r.dst)
	r.o.Config.NATS.URL = config.Secret(natstest.Start(t).URL())
	r.o.Config.KeepLedger = true
	r.o.Config.Split.LargerThan, r.o.Config.Split.MaxParts = 4<<20, 3
	r.o.AckWait = 2 * time.Second
	planner := startPlannerWith(t, build(t, "planner"), r.o, settings, "run")
	binary := build(t, "worker")
	for range workers {
		r.workers = append(r.workers, startWorker(t, binary, r.o))
	}
	awaitQuery(t, r.dst, "t", "SELECT to_regclass('pgconvoy.task') IS NOT NULL")
	awaitQuery(t, r.dst, "0", `SELECT count(*) FROM pgconvoy.task WHERE wave = 'wave:data' AND state <> 'done' AND kind IN ('copy', 'bundle', 'large-objects') AND id NOT LIKE 'copy.public.big.%'`)
	awaitQuery(t, r.dst, "t", sqlHeld)
	awaitQuery(t, r.dst, "t", "SELECT bool_and(durable) FROM pgconvoy.snapshot") // else it proves nothing
	planner.kill(t)
	awaitQuery(t, r.dst, "0", "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgconvoy planner' AND datname = current_database()")
	return r
}

// changeSource writes to every table of the source.
func (r *interrupted) changeSource(t *testing.T) {
	t.Helper()
	r.src.Exec(t, `UPDATE big SET pad = 'changed' WHERE id % 3 = 0; DELETE FROM big WHERE id % 7 = 0 AND id > 1000; INSERT INTO big SELECT i, 'new' FROM generate_series(40001, 41000) i;
		UPDATE small SET note = 'changed' WHERE id % 2 = 0; INSERT INTO whole VALUES (5000, 'new'); SELECT lo_from_bytea(0, 'another')`)
}

// TestSnapshotOutlivesThePlanner: workers go on after the planner was killed, and
// another planner finishes the run, on the same snapshot although the source
// has changed.
func TestSnapshotOutlivesThePlanner(t *testing.T) {
	t.Parallel()
	r := interrupt(t, 2)
	before := r.src.Query(t, "SELECT md5(string_agg(b::text, ',' ORDER BY id)) FROM big b")
	r.changeSource(t)
	r.release()
	report, err := run.Resume(t.Context(), r.o, run.Resumption{})
	require.NoError(t, err)
	require.Equal(t, tasks.RunComplete, report.State)
	require.Equal(t, before, r.dst.Query(t, "SELECT md5(string_agg(b::text, ',' ORDER BY id)) FROM big b"))
	require.Equal(t, []string{"1"}, r.dst.Column(t, "SELECT DISTINCT snapshot_id FROM pgconvoy.task WHERE kind IN ('copy', 'bundle')"))
	require.Equal(t, "1", r.dst.Query(t, "SELECT count(*) FROM pg_largeobject_metadata"))
	require.Empty(t, report.Failures)
	again, err := run.Resume(t.Context(), r.o, run.Resumption{})
	require.NoError(t, err, "a run that is complete is no error")
	require.Equal(t, tasks.RunComplete, again.State)
}

// TestLostSnapshotIsProven: nobody holds the snapshot, and the source has not
// changed: the run goes on in a new one.
func TestLostSnapshotIsProven(t *testing.T) {
	t.Parallel()
	r := interruptAlone(t)
	s, err := run.Status(t.Context(), r.o)
	require.NoError(t, err)
	require.Contains(t, fmt.Sprint(s.Warnings), "no worker answers, and")
	list, err := run.Runs(t.Context(), r.o)
	require.NoError(t, err)
	require.Empty(t, list[0].Planner, "the ledger still has its name")
	r.release()
	report, err := run.Resume(t.Context(), r.o, run.Resumption{})
	require.NoError(t, err)
	require.Equal(t, tasks.RunComplete, report.State)
	require.Equal(t, [][]string{{"1", pgtest.Null, "t"}, {"2", "1", "f"}},
		r.dst.Rows(t, "SELECT id, same_as, lost_at IS NOT NULL FROM pgconvoy.snapshot ORDER BY id"))
	pgtest.RequireEqual(t, r.src, r.dst, pgtest.IgnoreSchemas("pgconvoy"))
}

// interruptAlone is interrupt with the workers killed, too. Those who resume work
// themselves.
func interruptAlone(t *testing.T, settings ...string) *interrupted {
	t.Helper()
	r := interrupt(t, 1, settings...)
	r.leaveAlone(t)
	return r
}

func (r *interrupted) leaveAlone(t *testing.T) {
	t.Helper()
	r.workers[0].kill(t)
	r.o.Config.Workers = config.Yes
	awaitQuery(t, r.src, "0", "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pgconvoy%' AND datname = current_database()")
}

// TestFrozenSource: a standby whose replay stands still shows the same for ever. A
// run from it, with large tables in parts, goes on even after the standby was
// restarted.
func TestFrozenSource(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, pgtest.Options{})
	server.Exec(t, "CREATE DATABASE frozen")
	r := interruptOf(t, &pgtest.Database{Server: server, Name: "frozen"}, 1, func(*interrupted) { server.Freeze(t) })
	r.leaveAlone(t)
	server.Stop(t, syscall.SIGINT)
	server.Launch(t)
	r.release()
	report, err := run.Resume(t.Context(), r.o, run.Resumption{})
	require.NoError(t, err)
	require.Equal(t, tasks.RunComplete, report.State)
	require.Equal(t, [][]string{{"1", pgtest.Null, "t", "t"}, {"2", "1", "f", "t"}},
		r.dst.Rows(t, "SELECT id, same_as, lost_at IS NOT NULL, replayed FROM pgconvoy.snapshot ORDER BY id"))
	require.Equal(t, "3", r.dst.Query(t, "SELECT count(*) FROM pgconvoy.task WHERE id LIKE 'copy.public.big.p%'"))
	pgtest.RequireEqual(t, r.src, r.dst, pgtest.IgnoreSchemas("pgconvoy"))
}

// TestLostSnapshotIsCopiedAgain: nobody holds the snapshot, and the source has
// changed: the planner stops and lists the tables; --recopy copies them again, and
// the large objects, also if the planner that began it was killed midway.
func TestLostSnapshotIsCopiedAgain(t *testing.T) {
	t.Parallel()
	r := interruptAlone(t)
	r.changeSource(t)
	object := r.src.Query(t, "SELECT min(oid) FROM pg_largeobject_metadata")
	r.src.Exec(t, "SELECT lo_put("+object+", 0, 'changed')")
	r.src.Exec(t, "VACUUM FULL whole") // what is stored elsewhere by now is whole in the new snapshot
	r.release()
	_, err := run.Resume(t.Context(), r.o, run.Resumption{})
	var lost *run.LostError
	require.ErrorAs(t, err, &lost)
	require.Equal(t, 3, lost.ExitCode())
	require.Contains(t, lost.Why, "begun to write since")
	require.Subset(t, lost.Tables, []tasks.Name{{Schema: "public", Name: "small"}, {Schema: "public", Name: "whole"}, {Schema: "public", Name: "refers"}})
	require.True(t, lost.Objects)
	require.Equal(t, "failed", r.dst.Query(t, "SELECT state FROM pgconvoy.run"))

	r.killedBeforeObject(t, object)
	_, err = run.Resume(t.Context(), r.o, run.Resumption{})
	require.ErrorAs(t, err, &lost)
	require.ErrorContains(t, err, "an earlier resume was interrupted")
	require.ErrorContains(t, err, "0 tables and large objects were read in the lost snapshot")

	report, err := run.Resume(t.Context(), r.o, run.Resumption{Recopy: true})
	require.NoError(t, err)
	require.Equal(t, tasks.RunComplete, report.State)
	pgtest.RequireEqual(t, r.src, r.dst, pgtest.IgnoreSchemas("pgconvoy"))
	require.Equal(t, "t", r.dst.Query(t, "SELECT inconsistent IS NULL FROM pgconvoy.run"))
}

// killedBeforeObject resumes with --recopy, and kills that planner when it is about
// to drop the large object: the tables are open again by then.
func (r *interrupted) killedBeforeObject(t *testing.T, object string) {
	t.Helper()
	gate := r.dst.Connect(t)
	_, err := gate.Exec(t.Context(), "BEGIN; COMMENT ON LARGE OBJECT "+object+" IS 'in use'")
	require.NoError(t, err)
	planner := startPlanner(t, build(t, "planner"), r.o, "resume", "--recopy", "--workers=no")
	const waiting = "FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%lo_unlink%' AND datname = current_database()"
	awaitQuery(t, r.dst, "1", "SELECT count(*) "+waiting)
	planner.kill(t)
	r.dst.Query(t, "SELECT pg_terminate_backend(pid) "+waiting)
	_, err = gate.Exec(t.Context(), "ROLLBACK")
	require.NoError(t, err)
	awaitQuery(t, r.dst, "0", "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pgconvoy%' AND datname = current_database()")
	awaitQuery(t, r.src, "0", "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pgconvoy%' AND datname = current_database()")
}

func TestLostSnapshotAndAnExplicitWord(t *testing.T) {
	t.Parallel()
	r := interruptAlone(t)
	r.changeSource(t)
	r.release()
	report, err := run.Resume(t.Context(), r.o, run.Resumption{NotConsistent: true})
	require.NoError(t, err)
	require.Equal(t, tasks.RunComplete, report.State)
	require.Contains(t, report.Inconsistent, "--not-consistent")
	require.Equal(t, "0", r.dst.Query(t, "SELECT count(*) FROM small WHERE note = 'changed'"), "what was copied stays")
	require.NotEqual(t, "0", r.dst.Query(t, "SELECT count(*) FROM big WHERE pad = 'changed'"), "what was not is of now")
}

func TestChangedDefinitionsCannotBeCopiedAgain(t *testing.T) {
	t.Parallel()
	r := interruptAlone(t)
	r.src.Exec(t, "ALTER TABLE small ADD COLUMN more int; CREATE TABLE another ()")
	r.release()
	_, err := run.Resume(t.Context(), r.o, run.Resumption{Recopy: true})
	require.ErrorContains(t, err, "definitions on the source have changed")
	require.NoError(t, run.Cleanup(t.Context(), r.o))
}

// TestStandbyTakesOver: a planner that stands by keeps the snapshot alive, and
// finishes the run when the first one is killed, with no worker left.
func TestStandbyTakesOver(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	release := gated(t, src, dst, 10_000)
	o, _ := external(t, src, dst)
	o.Config.Workers = config.Yes
	o.Config.KeepLedger = true
	o.AckWait = 2 * time.Second
	first := startPlanner(t, build(t, "planner"), o, "run", "--workers=yes")
	awaitGate(t, dst, 2)
	type ended struct {
		report tasks.Report
		err    error
	}
	done := make(chan ended, 1)
	go func() {
		report, err := run.Resume(t.Context(), o, run.Resumption{Standby: true})
		done <- ended{report, err}
	}()
	awaitQuery(t, src, "t", "SELECT count(*) >= 1 FROM pg_stat_activity WHERE application_name LIKE 'pgconvoy keeper%' AND backend_xmin IS NOT NULL AND state = 'idle in transaction' AND datname = current_database()")
	first.kill(t)
	src.Exec(t, "UPDATE big SET pad = 'changed'")
	release()
	e := <-done
	require.NoError(t, e.err)
	require.Equal(t, tasks.RunComplete, e.report.State)
	require.Equal(t, "0", dst.Query(t, "SELECT count(*) FROM big WHERE pad = 'changed'"))
	require.Equal(t, "1", dst.Query(t, "SELECT max(id) FROM pgconvoy.snapshot"))
}

// TestTwoPlannersCannotOwnARun: the second one refuses.
func TestTwoPlannersCannotOwnARun(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	release := gated(t, src, dst, 10_000)
	o, _ := external(t, src, dst)
	o.Config.Workers = config.Yes
	wait := start(t.Context(), o)
	awaitGate(t, dst, 2)
	_, err := run.Resume(t.Context(), o, run.Resumption{})
	require.ErrorContains(t, err, "another planner is at work")
	other := o
	other.Config.Source.URI = config.Secret(pgtest.Source(t).Database(t).URI())
	_, err = run.Resume(t.Context(), other, run.Resumption{})
	var hinted *tasks.HintError
	require.True(t, errors.As(err, &hinted) && strings.Contains(err.Error(), "run main is about source"), "%v", err)
	release()
	_, err = wait()
	require.NoError(t, err)
	pgtest.RequireEqual(t, src, dst)
}

// TestResumeRetriesWhatFailed: after a mend, the run goes on where it was.
func TestResumeRetriesWhatFailed(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	src.Exec(t, `CREATE TABLE customers (id int PRIMARY KEY); CREATE TABLE orders (id int PRIMARY KEY, customer int CONSTRAINT known_customer REFERENCES customers);
		INSERT INTO customers VALUES (1); SET session_replication_role = replica; INSERT INTO orders VALUES (2, 4711)`)
	o := options(t, src, dst)
	report := failing(t, dst, o)
	require.Len(t, report.Failures, 1)
	n, err := run.Retry(t.Context(), o, []tasks.ID{report.Failures[0].Task, "no.such.task"})
	require.NoError(t, err)
	require.Equal(t, 1, n)
	dst.Exec(t, "INSERT INTO customers VALUES (4711)") // mended on the target: verify will say so
	o.Config.Verify = config.VerifyNone
	_, err = run.Resume(t.Context(), o, run.Resumption{})
	require.Error(t, err, "the rows of both sides are not equal any more")
	require.Equal(t, "1", dst.Query(t, "SELECT count(*) FROM pg_constraint WHERE conname = 'known_customer' AND convalidated"))
}

// TestMark: what proves that a source has not changed, and what does not.
func TestMark(t *testing.T) {
	t.Parallel()
	then := pg.Mark{Text: "100:100:", Timeline: "00000001", LSN: "0/1", Durable: true}
	now := then
	proven, _ := then.Unchanged(now)
	require.True(t, proven)
	standby := pg.Mark{Text: "99:100:99", Timeline: "00000001", LSN: "0/1", Durable: true, Replayed: true}
	proven, _ = standby.Unchanged(standby)
	require.True(t, proven, "what runs on the primary is not seen before it is replayed")
	for name, change := range map[string]func(then, now *pg.Mark){
		"running then":   func(then, now *pg.Mark) { then.Text, now.Text = "99:100:99", "99:100:99" },
		"running now":    func(_, now *pg.Mark) { now.Text = "99:100:99" },
		"written since":  func(_, now *pg.Mark) { now.Text = "101:101:" },
		"timeline":       func(_, now *pg.Mark) { now.Timeline = "00000002" },
		"not durable":    func(then, _ *pg.Mark) { then.Durable = false },
		"untold":         func(then, now *pg.Mark) { then.Timeline, now.Timeline = "", "" },
		"promoted":       func(then, _ *pg.Mark) { then.Replayed = true },
		"replayed since": func(then, now *pg.Mark) { then.Replayed, now.Replayed, now.LSN = true, true, "0/2" },
		"unreadable":     func(then, _ *pg.Mark) { then.Text = "" },
		"unreadable now": func(_, now *pg.Mark) { now.Text = "100" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := then, now
			change(&a, &b)
			proven, why := a.Unchanged(b)
			require.False(t, proven)
			require.NotEmpty(t, why)
		})
	}
}
