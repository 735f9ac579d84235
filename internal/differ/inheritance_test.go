package differ_test

import "strings"

// drawInheritance makes a parent with rows of its own and children, one of them
// with two parents, one adopted.
func (w *world) drawInheritance() {
	if w.chance(40) {
		return
	}
	parent := &table{name: w.in("i"), columns: w.drawColumns(w.between(1, 3)), child: true}
	// Where a child makes that its own, pg_dump 18 writes the name, which is the parent's, without quotes.
	definitions := []string{"id bigint CONSTRAINT there NOT NULL"}
	for _, c := range parent.columns {
		definitions = append(definitions, c.definition())
	}
	columns := strings.Join(definitions, ", ")
	w.do("CREATE TABLE %s (%s, CONSTRAINT %s CHECK (id > 0), CONSTRAINT %s CHECK (id < 1000) NO INHERIT)", parent.name, columns, w.name("k"), w.name("k"))
	w.fill(parent, parent.name, w.between(0, 10), nil)
	w.tables = append(w.tables, parent)
	second := w.in("i")
	w.do("CREATE TABLE %s (id bigint NOT NULL, other text DEFAULT 'second')", second)
	w.drawChild(parent, parent.name, second)
	if w.chance(50) {
		w.drawChild(parent, parent.name)
	}
	adopted := &table{name: w.in("i"), columns: parent.columns, child: true}
	w.do("CREATE TABLE %s (extra int, LIKE %s INCLUDING ALL)", adopted.name, parent.name)
	w.do("ALTER TABLE %s INHERIT %s", adopted.name, parent.name)
	w.fill(adopted, adopted.name, w.between(0, 10), nil)
	w.tables = append(w.tables, adopted)
}

// drawChild makes a child of some parents, and sometimes one of its own.
func (w *world) drawChild(like *table, parents ...string) {
	own := w.drawColumns(w.between(0, 2))
	child := &table{name: w.in("i"), columns: append(append([]column{}, like.columns...), own...), child: true}
	definitions := make([]string, len(own))
	for i, c := range own {
		definitions[i] = c.definition()
	}
	w.do("CREATE TABLE %s (%s) INHERITS (%s)", child.name, strings.Join(definitions, ", "), strings.Join(parents, ", "))
	w.fill(child, child.name, w.between(0, 10), nil)
	w.tables = append(w.tables, child)
	if w.chance(30) {
		w.drawChild(child, child.name)
	}
}
