package plan_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/plan"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

const mb = 1 << 20

// world is a source database made by hand: its catalog and the archive that
// pg_dump would write of it, kept in step.
type world struct {
	plan.Input
	entries []pg.Entry
	oid     uint32
}

func newWorld() *world {
	return &world{
		oid: 16384,
		Input: plan.Input{
			Options: plan.Options{
				SplitLargerThan: 100 * mb, MaxParts: 8, BundleMaxTable: mb, BundleMaxBytes: 4 * mb, BundleMaxTables: 3, Verify: "rows",
			},
			Catalog: pg.Catalog{Version: 150000}, TargetMajor: 15, SameText: true,
		},
	}
}

func (w *world) next() uint32 {
	w.oid++
	return w.oid
}

// entry adds an archive entry and returns its dump ID.
func (w *world) entry(post bool, desc string, class, oid uint32, rest string, deps ...int) int {
	id := len(w.entries) + 1
	w.entries = append(w.entries, pg.Entry{
		DumpID: id, ClassID: class, OID: oid, Desc: desc, Rest: rest, Line: fmt.Sprintf("%d; %d %d %s %s", id, class, oid, desc, rest), Deps: deps, Post: post,
	})
	return id
}

// pre and post add entries that no task replaces.
func (w *world) pre(desc, rest string) int {
	return w.entry(false, desc, 0, 0, rest)
}

func (w *world) post(desc, rest string, deps ...int) int {
	return w.entry(true, desc, 0, 0, rest, deps...)
}

// table adds a table of a heap with its archive entry.
func (w *world) table(name string, bytes int64, edits ...func(*pg.Relation)) uint32 {
	r := pg.Relation{
		OID: w.next(), Schema: "public", Name: name, Kind: "r", AccessMethod: "heap", Filenode: w.oid, SnapFilenode: w.oid,
		Blocks: bytes / 8192, Bytes: bytes, Rows: -1, Columns: []string{"id", "v"},
	}
	for _, e := range edits {
		e(&r)
	}
	w.Catalog.Tables = append(w.Catalog.Tables, r)
	w.entry(false, "TABLE", 1259, r.OID, "public "+name+" me")
	return r.OID
}

func (w *world) partitioned(name, hash string, parent uint32) uint32 {
	return w.table(name, 0, func(r *pg.Relation) {
		r.Kind, r.AccessMethod, r.HashKey, r.Parent, r.Filenode = "p", "", hash, parent, 0
	})
}

func of(parent uint32) func(*pg.Relation) { return func(r *pg.Relation) { r.Parent = parent } }

func (w *world) relation(oid uint32) *pg.Relation {
	i := slices.IndexFunc(w.Catalog.Tables, func(r pg.Relation) bool { return r.OID == oid })
	return &w.Catalog.Tables[i]
}

// matview adds a materialized view that reads others.
func (w *world) matview(name string, populated bool, reads ...uint32) uint32 {
	oid := w.next()
	w.entry(false, "MATERIALIZED VIEW", 1259, oid, "public "+name+" me")
	w.Catalog.MatViews = append(w.Catalog.MatViews, pg.MatView{OID: oid, Schema: "public", Name: name, Populated: populated, Reads: reads})
	return oid
}

// index adds an index with its archive entry.
func (w *world) index(table uint32, name string, edits ...func(*pg.Index)) uint32 {
	r := w.relation(table)
	only := ""
	if r.Kind == "p" {
		only = "ONLY "
	}
	x := pg.Index{
		OID: w.next(), Table: table, Name: name, Valid: true, Bytes: r.Bytes / 4,
		Definition: fmt.Sprintf("CREATE INDEX %s ON %spublic.%s USING btree (v)", name, only, r.Name),
	}
	for _, e := range edits {
		e(&x)
	}
	w.Catalog.Indexes = append(w.Catalog.Indexes, x)
	if x.Constraint != nil {
		w.entry(true, "CONSTRAINT", 2606, x.Constraint.OID, "public "+name+" me")
	} else {
		w.entry(true, "INDEX", 1259, x.OID, "public "+name+" me")
	}
	if x.Parent != 0 {
		w.post("INDEX ATTACH", "public "+name+" me")
	}
	return x.OID
}

// constraint makes an index into one that stands for a constraint.
func (w *world) constraint(kind, definition string, edits ...func(*pg.Constraint)) func(*pg.Index) {
	return func(x *pg.Index) {
		x.Unique = kind != "x"
		x.Definition = strings.Replace(x.Definition, "CREATE INDEX", "CREATE UNIQUE INDEX", 1)
		x.Constraint = &pg.Constraint{OID: w.next(), Name: x.Name, Type: kind, Definition: definition}
		for _, e := range edits {
			e(x.Constraint)
		}
	}
}

func (w *world) primaryKey(table uint32, edits ...func(*pg.Index)) uint32 {
	name := w.relation(table).Name + "_pkey"
	return w.index(table, name, append([]func(*pg.Index){w.constraint("p", "PRIMARY KEY (id)")}, edits...)...)
}

func attachedTo(index uint32) func(*pg.Index) { return func(x *pg.Index) { x.Parent = index } }

func (w *world) foreignKey(table, references uint32, name string, edits ...func(*pg.ForeignKey)) {
	f := pg.ForeignKey{
		OID: w.next(), Table: table, References: references, Name: name, Validated: true, Enforced: true,
		Definition: "FOREIGN KEY (v) REFERENCES public.r(id)",
	}
	for _, e := range edits {
		e(&f)
	}
	w.Catalog.ForeignKeys = append(w.Catalog.ForeignKeys, f)
	w.entry(true, "FK CONSTRAINT", 2606, f.OID, "public "+name+" me")
}

// build selects, builds and checks that the plan can be run to its end.
func (w *world) build(t testing.TB) planned {
	t.Helper()
	var err error
	w.Selection, err = plan.Select(w.Catalog, w.entries)
	require.NoError(t, err)
	for _, e := range w.Selection.Kept() {
		w.SQL = append(w.SQL, pg.EntrySQL{Entry: e, SQL: "RUN " + e.Desc + " " + e.Rest + ";"})
	}
	p, err := plan.Build(w.Input)
	require.NoError(t, err)
	made := planned{p}
	made.requireRunnable(t)
	made.requireEveryEntryOnce(t, w)
	return made
}

type planned struct{ tasks.Plan }

// run does every task that becomes ready, except those with the IDs, and
// returns the IDs of what was done.
func (p planned) run(withheld ...tasks.ID) map[tasks.ID]bool {
	open := map[tasks.Group]int{}
	waiting := map[tasks.Group][]*tasks.Task{}
	missing := map[tasks.ID]int{}
	for i := range p.Tasks {
		open[p.Tasks[i].Group]++
		open[p.Tasks[i].Wave]++
	}
	var ready []*tasks.Task
	for i := range p.Tasks {
		t := &p.Tasks[i]
		for _, g := range t.Needs {
			if open[g] > 0 {
				missing[t.ID]++
				waiting[g] = append(waiting[g], t)
			}
		}
		if missing[t.ID] == 0 {
			ready = append(ready, t)
		}
	}
	done := map[tasks.ID]bool{}
	for len(ready) > 0 {
		t := ready[0]
		ready = ready[1:]
		if slices.Contains(withheld, t.ID) {
			continue
		}
		done[t.ID] = true
		for _, g := range []tasks.Group{t.Group, t.Wave} {
			if open[g]--; open[g] > 0 || g == "" {
				continue
			}
			for _, w := range waiting[g] {
				if missing[w.ID]--; missing[w.ID] == 0 {
					ready = append(ready, w)
				}
			}
		}
	}
	return done
}

// requireRunnable asserts that all needs can be met and that no task waits for
// itself.
func (p planned) requireRunnable(t testing.TB) {
	t.Helper()
	done := p.run()
	for _, task := range p.Tasks {
		require.True(t, done[task.ID], "%s never becomes ready: it needs %v", task.ID, task.Needs)
		require.True(t, task.Kind.Stage().Valid())
		require.Equal(t, task.Kind.Stage(), task.ID.Stage())
		require.NotEmpty(t, task.Wave)
		needs := slices.Clone(task.Needs)
		slices.Sort(needs)
		require.Len(t, slices.Compact(needs), len(task.Needs), "%s needs a group twice", task.ID)
	}
	schema := p.withWave(tasks.WaveSchema)
	for _, chunk := range schema[:min(1, len(schema))] {
		for id := range p.run(chunk) {
			require.Contains(t, schema, id, "%s does not wait for the schema", id)
		}
	}
}

// requireEveryEntryOnce asserts that the SQL of every entry that is kept is in
// exactly one task, and that of no other.
func (p planned) requireEveryEntryOnce(t testing.TB, w *world) {
	t.Helper()
	seen := map[string]int{}
	for _, task := range p.Tasks {
		if task.Kind != tasks.KindSchema {
			continue
		}
		for _, s := range statements(t, task) {
			_, entry, _ := strings.Cut(s, "RUN ")
			seen["RUN "+entry]++
		}
	}
	for _, e := range w.SQL {
		seen[e.SQL]--
	}
	for sql, n := range seen {
		require.Zero(t, n, "%s is run another number of times than it is in the archive", sql)
	}
	require.Len(t, w.entries, len(w.Selection.Kept())+len(w.Selection.Replaced))
}

func (p planned) task(t testing.TB, id tasks.ID) tasks.Task {
	t.Helper()
	i := slices.IndexFunc(p.Tasks, func(t tasks.Task) bool { return t.ID == id })
	require.GreaterOrEqual(t, i, 0, "plan has no task %s, but %v", id, p.ids())
	return p.Tasks[i]
}

func (p planned) has(id tasks.ID) bool {
	return slices.ContainsFunc(p.Tasks, func(t tasks.Task) bool { return t.ID == id })
}

func (p planned) ids() []tasks.ID {
	ids := make([]tasks.ID, len(p.Tasks))
	for i, t := range p.Tasks {
		ids[i] = t.ID
	}
	return ids
}

func (p planned) ofKind(k tasks.Kind) []tasks.Task {
	return slices.DeleteFunc(slices.Clone(p.Tasks), func(t tasks.Task) bool { return t.Kind != k })
}

func (p planned) withWave(wave tasks.Group) []tasks.ID {
	var ids []tasks.ID
	for _, t := range p.Tasks {
		if t.Wave == wave {
			ids = append(ids, t.ID)
		}
	}
	return ids
}

// requireOrder asserts of each task that it cannot be done before the one
// before it in the list.
func (p planned) requireOrder(t testing.TB, ids ...tasks.ID) {
	t.Helper()
	for i := 1; i < len(ids); i++ {
		p.task(t, ids[i-1])
		p.task(t, ids[i])
		require.NotContains(t, p.run(ids[i-1]), ids[i], "%s does not wait for %s", ids[i], ids[i-1])
	}
}

// requireApart asserts that neither task waits for the other.
func (p planned) requireApart(t testing.TB, x, y tasks.ID) {
	t.Helper()
	require.Contains(t, p.run(x), y, "%s waits for %s", y, x)
	require.Contains(t, p.run(y), x, "%s waits for %s", x, y)
}

func decode[T any](t testing.TB, task tasks.Task) T {
	t.Helper()
	spec, err := tasks.Decode[T](task)
	require.NoError(t, err)
	return spec
}

func statements(t testing.TB, task tasks.Task) []string {
	t.Helper()
	var sql []string
	for _, s := range decode[tasks.Statements](t, task).Statements {
		sql = append(sql, s.SQL)
	}
	return sql
}

// sql returns the statements of the task.
func (p planned) sql(t testing.TB, id tasks.ID) []string {
	t.Helper()
	return statements(t, p.task(t, id))
}

func names(tables []tasks.Loaded) []string {
	list := make([]string, len(tables))
	for i, l := range tables {
		list[i] = l.Copy.Table.Name.Name
	}
	return list
}

// dumpID returns the dump ID of the entry with the label.
func (w *world) dumpID(t *testing.T, label string) int {
	t.Helper()
	i := slices.IndexFunc(w.entries, func(e pg.Entry) bool { return e.Desc+" "+e.Rest == label })
	require.GreaterOrEqual(t, i, 0, label)
	return w.entries[i].DumpID
}
