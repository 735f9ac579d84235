package plan_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/plan"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

func TestLateOrder(t *testing.T) {
	t.Parallel()
	w := single()
	a := w.table("a", 1)
	w.primaryKey(a)
	w.foreignKey(a, a, "fk")
	w.Catalog.Sequences = []pg.Sequence{{OID: 1, Schema: "public", Name: "s"}}
	w.Catalog.LargeObjects = []uint32{5}
	w.post("TRIGGER", "public a t me")
	w.pre("ACL", "public TABLE a me")
	w.matview("mv", true)
	w.post("PUBLICATION", "- p me")
	w.post("EVENT TRIGGER", "- e me")
	p := w.build(t)
	refresh := p.ofKind(tasks.KindRefresh)[0].ID
	p.requireOrder(t, "misc.pre-data.c0001", "copy.public.a.all", "attach.public.a.all", "fkey.public.a.fk.validate", "misc.post-data.c0001",
		"misc.privileges.c0001", refresh, "misc.last.c0001", "misc.verify.v0001")
	p.requireOrder(t, "fkey.public.a.fk.validate", "misc.sequences.s0001", "misc.verify.v0001")
	p.requireOrder(t, "blob.large-objects.o5-5", "misc.post-data.c0001")
	require.Equal(t, []string{`REFRESH MATERIALIZED VIEW "public"."mv"`}, p.sql(t, refresh))
}

// A wave without tasks holds nobody up, so what is late must name the schema
// itself: without tables, it would run before the schemas exist.
func TestLateFollowsTheSchemaWithoutAnyTable(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.pre("SCHEMA", "- app me")
	w.pre("ACL", "- SCHEMA app me")
	w.Catalog.Sequences = []pg.Sequence{{OID: 1, Schema: "app", Name: "s"}}
	w.post("RULE", "app v me")
	w.post("EVENT TRIGGER", "- e me")
	p := w.build(t)
	require.Empty(t, p.withWave(tasks.WaveData))
	p.requireOrder(t, "misc.pre-data.c0001", "misc.post-data.c0001", "misc.privileges.c0001", "misc.last.c0001")
	p.requireOrder(t, "misc.pre-data.c0001", "misc.sequences.s0001")
}

func TestNothingAtAll(t *testing.T) {
	t.Parallel()
	require.Empty(t, newWorld().build(t).Tasks)
}

func TestRefreshFollowsDependencies(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.table("a", 1)
	first := w.matview("first", true)
	second := w.matview("second", true, first)
	third := w.matview("third", true, second, first)
	fourth := w.matview("fourth", true)
	p := w.build(t)
	id := func(oid uint32) tasks.ID { return tasks.ID(fmt.Sprintf("misc.refresh.v%d", oid)) }
	p.requireOrder(t, "copy.bundle.b0001", id(first), id(second), id(third))
	p.requireApart(t, id(fourth), id(first))
}

func TestRefreshOfWhatCanBe(t *testing.T) {
	t.Parallel()
	w := newWorld()
	empty := w.matview("empty", false)
	low := w.matview("low", true, empty)
	w.matview("high", true, low)
	w.Catalog.MatViews = append(w.Catalog.MatViews, pg.MatView{OID: w.next(), Schema: "public", Name: "not in the archive", Populated: true})
	p := w.build(t)
	require.Empty(t, p.ofKind(tasks.KindRefresh))
	require.Equal(t, []tasks.Skipped{
		{Object: `rows of materialized view "public"."low"`, Reason: "it reads another one that is not populated"},
		{Object: `rows of materialized view "public"."high"`, Reason: "it reads another one that is not populated"},
	}, p.Skipped)
}

func TestChunks(t *testing.T) {
	t.Parallel()
	w := newWorld()
	for i := range 601 {
		w.pre("FUNCTION", fmt.Sprintf("public f%d me", i))
		w.post("TRIGGER", fmt.Sprintf("public t%d me", i))
	}
	w.post("STATISTICS", "public st me")
	p := w.build(t)
	p.requireOrder(t, "misc.pre-data.c0001", "misc.pre-data.c0002", "misc.pre-data.c0003", "misc.post-data.c0001", "misc.post-data.c0002", "misc.post-data.c0003")
	require.Len(t, p.sql(t, "misc.pre-data.c0001"), 300)
	require.Equal(t, []string{"RUN FUNCTION public f600 me;", "RUN STATISTICS public st me;"}, p.sql(t, "misc.pre-data.c0003"))
	require.Equal(t, "FUNCTION public f300 me", decode[tasks.Statements](t, p.task(t, "misc.pre-data.c0002")).Statements[0].Label)
}

// Settings that pg_restore makes hold within the chunk, and do not outlive it.
func TestSettingsOfEntries(t *testing.T) {
	t.Parallel()
	w := newWorld()
	for i := range 302 {
		w.pre("TABLE", fmt.Sprintf("public t%d me", i))
	}
	var err error
	w.Selection, err = plan.Select(w.Catalog, w.entries)
	require.NoError(t, err)
	heap := "SET default_table_access_method = heap;"
	for i, e := range w.Selection.Kept() {
		settings := []string{"", "SET default_tablespace = ''; " + heap, "SET default_tablespace = fast; " + heap}[min(i, 2)]
		w.SQL = append(w.SQL, pg.EntrySQL{Entry: e, SQL: "CREATE TABLE x;", Settings: settings})
	}
	built, err := plan.Build(w.Input)
	require.NoError(t, err)
	p := planned{built}
	first := p.sql(t, "misc.pre-data.c0001")
	require.Equal(t, "CREATE TABLE x;", first[0])
	require.Equal(t, "SET LOCAL default_tablespace = ''; SET LOCAL default_table_access_method = heap;\nCREATE TABLE x;", first[1])
	require.Equal(t, "SET LOCAL default_tablespace = fast; SET LOCAL default_table_access_method = heap;\nCREATE TABLE x;", first[2])
	require.Equal(t, "CREATE TABLE x;", first[3])
	require.Contains(t, p.sql(t, "misc.pre-data.c0002")[0], "SET LOCAL default_tablespace = fast;", "a chunk stands for itself")
	require.NotContains(t, strings.ReplaceAll(strings.Join(first, ""), "SET LOCAL ", ""), "SET ")
}

func TestSequences(t *testing.T) {
	t.Parallel()
	w := newWorld()
	for i := range 2001 {
		w.Catalog.Sequences = append(w.Catalog.Sequences, pg.Sequence{OID: uint32(i + 1), Schema: "public", Name: fmt.Sprintf("s%d", i)})
	}
	p := w.build(t)
	seen := map[tasks.Name]bool{}
	for _, task := range p.ofKind(tasks.KindSequences) {
		list := decode[tasks.Sequences](t, task).Names
		require.LessOrEqual(t, len(list), 1000)
		for _, n := range list {
			seen[n] = true
		}
	}
	require.Len(t, seen, 2001)
	require.Len(t, p.ofKind(tasks.KindSequences), 3)
}

func TestVerify(t *testing.T) {
	t.Parallel()
	for level, want := range map[string][]int{"none": {}, "rows": {100, 20, 1}, "digest": {100, 20, 1}} {
		w := newWorld()
		w.Options.Verify = level
		for i := range 120 {
			w.table(fmt.Sprintf("t%d", i), 1)
		}
		w.table("huge", 300*mb)
		p := w.build(t)
		have := map[int]bool{}
		seen := map[tasks.Name]bool{}
		for _, task := range p.ofKind(tasks.KindVerify) {
			v := decode[tasks.Verify](t, task)
			require.Equal(t, level, v.Level)
			have[len(v.Tables)] = true
			for _, table := range v.Tables {
				require.False(t, seen[table.Name])
				seen[table.Name] = true
			}
		}
		for _, task := range p.ofKind(tasks.KindCopy) {
			require.Equal(t, level == "digest", decode[tasks.Copy](t, task).Digest)
		}
		for _, task := range p.ofKind(tasks.KindBundle) {
			for _, loaded := range decode[tasks.Bundle](t, task).Tables {
				require.Equal(t, level == "digest", loaded.Copy.Digest)
			}
		}
		for _, n := range want {
			require.True(t, have[n], "%s: a task with %d tables, have %v", level, n, have)
		}
		require.Len(t, p.ofKind(tasks.KindVerify), len(want))
	}
}

func TestLargestFirst(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.table("small", 5)
	w.table("big", 90*mb)
	w.table("bigger", 95*mb)
	p := w.build(t)
	copies := p.ofKind(tasks.KindCopy)
	require.Equal(t, []tasks.ID{"copy.public.bigger.all", "copy.public.big.all"}, []tasks.ID{copies[0].ID, copies[1].ID})
	require.Equal(t, "bigger", p.Tables[0].Name.Name)
	require.Equal(t, "small", p.Tables[2].Name.Name)
}

func TestSameInputSamePlan(t *testing.T) {
	t.Parallel()
	make := func() tasks.Plan {
		w := newWorld()
		w.tree()
		w.matview("mv", true)
		return w.build(t).Plan
	}
	require.Equal(t, make(), make())
}
