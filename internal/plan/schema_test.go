package plan_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// schemaTasks returns the tasks that run entries before the rows, by the labels
// of these.
func (p planned) schemaTasks(t *testing.T) map[string]tasks.Task {
	t.Helper()
	byLabel := map[string]tasks.Task{}
	for _, id := range p.withWave(tasks.WaveSchema) {
		task := p.task(t, id)
		for _, s := range decode[tasks.Statements](t, task).Statements {
			require.NotContains(t, byLabel, s.Label)
			byLabel[s.Label] = task
		}
	}
	return byLabel
}

// Tables are made side by side, each with what belongs to it, after all that
// comes before them and before the rest, which some tables need.
func TestTablesAreMadeSideBySide(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.pre("SCHEMA", "- s me")
	w.pre("COMMENT", "- SCHEMA s me")
	w.pre("FUNCTION", "public f me")
	last := func() int { return len(w.entries) }
	for i := range 500 {
		w.table(fmt.Sprintf("t%d", i), 1)
		table := last()
		sequence := w.entry(false, "SEQUENCE", 1259, w.next(), fmt.Sprintf("public t%d_id_seq me", i), table)
		w.entry(false, "SEQUENCE OWNED BY", 0, 0, fmt.Sprintf("public t%d_id_seq me", i), sequence)
		if i == 250 {
			w.entry(false, "VIEW", 1259, w.next(), "public v me", table)
			w.table("of_view", 1)
			w.entries[last()-1].Deps = []int{last() - 1}
			w.entry(false, "COMMENT", 0, 0, "public TABLE of_view me", last())
		}
	}
	for i := range 500 { // far from their tables, as pg_dump has them
		w.entry(false, "DEFAULT", 2604, w.next(), fmt.Sprintf("public t%d id me", i), w.dumpID(t, fmt.Sprintf("TABLE public t%d me", i)))
	}
	p := w.build(t)
	made := p.schemaTasks(t)

	before := made["FUNCTION public f me"]
	require.Equal(t, before, made["COMMENT - SCHEMA s me"])
	rest := made["VIEW public v me"]
	require.Equal(t, rest, made["TABLE public of_view me"])
	require.Equal(t, rest, made["COMMENT public TABLE of_view me"])
	chunks := map[tasks.ID]bool{}
	for i := range 500 {
		chunk := made[fmt.Sprintf("TABLE public t%d me", i)]
		chunks[chunk.ID] = true
		require.Equal(t, []tasks.Group{before.Group}, chunk.Needs)
		for _, label := range []string{"SEQUENCE public t%d_id_seq me", "SEQUENCE OWNED BY public t%d_id_seq me", "DEFAULT public t%d id me"} {
			require.Equal(t, chunk.ID, made[fmt.Sprintf(label, i)].ID)
		}
		require.Contains(t, rest.Needs, chunk.Group)
	}
	require.Len(t, chunks, 7, "of at most 300 entries")
	require.Len(t, rest.Needs, 7)
	require.Len(t, p.withWave(tasks.WaveSchema), 9)
}

// A family that is too large for one transaction is a chain of them.
func TestLargeFamilyIsAChain(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.table("root", 1)
	for i := range 400 {
		w.table(fmt.Sprintf("leaf%d", i), 1)
		w.entry(false, "TABLE ATTACH", 1259, w.next(), fmt.Sprintf("public leaf%d me", i), 1, len(w.entries))
	}
	w.table("other", 1)
	w.pre("VIEW", "public v me")
	p := w.build(t)
	made := p.schemaTasks(t)
	p.requireOrder(t, "misc.pre-data.c0001", "misc.pre-data.c0002", "misc.pre-data.c0003", "misc.pre-data.c0005")
	p.requireApart(t, "misc.pre-data.c0004", "misc.pre-data.c0001")
	require.Equal(t, tasks.ID("misc.pre-data.c0004"), made["TABLE public other me"].ID)
	require.Len(t, p.sql(t, "misc.pre-data.c0001"), 300)
}

// The server would want to call the array types of such tables the same.
func TestTypeNamesDoNotMeet(t *testing.T) {
	t.Parallel()
	w := newWorld()
	long := strings.Repeat("x", 60)
	w.table("a", 1)
	w.table(long+"aaa", 1)
	for i := range 300 {
		w.table(fmt.Sprintf("t%d", i), 1)
	}
	w.table("__a", 1)
	w.table(long+"bbb", 1)
	p := w.build(t)
	made := p.schemaTasks(t)
	require.Equal(t, made["TABLE public a me"].ID, made["TABLE public __a me"].ID)
	require.Equal(t, made["TABLE public "+long+"aaa me"].ID, made["TABLE public "+long+"bbb me"].ID)
	require.NotEqual(t, made["TABLE public a me"].ID, made["TABLE public t299 me"].ID)
}
