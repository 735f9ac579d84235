package plan_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/plan"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// measured returns the parts of each table that the plan measures on the side,
// "all" for a whole one, and asserts that each is waited for by the task that
// compares the table.
func (p planned) measured(t testing.TB, side string) map[string][]string {
	t.Helper()
	parts := map[string][]string{}
	group := map[string]tasks.Group{}
	for _, task := range p.ofKind(tasks.KindMeasure) {
		m := decode[tasks.Measure](t, task)
		if m.Side != side {
			continue
		}
		for _, v := range m.Tables {
			what := "all"
			if !v.Part.IsWhole() {
				what = v.Part.Predicate()
			}
			parts[v.Name.Name] = append(parts[v.Name.Name], what)
			group[v.Name.Name] = task.Group
		}
	}
	for _, task := range p.ofKind(tasks.KindVerify) {
		for _, v := range decode[tasks.Verify](t, task).Tables {
			if g, there := group[v.Name.Name]; there {
				require.Equal(t, []tasks.Group{g}, task.Needs)
			}
		}
	}
	for name := range parts {
		slices.Sort(parts[name])
	}
	return parts
}

func TestLargeTablesAreMeasuredInParts(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.Options.Verify = "digest"
	w.table("small", 90*mb)
	w.table("large", 250*mb)
	p := w.build(t)
	parts := p.measured(t, tasks.SideTarget)
	require.Equal(t, []string{"all"}, parts["small"])
	require.Len(t, parts["large"], 3, "as many as it is copied in")
	require.Empty(t, p.measured(t, tasks.SideSource), "rows are hashed while they are copied")
	p.requireOrder(t, "copy.public.large.p0001", p.ofKind(tasks.KindMeasure)[0].ID)
}

func TestLargeTreesAreMeasuredInPartsOfAllLeaves(t *testing.T) {
	t.Parallel()
	w := newWorld()
	root := w.partitioned("root", "local", 0)
	w.table("leaf1", 60*mb, of(root))
	w.table("leaf2", 150*mb, of(root))
	parts := w.build(t).measured(t, tasks.SideTarget)
	blocks := 150 * mb / 8192
	require.Equal(t, []string{
		fmt.Sprintf("ctid < '(%d,0)'::pg_catalog.tid", blocks/3),
		fmt.Sprintf("ctid >= '(%d,0)'::pg_catalog.tid", blocks*2/3),
		fmt.Sprintf("ctid >= '(%d,0)'::pg_catalog.tid AND ctid < '(%d,0)'::pg_catalog.tid", blocks/3, blocks*2/3),
	}, parts["root"], "210 MB in three ranges, each of both leaves")
}

func relation(oid uint32, name string, bytes int64, columns ...string) pg.Relation {
	return pg.Relation{OID: oid, Schema: "public", Name: name, Kind: "r", AccessMethod: "heap", Bytes: bytes, Blocks: bytes / 8192, Columns: columns}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	in := plan.CompareInput{
		Options: plan.Options{SplitLargerThan: 100 * mb, MaxParts: 8, Verify: "digest"},
		Source: pg.Catalog{Version: 150000, Tables: []pg.Relation{
			relation(1, "same", mb, "a"), relation(2, "gone", mb, "a"), relation(3, "narrow", mb, "a", "b"),
			relation(4, "large", 300*mb, "a"), relation(5, "bloated", mb, "a"),
		}},
		Target: pg.Catalog{Version: 150000, Tables: []pg.Relation{
			relation(11, "same", mb, "a", "more"), relation(13, "narrow", mb, "a"), relation(14, "large", 200*mb, "a"), relation(15, "bloated", 400*mb, "a"), relation(16, "extra", mb, "a"),
		}},
		Snapshots: [2]string{"s1", "t1"},
	}
	made, found, tables, err := plan.Compare(in)
	require.NoError(t, err)
	require.Equal(t, 5, tables)
	require.Len(t, found, 2)
	require.Equal(t, `"public"."gone": source has the table, target has no table of that name`, found[0].String())
	require.Equal(t, `"public"."narrow": source has column "b", target has no such column, or generates it`, found[1].String())

	p := planned{made}
	require.Empty(t, p.Skipped)
	for side, want := range map[string]map[string]int{
		tasks.SideSource: {"same": 1, "large": 3, "bloated": 1}, tasks.SideTarget: {"same": 1, "large": 2, "bloated": 4},
	} {
		parts := p.measured(t, side)
		require.Len(t, parts, len(want))
		for name, n := range want {
			require.Len(t, parts[name], n, "%s on the %s", name, side)
		}
	}
	for _, task := range p.Tasks {
		require.Equal(t, tasks.WaveData, task.Wave, "the snapshot is kept for all of them")
		switch task.Kind {
		case tasks.KindMeasure:
			require.Empty(t, task.Needs)
			m := decode[tasks.Measure](t, task)
			require.Equal(t, map[string]string{tasks.SideSource: "s1", tasks.SideTarget: "t1"}[m.Side], m.Snapshot)
			require.Equal(t, "digest", m.Level)
		case tasks.KindVerify:
			v := decode[tasks.Verify](t, task)
			require.Equal(t, []string{"s1", "t1", "digest"}, []string{v.Source, v.Target, v.Level})
		default:
			t.Fatalf("a comparison has a task of kind %s", task.Kind)
		}
	}
	require.GreaterOrEqual(t, p.Tasks[0].Weight, p.Tasks[1].Weight)

	// A source of 13 cannot read a range of blocks: the key is cut, or nothing.
	in.Source.Version = 130000
	in.Source.Tables[3].SplitKey = "a"
	in.Bounds = map[uint32][]string{4: {"10", "20"}}
	made, _, _, err = plan.Compare(in)
	require.NoError(t, err)
	require.Equal(t, []string{`"a" < '10'`, `"a" >= '10' AND "a" < '20'`, `"a" >= '20'`, `"a" IS NULL`}, sortedBy(planned{made}.measured(t, tasks.SideSource)["large"]))
	require.Len(t, planned{made}.measured(t, tasks.SideTarget)["large"], 2)
}

// sortedBy orders predicates as bounds are.
func sortedBy(predicates []string) []string {
	order := []string{`"a" < '10'`, `"a" >= '10' AND "a" < '20'`, `"a" >= '20'`, `"a" IS NULL`}
	slices.SortFunc(predicates, func(x, y string) int { return slices.Index(order, x) - slices.Index(order, y) })
	return predicates
}
