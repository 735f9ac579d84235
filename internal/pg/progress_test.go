package pg_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

// TestWorks looks at sessions while they work: a COPY that waits for more rows, and
// the build of an index that waits at its first row.
func TestWorks(t *testing.T) {
	t.Parallel()
	db := pgtest.Target(t).Database(t)
	db.Exec(t, `CREATE TABLE a (id int); CREATE TABLE b (x int); INSERT INTO b VALUES (1);
		CREATE FUNCTION waits(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN $1; END'`)
	gate := connect(t, pg.Target, db.URI())
	exec(t, gate, "SELECT pg_advisory_lock(1)")
	copier, builder, looker := connect(t, pg.Target, db.URI()), connect(t, pg.Target, db.URI()), connect(t, pg.Target, db.URI())
	works, err := pg.Works(t.Context(), looker)
	require.NoError(t, err)
	require.Empty(t, works)

	rows, feed := io.Pipe()
	copied, built := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := copier.PgConn().CopyFrom(t.Context(), rows, "COPY public.a FROM STDIN")
		copied <- err
	}()
	go func() {
		_, err := builder.Exec(t.Context(), "CREATE INDEX ON public.b (public.waits(x))")
		built <- err
	}()
	_, err = feed.Write([]byte(strings.Repeat("1\n", 100_000)))
	require.NoError(t, err)
	seen := map[string]bool{}
	require.Eventually(t, func() bool {
		works, err := pg.Works(t.Context(), looker)
		require.NoError(t, err)
		if w := works[int(copier.PgConn().PID())]; w.Bytes >= 100_000 {
			require.Equal(t, pg.Work{Bytes: w.Bytes}, w)
			seen["copy"] = true
		}
		if w := works[int(builder.PgConn().PID())]; strings.Contains(w.Phase, "scanning table") && w.Total == 1 {
			seen["index"] = true
		}
		return seen["copy"] && seen["index"]
	}, time.Minute, 20*time.Millisecond)
	exec(t, gate, "SELECT pg_advisory_unlock(1)")
	require.NoError(t, feed.Close())
	require.NoError(t, <-copied)
	require.NoError(t, <-built)
}
