package filter

import (
	"cmp"
	"slices"

	"github.com/pgconvoy/pgconvoy/internal/pg"
)

// Made is a scope with all that follows from it: what cannot be made without what
// the rules leave out. The zero Made is all of the database.
type Made struct {
	Scope

	without map[pg.Object]pg.Object // what cannot be made, and what it lacks
}

// Makes reports whether the object is made.
func (m Made) Makes(o pg.Object) bool {
	_, without := m.without[o]
	return !without && (m.lost[o] == "" || o.Class == pg.ClassSchema && m.needsSchema(o.OID))
}

// Made returns what is made of the database, for those who have no archive of it.
// The few constraints and defaults that would have an entry of their own there are
// taken for parts of what they belong to.
func (s Scope) Made(deps []pg.Dependency) Made {
	return Made{Scope: s, without: s.walk(deps, nil).without}
}

// Choice is what is made of an archive.
type Choice struct {
	Made
	Entries []pg.Entry // those that are kept, in the order of the archive
	Dropped []Dropped  // those that are not
}

// Dropped is an object that the archive could make and that is not made.
type Dropped struct {
	Object pg.Object
	Lacks  pg.Object // what it needs and is left out; the zero Object if a rule names the object itself
}

// Lost is a table that is chosen and cannot be made.
type Lost struct {
	Table pg.Object
	Lacks pg.Object
}

// Follow returns what is left of the archive. A table that is chosen is never
// given up for want of something else: such tables are returned, and the choice
// is then of no use.
func (s Scope) Follow(deps []pg.Dependency, entries []pg.Entry) (Choice, []Lost) {
	f := s.walk(deps, entries)
	c := Choice{Made: Made{Scope: s, without: f.without}}
	f.sort(entries, &c)
	var lost []Lost
	for table, lacks := range f.impossible {
		lost = append(lost, Lost{table, lacks})
	}
	slices.SortFunc(lost, func(x, y Lost) int { return compareObjects(x.Table, y.Table) })
	return c, lost
}

// walk follows the dependencies from what the rules leave out.
func (s Scope) walk(deps []pg.Dependency, entries []pg.Entry) *follower {
	f := &follower{
		Scope: s, without: map[pg.Object]pg.Object{}, impossible: map[pg.Object]pg.Object{},
		needs: map[pg.Object][]pg.Dependency{}, needed: map[pg.Object][]pg.Dependency{}, archived: map[pg.Object]bool{},
	}
	for _, d := range deps {
		f.needs[d.Object] = append(f.needs[d.Object], d)
		f.needed[d.On] = append(f.needed[d.On], d)
	}
	for _, e := range entries {
		f.archived[objectOf(e)] = true
	}
	f.follow()
	return f
}

func objectOf(e pg.Entry) pg.Object { return pg.Object{Class: e.ClassID, OID: e.OID} }

func compareObjects(x, y pg.Object) int {
	return cmp.Or(cmp.Compare(x.Class, y.Class), cmp.Compare(x.OID, y.OID))
}

// follower finds what goes with what is left out, as DROP … CASCADE would.
type follower struct {
	Scope
	needs, needed map[pg.Object][]pg.Dependency
	archived      map[pg.Object]bool // what has an entry of its own
	without       map[pg.Object]pg.Object
	impossible    map[pg.Object]pg.Object // tables that are chosen
	queue         []pg.Object
}

func (f *follower) follow() {
	for o := range f.lost {
		f.queue = append(f.queue, o)
	}
	slices.SortFunc(f.queue, compareObjects)
	for len(f.queue) > 0 {
		o := f.queue[0]
		f.queue = f.queue[1:]
		if f.lost[o] != "" { // also what it is a part of: the constraint of an index
			f.owners(o, o)
		}
		for _, d := range f.needed[o] {
			if f.decided(d) {
				continue
			}
			f.lose(d.Object, o)
		}
	}
}

// decided reports whether the rules have the last word about the object of the
// dependency, or the dependency does not matter: partitions can be made without
// the table that they belong to, and so can their indexes and constraints; what an
// extension brings along is made with it.
func (f *follower) decided(d pg.Dependency) bool {
	if d.Type == "P" || d.Object.Class == pg.ClassExtension && d.On.Class == pg.ClassSchema || d.Type != "e" && f.extends(d.Object) {
		return true
	}
	if d.Object.Class != pg.ClassRelation {
		return false
	}
	rel, known := f.relations[d.Object.OID]
	return known && (rel.Kind == "S" && d.Type != "n" || rel.Parent != 0 && rel.Parent == d.On.OID && d.On.Class == pg.ClassRelation)
}

// extends reports whether the object belongs to an extension that is made.
func (f *follower) extends(o pg.Object) bool {
	return slices.ContainsFunc(f.needs[o], func(d pg.Dependency) bool { return d.Type == "e" && !f.gone(d.On) })
}

// lose notes that the object cannot be made for want of the other one.
func (f *follower) lose(o, lacks pg.Object) {
	if f.lost[o] != "" {
		return
	}
	if _, known := f.without[o]; known {
		return
	}
	if rel, ok := f.relations[o.OID]; ok && o.Class == pg.ClassRelation && (rel.Kind == "r" || rel.Kind == "p" || f.named[o.OID]) {
		if _, known := f.impossible[o]; !known {
			f.impossible[o] = lacks
		}
		return
	}
	f.without[o] = lacks
	f.queue = append(f.queue, o)
	if !f.ofPartition(o) {
		f.owners(o, lacks)
	}
}

// ofPartition reports whether the object is what a constraint or trigger of a
// partitioned table is on one of its partitions: it comes and goes with that.
func (f *follower) ofPartition(o pg.Object) bool {
	return slices.ContainsFunc(f.needs[o], func(d pg.Dependency) bool {
		return d.Type == "P" || d.Type == "i" && o.Class == pg.ClassConstraint && d.On.Class == pg.ClassConstraint
	})
}

// owners loses what the object is an inner part of: the view of a rule, the table
// of a default or a check that stands in its definition.
func (f *follower) owners(o, lacks pg.Object) {
	inline := (o.Class == pg.ClassDefault || o.Class == pg.ClassConstraint) && !f.archived[o]
	for _, d := range f.needs[o] {
		partOf := d.On.Class == pg.ClassRelation || d.On.Class == pg.ClassType
		if d.Type == "i" || inline && d.Type == "a" && partOf {
			f.lose(d.On, lacks)
		}
	}
}

// gone reports whether the object is not made.
func (f *follower) gone(o pg.Object) bool {
	_, without := f.without[o]
	return without || f.lost[o] != ""
}

// sort parts the entries of the archive into those that are kept, and others.
func (f *follower) sort(entries []pg.Entry, c *Choice) {
	dropped := map[int]bool{} // dump IDs
	byID := make(map[int]pg.Entry, len(entries))
	for _, e := range entries {
		byID[e.DumpID] = e
		o := objectOf(e)
		if e.ClassID != 0 {
			dropped[e.DumpID] = f.gone(o)
			if e.ClassID == pg.ClassSchema && f.needsSchema(e.OID) {
				dropped[e.DumpID] = false
			}
		}
	}
	for _, e := range entries {
		if e.ClassID == 0 {
			dropped[e.DumpID] = f.describesGone(e, byID, dropped)
		}
		if !dropped[e.DumpID] {
			c.Entries = append(c.Entries, e)
		} else if e.ClassID != 0 {
			c.Dropped = append(c.Dropped, Dropped{objectOf(e), f.without[objectOf(e)]})
		}
	}
}

// needsSchema reports whether a schema that is left out is made all the same, for
// an extension.
func (s Scope) needsSchema(oid uint32) bool {
	i := slices.IndexFunc(s.inventory.Schemas, func(n pg.NamedSchema) bool { return n.OID == oid })
	return i >= 0 && s.needed(s.inventory.Schemas[i].Name)
}

// describesGone reports whether an entry without an object of its own, as a
// comment or a privilege, is about something that is not made.
func (f *follower) describesGone(e pg.Entry, byID map[int]pg.Entry, dropped map[int]bool) bool {
	if slices.ContainsFunc(e.Deps, func(id int) bool { return dropped[id] }) {
		return true
	}
	switch e.Desc {
	case "ROW SECURITY":
		return !f.Has(e.OID)
	case "SEQUENCE OWNED BY", "TABLE ATTACH":
		for _, id := range e.Deps {
			rel, ok := f.relations[byID[id].OID]
			if ok && byID[id].ClassID == pg.ClassRelation && (!f.has(rel.Owner) || !f.has(rel.Parent)) {
				return true
			}
		}
	}
	return false
}

// has reports whether the relation is none, or chosen.
func (f *follower) has(relation uint32) bool { return relation == 0 || f.Has(relation) }

// Prune returns the catalog without what is not made. It leaves the given one as
// it is.
func (c Choice) Prune(cat pg.Catalog) pg.Catalog {
	gone := func(class, oid uint32) bool { return !c.Makes(pg.Object{Class: class, OID: oid}) }
	cat = c.Narrow(cat)
	cat.Indexes = slices.DeleteFunc(slices.Clone(cat.Indexes), func(x pg.Index) bool {
		return gone(pg.ClassRelation, x.OID) || x.Constraint != nil && gone(pg.ClassConstraint, x.Constraint.OID)
	})
	cat.ForeignKeys = slices.DeleteFunc(slices.Clone(cat.ForeignKeys), func(k pg.ForeignKey) bool { return gone(pg.ClassConstraint, k.OID) })
	cat.Sequences = slices.DeleteFunc(slices.Clone(cat.Sequences), func(s pg.Sequence) bool { return gone(pg.ClassRelation, s.OID) })
	cat.MatViews = slices.DeleteFunc(slices.Clone(cat.MatViews), func(v pg.MatView) bool {
		return gone(pg.ClassRelation, v.OID) || c.tables[v.OID].NoRows
	})
	cat.ExtensionConfig = slices.DeleteFunc(slices.Clone(cat.ExtensionConfig), func(t pg.ConfigTable) bool {
		return gone(pg.ClassRelation, t.OID)
	})
	return cat
}
