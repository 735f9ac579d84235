package run_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/ledger"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

// TestPlannerWaitsForTheOneBefore: a planner that is started right after another one
// was killed finds the session of that still there.
func TestPlannerWaitsForTheOneBefore(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	src.Exec(t, "CREATE TABLE a (id int); INSERT INTO a VALUES (1)")
	before, err := pg.Connect(t.Context(), pg.Options{Side: pg.Target, URI: dst.URI()})
	require.NoError(t, err)
	owned, err := ledger.Own(t.Context(), before)
	require.NoError(t, err)
	require.True(t, owned)
	o := options(t, src, dst)
	w := &witness{Handler: o.Log.Handler()}
	o.Log = slog.New(w)
	wait := start(t.Context(), o)
	require.Eventually(t, func() bool { return strings.Contains(w.all(), "waiting for another planner to end") }, time.Minute, 10*time.Millisecond)
	before.Discard()
	_, err = wait()
	require.NoError(t, err)
	pgtest.RequireEqual(t, src, dst)
}
