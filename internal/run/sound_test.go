package run_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/run"
)

// TestUnsoundCopyIsNotComplete: somebody breaks objects of the target after
// their tasks were done; the run is not complete until they are mended.
func TestUnsoundCopyIsNotComplete(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	release := gated(t, src, dst, 10)
	src.Exec(t, `CREATE TABLE t (id serial PRIMARY KEY, n int CONSTRAINT positive CHECK (n > 0)); CREATE INDEX t_n ON t (n);
		INSERT INTO t (n) SELECT generate_series(1, 100);
		CREATE MATERIALIZED VIEW late AS SELECT gate(5000) AS passed`)
	wait := start(t.Context(), options(t, src, dst))
	awaitGate(t, dst, 1) // the refresh of the view is the last that is done
	awaitQuery(t, dst, "done", "SELECT DISTINCT state FROM pgconvoy.task WHERE kind = 'sequences'")
	dst.Exec(t, `UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'public.t_n'::regclass;
		UPDATE pg_constraint SET convalidated = false WHERE conname = 'positive';
		SELECT setval('public.t_id_seq', 5)`)
	release()
	_, err := wait()
	var unsound *run.UnsoundError
	require.ErrorAs(t, err, &unsound)
	require.ElementsMatch(t, []string{"index public.t_n is not valid", "constraint positive of public.t is not validated",
		"sequence public.t_id_seq is behind the values of its column"}, unsound.Findings)
	require.Equal(t, 3, unsound.ExitCode())
	require.NotEqual(t, "complete", dst.Query(t, "SELECT state FROM pgconvoy.run"))

	dst.Exec(t, `REINDEX INDEX t_n; ALTER TABLE t VALIDATE CONSTRAINT positive; SELECT setval('t_id_seq', 100)`)
	_, err = run.Resume(t.Context(), options(t, src, dst), run.Resumption{})
	require.NoError(t, err)
	pgtest.RequireEqual(t, src, dst)
}
