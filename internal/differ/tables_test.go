package differ_test

import (
	"fmt"
	"strings"
)

// table is a table that has been drawn, or the root of partitions. Its column id
// has a different number in every row.
type table struct {
	name        string // qualified, quoted
	columns     []column
	keys        []string // of partitions at any level, which a unique constraint has to hold
	rows        int      // ids are 1 to rows
	primary     bool     // id is the primary key
	partitioned bool
	unlogged    bool
	child       bool // has parents or children by inheritance
}

// column is one of a table beside id.
type column struct {
	name      string // quoted
	kind      kind
	notNull   bool
	generated bool
	text      string // its definition after name and type
}

func (c column) definition() string {
	return strings.TrimSpace(c.name + " " + c.kind.name + " " + c.text)
}

// of returns the columns with an ability.
func (t *table) of(can ability) []column {
	var able []column
	for _, c := range t.columns {
		if c.kind.is(can) {
			able = append(able, c)
		}
	}
	return able
}

// drawTables makes tables that are neither partitioned nor inherited from.
func (w *world) drawTables() {
	for range w.between(3, 7) {
		w.drawTable()
	}
	if w.chance(40) {
		t := w.in("t")
		w.do("CREATE TABLE %s ()", t)
		w.do("INSERT INTO %s SELECT FROM generate_series(1, %d)", t, w.between(0, 5))
	}
	if w.chance(40) {
		t := w.in("t")
		w.do("CREATE TABLE %s (g int GENERATED ALWAYS AS (42) %s)", t, w.generatedHow())
		w.do("INSERT INTO %s SELECT FROM generate_series(1, %d)", t, w.between(0, 5))
	}
	w.drawLargeTable()
}

func (w *world) drawTable() {
	t := &table{name: w.in("t"), unlogged: w.chance(10)}
	t.columns = w.drawColumns(w.between(0, 6))
	definitions := []string{"id bigint NOT NULL"}
	for _, c := range t.columns {
		definitions = append(definitions, c.definition())
	}
	for range w.between(0, 1) {
		definitions = append(definitions, w.serialColumn())
	}
	dropped := ""
	if w.chance(30) {
		dropped = w.name("x")
		definitions = append(definitions, dropped+" text DEFAULT 'gone'")
	}
	shuffled := some(w, len(definitions), definitions)
	w.do("CREATE %sTABLE %s (%s)%s", map[bool]string{true: "UNLOGGED "}[t.unlogged], t.name, strings.Join(shuffled, ", "), w.storage())
	w.fill(t, t.name, w.between(0, 40), nil)
	if dropped != "" {
		w.do("ALTER TABLE %s DROP %s", t.name, dropped)
	}
	if w.chance(30) { // a default that rows have without being written
		c := w.drawColumn()
		if !c.generated {
			w.do("ALTER TABLE %s ADD %s %s DEFAULT %s", t.name, c.name, c.kind.name, w.value(c.kind, 0))
		}
	}
	w.tables = append(w.tables, t)
}

// drawLargeTable makes a table that is copied in several parts.
func (w *world) drawLargeTable() {
	t := &table{name: w.in("t"), rows: w.between(500, 3000)}
	filler := column{name: w.name("w"), kind: kind{name: "text", values: awkwardTexts, can: ordered | hashed | textual}}
	number := column{name: w.name("w"), kind: kind{name: "int", values: []string{"1"}, can: ordered | hashed | brin}}
	t.columns = []column{filler, number}
	w.do("CREATE TABLE %s (%s, id bigint NOT NULL, %s)", t.name, filler.definition(), number.definition())
	w.do("INSERT INTO %s (id, %s, %s) SELECT i, nullif(repeat(md5(i::text), i %% 5), ''), nullif(i %% 50, 7) FROM generate_series(1, %d) i",
		t.name, filler.name, number.name, t.rows)
	if w.chance(50) {
		w.do("DELETE FROM %s WHERE id BETWEEN %d AND %d AND id %% 3 <> 0", t.name, t.rows/3, t.rows/2)
		t.rows /= 4 // those that others may refer to
	}
	w.tables = append(w.tables, t)
}

func (w *world) drawColumns(n int) []column {
	columns := make([]column, n)
	for i := range columns {
		columns[i] = w.drawColumn()
	}
	return columns
}

// drawColumn draws type, default, NOT NULL, collation and generation.
func (w *world) drawColumn() column {
	c := column{name: w.name("w"), kind: pick(w, w.kinds...)}
	switch {
	case c.kind.is(textual) && c.kind.base == "" && w.chance(20):
		c.text = `COLLATE "C"`
	case w.chance(15):
		how := w.generatedHow()
		c.kind, c.generated = kind{name: "int"}, true
		if how == "STORED" { // the others cannot be in an index
			c.kind.can = ordered | hashed
		}
		c.text = fmt.Sprintf("GENERATED ALWAYS AS ((id %% %d)::int) %s", w.between(2, 90), how)
	case w.chance(20):
		c.text = "DEFAULT " + pick(w, c.kind.values...)
	case w.chance(25):
		c.text, c.notNull = "NOT NULL", true
	case w.major >= 14 && c.kind.name == "text" && w.chance(50):
		c.text = "COMPRESSION pglz"
	}
	return c
}

// generatedHow draws where the values of a generated column are kept.
func (w *world) generatedHow() string {
	if w.major >= 18 {
		return pick(w, "STORED", "VIRTUAL")
	}
	return "STORED"
}

// storage draws parameters of a table.
func (w *world) storage() string {
	return pick(w, "", "", "", " WITH (fillfactor = 70, autovacuum_enabled = off)", " WITH (parallel_workers = 2, toast.autovacuum_enabled = off)", " TABLESPACE museum_space")
}

// fill writes rows through a name of the table, and goes on counting ids.
// Keys says which values a column may have beside those of its type.
func (w *world) fill(t *table, through string, n int, keys map[string][]string) {
	if n == 0 {
		return
	}
	names := []string{"id"}
	var written []column
	for _, c := range t.columns {
		if !c.generated {
			names = append(names, c.name)
			written = append(written, c)
		}
	}
	rows := make([]string, n)
	for i := range rows {
		t.rows++
		values := []string{fmt.Sprint(t.rows)}
		for _, c := range written {
			values = append(values, w.rowValue(c, keys[c.name]))
		}
		rows[i] = "(" + strings.Join(values, ", ") + ")"
	}
	w.do("INSERT INTO %s (%s) VALUES %s", through, strings.Join(names, ", "), strings.Join(rows, ", "))
}

func (w *world) rowValue(c column, keys []string) string {
	k := c.kind
	if len(keys) > 0 {
		k.values = keys
	}
	if c.notNull {
		return w.value(k, 0)
	}
	return w.value(k, 15)
}
