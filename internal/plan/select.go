package plan

import (
	"fmt"
	"slices"

	"github.com/pgconvoy/pgconvoy/internal/pg"
)

// Selection places every entry of the archive: what runs before the rows, what
// runs after them, and what tasks of its own replace.
type Selection struct {
	Pre           []pg.Entry // pre-data, without privileges
	Statistics    []pg.Entry // extended statistics, which ANALYZE needs
	Rest          []pg.Entry // what is left of post-data
	Access        []pg.Entry // privileges and default privileges: an owner who revoked them from itself could not load
	Last          []pg.Entry // publications, subscriptions and event triggers, which would see or refuse our own work
	Replaced      []pg.Entry // indexes, constraints and foreign keys that are tasks
	ForeignTables []pg.Entry // also in Pre; their rows are not copied

	tables   map[uint32]bool // of pg_class
	matviews map[uint32]bool
	indexes  map[uint32]bool
	fkeys    map[uint32]bool
}

// Select places the entries. It fails if an entry has no place, which means
// that this pg_dump writes something that this version does not know.
func Select(cat pg.Catalog, entries []pg.Entry) (Selection, error) {
	s := Selection{tables: map[uint32]bool{}, matviews: map[uint32]bool{}, indexes: map[uint32]bool{}, fkeys: map[uint32]bool{}}
	indexes, constraints, fkeys := byOID(cat)
	last := map[int]int{}  // dump IDs of the entries in Last, and their ranks
	rest := map[int]bool{} // dump IDs of the entries in Rest
	for _, e := range entries {
		switch e.Desc {
		case "ACL", "DEFAULT ACL":
			s.Access = append(s.Access, e)
		case "INDEX", "CONSTRAINT", "FK CONSTRAINT":
			if !s.replace(e, indexes, constraints, fkeys) {
				s.later(e, rest) // an index of a materialized view, for one
			}
		case "INDEX ATTACH":
			s.Replaced = append(s.Replaced, e)
		case "STATISTICS":
			if slices.ContainsFunc(e.Deps, func(id int) bool { return rest[id] }) {
				s.later(e, rest) // of a materialized view that is made late
			} else {
				s.Statistics = append(s.Statistics, e)
			}
		case "PUBLICATION", "PUBLICATION TABLE", "PUBLICATION TABLES IN SCHEMA", "SUBSCRIPTION", "SUBSCRIPTION TABLE", "EVENT TRIGGER":
			last[e.DumpID] = lastRank(e)
			s.Last = append(s.Last, e)
		case "LARGE OBJECT", "BLOB", "BLOBS", "BLOB METADATA", "TABLE DATA", "SEQUENCE SET", "STATISTICS DATA", "MATERIALIZED VIEW DATA":
			return s, fmt.Errorf("archive entry %q is of a section that was not asked for", e.Line)
		case "TABLE":
			if e.Post {
				return s, fmt.Errorf("archive entry %q needs what can only be made after the rows", e.Line)
			}
			s.place(e, last, rest)
		default:
			s.place(e, last, rest)
		}
	}
	slices.SortStableFunc(s.Last, func(x, y pg.Entry) int { return last[x.DumpID] - last[y.DumpID] })
	return s, s.complete(len(entries))
}

// place puts an entry that is run as it is where its section, or what it
// describes, says.
func (s *Selection) place(e pg.Entry, last map[int]int, rest map[int]bool) {
	if e.Desc == "MATERIALIZED VIEW" {
		s.matviews[e.OID] = true
	}
	rank, follows := 0, false // of what the entry is about, if that is in Last
	for _, id := range e.Deps {
		if r, there := last[id]; there {
			rank, follows = max(rank, r), true
		}
	}
	switch {
	case follows && (e.Desc == "COMMENT" || e.Desc == "SECURITY LABEL"):
		last[e.DumpID] = rank
		s.Last = append(s.Last, e)
	case e.Post:
		s.later(e, rest)
	default:
		s.Pre = append(s.Pre, e)
		switch e.Desc {
		case "TABLE":
			s.tables[e.OID] = true
		case "FOREIGN TABLE":
			s.ForeignTables = append(s.ForeignTables, e)
		}
	}
}

func (s *Selection) later(e pg.Entry, rest map[int]bool) {
	rest[e.DumpID] = true
	s.Rest = append(s.Rest, e)
}

// replace reports whether a task does what the entry would.
func (s *Selection) replace(e pg.Entry, indexes, constraints, fkeys map[uint32]uint32) bool {
	switch {
	case e.Desc == "INDEX" && e.ClassID == pg.ClassRelation && indexes[e.OID] != 0:
		s.indexes[e.OID] = true
	case e.Desc == "CONSTRAINT" && e.ClassID == pg.ClassConstraint && constraints[e.OID] != 0:
		s.indexes[constraints[e.OID]] = true
	case e.Desc == "FK CONSTRAINT" && e.ClassID == pg.ClassConstraint && fkeys[e.OID] != 0:
		s.fkeys[e.OID] = true
	default:
		return false
	}
	s.Replaced = append(s.Replaced, e)
	return true
}

// byOID indexes the catalog: indexes by their oid, constraints by theirs to
// the index that stands for them, foreign keys by theirs.
func byOID(cat pg.Catalog) (indexes, constraints, fkeys map[uint32]uint32) {
	indexes, constraints, fkeys = map[uint32]uint32{}, map[uint32]uint32{}, map[uint32]uint32{}
	for _, x := range cat.Indexes {
		if x.Constraint != nil {
			constraints[x.Constraint.OID] = x.OID
		} else {
			indexes[x.OID] = x.OID
		}
	}
	for _, f := range cat.ForeignKeys {
		fkeys[f.OID] = f.OID
	}
	return indexes, constraints, fkeys
}

// lastRank orders what comes last: event triggers, and what describes them,
// after all other DDL.
func lastRank(e pg.Entry) int {
	if e.Desc == "EVENT TRIGGER" {
		return 1
	}
	return 0
}

// Kept returns the entries that are run as they are, in the order of running.
func (s Selection) Kept() []pg.Entry {
	return slices.Concat(s.Pre, s.Statistics, s.Rest, s.Access, s.Last)
}

// complete asserts that every entry has exactly one place.
func (s Selection) complete(total int) error {
	if placed := len(s.Kept()) + len(s.Replaced); placed != total {
		return fmt.Errorf("%d entries of the archive, %d of them placed", total, placed)
	}
	return nil
}

func (s Selection) hasIndex(x pg.Index) bool { return s.indexes[x.OID] }
