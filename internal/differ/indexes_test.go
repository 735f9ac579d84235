package differ_test

import (
	"fmt"
	"strings"
)

// drawIndexes makes indexes of every method and kind on tables and on the roots
// of partitions.
func (w *world) drawIndexes() {
	for _, t := range w.tables {
		for range w.between(0, 4) {
			w.drawIndex(t)
		}
		if w.chance(25) && !t.partitioned {
			w.drawUniqueIndex(t)
		}
	}
}

func (w *world) drawIndex(t *table) {
	method, keys := w.drawMethod(t)
	only := ""
	if t.partitioned && w.chance(10) {
		only = "ONLY "
	}
	w.do("CREATE INDEX %s ON %s%s USING %s (%s)%s", w.name("x"), only, t.name, method, keys, w.indexEnd(method, t))
}

// drawMethod draws an access method and keys that it can have.
func (w *world) drawMethod(t *table) (method, keys string) {
	switch method := pick(w, "btree", "btree", "btree", "hash", "gin", "gist", "spgist", "brin"); method {
	case "btree":
		return method, w.btreeKeys(t)
	case "hash":
		return method, w.columnOf(t, hashed)
	case "gin":
		if able := t.of(gin); len(able) > 0 {
			c := pick(w, able...)
			if c.kind.name == "jsonb" && w.chance(50) {
				return method, c.name + " jsonb_path_ops"
			}
			return method, c.name
		}
	case "gist":
		return method, w.columnOf(t, gist)
	case "spgist":
		if able := t.of(spgist); len(able) > 0 {
			return method, pick(w, able...).name
		}
	case "brin":
		if w.major >= 14 {
			return method, pick(w, "id", "id int8_minmax_multi_ops (values_per_range = 16)", "id int8_bloom_ops (n_distinct_per_range = 50)", w.columnOf(t, brin))
		}
		return method, w.columnOf(t, brin)
	}
	return "btree", w.btreeKeys(t)
}

// columnOf draws a column with an ability, id if there is none: it has all of a
// number.
func (w *world) columnOf(t *table, can ability) string {
	able := t.of(can)
	if len(able) == 0 {
		return "id"
	}
	return pick(w, able...).name
}

// btreeKeys draws one to three keys: columns in either order, expressions, other
// collations and operator classes.
func (w *world) btreeKeys(t *table) string {
	keys := make([]string, w.between(1, 3))
	for i := range keys {
		texts := t.of(textual)
		switch {
		case len(texts) > 0 && w.chance(40):
			keys[i] = fmt.Sprintf(pick(w, "(lower(%s::text))", `%s COLLATE "C"`, "(md5(%s::text))", `(%s::text) text_pattern_ops`), pick(w, texts...).name)
		case w.chance(20):
			keys[i] = fmt.Sprintf("((id %% %d))", w.between(2, 9))
		case w.chance(15):
			keys[i] = fmt.Sprintf("(%s(id::int))", pick(w, w.functions...))
		default:
			keys[i] = w.columnOf(t, ordered)
		}
		keys[i] += pick(w, "", "", " DESC", " ASC NULLS FIRST", " DESC NULLS LAST")
	}
	return strings.Join(keys, ", ")
}

// indexEnd draws what follows the keys: INCLUDE, parameters, tablespace, predicate.
func (w *world) indexEnd(method string, t *table) string {
	end := ""
	if (method == "btree" || method == "gist") && w.chance(20) {
		end += " INCLUDE (" + w.storedColumn(t) + ")"
	}
	switch {
	case method == "btree" && w.chance(25):
		end += pick(w, " WITH (fillfactor = 60)", " WITH (deduplicate_items = off)")
	case method == "gin" && w.chance(25):
		end += " WITH (fastupdate = off)"
	case method == "brin" && w.chance(25):
		end += " WITH (pages_per_range = 4, autosummarize = on)"
	}
	if w.chance(10) {
		end += " TABLESPACE museum_space"
	}
	if w.chance(25) {
		end += " WHERE " + w.predicate(t)
	}
	return end
}

// storedColumn draws a column whose values are in the table.
func (w *world) storedColumn(t *table) string {
	for _, c := range some(w, len(t.columns), t.columns) {
		if !c.generated && c.kind.is(ordered) && !c.kind.is(textual) {
			return c.name
		}
	}
	return "id"
}

// predicate draws a condition on a row.
func (w *world) predicate(t *table) string {
	forms := []string{fmt.Sprintf("id > %d", w.between(0, 20)), fmt.Sprintf("id %% %d = 0 OR id < 5", w.between(2, 5))}
	if len(t.columns) > 0 {
		c := pick(w, t.columns...)
		if !c.generated || c.kind.is(ordered) { // an index on none that is not stored
			forms = append(forms, c.name+" IS NOT NULL")
		}
		if c.kind.is(ordered) && !c.generated && len(c.kind.values) > 0 {
			forms = append(forms, fmt.Sprintf("%s <> %s", c.name, cast(pick(w, c.kind.values...), c.kind)))
		}
	}
	return pick(w, forms...)
}

// cast makes a literal one of a type, so that no context is needed.
func cast(value string, k kind) string { return "(" + value + ")::" + k.name }

// drawUniqueIndex makes a unique index that is not of a constraint.
func (w *world) drawUniqueIndex(t *table) {
	distinct := ""
	if w.major >= 15 && w.chance(40) {
		distinct = " NULLS NOT DISTINCT"
	}
	keys := pick(w, "id", "id DESC", "(id * 2)", "id, "+w.columnOf(t, ordered))
	name := w.name("u")
	w.do("CREATE UNIQUE INDEX %s ON %s (%s)%s%s", name, t.name, keys, pick(w, "", " INCLUDE ("+w.storedColumn(t)+")"), distinct)
}
