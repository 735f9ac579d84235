package plan_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// The longest chain goes through the larger table, its index, and what waits for
// it, whatever else there is.
func TestCriticalPath(t *testing.T) {
	t.Parallel()
	w := single()
	a := w.table("a", 250*mb)
	w.index(a, "a_v")
	w.index(w.table("b", 90*mb), "b_v")
	p := w.build(t)
	var chain []tasks.ID
	for _, c := range p.Critical {
		require.Equal(t, p.task(t, c.ID).Weight, c.Weight)
		chain = append(chain, c.ID)
	}
	require.Subset(t, chain, []tasks.ID{"misc.pre-data.c0001", "index.public.a.a_v"})
	require.NotContains(t, chain, tasks.ID("index.public.b.b_v"))
	for i, later := range chain[1:] {
		p.requireOrder(t, chain[i], later)
	}
}
