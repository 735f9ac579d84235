package schema_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/schema"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// compare compares two databases.
func compare(t *testing.T, src, dst *pgtest.Database) tasks.SchemaComparison {
	t.Helper()
	c, err := schema.Compare(t.Context(), connect(t, src, pg.Source), connect(t, dst, pg.Target), schema.Expected{Without: []string{"pgconvoy"}})
	require.NoError(t, err)
	return c
}

func connect(t *testing.T, db *pgtest.Database, side pg.Side) *pg.Conn {
	t.Helper()
	c, err := pg.Connect(t.Context(), pg.Options{Side: side, URI: db.URI()})
	require.NoError(t, err)
	t.Cleanup(c.Discard)
	return c
}

// lines returns the differences as people read them, each on one line.
func lines(c tasks.SchemaComparison) []string {
	texts := []string{}
	for _, d := range c.Differences {
		texts = append(texts, strings.Join(strings.Fields(d.String()), " "))
	}
	return texts
}

func TestCopiesOfTheMuseumAreEqual(t *testing.T) {
	t.Parallel()
	t.Run("15", func(t *testing.T) {
		t.Parallel()
		src := pgtest.Source(t).Museum(t)
		c := compare(t, src, pgtest.Reference(t, src, pgtest.Target(t)))
		require.Empty(t, lines(c))
		require.Empty(t, c.Notes)
	})
	for _, majors := range [][2]int{{14, 18}, {14, 15}, {15, 17}, {16, 17}, {17, 18}, {18, 18}} {
		t.Run(fmt.Sprintf("%d to %d", majors[0], majors[1]), func(t *testing.T) {
			t.Parallel()
			src := pgtest.Major(t, majors[0]).Museum(t)
			c := compare(t, src, pgtest.Reference(t, src, pgtest.Major(t, majors[1])))
			require.Empty(t, lines(c))
		})
	}
}
