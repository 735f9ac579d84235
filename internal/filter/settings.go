package filter

import (
	"slices"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Table is what was decided for one table.
type Table struct {
	From    string   // the setting that says so
	Where   string   // rows that are copied, all if ""
	Columns []string // those that are copied, all if there are none
	Parts   int      // in which the rows are read, 0 leaves that to the plan
	NoRows  bool     // it is made, and its rows are not copied
	Torn    bool     // a partitioned table: some of its partitions are left out, or their rows are
}

// Partial reports whether the target may lack something that foreign keys refer
// to.
func (t Table) Partial() bool {
	return t.NoRows || t.Torn || t.Where != "" || len(t.Columns) > 0
}

// Table returns what was decided for the table.
func (s Scope) Table(oid uint32) Table { return s.tables[oid] }

// settings resolves what the rules say of single tables. Partitions have the
// settings of the table that they belong to, unless they have their own.
func (r *resolver) settings() {
	seen := map[uint32]bool{}
	var visit func(pg.NamedRelation)
	visit = func(rel pg.NamedRelation) {
		if seen[rel.OID] || rel.Kind == "S" {
			return
		}
		seen[rel.OID] = true
		parent, isPartition := r.relations[rel.Parent]
		if isPartition {
			visit(parent)
		}
		t := r.tableOf(rel, r.tables[parent.OID])
		if t.Partial() || t.Parts > 0 {
			r.tables[rel.OID] = t
		}
	}
	for _, rel := range r.inventory.Relations {
		visit(rel)
	}
	for _, rel := range r.inventory.Relations {
		if !r.Has(rel.OID) || r.tables[rel.OID].NoRows {
			r.tear(rel)
		}
	}
	for oid := range r.tables {
		if !r.Has(oid) {
			delete(r.tables, oid)
		}
	}
}

// tableOf returns the settings of the relation, whose parent has those given.
func (r *resolver) tableOf(rel pg.NamedRelation, t Table) Table {
	named := func(p Pattern) bool { return p.Matches(rel.Schema, rel.Name) }
	nothing := r.first(r.rules.ExcludeTableData, named)
	if nothing != nil && slices.Contains([]string{"r", "p", "m"}, rel.Kind) {
		t.NoRows = true
		if nothing.Exact() && !r.Has(rel.OID) {
			r.mistakes.add(nothing.From, "take it out of one of the two", "table %s is not copied at all: it is %s", nothing.Text,
				r.lost[pg.Object{Class: pg.ClassRelation, OID: rel.OID}])
		}
	} else if nothing != nil && nothing.Exact() {
		r.mistakes.add(nothing.From, "take it out", "%s has no rows of its own", nothing.Text)
	}
	for i := range r.rules.Tables {
		rule := &r.rules.Tables[i]
		if !named(rule.Table) {
			continue
		}
		r.used[&rule.Table] = true
		switch {
		case rel.Kind != "r" && rel.Kind != "p":
			if rule.Table.Exact() {
				r.mistakes.add(rule.Table.From, "take it out", "%s is not a table with rows of its own", rule.Table.Text)
			}
			continue
		case rule.Table.Exact() && !r.Has(rel.OID):
			r.mistakes.add(rule.Table.From, "take it out of one of the two", "table %s is not copied: it is %s", rule.Table.Text,
				r.lost[pg.Object{Class: pg.ClassRelation, OID: rel.OID}])
		case rule.Table.Exact() && nothing != nil:
			r.mistakes.add(rule.Table.From, "take it out of one of the two", "the rows of table %s are not copied: they are %s", rule.Table.Text, leftOut(nothing))
		}
		t.From, t.Where, t.Columns, t.Parts = rule.Table.From, rule.Where, rule.Columns, rule.Parts
	}
	return t
}

// tear marks the partitioned tables above a partition without rows.
func (r *resolver) tear(rel pg.NamedRelation) {
	for parent, ok := r.relations[rel.Parent]; ok; parent, ok = r.relations[parent.Parent] {
		if t := r.tables[parent.OID]; !t.NoRows && r.Has(parent.OID) {
			t.Torn = true
			r.tables[parent.OID] = t
		}
	}
}

// Narrow returns the catalog with those columns only that are copied.
// It leaves the given one as it is.
func (s Scope) Narrow(cat pg.Catalog) pg.Catalog {
	cat.Tables = slices.Clone(cat.Tables)
	for i := range cat.Tables {
		chosen := s.tables[cat.Tables[i].OID].Columns
		if len(chosen) == 0 {
			continue
		}
		cat.Tables[i].Columns = slices.DeleteFunc(slices.Clone(cat.Tables[i].Columns), func(c string) bool { return !slices.Contains(chosen, c) })
	}
	return cat
}

// Chosen is a table of which only some rows or columns are copied.
type Chosen struct {
	OID  uint32
	Name tasks.Name
	Table
}

// Chosen returns the tables of which a rule chooses rows or columns, partitioned
// ones included.
func (s Scope) Chosen() []Chosen {
	var list []Chosen
	for _, rel := range s.inventory.Relations {
		if t := s.tables[rel.OID]; !t.NoRows && (t.Where != "" || len(t.Columns) > 0) {
			list = append(list, Chosen{rel.OID, nameOf(rel), t})
		}
	}
	return list
}

// LostExtensions returns the names of the extensions that are left out.
func (s Scope) LostExtensions() []string {
	var names []string
	for _, e := range s.inventory.Extensions {
		if s.lost[pg.Object{Class: pg.ClassExtension, OID: e.OID}] != "" {
			names = append(names, e.Name)
		}
	}
	return names
}
