package filter

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Objects returns the objects that [Choice.Skipped] and [Impossible] need names
// for.
func (c Choice) Objects(lost []Lost) []pg.Object {
	var objects []pg.Object
	for _, d := range c.Dropped {
		objects = append(objects, d.Object, d.Lacks)
	}
	for _, l := range lost {
		objects = append(objects, l.Table, l.Lacks)
	}
	objects = slices.DeleteFunc(objects, func(o pg.Object) bool { return o.Class == 0 })
	slices.SortFunc(objects, compareObjects)
	return slices.Compact(objects)
}

// Impossible returns the problems of tables that are chosen and cannot be made.
func Impossible(lost []Lost, names map[pg.Object]string) []Problem {
	var found problems
	for _, l := range lost {
		found.add("filter", "leave the table out, too, or keep what it needs", "%s is chosen and cannot be made: it needs %s, which is left out",
			nameIn(names, l.Table), nameIn(names, l.Lacks))
	}
	return found
}

func nameIn(names map[pg.Object]string, o pg.Object) string {
	return cmp.Or(names[o], fmt.Sprintf("object %d of catalog %d", o.OID, o.Class))
}

// Skipped lists what is left out, each with the reason: what the rules name,
// then what cannot be made without that, by its name in names.
func (c Choice) Skipped(names map[pg.Object]string) []tasks.Skipped {
	list := slices.Concat(c.skippedSchemas(), c.skippedRelations(), c.skippedByName(), c.skippedRows())
	for _, d := range c.Dropped {
		if d.Lacks.Class != 0 {
			list = append(list, tasks.Skipped{Object: nameIn(names, d.Object), Reason: fmt.Sprintf("needs %s, which is left out", nameIn(names, d.Lacks))})
		}
	}
	return list
}

func (s Scope) skippedSchemas() []tasks.Skipped {
	var list []tasks.Skipped
	for _, n := range s.inventory.Schemas {
		if why := s.lost[pg.Object{Class: pg.ClassSchema, OID: n.OID}]; why != "" {
			if s.needed(n.Name) {
				why += "; it is made for an extension, without what else is in it"
			}
			list = append(list, tasks.Skipped{Object: "schema " + tasks.QuoteIdent(n.Name), Reason: why})
		}
	}
	return list
}

// skippedRelations lists relations outside of schemas that are left out: by name
// if a rule names them, or else their number.
func (s Scope) skippedRelations() []tasks.Skipped {
	schemas := map[string]bool{}
	for _, n := range s.inventory.Schemas {
		schemas[n.Name] = s.lost[pg.Object{Class: pg.ClassSchema, OID: n.OID}] != ""
	}
	type place struct{ schema, why string }
	var list []tasks.Skipped
	unnamed := map[place]int{}
	var order []place
	for _, rel := range s.inventory.Relations {
		why := s.lost[pg.Object{Class: pg.ClassRelation, OID: rel.OID}]
		parent := s.byTable[rel.Parent]
		switch {
		case why == "" && rel.Parent != 0 && !s.Has(rel.Parent):
			list = append(list, tasks.Skipped{Object: fmt.Sprintf("attachment of partition %s to %s", nameOf(rel), nameOf(s.relations[rel.Parent])),
				Reason: "the partitioned table is left out; so are foreign keys and triggers that are declared on it"})
		case why == "" || schemas[rel.Schema] || parent != "":
		case s.byTable[rel.OID] != "" || rel.Kind == "S":
			list = append(list, tasks.Skipped{Object: kindOf(rel) + " " + nameOf(rel).String(), Reason: why})
		default:
			p := place{rel.Schema, why}
			if unnamed[p]++; unnamed[p] == 1 {
				order = append(order, p)
			}
		}
	}
	for _, p := range order {
		list = append(list, tasks.Skipped{Object: fmt.Sprintf("%d tables of schema %s", unnamed[p], tasks.QuoteIdent(p.schema)), Reason: p.why})
	}
	return list
}

func kindOf(rel pg.NamedRelation) string {
	switch rel.Kind {
	case "v":
		return "view"
	case "m":
		return "materialized view"
	case "f":
		return "foreign table"
	case "S":
		return "sequence"
	}
	return "table"
}

// skippedByName lists indexes and extensions.
func (s Scope) skippedByName() []tasks.Skipped {
	var list []tasks.Skipped
	for _, x := range s.inventory.Indexes {
		if why := s.lost[pg.Object{Class: pg.ClassRelation, OID: x.OID}]; why != "" && s.Has(x.Table) {
			list = append(list, tasks.Skipped{Object: "index " + tasks.Name{Schema: x.Schema, Name: x.Name}.String(), Reason: why})
		}
	}
	for _, e := range s.inventory.Extensions {
		if why := s.lost[pg.Object{Class: pg.ClassExtension, OID: e.OID}]; why != "" {
			list = append(list, tasks.Skipped{Object: "extension " + tasks.QuoteIdent(e.Name), Reason: why})
		}
	}
	return list
}

// skippedRows lists tables of which not all is copied.
func (s Scope) skippedRows() []tasks.Skipped {
	var list []tasks.Skipped
	for _, rel := range s.inventory.Relations {
		t, parent := s.tables[rel.OID], s.tables[rel.Parent]
		name := nameOf(rel)
		if t.NoRows && !parent.NoRows {
			list = append(list, tasks.Skipped{Object: "rows of " + name.String(), Reason: "left out by table_data"})
		}
		if t.NoRows {
			continue
		}
		if t.Where != "" && t.Where != parent.Where {
			list = append(list, tasks.Skipped{Object: "rows of " + name.String() + " that do not match " + t.Where, Reason: "left out by " + t.From})
		}
		if len(t.Columns) > 0 && !slices.Equal(t.Columns, parent.Columns) {
			list = append(list, tasks.Skipped{Object: "columns of " + name.String() + " other than " + strings.Join(t.Columns, ", "), Reason: "left out by " + t.From + "; they get their defaults"})
		}
	}
	return list
}
