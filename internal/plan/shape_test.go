package plan_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/plan"
)

// shaped is a source with two tables, and the shape of it.
func shaped(t *testing.T, edits ...func(w *world, a, b uint32, columns map[uint32][]pg.Column)) plan.Shape {
	t.Helper()
	w := newWorld()
	w.pre("USER MAPPING", "- USER MAPPING me SERVER there")
	w.pre("FUNCTION", "public f() me")
	a, b := w.table("a", 100), w.table("b", 100)
	w.index(a, "a_v")
	w.primaryKey(a)
	w.foreignKey(b, a, "b_fk")
	columns := map[uint32][]pg.Column{a: {{Name: "id", Definition: "integer"}, {Name: "v", Definition: "text"}}, b: {{Name: "id", Definition: "integer"}}}
	for _, e := range edits {
		e(w, a, b, columns)
	}
	w.archive(t)
	return plan.ShapeOf(w.Input, columns)
}

// archive places the entries of the archive, and writes the SQL of each.
func (w *world) archive(t *testing.T) {
	t.Helper()
	var err error
	w.Selection, err = plan.Select(w.Catalog, w.entries)
	require.NoError(t, err)
	for _, e := range w.Selection.Kept() {
		w.SQL = append(w.SQL, pg.EntrySQL{Entry: e, SQL: "RUN " + e.Desc + " " + e.Rest + ";"})
	}
}

func TestShapeChanges(t *testing.T) {
	t.Parallel()
	was := shaped(t)
	type edit = func(w *world, a, b uint32, columns map[uint32][]pg.Column)
	for name, c := range map[string]struct {
		edit edit
		want []string
	}{
		"nothing": {func(*world, uint32, uint32, map[uint32][]pg.Column) {}, nil},
		"sizes, rows and files": {func(w *world, a, _ uint32, _ map[uint32][]pg.Column) {
			r := w.relation(a)
			r.Bytes, r.Rows, r.Blocks, r.Filenode, r.SnapFilenode = 300*mb, 7, 9, 77, 77
		}, nil},
		"a table more": {func(w *world, _, _ uint32, _ map[uint32][]pg.Column) { w.table("c", 1) }, []string{`table "public"."c" was added`}},
		"a column more": {func(_ *world, a, _ uint32, columns map[uint32][]pg.Column) {
			columns[a] = append(columns[a], pg.Column{Name: "w", Definition: "int"})
		}, []string{`column "w" of table "public"."a" was added`}},
		"a column less": {func(_ *world, a, _ uint32, columns map[uint32][]pg.Column) { columns[a] = columns[a][:1] }, []string{`column "v" of table "public"."a" was removed`}},
		"another type": {func(_ *world, a, _ uint32, columns map[uint32][]pg.Column) {
			columns[a] = []pg.Column{{Name: "id", Definition: "bigint"}, columns[a][1]}
		}, []string{`column "id" of table "public"."a" was altered`}},
		"an index more": {func(w *world, a, _ uint32, _ map[uint32][]pg.Column) { w.index(a, "a_w") }, []string{`index "a_w" of table "public"."a" was added`}},
		"an index otherwise": {func(w *world, _, _ uint32, _ map[uint32][]pg.Column) {
			w.Catalog.Indexes[0].Definition += " WHERE v > 7"
		}, []string{`index "a_v" of table "public"."a" was altered`}},
		"a key that is deferrable": {func(w *world, _, _ uint32, _ map[uint32][]pg.Column) {
			w.Catalog.Indexes[1].Constraint.Deferrable = true
		}, []string{`index "a_pkey" of table "public"."a" was altered`}},
		"a foreign key otherwise": {func(w *world, _, _ uint32, _ map[uint32][]pg.Column) {
			w.Catalog.ForeignKeys[0].Definition += " ON DELETE CASCADE"
		}, []string{`foreign key "b_fk" of table "public"."b" was altered`}},
		"an object more": {func(w *world, _, _ uint32, _ map[uint32][]pg.Column) { w.pre("VIEW", "public v me") }, []string{"view public v me was added"}},
	} {
		require.Equal(t, c.want, was.Changes(shaped(t, c.edit)), name)
		require.Len(t, shaped(t, c.edit).Changes(was), len(c.want), name)
	}
}

// What pg_dump writes of a table counts, and of a function; of what may hold a
// password only that it is there.
func TestShapeOfEntries(t *testing.T) {
	t.Parallel()
	shape := func(edit func(sql []pg.EntrySQL)) plan.Shape {
		w := newWorld()
		w.pre("USER MAPPING", "- USER MAPPING me SERVER there")
		w.pre("FUNCTION", "public f() me")
		a := w.table("a", 100)
		w.archive(t)
		edit(w.SQL)
		return plan.ShapeOf(w.Input, map[uint32][]pg.Column{a: nil})
	}
	was := shape(func([]pg.EntrySQL) {})
	now := shape(func(sql []pg.EntrySQL) {
		for i := range sql {
			sql[i].SQL += " -- other"
		}
	})
	require.Equal(t, []string{`table "public"."a" was altered`, "function public f() me was altered"}, was.Changes(now))
	require.Len(t, now.Objects["user mapping"], 1)
	text, err := json.Marshal(now)
	require.NoError(t, err)
	var back plan.Shape
	require.NoError(t, json.Unmarshal(text, &back))
	require.Empty(t, now.Changes(back))
	require.Empty(t, back.Changes(now))
}
