package differ_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

// fixedSeeds is how many seeds run with all tests.
const fixedSeeds = 3

// TestDiffer copies one database per seed. PGCONVOY_TEST_DIFFER_SEEDS is how many
// seeds, PGCONVOY_TEST_DIFFER_SEED the first, PGCONVOY_TEST_DIFFER_FROM and _TO are
// the majors. PGCONVOY_TEST_DIFFER_KEEP names a folder for the SQL of what fails.
func TestDiffer(t *testing.T) {
	t.Parallel()
	first, n := number(t, "SEED", 1), number(t, "SEEDS", fixedSeeds)
	source, target := servers(t)
	var passed atomic.Int64
	t.Cleanup(func() { t.Logf("seeds %d to %d: %d run, %d passed", first, first+n-1, n, passed.Load()) })
	for seed := first; seed < first+n; seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			w := draw(seed, source.Major)
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("to repeat: make differ SEEDS=1 SEED=%d FROM=%d TO=%d", seed, source.Major, target.Major)
					keep(t, seed, w)
				} else {
					passed.Add(1)
				}
			})
			src := source.Database(t)
			w.make(t, src)
			differ(t, src, target, seed)
		})
	}
}

// TestSeedsRepeat draws the same twice, and different seeds differently.
func TestSeedsRepeat(t *testing.T) {
	t.Parallel()
	for major := 13; major <= 18; major++ {
		require.Equal(t, draw(5, major).statements, draw(5, major).statements)
		require.NotEqual(t, draw(5, major).statements, draw(6, major).statements)
	}
}

// differ copies a database both ways and compares.
func differ(t *testing.T, src *pgtest.Database, target *pgtest.Server, seed int) {
	t.Helper()
	want := pgtest.Reference(t, src, target)
	got := copied(t, src, target, seed)
	pgtest.RequireEqual(t, want, got)
	if target.Major == src.Server.Major {
		pgtest.RequireEqual(t, src, got, lost())
	}
}

// lost is what no copy can keep, as no statement says it: parameters of a TOAST
// table that the source has for a column that was dropped.
func lost() pgtest.Option {
	return pgtest.IgnoreLines(`^WITH \(.*toast\.`, `^WITH \(parallel_workers='2'\);`)
}

// servers returns the servers of the majors that are asked for.
func servers(t *testing.T) (source, target *pgtest.Server) {
	t.Helper()
	own := pgtest.DefaultMajor(t)
	source, target = pgtest.Pair(t, number(t, "FROM", own), number(t, "TO", own))
	source.MuseumRoles(t)
	return source, target
}

// number reads a setting of the test.
func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv("PGCONVOY_TEST_DIFFER_" + name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, name)
	return n
}

// make runs the statements, each by itself, so that an error names one.
func (w *world) make(t *testing.T, db *pgtest.Database) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), db.URI())
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(context.WithoutCancel(t.Context()))) }()
	for _, sql := range w.statements {
		_, err := conn.PgConn().Exec(t.Context(), sql).ReadAll()
		require.NoError(t, err, "the generator is wrong: %s", sql)
	}
}

// keep writes the statements of a seed that has failed.
func keep(t *testing.T, seed int, w *world) {
	dir := os.Getenv("PGCONVOY_TEST_DIFFER_KEEP")
	if dir == "" {
		return
	}
	name := filepath.Join(dir, fmt.Sprintf("seed-%d.sql", seed))
	if err := os.WriteFile(name, []byte(strings.Join(w.statements, ";\n")+";\n"), 0o644); err != nil {
		t.Error(err)
	}
	t.Logf("what it holds: %s", name)
}
