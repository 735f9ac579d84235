package filter

import (
	"fmt"
	"slices"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Scope is what the rules choose of one database. The zero Scope is all of it.
type Scope struct {
	inventory pg.Inventory
	lost      map[pg.Object]string // left out by a rule, and why
	byTable   map[uint32]string    // relations left out by their own name, or that of the table they are a partition of
	named     map[uint32]bool      // relations that a rule names plainly in order to have them
	tables    map[uint32]Table     // of those with settings, and what follows for their partitions
	relations map[uint32]pg.NamedRelation
}

// All reports whether nothing is left out.
func (s Scope) All() bool { return len(s.lost) == 0 && len(s.tables) == 0 }

// Has reports whether the relation is chosen.
func (s Scope) Has(relation uint32) bool {
	_, lost := s.lost[pg.Object{Class: pg.ClassRelation, OID: relation}]
	return !lost
}

// Resolve applies the rules to what there is. Problems are mistakes: names that
// match nothing, and contradictions. Warnings are expressions that match nothing.
func Resolve(rules Rules, inv pg.Inventory) (s Scope, mistakes, warnings []Problem) {
	r := resolver{
		rules: rules,
		Scope: Scope{
			inventory: inv, lost: map[pg.Object]string{}, byTable: map[uint32]string{}, named: map[uint32]bool{}, tables: map[uint32]Table{},
			relations: map[uint32]pg.NamedRelation{},
		},
		schemas: map[string]string{}, used: map[*Pattern]bool{}, decided: map[uint32]bool{},
	}
	for _, rel := range inv.Relations {
		r.relations[rel.OID] = rel
	}
	r.chooseSchemas()
	r.chooseRelations()
	r.chooseSequences()
	r.chooseIndexes()
	r.chooseExtensions()
	r.settings()
	r.matchNothing()
	return r.Scope, r.mistakes, r.warnings
}

// resolver is a scope in the making.
type resolver struct {
	Scope
	rules              Rules
	schemas            map[string]string // left out, and why
	used               map[*Pattern]bool // patterns that match something
	decided            map[uint32]bool   // relations
	mistakes, warnings problems
}

// first returns the first pattern of the list that matches, nil if none does.
// All that match are noted.
func (r *resolver) first(list []Pattern, matches func(Pattern) bool) (found *Pattern) {
	for i := range list {
		if !matches(list[i]) {
			continue
		}
		r.used[&list[i]] = true
		if found == nil {
			found = &list[i]
		}
	}
	return found
}

func leftOut(p *Pattern) string { return fmt.Sprintf("left out by %s in %s", p.Text, p.From) }

func notAmong(list []Pattern) string { return fmt.Sprintf("not among those in %s", list[0].From) }

func (r *resolver) chooseSchemas() {
	for _, n := range r.inventory.Schemas {
		named := func(p Pattern) bool { return p.MatchesName(n.Name) }
		included := r.first(r.rules.IncludeSchemas, named)
		excluded := r.first(r.rules.ExcludeSchemas, named)
		switch {
		case included != nil && included.Exact() && excluded != nil:
			r.mistakes.add(excluded.From, "take it out of one of the two", "schema %s is in %s, too", included.Text, included.From)
		case excluded != nil:
			r.schemas[n.Name] = leftOut(excluded)
		case included == nil && len(r.rules.IncludeSchemas) > 0:
			r.schemas[n.Name] = notAmong(r.rules.IncludeSchemas)
		}
		if why := r.schemas[n.Name]; why != "" {
			r.lost[pg.Object{Class: pg.ClassSchema, OID: n.OID}] = why
		}
	}
}

// chooseRelations decides about everything but sequences.
func (r *resolver) chooseRelations() {
	for _, rel := range r.inventory.Relations {
		if rel.Kind != "S" {
			r.chooseRelation(rel)
		}
	}
}

// chooseRelation decides about a relation, after the table that it is a partition
// of.
func (r *resolver) chooseRelation(rel pg.NamedRelation) {
	if r.decided[rel.OID] {
		return
	}
	r.decided[rel.OID] = true
	parent, isPartition := r.relations[rel.Parent]
	if isPartition {
		r.chooseRelation(parent)
	}
	named := func(p Pattern) bool { return p.Matches(rel.Schema, rel.Name) }
	included := r.first(r.rules.IncludeTables, named)
	excluded := r.first(r.rules.ExcludeTables, named)
	r.named[rel.OID] = included != nil && included.Exact()
	why := ""
	switch {
	case r.schemas[rel.Schema] != "":
		why = r.schemas[rel.Schema]
		if r.named[rel.OID] {
			r.mistakes.add(included.From, "choose the schema, too", "table %s is in schema %s, which is %s", included.Text, rel.Schema, why)
		}
	case excluded != nil:
		why = leftOut(excluded)
		r.byTable[rel.OID] = why
		if r.named[rel.OID] {
			r.mistakes.add(excluded.From, "take it out of one of the two", "table %s is in %s, too", included.Text, included.From)
		}
	case r.byTable[parent.OID] != "":
		why = r.byTable[parent.OID]
		r.byTable[rel.OID] = why
		if r.named[rel.OID] {
			r.mistakes.add(included.From, "take one of the two out", "table %s is a partition of %s, which is %s", included.Text, nameOf(parent), why)
		}
	case included == nil && len(r.rules.IncludeTables) > 0 && rel.Kind != "v" && (!isPartition || !r.Has(parent.OID)):
		why = notAmong(r.rules.IncludeTables)
	}
	if why != "" {
		r.lost[pg.Object{Class: pg.ClassRelation, OID: rel.OID}] = why
	}
}

// chooseSequences leaves a sequence out with its table, unless one that is kept
// uses it.
func (r *resolver) chooseSequences() {
	for _, rel := range r.inventory.Relations {
		if rel.Kind != "S" {
			continue
		}
		why := r.schemas[rel.Schema]
		if why == "" && rel.Owner != 0 && !r.Has(rel.Owner) && !slices.ContainsFunc(rel.Users, r.Has) {
			why = fmt.Sprintf("belongs to %s, which is left out", nameOf(r.relations[rel.Owner]))
		}
		if why != "" {
			r.lost[pg.Object{Class: pg.ClassRelation, OID: rel.OID}] = why
		}
	}
}

// chooseIndexes leaves out indexes, with those that are attached to them.
func (r *resolver) chooseIndexes() {
	byOID := map[uint32]pg.NamedIndex{}
	for _, x := range r.inventory.Indexes {
		byOID[x.OID] = x
	}
	excluded := func(x pg.NamedIndex) *Pattern {
		return r.first(r.rules.ExcludeIndexes, func(p Pattern) bool { return p.Matches(x.Schema, x.Name) })
	}
	for _, x := range r.inventory.Indexes {
		p := excluded(x)
		for parent, ok := byOID[x.Parent]; ok && r.Has(parent.Table); parent, ok = byOID[parent.Parent] {
			switch above := excluded(parent); {
			case above != nil:
				p = above
			case p != nil && r.Has(x.Table):
				r.mistakes.add(p.From, fmt.Sprintf("leave out index %s instead", tasks.Name{Schema: parent.Schema, Name: parent.Name}),
					"index %s is part of an index of the partitioned table, which would never be valid without it", tasks.Name{Schema: x.Schema, Name: x.Name})
				p = nil
			}
		}
		if p != nil {
			r.lost[pg.Object{Class: pg.ClassRelation, OID: x.OID}] = leftOut(p)
		}
	}
}

func (r *resolver) chooseExtensions() {
	for _, e := range r.inventory.Extensions {
		named := func(p Pattern) bool { return p.MatchesName(e.Name) }
		included := r.first(r.rules.IncludeExtensions, named)
		excluded := r.first(r.rules.ExcludeExtensions, named)
		o := pg.Object{Class: pg.ClassExtension, OID: e.OID}
		switch {
		case included != nil && included.Exact() && excluded != nil:
			r.mistakes.add(excluded.From, "take it out of one of the two", "extension %s is in %s, too", included.Text, included.From)
		case excluded != nil:
			r.lost[o] = leftOut(excluded)
		case included == nil && len(r.rules.IncludeExtensions) > 0:
			r.lost[o] = notAmong(r.rules.IncludeExtensions)
		}
	}
}

// matchNothing reports patterns that match nothing.
func (r *resolver) matchNothing() {
	nouns := []string{"schema", "table", "extension", "schema", "table", "table", "index", "extension"}
	report := func(p *Pattern, noun string) {
		switch {
		case r.used[p]:
		case p.Exact():
			r.mistakes.add(p.From, "see whether it is spelled as on the source; names with capitals need double quotes", "the source has no %s %s", noun, p.Text)
		default:
			r.warnings.add(p.From, "", "no %s of the source matches %s", noun, p.Text)
		}
	}
	for i, list := range r.rules.lists() {
		for j := range list {
			report(&list[j], nouns[i])
		}
	}
	for i := range r.rules.Tables {
		report(&r.rules.Tables[i].Table, "table")
	}
}

// Without returns what reading the database must do without: relations that the
// role may not read come first, as pg_dump could not lock them.
func (s Scope) Without() pg.Without {
	var w pg.Without
	whole := map[string]bool{}
	for _, n := range s.inventory.Schemas {
		if s.lost[pg.Object{Class: pg.ClassSchema, OID: n.OID}] != "" && !s.needed(n.Name) {
			w.Schemas = append(w.Schemas, n.Name)
			whole[n.Name] = true
		}
	}
	var others []pg.ExcludedRelation
	for _, rel := range s.inventory.Relations {
		if s.Has(rel.OID) || whole[rel.Schema] {
			continue
		}
		x := pg.ExcludedRelation{OID: rel.OID}
		if rel.Kind != "S" { // to print a view, pg_dump waits for the tables beneath
			x.Quoted = nameOf(rel).String()
		}
		if rel.Readable {
			others = append(others, x)
		} else {
			w.Relations = append(w.Relations, x)
		}
	}
	w.Relations = append(w.Relations, others...)
	return w
}

// needed reports whether the schema holds an extension that is kept: extensions
// are chosen by their own names.
func (s Scope) needed(schema string) bool {
	return slices.ContainsFunc(s.inventory.Extensions, func(e pg.NamedExtension) bool {
		return e.Schema == schema && s.lost[pg.Object{Class: pg.ClassExtension, OID: e.OID}] == ""
	})
}

func nameOf(r pg.NamedRelation) tasks.Name { return tasks.Name{Schema: r.Schema, Name: r.Name} }
