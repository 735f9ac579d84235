package ledger_test

import (
	"testing"

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
