package differ_test

import "fmt"

// roles are those of the museum, which both servers have.
var roles = []string{"museum_owner", "museum_reader", "museum_writer", `"museum ""Odd"" röle\'%"`}

// drawPrivileges gives away, grants and revokes, and sets default privileges.
func (w *world) drawPrivileges() {
	w.do("GRANT USAGE, CREATE ON SCHEMA public TO museum_owner")
	for _, s := range w.schemas[1:] {
		w.do("GRANT %s ON SCHEMA %s TO %s", pick(w, "USAGE", "ALL"), s, pick(w, roles...))
	}
	for _, t := range w.tables {
		if w.chance(20) {
			w.drawOwner(t.name)
		}
		for range w.between(0, 2) {
			w.drawGrant(t)
		}
	}
	for _, v := range append(append([]string{}, w.views...), w.matviews...) {
		if w.chance(20) {
			w.do("GRANT SELECT ON %s TO %s", v, pick(w, roles...))
		}
	}
	for _, s := range w.sequences {
		if w.chance(30) {
			w.do("GRANT %s ON SEQUENCE %s TO %s", pick(w, "USAGE", "ALL", "SELECT"), s, pick(w, roles...))
		}
	}
	for _, f := range w.functions {
		if w.chance(30) {
			w.do("REVOKE EXECUTE ON FUNCTION %s(int, int) FROM PUBLIC", f)
		}
	}
	w.drawDefaultPrivileges()
}

// drawOwner gives a table away; its new owner sometimes may not even load it.
func (w *world) drawOwner(table string) {
	w.do("ALTER TABLE %s OWNER TO museum_owner", table)
	if w.chance(40) {
		w.do("REVOKE %s ON %s FROM museum_owner", pick(w, "INSERT, TRUNCATE", "ALL", "TRIGGER, REFERENCES"), table)
	}
}

func (w *world) drawGrant(t *table) {
	to := pick(w, roles...)
	switch {
	case w.chance(30) && len(t.columns) > 0:
		w.do("GRANT SELECT (id), UPDATE (%s) ON %s TO %s", pick(w, t.columns...).name, t.name, to)
	case w.major >= 17 && w.chance(30):
		w.do("GRANT MAINTAIN ON %s TO %s", t.name, to)
	default:
		w.do("GRANT %s ON %s TO %s", pick(w, "SELECT", "ALL", "INSERT, TRUNCATE"), t.name, pick(w, to, "PUBLIC", to+" WITH GRANT OPTION"))
	}
}

func (w *world) drawDefaultPrivileges() {
	for range w.between(0, 3) {
		in := ""
		if w.chance(50) {
			in = " IN SCHEMA " + pick(w, w.schemas...)
		}
		w.do("ALTER DEFAULT PRIVILEGES FOR ROLE %s%s GRANT %s TO %s", pick(w, append(roles, "postgres")...), in,
			pick(w, "SELECT ON TABLES", "ALL ON TABLES", "USAGE ON SEQUENCES", "EXECUTE ON FUNCTIONS", "USAGE ON TYPES"), pick(w, roles...))
	}
	if w.chance(40) {
		w.do("ALTER DEFAULT PRIVILEGES FOR ROLE museum_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC")
	}
}

// drawComments writes comments that are as odd as names.
func (w *world) drawComments() {
	comment := func(on string) {
		if w.chance(30) {
			w.do("COMMENT ON %s IS %s", on, literal(w.odd("a comment")))
		}
	}
	for _, s := range w.schemas {
		comment("SCHEMA " + s)
	}
	for _, t := range w.tables {
		comment("TABLE " + t.name)
		for _, c := range t.columns {
			comment(fmt.Sprintf("COLUMN %s.%s", t.name, c.name))
		}
	}
	for kind, names := range w.named() {
		for _, name := range names {
			comment(kind + " " + name)
		}
	}
}

// named are names by kind, in a fixed order.
func (w *world) named() func(yield func(string, []string) bool) {
	return func(yield func(string, []string) bool) {
		_ = yield("VIEW", w.views) && yield("MATERIALIZED VIEW", w.matviews) && yield("SEQUENCE", w.sequences) && yield("EVENT TRIGGER", w.eventTriggers)
	}
}

// drawPublications makes publications of some tables, of all, of schemas.
func (w *world) drawPublications() {
	var logged []string
	for _, t := range w.tables {
		if !t.unlogged {
			logged = append(logged, "ONLY "+t.name)
		}
	}
	if len(logged) > 0 && w.chance(50) {
		w.do("CREATE PUBLICATION %s FOR TABLE %s WITH (publish = 'insert, truncate')", w.name("b"), pick(w, logged...))
	}
	if w.chance(20) {
		w.do("CREATE PUBLICATION %s FOR ALL TABLES", w.name("b"))
	}
	if w.major >= 15 && w.chance(30) {
		w.do("CREATE PUBLICATION %s FOR TABLES IN SCHEMA %s", w.name("b"), pick(w, w.schemas...))
	}
}
