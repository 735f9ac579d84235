package pgtest_test

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

func TestSourceAndTargetAreDifferentClusters(t *testing.T) {
	t.Parallel()
	const identifier = "SELECT system_identifier FROM pg_control_system()"
	src, dst := pgtest.Source(t), pgtest.Target(t)
	require.NotEqual(t, src.Database(t).Query(t, identifier), dst.Database(t).Query(t, identifier))
	require.Same(t, src, pgtest.Source(t))
}

func TestDatabasesAreEmptyAndApart(t *testing.T) {
	t.Parallel()
	dbs := pgtest.Source(t).Databases(t, 3)
	require.True(t, dbs[0].Empty(t))
	dbs[0].Exec(t, "CREATE TABLE a (id int); INSERT INTO a VALUES (1), (NULL)")
	require.False(t, dbs[0].Empty(t))
	require.True(t, dbs[1].Empty(t))
	require.Equal(t, [][]string{{"1"}, {pgtest.Null}}, dbs[0].Rows(t, "TABLE a"))
	require.Equal(t, 2, dbs[0].Count(t, "a"))
	require.Equal(t, 2, dbs[0].Clone(t).Count(t, "a"))
}

func TestLoadRunsCopyBlocks(t *testing.T) {
	t.Parallel()
	db := pgtest.Source(t).Database(t)
	db.Load(t, "CREATE TABLE a (id int);\nCOPY a FROM stdin;\n1\n2\n\\.\n")
	require.Equal(t, []string{"1", "2"}, db.Column(t, "TABLE a ORDER BY id"))
}

func TestPrivateServerSurvivesACrash(t *testing.T) {
	t.Parallel()
	s := pgtest.Start(t, pgtest.Options{Settings: map[string]string{"max_connections": "17"}})
	db := s.Database(t)
	require.Equal(t, "17", db.Query(t, "SHOW max_connections"))
	db.Exec(t, "CREATE TABLE a (id int)")
	s.Stop(t, syscall.SIGQUIT)
	require.Zero(t, s.Pid())
	s.Launch(t)
	require.Equal(t, 0, db.Count(t, "a"))
}

func TestClosedSessionsAreGone(t *testing.T) {
	t.Parallel()
	db := pgtest.Source(t).Database(t)
	watcher := db.Connect(t)
	for range 30 {
		conn := db.Connect(t)
		pid := conn.PgConn().PID()
		pgtest.Close(t, conn)
		db.Exec(t, "SELECT")
		var pids []uint32
		require.NoError(t, watcher.QueryRow(t.Context(),
			"SELECT array_agg(pid) FROM pg_stat_activity WHERE datname = current_database()").Scan(&pids))
		require.Equal(t, []uint32{watcher.PgConn().PID()}, pids, "%d was closed", pid)
	}
}
