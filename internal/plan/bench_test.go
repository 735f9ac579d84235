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

// large makes a source with many tables, three indexes each. Half of them are
// leaves of one partitioned table by an enum's hash, the worst case.
func large(tables int) *world {
	w := newWorld()
	root := w.partitioned("root", "local", 0)
	rootKey := w.primaryKey(root)
	w.Catalog.Tables = append(make([]pg.Relation, 0, tables+1), w.Catalog.Tables...)
	for i := range tables {
		name := fmt.Sprintf("t%06d", i)
		r := pg.Relation{OID: w.next(), Schema: "public", Name: name, Kind: "r", AccessMethod: "heap", Bytes: int64(i%5) * mb, Columns: []string{"id"}}
		if i%2 == 0 {
			r.Parent = root
		}
		w.Catalog.Tables = append(w.Catalog.Tables, r)
		w.entry(false, "TABLE", 1259, r.OID, "public "+name+" me")
		for j := range 3 {
			x := pg.Index{OID: w.next(), Table: r.OID, Name: fmt.Sprintf("%s_%d", name, j), Definition: "CREATE INDEX", Valid: true}
			if j == 0 {
				x.Constraint = &pg.Constraint{OID: w.next(), Name: x.Name, Type: "p"}
				if r.Parent != 0 {
					x.Parent = rootKey
				}
				w.entry(true, "CONSTRAINT", 2606, x.Constraint.OID, "public "+x.Name+" me")
			} else {
				w.entry(true, "INDEX", 1259, x.OID, "public "+x.Name+" me")
			}
			w.Catalog.Indexes = append(w.Catalog.Indexes, x)
		}
		w.Catalog.ForeignKeys = append(w.Catalog.ForeignKeys,
			pg.ForeignKey{OID: w.next(), Table: r.OID, References: root, Name: name + "_fk", Definition: "FOREIGN KEY", Validated: true, Enforced: true})
		w.entry(true, "FK CONSTRAINT", 2606, w.oid, "public "+name+"_fk me")
	}
	return w
}

func (w *world) plan(tb testing.TB) tasks.Plan {
	tb.Helper()
	var err error
	w.Selection, err = plan.Select(w.Catalog, w.entries)
	require.NoError(tb, err)
	w.SQL = w.SQL[:0]
	for _, e := range w.Selection.Kept() {
		w.SQL = append(w.SQL, pg.EntrySQL{Entry: e, SQL: "CREATE TABLE x;"})
	}
	p, err := plan.Build(w.Input)
	require.NoError(tb, err)
	return p
}

func BenchmarkPlan(b *testing.B) {
	for _, tables := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(tables), func(b *testing.B) {
			w := large(tables)
			for b.Loop() {
				w.plan(b)
			}
		})
	}
}

// The time per table must not grow with their number.
func TestPlanningIsLinear(t *testing.T) {
	took := func(tables int) time.Duration {
		w := large(tables)
		start := time.Now()
		p := w.plan(t)
		require.Greater(t, len(p.Tasks), 3*tables)
		return time.Since(start)
	}
	took(500) // warms up
	small, big := took(1000), took(10_000)
	require.Less(t, big, 60*small, "ten times the tables took %s instead of %s", big, small)
	planned{large(500).plan(t)}.requireRunnable(t)
}
