package run_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

// TestMatrix copies the museum, and the sample database if there is one (see
// TestSample), between the pairs of majors that PGCONVOY_TEST_MATRIX names, such
// as "13-18 14-14".
func TestMatrix(t *testing.T) {
	t.Parallel()
	pairs := strings.Fields(os.Getenv("PGCONVOY_TEST_MATRIX"))
	if len(pairs) == 0 {
		t.Skip("PGCONVOY_TEST_MATRIX names no pairs of majors")
	}
	for _, pair := range pairs {
		var from, to int
		_, err := fmt.Sscanf(pair, "%d-%d", &from, &to)
		require.NoError(t, err, "PGCONVOY_TEST_MATRIX has %q", pair)
		t.Run(pair, func(t *testing.T) {
			t.Parallel()
			source, target := pgtest.Pair(t, from, to)
			t.Run("museum", func(t *testing.T) { copyBetween(t, source.Museum(t), target) })
			t.Run("sample", func(t *testing.T) { copyBetween(t, loadSample(t, source), target) })
		})
	}
}

// copyBetween copies a database and compares it with the source, and with what
// pg_dump | pg_restore make of it: another major prints some definitions in other
// words, or has them as other objects.
func copyBetween(t *testing.T, src *pgtest.Database, target *pgtest.Server) {
	t.Helper()
	target.MuseumRoles(t)
	dst := target.Database(t)
	copyAll(t, options(t, src, dst))
	pgtest.RequireEqual(t, pgtest.Reference(t, src, target), dst)
	if src.Server.Major == target.Major {
		pgtest.RequireEqual(t, src, dst)
		return
	}
	pgtest.RequireEqual(t, src, dst, pgtest.DataOnly())
	diffs, err := pgtest.Diff(src, dst, pgtest.SchemaOnly())
	require.NoError(t, err)
	for _, d := range diffs {
		t.Log(d)
	}
}
