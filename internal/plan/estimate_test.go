package plan_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/plan"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

func crew(n int) plan.Crew {
	c := plan.Crew{Workers: n, Caps: map[tasks.Stage]int{}}
	for _, s := range tasks.Stages() {
		c.Caps[s] = n
	}
	return c
}

// exact are rates without uncertainty, of 1 MB/s, with servers that carry so many
// tasks.
func exact(carried float64) tasks.Rates {
	r := tasks.Rate{Slow: mb, Fast: mb}
	return tasks.Rates{Copy: r, Index: r, Scan: tasks.Rate{Slow: 1000 * mb, Fast: 1000 * mb}, Carried: tasks.Rate{Slow: carried, Fast: carried}}
}

func TestEstimate(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		tables   []int64 // sizes
		indexes  int     // of the first one
		workers  int
		carried  float64
		shortest time.Duration
		longest  time.Duration
		bound    string
	}{
		"one table is its own path":        {[]int64{80 * mb}, 0, 4, 100, 80 * time.Second, 100 * time.Second, "critical path"},
		"an index comes after the rows":    {[]int64{80 * mb}, 1, 4, 100, 100 * time.Second, 125 * time.Second, "critical path"},
		"many tables are shared":           {[]int64{80 * mb, 80 * mb, 80 * mb, 80 * mb}, 0, 2, 100, 160 * time.Second, 240 * time.Second, "stage copy"},
		"as many workers as tables":        {[]int64{80 * mb, 80 * mb, 80 * mb, 80 * mb}, 0, 16, 100, 80 * time.Second, 100 * time.Second, "critical path"},
		"the servers carry one":            {[]int64{80 * mb, 80 * mb, 80 * mb, 80 * mb}, 0, 16, 1, 320 * time.Second, 400 * time.Second, "servers"},
		"one worker, rows and indexes mix": {[]int64{80 * mb, 80 * mb}, 4, 1, 100, 160 * time.Second, 340 * time.Second, "stage copy"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := single()
			w.Options.SplitLargerThan = 0
			for i, bytes := range c.tables {
				table := w.table(fmt.Sprintf("t%d", i), bytes)
				for n := range c.indexes {
					if i == 0 {
						w.index(table, fmt.Sprintf("t0_%d", n), func(x *pg.Index) { x.Bytes = 20 * mb })
					}
				}
			}
			p := w.build(t)
			e := plan.Estimate(p.Plan, exact(c.carried), []plan.Crew{crew(c.workers)})
			got := e.Crews[0]
			require.Equal(t, c.workers, got.Workers)
			require.InDelta(t, c.shortest.Seconds(), got.Shortest.Seconds(), 4, "shortest, bound by %s", got.Bound)
			require.LessOrEqual(t, got.Longest, c.longest+5*time.Second)
			require.GreaterOrEqual(t, got.Longest, got.Shortest)
			require.Equal(t, c.bound, got.Bound)

			later := e.After(time.Minute)
			require.Equal(t, time.Minute, later.Planning)
			require.Equal(t, got.Shortest+time.Minute, later.Crews[0].Shortest)
			require.Equal(t, got.Longest+time.Minute, later.Crews[0].Longest)
			require.Equal(t, got, e.Crews[0])
		})
	}
}

// More workers never make an estimate longer, and assumed rates are ranges.
func TestEstimateOfManyTables(t *testing.T) {
	t.Parallel()
	p := planned{large(500).plan(t)}
	for _, verify := range []string{tasks.LevelRows, tasks.LevelDigest} {
		e := plan.Estimate(p.Plan, plan.AssumedRates(verify), []plan.Crew{crew(1), crew(4), crew(16)})
		for i, c := range e.Crews {
			require.Less(t, c.Shortest, c.Longest)
			if i > 0 {
				require.LessOrEqual(t, c.Shortest, e.Crews[i-1].Shortest)
				require.LessOrEqual(t, c.Longest, e.Crews[i-1].Longest)
			}
		}
	}
}
