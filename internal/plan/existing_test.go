package plan_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/fit"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/plan"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// shop is a world with something of every section.
func shop(t *testing.T, only ...tasks.Section) *world {
	t.Helper()
	w := newWorld()
	w.Options.Only, w.Options.BundleMaxTable = only, 0
	w.pre("SCHEMA", "app")
	hub, big := w.table("hub", mb), w.table("big", 300*mb)
	w.primaryKey(hub)
	w.index(big, "big_v")
	parent := w.partitioned("parent", "", 0)
	leaf := w.table("leaf", mb, of(parent))
	top := w.index(parent, "parent_v")
	w.index(leaf, "leaf_v", attachedTo(top))
	w.foreignKey(big, hub, "big_hub")
	w.post("TRIGGER", "public big t")
	w.matview("seen", true)
	w.Catalog.Sequences = []pg.Sequence{{OID: w.next(), Schema: "public", Name: "s"}}
	w.Catalog.LargeObjects = []uint32{1, 500}
	w.Catalog.ExtensionConfig = []pg.ConfigTable{{Extension: "x", OID: w.next(), Schema: "public", Name: "config", Kind: "r"}}
	var err error
	w.Selection, err = plan.Select(w.Catalog, w.entries)
	require.NoError(t, err)
	for _, e := range w.Selection.Kept() {
		w.SQL = append(w.SQL, pg.EntrySQL{Entry: e, SQL: "RUN " + e.Desc + " " + e.Rest + ";"})
	}
	return w
}

// effects returns what the tasks do, but for statistics, which are gathered after
// rows and after indexes.
func effects(t *testing.T, p tasks.Plan) (list []string) {
	t.Helper()
	planned{p}.requireRunnable(t)
	for _, task := range p.Tasks {
		switch task.Kind {
		case tasks.KindAnalyze:
		case tasks.KindCopy, tasks.KindExtensionData, tasks.KindLargeObjects, tasks.KindSequences, tasks.KindMeasure, tasks.KindVerify:
			list = append(list, string(task.ID))
		default:
			list = append(list, statements(t, task)...)
		}
	}
	slices.Sort(list)
	return list
}

// What one run does is what the sections do one by one, each effect in exactly one
// of them.
func TestSectionsAreTheWhole(t *testing.T) {
	t.Parallel()
	whole, err := plan.Build(shop(t).Input)
	require.NoError(t, err)
	var parts []string
	for _, s := range tasks.AllSections() {
		p, err := plan.Build(shop(t, s).Input)
		require.NoError(t, err)
		list := effects(t, p)
		require.NotEmpty(t, list, s)
		parts = append(parts, list...)
		require.Len(t, p.Skipped, len(tasks.AllSections())-1, s)
	}
	slices.Sort(parts)
	require.Equal(t, effects(t, whole), parts)
	all, err := plan.Build(shop(t, tasks.AllSections()...).Input)
	require.NoError(t, err)
	require.Equal(t, whole, all)
}

// Copies into tables that are there neither truncate nor freeze; what was asked to
// be emptied is so before all of them, tables that refer to each other together.
func TestExistingTables(t *testing.T) {
	t.Parallel()
	w := shop(t, tasks.SectionData)
	w.Options.BundleMaxTable = mb
	byName := map[string]uint32{}
	for _, r := range w.Catalog.Tables {
		byName[r.Name] = r.OID
	}
	name := func(n string) tasks.Name { return tasks.Name{Schema: "public", Name: n} }
	w.Existing = &plan.Existing{
		Silent: true, Truncate: true, Tables: map[tasks.Name]bool{name("hub"): true, name("big"): true, name("parent"): true},
		Places: map[uint32]fit.Place{
			byName["hub"]: {Into: name("hub"), Alike: true, BuiltIn: true}, byName["big"]: {Into: name("big"), Tree: true},
			byName["leaf"]: {Into: name("parent"), Tree: true, Root: byName["parent"], Alike: true},
		},
		Together: [][2]tasks.Name{{name("big"), name("hub")}, {name("big"), name("big")}},
		Proofs:   []pg.Proof{{Schema: "public", Table: "big", Name: "big_hub", SQL: "PROVE"}},
	}
	made, err := plan.Build(w.Input)
	require.NoError(t, err)
	p := planned{made}
	p.requireRunnable(t)
	require.Equal(t, []string{pg.SilentSQL + `; TRUNCATE "public"."big", ONLY "public"."hub", "public"."parent"`}, sorted(p.sql(t, "misc.truncate.t0001")))
	p.requireOrder(t, "misc.truncate.t0001", "copy.public.leaf.all", "fkey.public.big.big_hub.proof")
	p.requireOrder(t, "misc.truncate.t0001", "copy.bundle.b0001", "fkey.public.big.big_hub.proof")
	copies := []tasks.Copy{decode[tasks.Bundle](t, p.task(t, "copy.bundle.b0001")).Tables[0].Copy}
	for _, task := range p.ofKind(tasks.KindCopy) {
		copies = append(copies, decode[tasks.Copy](t, task))
	}
	require.Len(t, copies, 1+3+1, "hub, three parts of big, leaf")
	into := map[string]string{"hub": "hub", "big": "big", "leaf": "parent"}
	for _, c := range copies {
		require.True(t, c.Existing && c.Silent && !c.Freeze, c.Label())
		require.Equal(t, into[c.Table.Name.Name], c.Target().Name)
		require.Equal(t, c.Table.Name.Name != "hub", c.Into != nil, "all partitions")
	}
	verified := map[string]tasks.VerifyTable{}
	for _, task := range p.ofKind(tasks.KindVerify) {
		for _, v := range decode[tasks.Verify](t, task).Tables {
			verified[v.Name.Name] = v
		}
	}
	require.Len(t, verified, 3)
	require.True(t, verified["big"].Descend)
	require.False(t, verified["hub"].Descend)
	require.Equal(t, []tasks.Name{name("leaf")}, verified["parent"].Leaves)
}

// sorted returns the statements with the tables of each TRUNCATE in order.
func sorted(list []string) []string {
	for i, s := range list {
		head, tables, _ := strings.Cut(s, "TRUNCATE ")
		names := strings.Split(tables, ", ")
		slices.SortFunc(names, func(x, y string) int {
			return strings.Compare(strings.TrimPrefix(x, "ONLY "), strings.TrimPrefix(y, "ONLY "))
		})
		list[i] = head + "TRUNCATE " + strings.Join(names, ", ")
	}
	return list
}
