package pg_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

// TestHealth looks at a server whose archive command fails at first, whose rows are waited
// for, and that makes checkpoints, as an ordinary role and as one that sees all.
func TestHealth(t *testing.T) {
	t.Parallel()
	s := pgtest.Start(t, pgtest.Options{Settings: map[string]string{"archive_mode": "on", "archive_command": "test -e may_archive"}})
	s.Exec(t, "CREATE ROLE plain LOGIN")
	db := s.Database(t)
	db.Exec(t, "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
	connect := func(uri string) *pg.Conn {
		c, err := pg.Connect(t.Context(), pg.Options{Side: pg.Target, URI: uri, Name: "pgconvoy planner"})
		require.NoError(t, err)
		t.Cleanup(c.Discard)
		return c
	}
	c, plain := connect(db.URI()), connect(db.URIAs("plain"))
	eventually := func(ok func(int64) bool, of func(context.Context, *pg.Conn) (int64, error)) {
		t.Helper()
		require.Eventually(t, func() bool {
			n, err := of(t.Context(), plain)
			return err == nil && ok(n)
		}, time.Minute, 20*time.Millisecond)
	}
	none := func(n int64) bool { return n == 0 }

	eventually(none, pg.LockWaits)
	holder := db.Connect(t)
	_, err := holder.Exec(t.Context(), "BEGIN; DELETE FROM t")
	require.NoError(t, err)
	waiter := db.Connect(t)
	waited := make(chan error, 1)
	go func() {
		_, err := waiter.Exec(t.Context(), "DELETE FROM t")
		waited <- err
	}()
	eventually(func(n int64) bool { return n == 1 }, pg.LockWaits)
	active, err := pg.ActiveSessions(t.Context(), c)
	require.NoError(t, err)
	require.EqualValues(t, 1, active, "who waits for a lock, and neither who looks nor who is idle")
	_, err = holder.Exec(t.Context(), "ROLLBACK")
	require.NoError(t, err)
	require.NoError(t, <-waited)
	_, err = pg.ActiveSessions(t.Context(), plain)
	require.ErrorIs(t, err, pg.ErrHidden)
	_, err = pg.ReplicaLag(t.Context(), plain)
	require.ErrorIs(t, err, pg.ErrHidden)
	for _, of := range []func(context.Context, *pg.Conn) (int64, error){pg.ReplicaLag, pg.StandbyLag} {
		lag, err := of(t.Context(), c)
		require.NoError(t, err)
		require.Zero(t, lag, "there is no replica, and this is none")
	}

	eventually(none, pg.ArchiveBacklog)
	complete := func() { // a segment
		db.Exec(t, "INSERT INTO t SELECT coalesce(max(id), 0) + 1 FROM t")
		db.Exec(t, "SELECT pg_switch_wal()")
	}
	for range 3 {
		complete()
	}
	eventually(func(n int64) bool { return n >= 2*16<<20 }, pg.ArchiveBacklog)
	s.Exec(t, "COPY (SELECT 1) TO PROGRAM 'cat > may_archive'") // in its data folder
	complete()                                                  // or the archiver, which has given up, sleeps for a minute
	eventually(none, pg.ArchiveBacklog)

	before, err := pg.ForcedCheckpoints(t.Context(), plain)
	require.NoError(t, err)
	s.Exec(t, "CHECKPOINT")
	eventually(func(n int64) bool { return n > before }, pg.ForcedCheckpoints)
}
