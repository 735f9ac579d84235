package plan_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/plan"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// weighed makes a source with a table of 200 MB, half of it out of line, and an
// index of 50 MB.
func weighed(edits ...func(*world)) *world {
	w := single()
	w.Catalog.BlockSize = 8192
	big := w.table("big", 200*mb, func(r *pg.Relation) { r.Blocks, r.Rows = 100*mb/8192, 1_000_000 })
	w.index(big, "big_v")
	for _, e := range edits {
		e(w)
	}
	return w
}

func TestExpected(t *testing.T) {
	t.Parallel()
	plain := weighed().build(t).Expected
	require.Equal(t, int64(50*mb), plain.Indexes)
	require.Equal(t, int64(200*mb+100*mb/80+(32<<10)), plain.Tables, "TOAST has an index, and the heap its maps")
	require.Zero(t, plain.LargeObjects)
	require.Equal(t, plain.Tables+plain.Indexes+plain.Catalog, plain.Total())
	require.Equal(t, plain.WAL, plain.MostWAL)
	require.InDelta(t, 100*mb-20_000_000+100*mb+45*mb, plain.WAL, 4*mb, "rows without their headers, and pages of an index without what is free in them")

	in := func(edit func(*world)) tasks.Expected { return weighed(edit).plan(t).Expected }
	for name, c := range map[string]struct {
		edit func(*world)
		want func(*tasks.Expected)
	}{
		"unlogged": {
			func(w *world) { w.Catalog.Tables[0].Unlogged = true },
			func(e *tasks.Expected) { e.WAL, e.MostWAL = e.WAL-225*mb, e.MostWAL-225*mb },
		},
		"no rows are known": {
			func(w *world) { w.Catalog.Tables[0].Rows = -1 },
			func(e *tasks.Expected) { e.WAL, e.MostWAL = e.WAL+20_000_000, e.MostWAL+20_000_000 },
		},
		"wal_level minimal does not help parts": {
			func(w *world) { w.TargetWAL.Minimal = true },
			func(e *tasks.Expected) { e.WAL, e.MostWAL = e.WAL-45*mb, e.MostWAL-45*mb },
		},
		"checksums, with parts, which are not frozen": {
			func(w *world) { w.TargetWAL.Hints = true },
			func(e *tasks.Expected) { e.MostWAL += 100 * mb },
		},
		"checksums, not compared": {
			func(w *world) { w.TargetWAL.Hints, w.Options.Verify = true, "none" },
			func(*tasks.Expected) {},
		},
		"checksums, frozen": {
			func(w *world) { w.TargetWAL.Hints, w.Options.SplitLargerThan = true, 0 },
			func(*tasks.Expected) {},
		},
		"large objects": {
			func(w *world) { w.Catalog.LargeObjects, w.Catalog.LargeObjectBytes = []uint32{1, 2}, 8*mb },
			func(e *tasks.Expected) { e.LargeObjects, e.WAL, e.MostWAL = 8*mb, e.WAL+10*mb, e.MostWAL+10*mb },
		},
		"a materialized view": {
			func(w *world) { w.matview("m", true); w.Catalog.MatViews[0].Bytes = 3 * mb },
			func(e *tasks.Expected) { e.Tables, e.WAL, e.MostWAL = e.Tables+3*mb, e.WAL+3*mb, e.MostWAL+3*mb },
		},
		"rows alone": {
			func(w *world) { w.Options.Only = tasks.Sections{tasks.SectionData} },
			func(e *tasks.Expected) { e.Indexes, e.WAL, e.MostWAL = 0, e.WAL-45*mb, e.MostWAL-45*mb },
		},
		"definitions alone": {
			func(w *world) { w.Options.Only = tasks.Sections{tasks.SectionSchema} },
			func(e *tasks.Expected) { e.Tables, e.Indexes, e.WAL, e.MostWAL = 0, 0, 0, 0 },
		},
		"one that is not populated": {
			func(w *world) { w.matview("m", false); w.Catalog.MatViews[0].Bytes = 3 * mb },
			func(*tasks.Expected) {},
		},
	} {
		want := plain
		c.want(&want)
		got := in(c.edit)
		for _, d := range []struct{ want, got int64 }{{want.Tables, got.Tables}, {want.Indexes, got.Indexes}, {want.LargeObjects, got.LargeObjects},
			{want.WAL, got.WAL}, {want.MostWAL, got.MostWAL}} {
			require.InDelta(t, d.want, d.got, 3*mb, "%s: want %+v, got %+v", name, want, got)
		}
	}
	minimal := in(func(w *world) { w.TargetWAL.Minimal, w.Options.SplitLargerThan = true, 0 })
	require.Less(t, minimal.WAL, int64(2*mb), "what is made and filled in one transaction is not logged")
}

// A plan says where it cuts tables, and cuts them where it is told to.
func TestBoundsAndCuts(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.table("big", 250*mb)
	w.table("small", 100)
	table := func(p planned, name string) tasks.PlannedTable {
		for _, x := range p.Tables {
			if x.Name.Name == name {
				return x
			}
		}
		t.Fatalf("no table %s", name)
		return tasks.PlannedTable{}
	}
	first := w.build(t)
	require.Equal(t, "ctid", table(first, "big").SplitBy)
	require.Equal(t, []string{"10666", "21333"}, table(first, "big").Bounds)
	require.Empty(t, table(first, "small").SplitBy)
	require.Empty(t, table(first, "small").Bounds)

	again := func(edit func(w *world, big, small uint32)) planned {
		w := newWorld()
		big, small := w.table("big", 250*mb), w.table("small", 100)
		edit(w, big, small)
		return w.build(t)
	}
	grown := again(func(w *world, big, _ uint32) {
		w.relation(big).Bytes, w.relation(big).Blocks = 900*mb, 900*mb/8192
		w.Cuts = map[uint32]plan.Cut{big: {By: "ctid", Bounds: table(first, "big").Bounds}}
	})
	require.Equal(t, table(first, "big").Bounds, table(grown, "big").Bounds)
	last := decode[tasks.Copy](t, grown.task(t, "copy.public.big.p0003"))
	require.Nil(t, last.Part.To, "what has grown is in the last part")
	require.Equal(t, "21333", *last.Part.From)

	shrunk := again(func(w *world, _, small uint32) {
		w.Cuts = map[uint32]plan.Cut{small: {By: "ctid", Bounds: []string{"5"}}}
	})
	require.Equal(t, 2, table(shrunk, "small").Parts)
	require.Empty(t, table(shrunk, "small").Bundle)

	key := func(r *pg.Relation) { r.SplitKey = "id" }
	byKey := again(func(w *world, big, _ uint32) {
		key(w.relation(big))
		w.Cuts = map[uint32]plan.Cut{big: {By: `"id"`, Bounds: []string{"7"}}}
	})
	require.Equal(t, 3, table(byKey, "big").Parts, "two ranges, and the rows without a key")
	require.Equal(t, `"id"`, table(byKey, "big").SplitBy)
	require.Equal(t, []string{"7"}, table(byKey, "big").Bounds)
	lost := again(func(w *world, big, _ uint32) {
		w.Cuts = map[uint32]plan.Cut{big: {By: `"gone"`, Bounds: []string{"7"}}}
	})
	require.Equal(t, table(first, "big"), table(lost, "big"), "a key that is gone")
}
