package differ_test

import "fmt"

// drawTriggers makes triggers that refuse whatever fires them, so that a copy
// which fires one fails, and policies.
func (w *world) drawTriggers() {
	refuse, refuseEvent := w.in("f"), w.in("f")
	w.do("CREATE FUNCTION %s() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trigger %% fired', tg_name; END $$", refuse)
	w.do("CREATE FUNCTION %s() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM 1; END $$", refuseEvent)
	for _, t := range w.tables {
		for range w.between(0, 2) {
			w.drawTrigger(t, refuse)
		}
		if w.chance(15) {
			w.drawPolicies(t)
		}
	}
	for range w.between(0, 2) {
		e := w.name("y")
		w.do("CREATE EVENT TRIGGER %s ON %s EXECUTE FUNCTION %s()", e, pick(w, "ddl_command_start", "ddl_command_end", "sql_drop", "ddl_command_end WHEN TAG IN ('CREATE CONVERSION')"), refuseEvent)
		w.do("ALTER EVENT TRIGGER %s %s", e, pick(w, "ENABLE", "DISABLE", "ENABLE ALWAYS", "ENABLE REPLICA"))
		w.eventTriggers = append(w.eventTriggers, e)
	}
}

func (w *world) drawTrigger(t *table, function string) {
	trigger := w.name("y")
	switch {
	case t.partitioned:
		w.do("CREATE TRIGGER %s AFTER INSERT ON %s FOR EACH ROW EXECUTE FUNCTION %s()", trigger, t.name, function)
	case w.chance(25):
		w.do("CREATE CONSTRAINT TRIGGER %s AFTER INSERT ON %s %s FOR EACH ROW EXECUTE FUNCTION %s()", trigger, t.name,
			pick(w, "", "DEFERRABLE", "DEFERRABLE INITIALLY DEFERRED"), function)
	case w.chance(30):
		w.do("CREATE TRIGGER %s AFTER INSERT ON %s REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION %s()", trigger, t.name, function)
	default:
		w.do("CREATE TRIGGER %s %s ON %s FOR EACH ROW %s EXECUTE FUNCTION %s(%s)", trigger, pick(w, "BEFORE INSERT OR UPDATE", "AFTER DELETE", "BEFORE UPDATE OF id"), t.name,
			pick(w, "", fmt.Sprintf("WHEN (pg_trigger_depth() < %d)", w.between(1, 9))), function, pick(w, "", literal(w.odd("argument"))))
	}
	w.do("ALTER TABLE %s %s TRIGGER %s", t.name, pick(w, "ENABLE", "DISABLE", "ENABLE ALWAYS", "ENABLE REPLICA"), trigger)
}

func (w *world) drawPolicies(t *table) {
	w.do("CREATE POLICY %s ON %s AS %s FOR %s USING (id > %d)", w.name("o"), t.name, pick(w, "PERMISSIVE", "RESTRICTIVE"), pick(w, "ALL", "SELECT TO museum_reader", "DELETE"), w.between(0, 9))
	if w.chance(70) {
		w.do("ALTER TABLE %s ENABLE ROW LEVEL SECURITY", t.name)
	}
	if w.chance(40) {
		w.do("ALTER TABLE %s FORCE ROW LEVEL SECURITY", t.name)
	}
}
