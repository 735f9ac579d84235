package differ_test

import (
	"fmt"
	"slices"
	"strings"
)

// drawKeys makes keys, unique and exclusion constraints.
func (w *world) drawKeys() {
	for _, t := range w.tables {
		if w.chance(70) {
			w.drawPrimaryKey(t)
		}
		if w.chance(30) {
			w.drawUnique(t)
		}
		if w.chance(25) && !t.partitioned {
			w.drawExclusion(t)
		}
	}
}

// drawChecks makes checks that the rows satisfy, and such that are not validated
// and that they do not: after these, no row can be changed.
func (w *world) drawChecks() {
	for _, t := range w.tables {
		for range w.between(0, 2) {
			w.drawCheck(t)
		}
	}
}

// uniqueKeys are columns that are unique together and may be so in a table with
// partitions.
func (w *world) uniqueKeys(t *table) string {
	keys := append([]string{"id"}, t.keys...)
	return strings.Join(some(w, len(keys), keys), ", ")
}

// drawPrimaryKey makes a key on id, which foreign keys may refer to. With
// partitions the keys that these go by have to be among it, and then have no NULLs.
func (w *world) drawPrimaryKey(t *table) {
	t.primary = len(t.keys) == 0
	if len(t.keys) > 0 && !w.withoutNulls(t) {
		w.do("ALTER TABLE %s ADD CONSTRAINT %s UNIQUE (%s)", t.name, w.name("k"), w.uniqueKeys(t))
		return
	}
	if w.chance(15) && !t.partitioned {
		index := w.name("k")
		w.do("CREATE UNIQUE INDEX %s ON %s (id)", index, t.name)
		w.do("ALTER TABLE %s ADD CONSTRAINT %s PRIMARY KEY USING INDEX %s", t.name, w.name("k"), index)
		return
	}
	include, deferrable := "", ""
	if w.chance(15) {
		include = " INCLUDE (" + w.storedColumn(t) + ")"
	}
	if w.chance(15) { // nothing may refer to it
		t.primary, deferrable = false, pick(w, " DEFERRABLE", " DEFERRABLE INITIALLY DEFERRED")
	}
	w.do("ALTER TABLE %s ADD CONSTRAINT %s PRIMARY KEY (%s)%s%s%s", t.name, w.name("k"), w.uniqueKeys(t), include, pick(w, "", "", " WITH (fillfactor = 80)"), deferrable)
}

// withoutNulls takes the NULLs from the keys of partitions, in half of the cases.
func (w *world) withoutNulls(t *table) bool {
	if w.chance(50) {
		return false
	}
	for _, k := range t.keys {
		w.do("DELETE FROM %s WHERE %s IS NULL", t.name, k)
	}
	return true
}

func (w *world) drawUnique(t *table) {
	keys := w.uniqueKeys(t)
	if c := w.storedColumn(t); !slices.Contains(append(t.keys, "id"), c) && w.chance(50) {
		keys += ", " + c
	}
	distinct := ""
	if w.major >= 15 && w.chance(30) {
		distinct = "NULLS NOT DISTINCT "
	}
	w.do("ALTER TABLE %s ADD CONSTRAINT %s UNIQUE %s(%s)%s", t.name, w.name("k"), distinct, keys, pick(w, "", " DEFERRABLE", " DEFERRABLE INITIALLY DEFERRED"))
}

func (w *world) drawExclusion(t *table) {
	w.do("ALTER TABLE %s ADD CONSTRAINT %s EXCLUDE %s%s%s", t.name, w.name("k"),
		pick(w, "USING gist (id WITH =)", "USING gist (int8range(id, id, '[]') WITH &&)", "USING btree ((id * 3) WITH =)", "USING hash (id WITH =)", "(id WITH =) WITH (fillfactor = 77)"),
		pick(w, "", " WHERE (id > 3)"), pick(w, "", "", " DEFERRABLE INITIALLY DEFERRED"))
}

func (w *world) drawCheck(t *table) {
	condition := fmt.Sprintf("id > %d", -w.between(0, 9))
	valid := ""
	switch {
	case w.chance(30) && len(t.columns) > 0:
		condition = fmt.Sprintf("id > 0 OR %s IS NULL", pick(w, t.columns...).name)
	case w.chance(20):
		condition = fmt.Sprintf("%s(id::int) IS NOT NULL", pick(w, w.functions...))
	case w.chance(30):
		condition, valid = "id < 2", " NOT VALID"
	case w.major >= 18 && w.chance(30):
		condition, valid = "id < 2", " NOT ENFORCED"
	}
	inherit := ""
	if w.chance(15) && !t.partitioned {
		inherit = " NO INHERIT"
	}
	w.do("ALTER TABLE %s ADD CONSTRAINT %s CHECK (%s)%s%s", t.name, w.name("k"), condition, inherit, valid)
}

// drawForeignKeys adds columns that refer to other tables, or to their own, with
// rows that do, and constraints of every kind on them.
func (w *world) drawForeignKeys() {
	var hubs []*table
	for _, t := range w.tables {
		if t.primary {
			hubs = append(hubs, t)
		}
	}
	if len(hubs) == 0 {
		return
	}
	for _, t := range w.tables {
		if t.child && w.chance(70) { // a column of a parent is one of its children, a foreign key is not
			continue
		}
		for range w.between(0, 2) {
			hub := pick(w, hubs...)
			if hub.unlogged && !t.unlogged { // refused
				continue
			}
			w.drawForeignKey(t, hub)
		}
	}
}

func (w *world) drawForeignKey(t, hub *table) {
	c := w.name("r")
	w.do("ALTER TABLE %s ADD %s bigint", t.name, c)
	w.do("UPDATE %s SET %s = (SELECT id FROM ONLY %s h WHERE h.id <= %s.id ORDER BY h.id DESC LIMIT 1) WHERE id %% 4 <> 0", t.name, c, hub.name, t.name)
	if hub.partitioned { // ONLY would see no row of it
		w.do("UPDATE %s SET %s = NULL", t.name, c)
	}
	orphans := !t.partitioned && w.chance(15)
	if orphans {
		w.do("UPDATE %s SET %s = -1 WHERE id = 1", t.name, c)
	}
	w.do("ALTER TABLE %s ADD CONSTRAINT %s FOREIGN KEY (%s) REFERENCES %s (id)%s%s%s", t.name, w.name("k"), c, hub.name,
		pick(w, "", " MATCH FULL", " ON DELETE CASCADE ON UPDATE CASCADE", " ON DELETE SET NULL ON UPDATE SET DEFAULT", " ON DELETE RESTRICT"),
		pick(w, "", "", " DEFERRABLE", " DEFERRABLE INITIALLY DEFERRED"), map[bool]string{true: " NOT VALID"}[orphans])
}
