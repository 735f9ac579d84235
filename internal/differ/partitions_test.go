package differ_test

import (
	"fmt"
	"slices"
	"strings"
)

// tree draws the partitions of one table.
type tree struct {
	*world
	table *table
	enum  kind
	keys  map[string]string   // columns by what they are: number, day, word, mood
	among map[string][]string // values of them by name
}

// drawPartitions makes partitioned tables of every strategy, some with
// subpartitions.
func (w *world) drawPartitions() {
	for range w.between(1, 3) {
		t := &tree{world: w, table: &table{name: w.in("p"), partitioned: true}, keys: map[string]string{}, among: map[string][]string{}}
		t.drawKeys()
		strategy := pick(w, t.byList, t.byRange, t.byHash)
		by, parts := strategy()
		w.do("CREATE TABLE %s (%s) PARTITION BY %s", t.table.name, strings.Join(t.definitions(), ", "), by)
		t.drawParts(t.table.name, parts, 1)
		w.fill(t.table, t.table.name, w.between(0, 60), t.among)
		w.tables = append(w.tables, t.table)
	}
	if w.chance(30) {
		w.do("CREATE TABLE %s (id int PRIMARY KEY, t text) PARTITION BY RANGE (id)", w.in("p"))
	}
}

// drawKeys makes the columns that partitions may go by, and a few more.
func (t *tree) drawKeys() {
	t.enum = kind{name: t.in("e"), values: []string{"'a'", "'b'", "'c'", "'d'"}, can: ordered | hashed}
	t.do("CREATE TYPE %s AS ENUM ('a', 'b', 'c', 'd')", t.enum.name)
	for what, k := range ordinary(t.enum) {
		c := column{name: t.name("k"), kind: k}
		t.keys[what], t.among[c.name] = c.name, k.values
		t.table.columns = append(t.table.columns, c)
	}
	t.table.columns = append(t.table.columns, t.drawColumns(t.between(0, 3))...)
}

// ordinary are the columns of every partitioned table, in a fixed order.
func ordinary(enum kind) func(yield func(string, kind) bool) {
	return func(yield func(string, kind) bool) {
		_ = yield("number", kind{name: "int", values: []string{"0", "1", "2", "5", "9", "10", "15", "20", "99"}, can: ordered | hashed | brin}) &&
			yield("day", kind{name: "date", values: []string{"'2019-12-31'", "'2020-01-01'", "'2020-06-30'", "'2021-01-01'", "'infinity'"}, can: ordered | hashed | brin}) &&
			yield("word", kind{name: "text", values: []string{"'x'", "''", "'it''s'", "'NULL'", "'ü'"}, can: ordered | hashed | textual}) &&
			yield("mood", enum)
	}
}

func (t *tree) definitions() []string {
	definitions := []string{"id bigint NOT NULL"}
	for _, c := range t.table.columns {
		definitions = append(definitions, c.definition())
	}
	return definitions
}

// by notes the columns that a level goes by.
func (t *tree) by(what ...string) string {
	names := make([]string, len(what))
	for i, x := range what {
		names[i] = t.keys[x]
		if x == "id" {
			names[i] = x
		} else if !slices.Contains(t.table.keys, names[i]) {
			t.table.keys = append(t.table.keys, names[i])
		}
	}
	return strings.Join(names, ", ")
}

// byList returns a strategy and the bounds of its partitions; every row has a
// place.
func (t *tree) byList() (string, []string) {
	switch pick(t.world, "number", "word", "mood") {
	case "number":
		return fmt.Sprintf("LIST (%s)", t.by("number")), []string{"FOR VALUES IN (0, 1)", "FOR VALUES IN (2, NULL)", "DEFAULT"}
	case "word":
		return fmt.Sprintf("LIST (%s)", t.by("word")), []string{"FOR VALUES IN ('x', 'it''s')", "FOR VALUES IN ('NULL', NULL)", "DEFAULT"}
	default:
		return fmt.Sprintf("LIST (%s)", t.by("mood")), []string{"FOR VALUES IN ('a', 'c')", "FOR VALUES IN ('b')", "FOR VALUES IN ('d', NULL)"}
	}
}

func (t *tree) byRange() (string, []string) {
	switch pick(t.world, "number", "day", "both") {
	case "number":
		return fmt.Sprintf("RANGE (%s)", t.by("number")), []string{"FOR VALUES FROM (MINVALUE) TO (5)", "FOR VALUES FROM (5) TO (10)", "DEFAULT"}
	case "day":
		return fmt.Sprintf("RANGE (%s)", t.by("day")), []string{"FOR VALUES FROM ('2020-01-01') TO ('2021-01-01')", "FOR VALUES FROM ('2021-01-01') TO (MAXVALUE)", "DEFAULT"}
	default:
		return fmt.Sprintf("RANGE (%s)", t.by("day", "number")),
			[]string{"FOR VALUES FROM ('2020-01-01', MINVALUE) TO ('2020-06-30', 10)", "FOR VALUES FROM ('2020-06-30', 10) TO (MAXVALUE, MAXVALUE)", "DEFAULT"}
	}
}

func (t *tree) byHash() (string, []string) {
	what := pick(t.world, "id", "mood", "word", "number")
	n := t.between(2, 3)
	parts := make([]string, n)
	for i := range parts {
		parts[i] = fmt.Sprintf("FOR VALUES WITH (MODULUS %d, REMAINDER %d)", n, i)
	}
	return fmt.Sprintf("HASH (%s)", t.by(what)), parts
}

// drawParts makes the partitions of one level, leaves and more levels.
func (t *tree) drawParts(parent string, parts []string, level int) {
	for _, bound := range parts {
		name := t.in("l")
		switch {
		case level < 3 && t.chance(25):
			by, below := pick(t.world, t.byList, t.byRange, t.byHash)()
			t.do("CREATE TABLE %s PARTITION OF %s %s PARTITION BY %s", name, parent, bound, by)
			t.drawParts(name, below, level+1)
		case t.chance(30):
			t.attach(parent, name, bound)
		default:
			t.do("CREATE %sTABLE %s PARTITION OF %s %s%s", pick(t.world, "", "", "", "UNLOGGED "), name, parent, bound, t.storage())
		}
	}
}

// attach makes a leaf by itself, its columns in another order and one dropped,
// and attaches it.
func (t *tree) attach(parent, name, bound string) {
	definitions := append(t.definitions(), `"to drop" text DEFAULT 'x'`)
	t.do("CREATE TABLE %s (%s)", name, strings.Join(some(t.world, len(definitions), definitions), ", "))
	t.do(`ALTER TABLE %s DROP "to drop"`, name)
	t.do("ALTER TABLE %s ATTACH PARTITION %s %s", parent, name, bound)
}
