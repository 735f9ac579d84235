// Package fit decides where the rows of each table go in a target that has its
// tables already, and whether they fit in there. It is pure: the shapes of both
// sides go in.
package fit

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Place is where the rows of a table go.
type Place struct {
	Into tasks.Name
	Tree bool   // it is partitioned: its rows are those of its partitions
	Root uint32 // the table of the source that Into has the name of, if that is another one: rows of several tables go there

	Alike        bool // the copied columns have types on both sides whose values are written alike
	BuiltIn      bool // they are the same built-in ones
	Unlogged     bool
	AccessMethod string
}

// Table is a table of which rows are copied.
type Table struct {
	OID     uint32
	Columns []string
}

// Misfits are the tables whose rows fit nowhere, each with what is wrong.
type Misfits struct {
	Missing   []string // there is no table of the name
	NotTables []string // what has the name is none
	Columns   []string // a column is not there
	Generated []string // it is, and the target computes it
	Required  []string // a column of the target is NOT NULL without a default, and the source has none of the name
}

// Places finds the place of each table. A partition goes to the one of its name if
// the whole tree is the same on both sides, and through the partitioned table
// otherwise; also if it is a tree of hashes, which may differ between servers.
func Places(source, target []pg.Shape, tables []Table) (map[uint32]Place, Misfits) {
	f := fitter{source: index(source), target: index(target), byOID: map[uint32]*pg.Shape{}}
	for i := range source {
		f.byOID[source[i].OID] = &source[i]
	}
	f.same = f.sameTrees(source, target)
	places := make(map[uint32]Place, len(tables))
	for _, t := range tables {
		s := f.byOID[t.OID]
		if s == nil {
			continue
		}
		if p, ok := f.place(s); ok {
			f.columns(s, t.Columns, &p)
			places[t.OID] = p
		}
	}
	return places, f.Misfits
}

type fitter struct {
	Misfits
	source, target map[tasks.Name]*pg.Shape
	byOID          map[uint32]*pg.Shape
	same           map[tasks.Name]bool // trees, by their roots
}

func index(shapes []pg.Shape) map[tasks.Name]*pg.Shape {
	m := make(map[tasks.Name]*pg.Shape, len(shapes))
	for i := range shapes {
		m[nameOf(&shapes[i])] = &shapes[i]
	}
	return m
}

func nameOf(s *pg.Shape) tasks.Name { return tasks.Name{Schema: s.Schema, Name: s.Name} }

// top returns the partitioned table at the top of the tree that the table is in.
func top(all map[tasks.Name]*pg.Shape, s *pg.Shape) *pg.Shape {
	for s.Parent != "" {
		parent := all[tasks.Name{Schema: s.ParentSchema, Name: s.Parent}]
		if parent == nil {
			break // it is left out
		}
		s = parent
	}
	return s
}

// sameTrees returns the partitioned tables whose trees are the same on both sides,
// and have no hashes.
func (f *fitter) sameTrees(source, target []pg.Shape) map[tasks.Name]bool {
	trees := func(all map[tasks.Name]*pg.Shape, shapes []pg.Shape) map[tasks.Name][]string {
		m := map[tasks.Name][]string{}
		for i := range shapes {
			s := &shapes[i]
			if s.Kind == "p" || s.Parent != "" {
				root := nameOf(top(all, s))
				m[root] = append(m[root], fmt.Sprintf("%s %s %s.%s %s %s", nameOf(s), s.Kind, s.ParentSchema, s.Parent, s.Bound, s.Key))
			}
		}
		for _, list := range m {
			slices.Sort(list)
		}
		return m
	}
	ours, theirs := trees(f.source, source), trees(f.target, target)
	same := map[tasks.Name]bool{}
	for root, tree := range ours {
		same[root] = slices.Equal(tree, theirs[root])
	}
	for i := range source {
		if strings.HasPrefix(source[i].Key, "HASH ") {
			same[nameOf(top(f.source, &source[i]))] = false
		}
	}
	return same
}

// place finds where rows of the table go.
func (f *fitter) place(s *pg.Shape) (Place, bool) {
	root := top(f.source, s)
	own := f.target[nameOf(s)]
	into := own
	var p Place
	if whole := f.target[nameOf(root)]; root != s && whole != nil && !f.same[nameOf(root)] {
		into, p.Root = whole, root.OID
	}
	switch {
	case into == nil && root != s:
		f.Missing = append(f.Missing, fmt.Sprintf("%s, and %s", nameOf(s), nameOf(root)))
		return p, false
	case into == nil:
		f.Missing = append(f.Missing, nameOf(s).String())
		return p, false
	case into.Kind != "r" && into.Kind != "p":
		f.NotTables = append(f.NotTables, fmt.Sprintf("%s (%s)", nameOf(into), map[string]string{"v": "view", "m": "materialized view", "f": "foreign table"}[into.Kind]))
		return p, false
	}
	p.Into, p.Tree, p.Unlogged, p.AccessMethod = nameOf(into), into.Kind == "p", into.Unlogged, into.AccessMethod
	return p, true
}

// columns looks whether the columns that are copied fit.
func (f *fitter) columns(s *pg.Shape, copied []string, p *Place) {
	into := f.target[p.Into]
	p.Alike, p.BuiltIn = true, true
	for _, name := range copied {
		here, there := slices.Index(s.Columns, name), slices.Index(into.Columns, name)
		switch {
		case here < 0: // renamed since; the copy will say so
		case there < 0:
			f.Columns = append(f.Columns, p.Into.String()+"."+tasks.QuoteIdent(name))
		case into.Generated[there]:
			f.Generated = append(f.Generated, p.Into.String()+"."+tasks.QuoteIdent(name))
		case s.Types[here] != into.Types[there]:
			p.BuiltIn = false
			p.Alike = p.Alike && writtenAs(s.Types[here]) == writtenAs(into.Types[there])
		default:
			p.BuiltIn = p.BuiltIn && s.BuiltIn[here] && into.BuiltIn[there]
		}
	}
	for i, name := range into.Columns {
		if into.Required[i] && !slices.Contains(copied, name) {
			f.Required = append(f.Required, p.Into.String()+"."+tasks.QuoteIdent(name))
		}
	}
}

// writtenAs returns a type whose values are written as those of the given one.
func writtenAs(name string) string {
	switch {
	case name == "smallint", name == "bigint":
		return "integer"
	case strings.HasPrefix(name, "character varying"):
		return "text"
	}
	return name
}

// Unlike returns the tables of the source that the target lacks, and those that
// are otherwise there: another kind of relation, or another tree of partitions.
// What is made on tables is made only where they are the same.
func Unlike(source, target []pg.Shape) (missing, unlike []string) {
	f := fitter{source: index(source), target: index(target)}
	for i := range source {
		s := &source[i]
		if s.Kind != "r" && s.Kind != "p" {
			continue
		}
		t := f.target[nameOf(s)]
		switch {
		case t == nil:
			missing = append(missing, nameOf(s).String())
		case t.Kind != s.Kind, f.source[tasks.Name{Schema: s.ParentSchema, Name: s.Parent}] != nil && (t.ParentSchema != s.ParentSchema || t.Parent != s.Parent || t.Bound != s.Bound),
			t.Key != s.Key:
			unlike = append(unlike, nameOf(s).String())
		}
	}
	return missing, unlike
}
