package filter_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/filter"
	"github.com/pgconvoy/pgconvoy/internal/pg"
)

// inventory is a database of two schemas: a partitioned table with two partitions,
// a table with a sequence that another one uses, and a view.
func inventory() pg.Inventory {
	return pg.Inventory{
		Schemas: []pg.NamedSchema{{OID: 1, Name: "app"}, {OID: 2, Name: "old"}, {OID: 3, Name: "ext"}},
		Relations: []pg.NamedRelation{
			{OID: 12, Schema: "app", Name: "p_1", Kind: "r", Parent: 11, Readable: true}, // a partition may come first
			{OID: 11, Schema: "app", Name: "p", Kind: "p", Readable: true},
			{OID: 13, Schema: "old", Name: "p_2", Kind: "r", Parent: 11, Readable: true},
			{OID: 14, Schema: "app", Name: "a", Kind: "r"},
			{OID: 15, Schema: "app", Name: "b", Kind: "r", Readable: true},
			{OID: 16, Schema: "app", Name: "a_id_seq", Kind: "S", Owner: 14, Users: []uint32{14, 15}},
			{OID: 17, Schema: "app", Name: "v", Kind: "v", Readable: true},
		},
		Indexes: []pg.NamedIndex{
			{OID: 21, Schema: "app", Name: "p_x", Table: 11}, {OID: 22, Schema: "app", Name: "p_1_x", Table: 12, Parent: 21},
		},
		Extensions: []pg.NamedExtension{{OID: 31, Schema: "ext", Name: "citext"}},
	}
}

func qualified(t *testing.T, names ...string) (list []filter.Pattern) {
	t.Helper()
	for _, n := range names {
		p, err := filter.ParseQualified(n, "setting")
		require.NoError(t, err)
		list = append(list, p)
	}
	return list
}

func single(t *testing.T, names ...string) (list []filter.Pattern) {
	t.Helper()
	for _, n := range names {
		p, err := filter.ParseName(n, "setting")
		require.NoError(t, err)
		list = append(list, p)
	}
	return list
}

func resolve(t *testing.T, rules filter.Rules) filter.Scope {
	t.Helper()
	scope, mistakes, warnings := filter.Resolve(rules, inventory())
	require.Empty(t, mistakes)
	require.Empty(t, warnings)
	return scope
}

// chosen returns the oids of the relations that are chosen.
func chosen(s filter.Scope) (oids []uint32) {
	for _, r := range inventory().Relations {
		if s.Has(r.OID) {
			oids = append(oids, r.OID)
		}
	}
	return oids
}

func TestRelationsAreChosen(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rules filter.Rules
		want  []uint32
	}{
		"nothing said":               {filter.Rules{}, []uint32{12, 11, 13, 14, 15, 16, 17}},
		"partitions with their root": {filter.Rules{ExcludeTables: qualified(t, "app.p")}, []uint32{14, 15, 16, 17}},
		"root without a partition":   {filter.Rules{ExcludeTables: qualified(t, "app.p_1")}, []uint32{11, 13, 14, 15, 16, 17}},
		"a schema":                   {filter.Rules{ExcludeSchemas: single(t, "old")}, []uint32{12, 11, 14, 15, 16, 17}},
		"only a schema":              {filter.Rules{IncludeSchemas: single(t, "old")}, []uint32{13}},
		"sequence stays":             {filter.Rules{ExcludeTables: qualified(t, "app.a")}, []uint32{12, 11, 13, 15, 16, 17}},
		"sequence goes":              {filter.Rules{ExcludeTables: qualified(t, "/^app.[ab]$/")}, []uint32{12, 11, 13, 17}},
		"tree by its root":           {filter.Rules{IncludeTables: qualified(t, "app.p")}, []uint32{12, 11, 13, 17}},
		"a partition alone":          {filter.Rules{IncludeTables: qualified(t, "app.p_1")}, []uint32{12, 17}},
		"rules narrow each other":    {filter.Rules{IncludeTables: qualified(t, "app.p"), ExcludeSchemas: single(t, "old")}, []uint32{12, 11, 17}},
	} {
		require.Equal(t, c.want, chosen(resolve(t, c.rules)), name)
	}
}

func TestWithoutNamesTheUnreadableFirst(t *testing.T) {
	t.Parallel()
	w := resolve(t, filter.Rules{ExcludeTables: qualified(t, "/^app/"), IncludeSchemas: single(t, "app")}).Without()
	require.Equal(t, []string{"old"}, w.Schemas, "ext is made for its extension")
	require.Equal(t, pg.ExcludedRelation{OID: 14, Quoted: `"app"."a"`}, w.Relations[0])
	require.ElementsMatch(t, []uint32{11, 12, 14, 15, 16, 17}, w.IDs())
}

func TestSettingsOfPartitions(t *testing.T) {
	t.Parallel()
	s := resolve(t, filter.Rules{
		ExcludeTableData: qualified(t, "old.p_2"),
		Tables:           []filter.TableRule{{Table: qualified(t, "app.p")[0], Where: "x", Parts: 3}, {Table: qualified(t, "app.p_1")[0], Where: "y", Columns: []string{"c"}}},
	})
	require.True(t, s.Table(11).Torn)
	require.Equal(t, "y", s.Table(12).Where)
	require.Equal(t, []string{"c"}, s.Table(12).Columns)
	require.True(t, s.Table(13).NoRows)
	require.False(t, s.Table(15).Partial())
	narrowed := s.Narrow(pg.Catalog{Tables: []pg.Relation{{OID: 12, Columns: []string{"b", "c"}}, {OID: 15, Columns: []string{"b", "c"}}}})
	require.Equal(t, []string{"c"}, narrowed.Tables[0].Columns)
	require.Equal(t, []string{"b", "c"}, narrowed.Tables[1].Columns)
}

func TestContradictions(t *testing.T) {
	t.Parallel()
	_, mistakes, warnings := filter.Resolve(filter.Rules{
		IncludeSchemas: single(t, "app", "none"), ExcludeSchemas: single(t, "/^app$/"),
		IncludeTables: qualified(t, "app.a", "old.p_2", "app.p_1"), ExcludeTables: qualified(t, "app.p"),
		ExcludeIndexes: qualified(t, "/nothing/"), IncludeExtensions: single(t, "citext"), ExcludeExtensions: single(t, "citext"),
	}, inventory())
	var found []string
	for _, m := range mistakes {
		found = append(found, m.What)
	}
	require.Equal(t, []string{
		"schema app is in setting, too",
		`table app.p_1 is a partition of "app"."p", which is left out by app.p in setting`,
		"table old.p_2 is in schema old, which is not among those in setting",
		"extension citext is in setting, too",
		"the source has no schema none",
	}, found)
	require.Len(t, warnings, 1)

	_, mistakes, _ = filter.Resolve(filter.Rules{IncludeTables: qualified(t, "app.p_1"), ExcludeTables: qualified(t, "app.p")}, inventory())
	require.Len(t, mistakes, 1)
	require.Contains(t, mistakes[0].What, `table app.p_1 is a partition of "app"."p"`)
	_, mistakes, _ = filter.Resolve(filter.Rules{ExcludeIndexes: qualified(t, "app.p_1_x")}, inventory())
	require.Len(t, mistakes, 1)
	require.Equal(t, `leave out index "app"."p_x" instead`, mistakes[0].Hint)
}

// A table that is chosen is never given up: what it needs and lacks is an error.
func TestFollow(t *testing.T) {
	t.Parallel()
	object := func(class, oid uint32) pg.Object { return pg.Object{Class: class, OID: oid} }
	a, b, v := object(pg.ClassRelation, 14), object(pg.ClassRelation, 15), object(pg.ClassRelation, 17)
	rule, check, domain, fk := object(2618, 50), object(pg.ClassConstraint, 51), object(pg.ClassType, 52), object(pg.ClassConstraint, 53)
	needs := func(o, on pg.Object, how string) pg.Dependency { return pg.Dependency{Object: o, On: on, Type: how} }
	deps := []pg.Dependency{
		needs(rule, a, "n"), needs(rule, v, "i"), // the view reads a
		needs(fk, a, "n"), needs(fk, b, "a"), // b refers to a
		needs(check, domain, "a"), needs(check, v, "n"), needs(b, domain, "n"), // the domain of a column of b has a check that needs the view
	}
	entries := []pg.Entry{
		{DumpID: 1, ClassID: pg.ClassRelation, OID: 17, Desc: "VIEW"}, {DumpID: 2, Desc: "COMMENT", Deps: []int{1}},
		{DumpID: 3, ClassID: pg.ClassConstraint, OID: 53, Desc: "FK CONSTRAINT"}, {DumpID: 4, ClassID: pg.ClassRelation, OID: 15, Desc: "TABLE"},
	}
	scope := resolve(t, filter.Rules{ExcludeTables: qualified(t, "app.a")})
	choice, lost := scope.Follow(deps[:4], entries)
	require.Empty(t, lost)
	require.Equal(t, []filter.Dropped{{Object: v, Lacks: a}, {Object: fk, Lacks: a}}, choice.Dropped)
	require.Equal(t, entries[3:], choice.Entries)
	require.Empty(t, choice.Prune(pg.Catalog{ForeignKeys: []pg.ForeignKey{{OID: 53}}}).ForeignKeys)

	_, lost = scope.Follow(deps, entries)
	require.Equal(t, []filter.Lost{{Table: b, Lacks: domain}}, lost)
	require.Contains(t, filter.Impossible(lost, map[pg.Object]string{b: "table app.b"})[0].What, "table app.b is chosen and cannot be made: it needs object 52")
}
