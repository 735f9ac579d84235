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

// copied finishes a copy task that read rows of the table in the snapshot.
func copied(t *testing.T, l *ledger.Ledger, c *pg.Conn, id tasks.ID, table string, snapshot int) {
	t.Helper()
	require.NoError(t, l.Done(t.Context(), c, take(t, l, c, id), tasks.Result{
		Snapshot: snapshot, Tables: []tasks.TableCount{{Name: tasks.Name{Schema: "public", Name: table}, Rows: 1}},
	}, "w"))
}

// TestSnapshotsAreNotMixed: rows of a snapshot that nobody holds any more and
// rows of the next one make a run that is not complete, unless both are proven
// to show the same, or somebody has said that it may be so.
func TestSnapshotsAreNotMixed(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		sameAs  int
		excused bool
		mixed   []int
		lost    []tasks.Name
		err     error
	}{
		"unproven": {mixed: []int{1, 2}, lost: []tasks.Name{{Schema: "public", Name: "a"}}, err: ledger.ErrUnfinished},
		"proven":   {sameAs: 1},
		"excused":  {excused: true, mixed: []int{1, 2}, lost: []tasks.Name{{Schema: "public", Name: "a"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := connect(t, pgtest.Target(t).Database(t))
			l := create(t, c, fanIn(t, 2)[:2]...)
			copied(t, l, c, "copy.public.t000.all", "a", 1)
			n, err := l.ReadsOpen(t.Context(), c)
			require.NoError(t, err)
			require.Equal(t, 1, n)
			id, err := l.AddSnapshot(t.Context(), c, pg.Snapshot{Name: "00000004-1", Text: "700:701:"}, pg.Mark{Timeline: "00000001", LSN: "0/1", Durable: true}, test.sameAs)
			require.NoError(t, err)
			require.Equal(t, 2, id)
			s, err := l.Snapshot(t.Context(), c)
			require.NoError(t, err)
			require.Equal(t, tasks.SnapshotRef{ID: 2, Name: "00000004-1", Text: "700:701:"}, s)
			lost, err := l.LostTables(t.Context(), c, 2)
			require.NoError(t, err)
			require.ElementsMatch(t, test.lost, lost)
			copied(t, l, c, "copy.public.t001.all", "b", 2)
			mixed, err := l.Mixed(t.Context(), c)
			require.NoError(t, err)
			require.Equal(t, test.mixed, mixed)
			if test.excused {
				require.NoError(t, l.Inconsistent(t.Context(), c, "because"))
			}
			require.ErrorIs(t, l.Complete(t.Context(), c), test.err)
		})
	}
}

// A task that is about to end when the snapshot is replaced either is done
// before, and seen, or not at all.
func TestTasksOfAReplacedSnapshotAreNotDone(t *testing.T) {
	t.Parallel()
	db := pgtest.Target(t).Database(t)
	c, planner := connect(t, db), connect(t, db)
	l := create(t, c, fanIn(t, 3)[:3]...)
	next := func(sameAs int) {
		_, err := l.AddSnapshot(t.Context(), planner, pg.Snapshot{Name: "x", Text: "700:701:"}, pg.Mark{}, sameAs)
		require.NoError(t, err)
	}
	first := take(t, l, c, "copy.public.t000.all")
	next(1)
	require.NoError(t, l.Done(t.Context(), c, first, tasks.Result{Snapshot: 1}, "w"), "the new one is proven to show the same")

	second := take(t, l, c, "copy.public.t001.all")
	next(0)
	err := l.Done(t.Context(), c, second, tasks.Result{Snapshot: 2}, "w")
	var postponed *tasks.PostponeError
	require.ErrorAs(t, err, &postponed)
	require.ErrorIs(t, err, tasks.ErrSnapshotLost)
	_, err = c.Exec(t.Context(), "ROLLBACK")
	require.NoError(t, err)

	third := take(t, l, c, "copy.public.t002.all")
	_, err = c.Exec(t.Context(), "SELECT pg_advisory_xact_lock_shared(1885823863, 0)") // so far is Done when it has looked
	require.NoError(t, err)
	added := make(chan error, 1)
	go func() {
		_, err := l.AddSnapshot(context.Background(), planner, pg.Snapshot{Name: "y", Text: "700:701:"}, pg.Mark{}, 0)
		added <- err
	}()
	require.Eventually(t, func() bool {
		return db.Query(t, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())") == "1"
	}, 20*time.Second, 10*time.Millisecond)
	require.NoError(t, l.Done(t.Context(), c, third, tasks.Result{Snapshot: 3, Tables: []tasks.TableCount{{Name: tasks.Name{Schema: "public", Name: "t"}}}}, "w"))
	require.NoError(t, <-added)
	lost, err := l.LostTables(t.Context(), planner, 4)
	require.NoError(t, err)
	require.Equal(t, []tasks.Name{{Schema: "public", Name: "t"}}, lost)
}

func TestReleasedSnapshot(t *testing.T) {
	t.Parallel()
	c := connect(t, pgtest.Target(t).Database(t))
	l := create(t, c, fanIn(t, 1)...)
	require.NoError(t, l.RenameSnapshot(t.Context(), c, 1, "00000009-1"))
	require.NoError(t, l.DurableSnapshot(t.Context(), c, 1))
	require.NoError(t, l.ReleaseSnapshot(t.Context(), c))
	_, err := l.Snapshot(t.Context(), c)
	require.ErrorIs(t, err, tasks.ErrSnapshotLost)
	list, err := l.Snapshots(t.Context(), c)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.NotNil(t, list[0].Released)
	require.Nil(t, list[0].Lost)
	require.Equal(t, "00000009-1", list[0].Name)
	require.True(t, list[0].Mark.Durable)
	require.Equal(t, "700:701:", list[0].Mark.Text)
}
