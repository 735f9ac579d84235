package pg

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

// TestDumpThatWaitsForALock: who waits too long is told for which table, and who has
// it; who waits for nothing is left alone.
func TestDumpThatWaitsForALock(t *testing.T) {
	t.Parallel()
	db := pgtest.Source(t).Database(t)
	db.Exec(t, `CREATE TABLE "Busy" (id int); CREATE VIEW on_busy AS SELECT * FROM "Busy"`)
	holder, dump := db.Connect(t), db.Connect(t)
	_, err := holder.Exec(t.Context(), `SET application_name = 'a migration'; BEGIN; LOCK TABLE "Busy"`)
	require.NoError(t, err)
	const name = "pgconvoy pg_dump of a test"
	_, err = dump.Exec(t.Context(), "SET application_name = '"+name+"'")
	require.NoError(t, err)
	o := Options{Side: Source, URI: db.URI()}

	idle, stop := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer stop()
	require.NoError(t, watchDump(idle, o, name, 0, time.Millisecond, 0))

	waiting, give := context.WithCancel(t.Context())
	printed := make(chan error, 1)
	go func() {
		_, err := dump.Exec(waiting, "SELECT pg_get_viewdef('on_busy'::regclass)")
		printed <- err
	}()
	err = watchDump(t.Context(), o, name, 0, time.Millisecond, 50*time.Millisecond)
	give()
	require.Error(t, <-printed)
	locked, ok := errors.AsType[*LockedError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, `public."Busy"`, locked.On)
	require.Regexp(t, `^it waits on the source for a lock on public."Busy" that is held by process \d+ \(a migration, idle in transaction\)$`, err.Error())
	require.Contains(t, locked.Hint(), "pg_terminate_backend")
}
