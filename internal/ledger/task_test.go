package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/pgconvoy/pgconvoy/internal/ledger"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// How long a condition is waited for, and how often it is looked at.
const (
	wait = 20 * time.Second
	tick = 5 * time.Millisecond
)

const first = tasks.ID("copy.public.t000.all")

func TestTakeReadsTheTask(t *testing.T) {
	t.Parallel()
	db := pgtest.Target(t).Database(t)
	c := connect(t, db)
	list := fanIn(t, 1)
	l := create(t, c, list...)
	taken := take(t, l, c, first)
	require.Equal(t, tasks.KindCopy, taken.Kind)
	require.Equal(t, tasks.Group("copy"), taken.Group)
	require.Equal(t, tasks.WaveData, taken.Wave)
	require.JSONEq(t, string(list[0].Spec), string(taken.Spec))
	require.Equal(t, byte('T'), c.PgConn().TxStatus())
	rollback(t, c)
	_, got, err := l.Take(t.Context(), c, "attach.public.t.all")
	require.NoError(t, err)
	require.Equal(t, tasks.Pending, got)
}

func TestTakeOfWhatIsNotInTheLedger(t *testing.T) {
	t.Parallel()
	db := pgtest.Target(t).Database(t)
	c := connect(t, db)
	l := create(t, c, fanIn(t, 1)...)
	_, _, err := l.Take(t.Context(), c, "copy.public.other.all")
	require.ErrorIs(t, err, ledger.ErrNoTask)
	rollback(t, c)
	// A run of the same name that began anew has another uid.
	db.Exec(t, "UPDATE pgconvoy.run SET uid = 'another'")
	_, _, err = l.Take(t.Context(), c, first)
	require.ErrorIs(t, err, ledger.ErrNoTask)
	rollback(t, c)
	require.NoError(t, ledger.Drop(t.Context(), c))
	_, _, err = l.Take(t.Context(), c, first)
	require.ErrorIs(t, err, ledger.ErrNoTask)
	rollback(t, c)
}

// The second taker is kept out by the lock, and once it has the lock it sees
// what the first has committed, whatever the defaults of role and database are.
func TestTakeExcludesAndSeesTheHoldersCommit(t *testing.T) {
	t.Parallel()
	db := pgtest.Target(t).Database(t)
	for _, isolation := range []string{"read committed", "repeatable read", "serializable"} {
		db.Server.Exec(t, fmt.Sprintf("ALTER DATABASE %q SET default_transaction_isolation = '%s'", db.Name, isolation))
		db.Server.Exec(t, fmt.Sprintf("ALTER DATABASE %q SET default_transaction_read_only = on", db.Name))
		holder, other := connect(t, db), connect(t, db)
		require.NoError(t, ledger.Drop(t.Context(), holder))
		l := create(t, holder, fanIn(t, 1)...)

		taken := take(t, l, holder, first)
		_, _, err := l.Take(t.Context(), other, first)
		require.ErrorIs(t, err, tasks.ErrBusy)
		rollback(t, other)
		require.NoError(t, l.Done(t.Context(), holder, taken, tasks.Result{}, "w"))
		_, got, err := l.Take(t.Context(), other, first)
		require.NoError(t, err)
		require.Equal(t, tasks.Done, got)
		rollback(t, other)
		attempts, err := l.Attempt(t.Context(), other, "attach.public.t.all", "x")
		require.NoError(t, err)
		require.Equal(t, 1, attempts)
	}
}

// Many sessions that wait for the moment of the commit: exactly one does the
// task.
func TestTaskIsDoneOnce(t *testing.T) {
	t.Parallel()
	db := pgtest.Target(t).Database(t)
	db.Exec(t, "CREATE TABLE effect (task text)")
	setup := connect(t, db)
	const tasksEach, sessions = 15, 6
	l := create(t, setup, fanIn(t, tasksEach)...)
	var group errgroup.Group
	for range sessions {
		c := connect(t, db)
		group.Go(func() error {
			for i := range tasksEach {
				if err := untilDone(t.Context(), l, c, tasks.ID(fmt.Sprintf("copy.public.t%03d.all", i))); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	require.Equal(t, tasksEach, db.Count(t, "effect"))
	require.Equal(t, tasksEach, db.Count(t, "(SELECT DISTINCT task FROM effect) d"))
}

// untilDone takes the task again and again until it is done.
func untilDone(ctx context.Context, l *ledger.Ledger, c *pg.Conn, id tasks.ID) error {
	for {
		taken, state, err := l.Take(ctx, c, id)
		if err == nil && state == tasks.Ready {
			if _, err := c.Exec(ctx, fmt.Sprintf("INSERT INTO public.effect VALUES ('%s')", id)); err != nil {
				return err
			}
			return l.Done(ctx, c, taken, tasks.Result{}, "w")
		}
		if _, rollbackErr := c.Exec(ctx, "ROLLBACK"); rollbackErr != nil {
			return rollbackErr
		}
		switch {
		case err == nil:
			return nil // another session did it
		case !errors.Is(err, tasks.ErrBusy):
			return err
		}
	}
}

func TestDoneOnce(t *testing.T) {
	t.Parallel()
	db := pgtest.Target(t).Database(t)
	c := connect(t, db)
	l := create(t, c, fanIn(t, 1)...)
	taken := take(t, l, c, first)
	require.NoError(t, l.Done(t.Context(), c, taken, tasks.Result{
		Rows: 5, Bytes: 50, Snapshot: 1, Notes: []string{"a", "b\x00"},
		Tables: []tasks.TableCount{{Name: tasks.Name{Schema: "s", Name: "x"}, Rows: 2, Bytes: 20}, {Name: tasks.Name{Schema: "s", Name: "y"}, Rows: 3, Bytes: 30}},
	}, "host/1"))
	require.Equal(t, [][]string{{"done", "5", "50", "1", "host/1", "a; b", "t"}},
		db.Rows(t, fmt.Sprintf("SELECT state, rows, bytes, snapshot_id, worker, last_error, started_at <= done_at FROM pgconvoy.task WHERE id = '%s'", first)))
	require.Equal(t, [][]string{{"x", "2", "20"}, {"y", "3", "30"}}, db.Rows(t, "SELECT name, rows, bytes FROM pgconvoy.copied ORDER BY 1"))

	// A second worker that for whatever reason did the work, too, must not commit it.
	db.Exec(t, "CREATE TABLE effect ()")
	_, _, err := l.Take(t.Context(), c, first)
	require.NoError(t, err)
	_, err = c.Exec(t.Context(), "INSERT INTO public.effect DEFAULT VALUES")
	require.NoError(t, err)
	require.ErrorIs(t, l.Done(t.Context(), c, taken, tasks.Result{}, "w"), ledger.ErrNotMarked)
	require.Equal(t, byte('T'), c.PgConn().TxStatus())
	c.Discard()
	require.Equal(t, 0, db.Count(t, "effect"))
}

// PostgreSQL answers a COMMIT of a failed transaction with ROLLBACK and no
// error.
func TestDoneInAFailedTransaction(t *testing.T) {
	t.Parallel()
	db := pgtest.Target(t).Database(t)
	c := connect(t, db)
	l := create(t, c, fanIn(t, 1)...)
	taken := take(t, l, c, first)
	_, err := c.Exec(t.Context(), "SELECT 1/0")
	require.Error(t, err)
	require.Error(t, l.Done(t.Context(), c, taken, tasks.Result{}, "w"))
	c.Discard()
	require.Equal(t, "ready", state(t, db, first))
}

func TestCrashBeforeCommitLeavesNothing(t *testing.T) {
	t.Parallel()
	db := pgtest.Target(t).Database(t)
	db.Exec(t, "CREATE TABLE effect ()")
	setup := connect(t, db)
	l := create(t, setup, fanIn(t, 1)...)
	c := connect(t, db)
	taken := take(t, l, c, first)
	_, err := c.Exec(t.Context(), "INSERT INTO public.effect DEFAULT VALUES")
	require.NoError(t, err)
	db.Exec(t, fmt.Sprintf("SELECT pg_terminate_backend(%d, 10000)", c.PgConn().PID()))
	require.Error(t, l.Done(t.Context(), c, taken, tasks.Result{}, "w"))
	require.Equal(t, 0, db.Count(t, "effect"))
	do(t, l, setup, first) // the lock is free, and the task is ready
}

func TestAttemptAndFail(t *testing.T) {
	t.Parallel()
	db := pgtest.Target(t).Database(t)
	c := connect(t, db)
	l := create(t, c, fanIn(t, 1)...)
	for i := range 3 {
		n, err := l.Attempt(t.Context(), c, first, fmt.Sprintf("reason %d caf\xe9\x00", i))
		require.NoError(t, err)
		require.Equal(t, i+1, n)
	}
	require.Equal(t, [][]string{{"ready", "3", "reason 2 caf\uFFFD"}},
		db.Rows(t, fmt.Sprintf("SELECT state, attempts, last_error FROM pgconvoy.task WHERE id = '%s'", first)))
	require.NoError(t, l.Fail(t.Context(), c, first, "final", "host/1"))
	_, got, err := l.Take(t.Context(), c, first)
	require.NoError(t, err)
	require.Equal(t, tasks.Failed, got)
	rollback(t, c)

	// What a slow worker says of a task that another has done is not heard.
	db.Exec(t, "UPDATE pgconvoy.task SET state = 'done' WHERE kind = 'copy'")
	require.NoError(t, l.Fail(t.Context(), c, first, "too late", "host/2"))
	_, err = l.Attempt(t.Context(), c, first, "too late")
	require.Error(t, err)
	require.Equal(t, "done", state(t, db, first))
}

func TestUnblockedWaitsForAllGroups(t *testing.T) {
	t.Parallel()
	db := pgtest.Target(t).Database(t)
	c := connect(t, db)
	schema := task(t, tasks.KindSchema, "chunk", "chunk:1")
	schema.Wave = tasks.WaveSchema
	late := task(t, tasks.KindSequences, "late", "", tasks.WaveSchema, tasks.WaveData)
	late.Wave = tasks.WaveLate
	l := create(t, c, append(fanIn(t, 2), schema, late)...)

	part := do(t, l, c, first)
	require.Empty(t, unblocked(t, l, c, part))
	part2 := do(t, l, c, "copy.public.t001.all")
	require.Equal(t, []tasks.ID{"attach.public.t.all"}, unblocked(t, l, c, part2))
	require.Equal(t, []tasks.ID{"attach.public.t.all"}, unblocked(t, l, c, part), "a redelivery publishes again what is still ready")
	attach := do(t, l, c, "attach.public.t.all")
	require.Empty(t, unblocked(t, l, c, attach), "analyze needs the schema, too")
	chunk := do(t, l, c, schema.ID)
	require.Equal(t, []tasks.ID{"analyze.public.t.all"}, unblocked(t, l, c, chunk))
	require.Empty(t, unblocked(t, l, c, part), "what is done, or waits for others, is not published")
	analyze := do(t, l, c, "analyze.public.t.all")
	require.Equal(t, []tasks.ID{late.ID}, unblocked(t, l, c, analyze), "the last of the wave")
	require.Empty(t, unblocked(t, l, c, do(t, l, c, late.ID)))
	counts, err := l.Counts(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, ledger.Counts{tasks.Done: 6}, counts)
}

func TestUnblockedIsLargestFirst(t *testing.T) {
	t.Parallel()
	db := pgtest.Target(t).Database(t)
	c := connect(t, db)
	list := []tasks.Task{task(t, tasks.KindCopy, "t000", "copy")}
	for i, weight := range []int64{5, 500, 50} {
		x := task(t, tasks.KindIndex, fmt.Sprint("x", i), "index", "copy")
		x.Weight = weight
		list = append(list, x)
	}
	l := create(t, c, list...)
	require.Equal(t, []tasks.ID{"index.public.x1.all", "index.public.x2.all", "index.public.x0.all"}, unblocked(t, l, c, do(t, l, c, first)))
}

func TestFailedTaskBlocksItsFollowers(t *testing.T) {
	t.Parallel()
	db := pgtest.Target(t).Database(t)
	c := connect(t, db)
	l := create(t, c, fanIn(t, 2)...)
	require.NoError(t, l.Fail(t.Context(), c, first, "bad row", "w"))
	require.Empty(t, unblocked(t, l, c, do(t, l, c, "copy.public.t001.all")))
	ready, err := l.Ready(t.Context(), c)
	require.NoError(t, err)
	require.Empty(t, ready)
	stuck, err := l.Stuck(t.Context(), c)
	require.NoError(t, err)
	require.True(t, stuck)
}

// Ready is what heals everything that was lost: it promotes, and lists all.
func TestReadyPromotes(t *testing.T) {
	t.Parallel()
	db := pgtest.Target(t).Database(t)
	c := connect(t, db)
	l := create(t, c, fanIn(t, 2)...)
	ready := func() []tasks.ID {
		list, err := l.Ready(t.Context(), c)
		require.NoError(t, err)
		return sorted(idsOf(list))
	}
	stuck := func() bool {
		stuck, err := l.Stuck(t.Context(), c)
		require.NoError(t, err)
		return stuck
	}
	require.Equal(t, []tasks.ID{first, "copy.public.t001.all"}, ready())
	do(t, l, c, first)
	require.Equal(t, []tasks.ID{"copy.public.t001.all"}, ready())
	do(t, l, c, "copy.public.t001.all") // and its worker dies before it asks
	require.False(t, stuck(), "a task could be promoted")
	require.Equal(t, []tasks.ID{"attach.public.t.all"}, ready())
	require.False(t, stuck())
	do(t, l, c, "attach.public.t.all")
	require.Equal(t, []tasks.ID{"analyze.public.t.all"}, ready())
	do(t, l, c, "analyze.public.t.all")
	require.Empty(t, ready())
	require.True(t, stuck())
}

func TestSplitBundle(t *testing.T) {
	t.Parallel()
	db := pgtest.Target(t).Database(t)
	c := connect(t, db)
	bundle, err := tasks.New(tasks.KindBundle, "copy.bundle.b0001", tasks.Bundle{})
	require.NoError(t, err)
	bundle.Group, bundle.Wave = "bundle:b0001", tasks.WaveData
	l := create(t, c, bundle, task(t, tasks.KindFKeyAdd, "fk_a", "", "bundle:b0001", tasks.PieceGroup(1)),
		task(t, tasks.KindFKeyAdd, "fk_b", "", "bundle:b0001", tasks.PieceGroup(1), tasks.PieceGroup(2)))
	taken := take(t, l, c, bundle.ID)
	var pieces []tasks.Task
	for i, name := range []string{"a", "b"} {
		piece, err := tasks.New(tasks.KindBundle, tasks.NewID(tasks.KindBundle, "bundle", "b0001", "public", name), tasks.Bundle{})
		require.NoError(t, err)
		piece.Group = tasks.PieceGroup(uint32(i + 1))
		pieces = append(pieces, piece)
	}
	require.NoError(t, l.Done(t.Context(), c, taken, tasks.Result{Added: pieces}, "w"))
	require.Equal(t, []tasks.ID{pieces[0].ID, pieces[1].ID}, unblocked(t, l, c, taken))
	a := do(t, l, c, pieces[0].ID)
	require.Equal(t, []tasks.ID{"fkey.public.fk_a.all"}, unblocked(t, l, c, a), "a follower waits for its own tables only")
	b := do(t, l, c, pieces[1].ID)
	require.Equal(t, []tasks.ID{"fkey.public.fk_b.all"}, unblocked(t, l, c, b))
}

// Whoever commits last sees that all are done, also if several commit at the
// same moment: the follower is returned at least once, and never too early.
func TestFanInOfConcurrentCommits(t *testing.T) {
	t.Parallel()
	db := pgtest.Target(t).Database(t)
	setup := connect(t, db)
	const parts, rounds = 5, 40
	var list []tasks.Task
	for r := range rounds {
		group := tasks.Group(fmt.Sprint("copy:", r))
		for i := range parts {
			list = append(list, task(t, tasks.KindCopy, fmt.Sprintf("r%02d-%d", r, i), group))
		}
		list = append(list, task(t, tasks.KindAttach, fmt.Sprintf("r%02d", r), "", group))
	}
	late := task(t, tasks.KindSequences, "late", "", tasks.WaveData)
	late.Wave = tasks.WaveLate
	l := create(t, setup, append(list, late)...)
	conns := make([]*pg.Conn, parts)
	for i := range conns {
		conns[i] = connect(t, db)
	}
	for r := range rounds {
		var mu sync.Mutex
		found := map[tasks.ID]int{}
		var group errgroup.Group
		start := make(chan struct{})
		for i, c := range conns {
			taken := take(t, l, c, tasks.ID(fmt.Sprintf("copy.public.r%02d-%d.all", r, i)))
			group.Go(func() error {
				<-start
				if err := l.Done(t.Context(), c, taken, tasks.Result{}, "w"); err != nil {
					return err
				}
				ready, err := l.Unblocked(t.Context(), c, taken)
				mu.Lock()
				defer mu.Unlock()
				for _, id := range idsOf(ready) {
					found[id]++
				}
				if len(ready) > 0 {
					if open := db.Count(t, fmt.Sprintf("pgconvoy.task WHERE grp = 'copy:%d' AND state <> 'done'", r)); open > 0 {
						return fmt.Errorf("%v returned while %d parts are open", idsOf(ready), open)
					}
				}
				return err
			})
		}
		close(start)
		require.NoError(t, group.Wait())
		attach := tasks.ID(fmt.Sprintf("attach.public.r%02d.all", r))
		require.Equal(t, []tasks.ID{attach}, keys(found))
		last := do(t, l, setup, attach)
		if r < rounds-1 {
			require.Empty(t, unblocked(t, l, setup, last))
		} else {
			require.Equal(t, []tasks.ID{late.ID}, unblocked(t, l, setup, last))
		}
	}
}

func keys(m map[tasks.ID]int) []tasks.ID {
	var ids []tasks.ID
	for id := range m {
		ids = append(ids, id)
	}
	return sorted(ids)
}

func TestSnapshotAndCopied(t *testing.T) {
	t.Parallel()
	db := pgtest.Target(t).Database(t)
	c := connect(t, db)
	l := create(t, c, fanIn(t, 2)...)
	snapshot, err := l.Snapshot(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, tasks.SnapshotRef{ID: 1, Name: "00000003-1", Text: "700:701:"}, snapshot)
	x, y := tasks.Name{Schema: "s", Name: "x"}, tasks.Name{Schema: "s", Name: "y"}
	for i, rows := range []int64{3, 4} {
		taken := take(t, l, c, tasks.ID(fmt.Sprintf("copy.public.t%03d.all", i)))
		require.NoError(t, l.Done(t.Context(), c, taken, tasks.Result{Tables: []tasks.TableCount{{Name: x, Rows: rows}}}, "w"))
	}
	counts, err := l.Copied(t.Context(), c, []tasks.Name{x, y})
	require.NoError(t, err)
	require.Equal(t, map[tasks.Name]tasks.TableCount{x: {Name: x, Rows: 7}}, counts)
	require.NoError(t, l.LoseSnapshot(t.Context(), c))
	_, err = l.Snapshot(t.Context(), c)
	require.ErrorIs(t, err, tasks.ErrSnapshotLost)
}
