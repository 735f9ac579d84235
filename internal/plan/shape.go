package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Shape is what a plan is made for: every object that a run makes, with a digest of
// its definition. Sizes and numbers of rows are no part of it.
type Shape struct {
	Tables  map[string]TableShape        `json:"tables"`  // by quoted name
	Objects map[string]map[string]string `json:"objects"` // all others, by kind and by what pg_dump calls them
}

// TableShape is that of one table.
type TableShape struct {
	Definition string            `json:"definition"`
	Columns    map[string]string `json:"columns"`
	Indexes    map[string]string `json:"indexes,omitempty"`
	Foreign    map[string]string `json:"foreign_keys,omitempty"`
}

// ShapeOf returns the shape of what a plan of the input makes, as the source has it:
// before [Build], which gives roles and tablespaces their other names. The columns
// are those of the tables, by their oids.
func ShapeOf(in Input, columns map[uint32][]pg.Column) Shape {
	s := Shape{Tables: map[string]TableShape{}, Objects: map[string]map[string]string{}}
	names := map[uint32]string{} // of the tables that are made
	for _, r := range in.Catalog.Tables {
		if !in.Selection.tables[r.OID] {
			continue
		}
		t := TableShape{Columns: map[string]string{}, Indexes: map[string]string{}, Foreign: map[string]string{}}
		for _, c := range columns[r.OID] {
			t.Columns[c.Name] = digest(c.Definition)
		}
		names[r.OID] = nameOf(r).String()
		s.Tables[names[r.OID]] = t
	}
	for _, x := range in.Catalog.Indexes {
		if t, made := s.Tables[names[x.Table]]; made && in.Selection.hasIndex(x) {
			t.Indexes[x.Name] = indexDigest(x)
		}
	}
	for _, f := range in.Catalog.ForeignKeys {
		if t, made := s.Tables[names[f.Table]]; made && in.Selection.fkeys[f.OID] {
			t.Foreign[f.Name] = digest(f.Definition, fmt.Sprint(f.Validated, f.Enforced))
		}
	}
	for _, e := range in.SQL {
		switch desc := e.Entry.Desc; {
		case in.Options.Around.NoACL && (desc == "ACL" || desc == "DEFAULT ACL"), in.Options.Around.NoComments && desc == "COMMENT":
		case desc == "TABLE" && names[e.Entry.OID] != "":
			name := names[e.Entry.OID]
			t := s.Tables[name]
			t.Definition = digest(e.SQL, e.Settings)
			s.Tables[name] = t
		default:
			s.add(e)
		}
	}
	return s
}

// indexDigest stands for the definition of an index, with its constraint.
func indexDigest(x pg.Index) string {
	parts := []string{x.Definition, x.Tablespace, fmt.Sprint(x.Valid, x.Clustered, x.ReplicaIdentity, x.StatTargets, x.Extensions)}
	if k := x.Constraint; k != nil {
		parts = append(parts, k.Name, k.Type, k.Definition, k.Parameters, fmt.Sprint(k.Deferrable, k.Deferred, k.Period))
	}
	return digest(parts...)
}

// add adds an entry of the archive that is no table.
func (s Shape) add(e pg.EntrySQL) {
	definition := digest(e.SQL)
	switch e.Entry.Desc {
	case "MATERIALIZED VIEW":
		definition = digest(e.SQL, e.Settings)
	case "USER MAPPING", "SUBSCRIPTION", "SERVER":
		definition = "" // may hold a password: nobody shall be able to try some on a digest
	}
	kind := strings.ToLower(e.Entry.Desc)
	if s.Objects[kind] == nil {
		s.Objects[kind] = map[string]string{}
	}
	if other, twice := s.Objects[kind][e.Entry.Rest]; twice { // both count, their order says nothing
		definition = max(other, definition) + min(other, definition)
	}
	s.Objects[kind][e.Entry.Rest] = definition
}

// digest stands for texts.
func digest(texts ...string) string {
	h := sha256.New()
	for _, t := range texts {
		fmt.Fprintf(h, "%d %s", len(t), t)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// Changes says what the shape now has that s had not, has not any more, or has
// otherwise: tables first, each with its columns, indexes and foreign keys.
func (s Shape) Changes(now Shape) []string {
	var list []string
	for _, name := range bothNames(s.Tables, now.Tables) {
		was, planned := s.Tables[name]
		is, there := now.Tables[name]
		if !planned || !there {
			list = append(list, "table "+name+" was "+addedOrRemoved(there))
			continue
		}
		inside := slices.Concat(
			changes("column", name, was.Columns, is.Columns), changes("index", name, was.Indexes, is.Indexes), changes("foreign key", name, was.Foreign, is.Foreign))
		if was.Definition != is.Definition && !slices.ContainsFunc(inside, func(c string) bool { return strings.HasPrefix(c, "column") }) {
			list = append(list, "table "+name+" was altered")
		}
		list = append(list, inside...)
	}
	for _, kind := range bothNames(s.Objects, now.Objects) {
		list = append(list, changes(kind, "", s.Objects[kind], now.Objects[kind])...)
	}
	return list
}

// changes says what differs between the objects of one kind, of one table if it is
// not "".
func changes(kind, table string, was, is map[string]string) []string {
	var list []string
	for _, name := range bothNames(was, is) {
		what := kind + " " + name
		if table != "" {
			what = fmt.Sprintf("%s %s of table %s", kind, tasks.QuoteIdent(name), table)
		}
		before, planned := was[name]
		after, there := is[name]
		switch {
		case !planned || !there:
			list = append(list, what+" was "+addedOrRemoved(there))
		case before != after:
			list = append(list, what+" was altered")
		}
	}
	return list
}

func addedOrRemoved(there bool) string {
	if there {
		return "added"
	}
	return "removed"
}

// bothNames returns the keys that either has, sorted.
func bothNames[V any](x, y map[string]V) []string {
	all := make(map[string]bool, len(x))
	for name := range x {
		all[name] = true
	}
	for name := range y {
		all[name] = true
	}
	return slices.Sorted(maps.Keys(all))
}
