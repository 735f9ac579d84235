package fit_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/fit"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// shapes reads tables, one a line: name, kind, and as far as they are there the
// parent with the bound, or the key. All have a column id.
func shapes(text string) (list []pg.Shape) {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		s := pg.Shape{
			OID: uint32(len(list) + 1), Schema: "public", Name: words[0], Kind: words[1],
			Columns: []string{"id"}, Types: []string{"integer"}, BuiltIn: []bool{true}, Generated: []bool{false}, Required: []bool{false},
		}
		for _, w := range words[2:] {
			key, value, _ := strings.Cut(w, "=")
			switch key {
			case "of":
				s.ParentSchema, s.Parent = "public", value
			case "bound":
				s.Bound = value
			case "key":
				s.Key = value + " (id)"
			}
		}
		list = append(list, s)
	}
	return list
}

const rangeTree = `
	t p key=RANGE
	t_1 r of=t bound=1
	t_2 p of=t bound=2 key=LIST
	t_2a r of=t_2 bound=a`

func TestPlaces(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		source, target string
		want           map[string]string // by table of the source: where its rows go
		missing        int
	}{
		"the same":              {"a r", "a r", map[string]string{"a": "a"}, 0},
		"missing":               {"a r", "b r", map[string]string{}, 1},
		"a view":                {"a r", "a v", map[string]string{}, 0},
		"flat into tree":        {"t r", rangeTree, map[string]string{"t": "t, a tree"}, 0},
		"tree into flat":        {rangeTree, "t r", map[string]string{"t_1": "t, shared", "t_2a": "t, shared"}, 0},
		"the same tree":         {rangeTree, rangeTree, map[string]string{"t_1": "t_1", "t_2a": "t_2a"}, 0},
		"another bound":         {rangeTree, strings.Replace(rangeTree, "bound=1", "bound=7", 1), map[string]string{"t_1": "t, a tree, shared", "t_2a": "t, a tree, shared"}, 0},
		"another key":           {rangeTree, strings.Replace(rangeTree, "key=LIST", "key=RANGE", 1), map[string]string{"t_1": "t, a tree, shared", "t_2a": "t, a tree, shared"}, 0},
		"one more":              {rangeTree, rangeTree + "\n t_3 r of=t bound=3", map[string]string{"t_1": "t, a tree, shared", "t_2a": "t, a tree, shared"}, 0},
		"hashes":                {strings.Replace(rangeTree, "LIST", "HASH", 1), strings.Replace(rangeTree, "LIST", "HASH", 1), map[string]string{"t_1": "t, a tree, shared", "t_2a": "t, a tree, shared"}, 0},
		"alone":                 {rangeTree, "t_1 r\n t_2a r", map[string]string{"t_1": "t_1", "t_2a": "t_2a"}, 0},
		"a leaf in partitions":  {rangeTree, "t_1 p key=RANGE\n t_1a r of=t_1 bound=1\n t_2a r", map[string]string{"t_1": "t_1, a tree", "t_2a": "t_2a"}, 0},
		"neither leaf nor root": {rangeTree, "t_1 r", map[string]string{"t_1": "t_1"}, 1},
		"parent is left out":    {"t_1 r of=t bound=1", "t_1 r", map[string]string{"t_1": "t_1"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source := shapes(c.source)
			var tables []fit.Table
			for _, s := range source {
				if s.Kind == "r" {
					tables = append(tables, fit.Table{OID: s.OID, Columns: []string{"id"}})
				}
			}
			places, misfits := fit.Places(source, shapes(c.target), tables)
			got := map[string]string{}
			for oid, p := range places {
				require.True(t, p.Alike && p.BuiltIn)
				text := p.Into.Name
				if p.Tree {
					text += ", a tree"
				}
				if p.Root != 0 {
					text += ", shared"
				}
				got[source[oid-1].Name] = text
			}
			require.Equal(t, c.want, got)
			require.Len(t, misfits.Missing, c.missing)
		})
	}
}

func TestColumns(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(source, target *pg.Shape)
		copied []string
		want   fit.Misfits
		place  fit.Place
	}{
		"the same":        {func(_, _ *pg.Shape) {}, []string{"id"}, fit.Misfits{}, fit.Place{Alike: true, BuiltIn: true}},
		"a wider type":    {func(_, d *pg.Shape) { d.Types[0] = "bigint" }, []string{"id"}, fit.Misfits{}, fit.Place{Alike: true}},
		"another type":    {func(_, d *pg.Shape) { d.Types[0] = "numeric(10,2)" }, []string{"id"}, fit.Misfits{}, fit.Place{}},
		"no such column":  {func(_, d *pg.Shape) { d.Columns[0] = "ID" }, []string{"id"}, fit.Misfits{Columns: []string{`"public"."a"."id"`}}, fit.Place{Alike: true, BuiltIn: true}},
		"generated":       {func(_, d *pg.Shape) { d.Generated[0] = true }, []string{"id"}, fit.Misfits{Generated: []string{`"public"."a"."id"`}}, fit.Place{Alike: true, BuiltIn: true}},
		"of a user":       {func(s, d *pg.Shape) { s.Types[0], d.Types[0], s.BuiltIn[0], d.BuiltIn[0] = "e", "e", false, false }, []string{"id"}, fit.Misfits{}, fit.Place{Alike: true}},
		"required":        {func(_, d *pg.Shape) { d.Required[0] = true }, nil, fit.Misfits{Required: []string{`"public"."a"."id"`}}, fit.Place{Alike: true, BuiltIn: true}},
		"required, there": {func(_, d *pg.Shape) { d.Required[0] = true }, []string{"id"}, fit.Misfits{}, fit.Place{Alike: true, BuiltIn: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source, target := shapes("a r"), shapes("a r")
			c.change(&source[0], &target[0])
			places, misfits := fit.Places(source, target, []fit.Table{{OID: 1, Columns: c.copied}})
			require.Equal(t, c.want, misfits)
			c.place.Into = tasks.Name{Schema: "public", Name: "a"}
			require.Equal(t, c.place, places[1])
		})
	}
}

func TestUnlike(t *testing.T) {
	t.Parallel()
	missing, unlike := fit.Unlike(shapes(rangeTree+"\n a r\n b r\n v v"), shapes(strings.Replace(rangeTree, "bound=1", "bound=7", 1)+"\n a p key=RANGE"))
	require.Equal(t, []string{`"public"."b"`}, missing)
	require.Equal(t, []string{`"public"."t_1"`, `"public"."a"`}, unlike)
}
