package plan_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/plan"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

func TestBundles(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		sizes []int64
		edit  func(*plan.Options)
		want  [][]string // names are t<size>
	}{
		"one":         {sizes: []int64{10}, want: [][]string{{"t10"}}},
		"count":       {sizes: []int64{1, 2, 3, 4}, want: [][]string{{"t4", "t3", "t2"}, {"t1"}}},
		"exact limit": {sizes: []int64{mb}, want: [][]string{{"t1048576"}}},
		"too large":   {sizes: []int64{mb + 1, 5}, want: [][]string{{"t5"}}},
		"bytes": {
			sizes: []int64{mb, mb - 1, 5}, edit: func(o *plan.Options) { o.BundleMaxBytes = 2*mb - 1 },
			want: [][]string{{"t1048576", "t1048575"}, {"t5"}},
		},
		"larger than a bundle": {
			sizes: []int64{mb, 5}, edit: func(o *plan.Options) { o.BundleMaxBytes = mb / 2 },
			want: [][]string{{"t1048576"}, {"t5"}},
		},
		"off":             {sizes: []int64{0, 5}, edit: func(o *plan.Options) { o.BundleMaxTable = 0 }},
		"one per bundle":  {sizes: []int64{1, 2}, edit: func(o *plan.Options) { o.BundleMaxTables = 1 }, want: [][]string{{"t2"}, {"t1"}}},
		"no limit at all": {sizes: []int64{1, 2}, edit: func(o *plan.Options) { o.BundleMaxTables = 0 }, want: [][]string{{"t2"}, {"t1"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			if test.edit != nil {
				test.edit(&w.Options)
			}
			for _, size := range test.sizes {
				w.table(fmt.Sprintf("t%d", size), size)
			}
			p := w.build(t)
			var have [][]string
			bundled := 0
			for _, b := range p.ofKind(tasks.KindBundle) {
				tables := names(decode[tasks.Bundle](t, b).Tables)
				have = append(have, tables)
				bundled += len(tables)
				require.Equal(t, []tasks.Group{tasks.WaveSchema}, b.Needs)
			}
			require.Equal(t, test.want, have)
			require.Equal(t, len(test.sizes), bundled+len(p.ofKind(tasks.KindCopy)))
			require.Len(t, p.Tables, len(test.sizes))
		})
	}
}

func TestBundleHoldsAllOfATable(t *testing.T) {
	t.Parallel()
	w := newWorld()
	a := w.table("a", 100)
	w.index(a, "a_v")
	w.primaryKey(a, func(x *pg.Index) { x.Clustered = true })
	w.table("b", 50)
	p := w.build(t)
	b := decode[tasks.Bundle](t, p.task(t, "copy.bundle.b0001"))
	require.Equal(t, []string{"a", "b"}, names(b.Tables))
	require.False(t, b.Tables[0].Copy.Freeze, "TRUNCATE costs more than a few pages are worth")
	var after []string
	for _, s := range slices.Concat(b.Tables[0].After, b.Tables[0].Analyze) {
		after = append(after, s.SQL)
	}
	require.Equal(t, []string{
		"CREATE INDEX a_v ON public.a USING btree (v)",
		"CREATE UNIQUE INDEX a_pkey ON public.a USING btree (v)",
		`ALTER TABLE ONLY "public"."a" ADD CONSTRAINT "a_pkey" PRIMARY KEY USING INDEX "a_pkey"`,
		`ALTER TABLE ONLY "public"."a" CLUSTER ON "a_pkey"`,
		`ANALYZE "public"."a"`,
	}, after)
	require.Empty(t, p.ofKind(tasks.KindIndex))
	require.Empty(t, p.ofKind(tasks.KindAnalyze))
	require.Equal(t, tasks.ID("copy.bundle.b0001"), p.Tables[0].Bundle)
	require.Equal(t, 2, p.Tables[0].Indexes)
}

func TestSplitting(t *testing.T) {
	t.Parallel()
	key := func(notNull bool) func(*pg.Relation) {
		return func(r *pg.Relation) { r.SplitKey, r.SplitNotNull = "id", notNull }
	}
	for name, test := range map[string]struct {
		bytes   int64
		edit    func(*pg.Relation)
		version int
		bounds  []string
		want    []string // predicates; none means whole
	}{
		"small":     {bytes: 100 * mb},
		"by blocks": {bytes: 300 * mb, want: []string{"ctid < '(12800,0)'", "ctid >= '(12800,0)'::pg_catalog.tid AND ctid < '(25600,0)'", "ctid >= '(25600,0)'"}},
		"at most":   {bytes: 10000 * mb, want: make([]string, 8)},
		"toast-heavy": {
			bytes: 10000 * mb, edit: func(r *pg.Relation) { r.Blocks = 2 },
			want: []string{"ctid < '(1,0)'", "ctid >= '(1,0)'"},
		},
		"one block": {bytes: 10000 * mb, edit: func(r *pg.Relation) { r.Blocks = 1 }},
		"no block":  {bytes: 10000 * mb, edit: func(r *pg.Relation) { r.Blocks = 0 }},
		"13 without a key": {
			bytes: 200 * mb, version: 130000,
		},
		"13 by key": {
			bytes: 200 * mb, version: 130000, edit: key(true), bounds: []string{"-5"},
			want: []string{`"id" < '-5'`, `"id" >= '-5'`},
		},
		"13 by nullable key": {
			bytes: 200 * mb, version: 130000, edit: key(false), bounds: []string{"7"},
			want: []string{`"id" < '7'`, `"id" >= '7'`, `"id" IS NULL`},
		},
		"13 with too few values": {bytes: 200 * mb, version: 130000, edit: key(true)},
		"other access method by key": {
			bytes: 200 * mb, edit: func(r *pg.Relation) { key(true)(r); r.AccessMethod = "columnar" }, bounds: []string{"1"},
			want: []string{`"id" < '1'`, `"id" >= '1'`},
		},
		"other access method": {bytes: 200 * mb, edit: func(r *pg.Relation) { r.AccessMethod = "columnar" }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			if test.version != 0 {
				w.Catalog.Version = test.version
			}
			edits := []func(*pg.Relation){}
			if test.edit != nil {
				edits = append(edits, test.edit)
			}
			big := w.table("big", test.bytes, edits...)
			if test.bounds != nil {
				w.Bounds = map[uint32][]string{big: test.bounds}
			}
			p := w.build(t)
			copies := p.ofKind(tasks.KindCopy)
			if test.want == nil {
				require.Len(t, copies, 1)
				c := decode[tasks.Copy](t, copies[0])
				require.True(t, c.Part.IsWhole())
				require.Equal(t, w.relation(big).AccessMethod == "heap", c.Freeze)
				return
			}
			require.Len(t, copies, len(test.want))
			for i, task := range copies {
				c := decode[tasks.Copy](t, task)
				require.False(t, c.Freeze, "FREEZE asks for a TRUNCATE, which would take the other parts with it")
				require.Equal(t, len(test.want), c.Parts)
				require.Equal(t, i+1, c.Part.Index)
				require.Contains(t, c.Part.Predicate(), test.want[i])
				require.Equal(t, copies[0].Group, task.Group)
				require.Equal(t, tasks.ID(fmt.Sprintf("copy.public.big.p%04d", i+1)), task.ID)
			}
		})
	}
}

func TestKeySplitsNamesWhatNeedsBounds(t *testing.T) {
	t.Parallel()
	w := newWorld()
	keyed := func(r *pg.Relation) { r.SplitKey = "id" }
	w.table("small", 5, keyed)
	w.table("by_blocks", 200*mb, keyed)
	w.table("no_key", 200*mb, func(r *pg.Relation) { r.AccessMethod = "columnar" })
	w.table("by_key", 200*mb, keyed, func(r *pg.Relation) { r.AccessMethod = "columnar" })
	splits := plan.KeySplits(w.Options, w.Catalog, w.Scope)
	require.Len(t, splits, 1)
	require.Equal(t, plan.KeySplit{Table: splits[0].Table, Name: tasks.Name{Schema: "public", Name: "by_key"}, Key: "id", Blocks: 25600, NumParts: 2}, splits[0])
	w.Options.SplitLargerThan = 0
	require.Empty(t, plan.KeySplits(w.Options, w.Catalog, w.Scope))
}

// A part for every row: whatever the number of blocks, bounds ascend and none
// is there twice.
func TestPartsOfAnySizeAscend(t *testing.T) {
	t.Parallel()
	for blocks := int64(1); blocks < 70; blocks++ {
		w := newWorld()
		w.Options.MaxParts = 64
		w.table("big", 100000*mb, func(r *pg.Relation) { r.Blocks = blocks })
		copies := w.build(t).ofKind(tasks.KindCopy)
		require.Len(t, copies, int(min(blocks, 64)))
		last := int64(0)
		for i, task := range copies {
			part := decode[tasks.Copy](t, task).Part
			if i == 0 {
				require.Nil(t, part.From)
			} else {
				from, err := strconv.ParseInt(*part.From, 10, 64)
				require.NoError(t, err)
				require.Greater(t, from, last)
				last = from
			}
			require.Equal(t, i == len(copies)-1, part.To == nil)
		}
	}
}

func TestLoadRoots(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		top, middle string // hash keys of the two levels, "" for list or range partitions
		otherText   bool
		want        string // root that the leaf is loaded through
	}{
		"portable":           {top: "portable", middle: "portable"},
		"list and range":     {},
		"enum on top":        {top: "local", middle: "portable", want: "top"},
		"enum below":         {top: "portable", middle: "local", want: "middle"},
		"enum on both":       {top: "local", middle: "local", want: "top"},
		"list of enum":       {middle: "local", want: "middle"},
		"same text":          {top: "text"},
		"other text":         {top: "text", otherText: true, want: "top"},
		"other text below":   {middle: "text", otherText: true, want: "middle"},
		"other text, no key": {top: "portable", otherText: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.SameText = !test.otherText
			top := w.partitioned("top", test.top, 0)
			middle := w.partitioned("middle", test.middle, top)
			w.primaryKey(w.table("leaf1", 1, of(middle)))
			w.primaryKey(w.table("leaf2", 200*mb, of(middle), func(r *pg.Relation) { slices.Reverse(r.Columns) }))
			p := w.build(t)
			if test.want == "" {
				require.Len(t, p.ofKind(tasks.KindBundle), 1, "a small leaf travels in a bundle")
				require.Nil(t, decode[tasks.Copy](t, p.task(t, "copy.public.leaf2.p0001")).Into)
				return
			}
			require.Empty(t, p.ofKind(tasks.KindBundle))
			for _, task := range p.ofKind(tasks.KindCopy) {
				c := decode[tasks.Copy](t, task)
				require.Equal(t, &tasks.Name{Schema: "public", Name: test.want}, c.Into)
				require.Equal(t, w.relation(top).Columns, c.Table.Columns, "as the root is read again")
				require.False(t, c.Freeze)
				require.Empty(t, c.TruncateSQL())
			}
			// A row of either leaf may land in the other.
			p.requireOrder(t, "copy.public.leaf1.all", "index.public.leaf2.leaf2_pkey")
			p.requireOrder(t, "copy.public.leaf2.p0002", "index.public.leaf1.leaf1_pkey")
			v := decode[tasks.Verify](t, p.ofKind(tasks.KindVerify)[0])
			require.Len(t, v.Tables, 1, "leaves are compared as a whole")
			require.Equal(t, test.want, v.Tables[0].Name.Name)
			require.True(t, v.Tables[0].Descend)
			require.Equal(t, []tasks.Name{{Schema: "public", Name: "leaf1"}, {Schema: "public", Name: "leaf2"}}, v.Tables[0].Leaves)
		})
	}
}

func TestTwoBranchesOfEnumHashAreApart(t *testing.T) {
	t.Parallel()
	w := newWorld()
	top := w.partitioned("top", "", 0)
	for _, branch := range []string{"x", "y"} {
		w.primaryKey(w.table(branch+"leaf", 1, of(w.partitioned(branch, "local", top))))
	}
	p := w.build(t)
	p.requireApart(t, "copy.public.xleaf.all", "index.public.yleaf.yleaf_pkey")
	require.Len(t, decode[tasks.Verify](t, p.ofKind(tasks.KindVerify)[0]).Tables, 2)
}

func TestTablesThatAreLeftOut(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.table("a", 1)
	hidden := w.table("hidden", 1)
	w.entries = w.entries[:1]
	w.Catalog.Indexes = append(w.Catalog.Indexes, pg.Index{OID: 5, Table: w.Catalog.Tables[0].OID, Name: "hidden_index"}, pg.Index{OID: 6, Table: hidden, Name: "of_hidden"})
	w.pre("FOREIGN TABLE", "public far me")
	p := w.build(t)
	require.Equal(t, []tasks.Skipped{
		{Object: "index hidden_index", Reason: "pg_dump leaves it out"},
		{Object: "rows of foreign table public far me", Reason: "they stay on their own server"},
		{Object: `table "public"."hidden"`, Reason: "pg_dump leaves it out"},
	}, p.Skipped)
	require.Len(t, p.Tables, 1)
}

func TestLargeObjectRanges(t *testing.T) {
	t.Parallel()
	// As pg.ReadCatalog lists them: the first of every thousand, and the last of all.
	bounds := func(n int) (oids []uint32) {
		for i := 1; i <= n; i++ {
			if i%1000 == 1 || i == n {
				oids = append(oids, uint32(20000+i))
			}
		}
		return oids
	}
	for _, n := range []int{0, 1, 2, 999, 1000, 1001, 1002, 2000, 2001, 5500} {
		w := newWorld()
		w.Catalog.LargeObjects = bounds(n)
		p := w.build(t)
		ranges := p.ofKind(tasks.KindLargeObjects)
		next, ids := uint32(20001), map[tasks.ID]bool{}
		for _, task := range ranges {
			r := decode[tasks.LargeObjects](t, task)
			require.Equal(t, next, r.From, "%d objects", n)
			require.LessOrEqual(t, r.To-r.From, uint32(1000), "%d objects", n)
			next = r.To + 1
			ids[task.ID] = true
		}
		require.Equal(t, uint32(20001+n), next, "%d objects", n)
		require.Len(t, ids, len(ranges))
	}
}

func TestExtensionData(t *testing.T) {
	t.Parallel()
	w := newWorld()
	config := func(oid uint32, name, condition string, references ...uint32) {
		w.Catalog.ExtensionConfig = append(w.Catalog.ExtensionConfig,
			pg.ConfigTable{Extension: "e", OID: oid, Schema: "ext", Name: name, Kind: "r", Condition: condition, Columns: []string{"id"}, References: references})
	}
	config(1, "child", "WHERE user_made", 2)
	config(2, "parent", "", 3)
	config(3, "grandparent", "  where  id > 5 ")
	config(4, "cycle1", "", 5)
	config(5, "cycle2", "WHERE(true)", 4)
	w.Catalog.ExtensionConfig = append(w.Catalog.ExtensionConfig, pg.ConfigTable{OID: 9, Schema: "ext", Name: "ids", Kind: "S"})
	p := w.build(t)
	b := decode[tasks.Bundle](t, p.task(t, "misc.extension-data.all"))
	require.Equal(t, []string{"grandparent", "parent", "child", "cycle2", "cycle1"}, names(b.Tables))
	where := map[string]string{}
	for _, l := range b.Tables {
		where[l.Copy.Table.Name.Name] = l.Copy.Where
		require.False(t, l.Copy.Freeze, "the extension's own rows must stay")
	}
	require.Equal(t, map[string]string{"grandparent": "id > 5", "parent": "", "child": "user_made", "cycle1": "", "cycle2": "(true)"}, where)
	require.Equal(t, tasks.Sequences{Names: []tasks.Name{{Schema: "ext", Name: "ids"}}}, decode[tasks.Sequences](t, p.task(t, "misc.sequences.s0001")))
}

func TestTextThatIsNotUTF8IsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.table("caf\xe9", 1)
	selection, err := plan.Select(w.Catalog, w.entries)
	require.NoError(t, err)
	w.Selection = selection
	_, err = plan.Build(w.Input)
	require.ErrorContains(t, err, `table "caf?" is not valid UTF-8`)
}

// TestBinary: a table's format, alone and in a bundle.
func TestBinary(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		local  bool // a column's binary form is not the same everywhere
		edit   func(*world)
		binary bool
	}{
		"portable":      {binary: true},
		"newer target":  {edit: func(w *world) { w.TargetMajor = 18 }, binary: true},
		"local":         {local: true},
		"digests":       {edit: func(w *world) { w.Options.Verify = tasks.LevelDigest }},
		"older target":  {edit: func(w *world) { w.Catalog.Version, w.TargetMajor = 180000, 17 }},
		"rows compared": {edit: func(w *world) { w.Options.Verify = tasks.LevelRows }, binary: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			if test.edit != nil {
				test.edit(w)
			}
			for table, size := range map[string]int64{"big": 30 * mb, "small": 1000, "tiny": 100} {
				w.table(table, size, func(r *pg.Relation) { r.Portable = !test.local })
			}
			p := w.build(t)
			for _, c := range p.ofKind(tasks.KindCopy) {
				require.Equal(t, test.binary, decode[tasks.Copy](t, c).Binary)
			}
			bundles := p.ofKind(tasks.KindBundle)
			require.Len(t, bundles, 1)
			for _, l := range decode[tasks.Bundle](t, bundles[0]).Tables {
				require.Equal(t, test.binary, l.Copy.Binary)
			}
			for _, table := range p.Tables {
				require.Equal(t, test.binary, table.Binary)
			}
		})
	}
}
