package differ_test

import "fmt"

// drawMarks makes what is said of tables and indexes that are there: statistics,
// replica identity, CLUSTER, storage.
func (w *world) drawMarks() {
	for _, t := range w.tables {
		if w.chance(25) && len(t.of(ordered)) > 1 {
			w.drawStatistics(t)
		}
		if w.chance(25) {
			w.drawColumnMarks(t)
		}
		if w.chance(15) && !t.child {
			w.do("ALTER TABLE %s REPLICA IDENTITY %s", t.name, pick(w, "FULL", "NOTHING"))
		}
		if !w.chance(25) || t.partitioned {
			continue
		}
		index := w.name("x")
		w.do("CREATE UNIQUE INDEX %s ON %s (id)", index, t.name)
		if w.chance(60) {
			w.do("ALTER TABLE %s REPLICA IDENTITY USING INDEX %s", t.name, index)
		}
		if w.chance(60) {
			w.do("ALTER TABLE %s CLUSTER ON %s", t.name, index)
		}
	}
}

func (w *world) drawStatistics(t *table) {
	columns := some(w, 2, t.of(ordered))
	name := w.in("h")
	w.do("CREATE STATISTICS %s%s ON %s, %s FROM %s", name, pick(w, "", " (ndistinct)", " (dependencies, mcv)"), columns[0].name, columns[1].name, t.name)
	if w.chance(40) {
		w.do("ALTER STATISTICS %s SET STATISTICS %d", name, w.between(0, 500))
	}
	if w.major >= 14 && w.chance(40) {
		w.do("CREATE STATISTICS %s ON (id %% %d), id FROM %s", w.in("h"), w.between(2, 9), t.name)
	}
}

// drawColumnMarks sets statistics targets, storage and attribute options.
func (w *world) drawColumnMarks(t *table) {
	w.do("ALTER TABLE %s ALTER id SET STATISTICS %d", t.name, w.between(0, 500))
	w.do("ALTER TABLE %s ALTER id SET (n_distinct = %d)", t.name, w.between(1, 9))
	for _, c := range t.columns {
		if c.kind.name == "text" && w.chance(50) {
			w.do("ALTER TABLE %s ALTER %s SET STORAGE %s", t.name, c.name, pick(w, "EXTERNAL", "MAIN", "PLAIN"))
		}
	}
}

// drawLargeObjects makes large objects with owners, privileges and comments.
func (w *world) drawLargeObjects() {
	for i := range w.between(0, 5) {
		oid := 500000 + i*7
		w.do("SELECT %s", pick(w, fmt.Sprintf("lo_create(%d)", oid), fmt.Sprintf("lo_from_bytea(%d, '\\x00ff0a0d5c')", oid), fmt.Sprintf("lo_from_bytea(%d, decode(repeat('deadbeef00', 3000), 'hex'))", oid)))
		if w.chance(40) {
			w.do("SELECT lo_put(%d, %d, 'after a hole')", oid, w.between(0, 100000))
		}
		if w.chance(40) {
			w.do("ALTER LARGE OBJECT %d OWNER TO museum_owner", oid)
		}
		if w.chance(40) {
			w.do("GRANT %s ON LARGE OBJECT %d TO %s", pick(w, "SELECT", "ALL"), oid, pick(w, "PUBLIC", "museum_reader WITH GRANT OPTION"))
		}
		if w.chance(40) {
			w.do("COMMENT ON LARGE OBJECT %d IS %s", oid, literal(w.odd("a comment")))
		}
	}
}
