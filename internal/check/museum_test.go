package check_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

// TestMuseumHasNoBlockers looks at a database with one of every kind of object.
func TestMuseumHasNoBlockers(t *testing.T) {
	t.Parallel()
	pgtest.Target(t).MuseumRoles(t)
	b := &bench{source: pgtest.Source(t).Museum(t), target: pgtest.Target(t).Database(t)}
	found := b.run(t)
	require.Empty(t, found.Blockers())
	for _, f := range found {
		t.Log(f.What)
	}
}
