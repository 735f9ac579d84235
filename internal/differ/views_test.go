package differ_test

import "fmt"

// drawViews makes views and materialized views on tables and on one another, and
// rules.
func (w *world) drawViews() {
	readable := []string{} // what a query may read
	for _, t := range w.tables {
		readable = append(readable, t.name)
	}
	for range w.between(1, 5) {
		i := w.rng.IntN(len(readable))
		from := readable[i]
		name := w.in("v")
		switch {
		case w.chance(50):
			option := ""
			if i < len(w.tables) && w.chance(40) {
				option = " WITH CASCADED CHECK OPTION"
			}
			w.do("CREATE VIEW %s%s AS SELECT * FROM %s WHERE id %% 2 = 0%s", name, w.viewOptions(), from, option)
			w.views = append(w.views, name)
		case w.chance(70):
			w.do("CREATE MATERIALIZED VIEW %s%s AS SELECT id, id * 2 AS double FROM %s%s", name, pick(w, "", " WITH (fillfactor = 90)", " TABLESPACE museum_space"), from, w.populated(name, from))
			w.matviews = append(w.matviews, name)
		default:
			w.do("CREATE VIEW %s AS SELECT id, count(*) AS n FROM %s GROUP BY id", name, from)
			w.views = append(w.views, name)
		}
		w.empty[name] = w.empty[name] || w.empty[from]
		readable = append(readable, name)
	}
	w.drawGroupedViews()
	for _, m := range w.matviews {
		if w.chance(50) {
			w.do("CREATE INDEX %s ON %s (id)", w.name("x"), m)
		}
	}
	w.drawRules()
}

// viewOptions draws parameters of a view.
func (w *world) viewOptions() string {
	if w.major >= 15 && w.chance(30) {
		return " WITH (security_invoker = true)"
	}
	return pick(w, "", "", " WITH (security_barrier)")
}

// populated draws whether a materialized view has rows. What reads one that has
// none has none, either.
func (w *world) populated(name, from string) string {
	if w.empty[from] || w.chance(20) {
		w.empty[name] = true
		return " WITH NO DATA"
	}
	return ""
}

// drawGroupedViews makes views that need the primary key of their table, so that
// pg_dump puts them after it.
func (w *world) drawGroupedViews() {
	for _, t := range w.tables {
		if !t.primary || !w.chance(25) {
			continue
		}
		name, with := w.in("v"), w.in("v")
		w.do("CREATE VIEW %s AS SELECT t.*, count(*) AS n FROM %s t GROUP BY t.id", name, t.name)
		w.do("CREATE MATERIALIZED VIEW %s AS SELECT id, n FROM %s%s", with, name, pick(w, "", " WITH NO DATA"))
		w.views, w.matviews = append(w.views, name), append(w.matviews, with)
	}
}

func (w *world) drawRules() {
	for _, t := range w.tables {
		if !w.chance(20) {
			continue
		}
		rule := w.name("z")
		w.do("CREATE RULE %s AS ON %s TO %s DO %s", rule, pick(w, "INSERT", "UPDATE", "DELETE"), t.name,
			pick(w, "INSTEAD NOTHING", fmt.Sprintf("ALSO SELECT %s", pick(w, awkwardTexts...)), "ALSO NOTIFY news"))
		if !t.partitioned {
			w.do("ALTER TABLE %s %s RULE %s", t.name, pick(w, "ENABLE", "DISABLE", "ENABLE ALWAYS", "ENABLE REPLICA"), rule)
		}
	}
}
