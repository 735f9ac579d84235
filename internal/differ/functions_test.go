package differ_test

// drawFunctions makes functions and procedures, some of which tables, views and
// triggers use.
func (w *world) drawFunctions() {
	for range w.between(1, 3) {
		f := w.in("f")
		w.do("CREATE FUNCTION %s(a int, b int DEFAULT %d) RETURNS int LANGUAGE sql IMMUTABLE %s AS $f$ SELECT coalesce(a, 0) %% 1000 + b $f$",
			f, w.between(1, 9), pick(w, "", "PARALLEL SAFE COST 7", "STRICT", "SET work_mem = '5MB'"))
		w.functions = append(w.functions, f)
	}
	if w.major >= 14 && w.chance(50) {
		w.do("CREATE FUNCTION %s(a int) RETURNS int BEGIN ATOMIC SELECT a + 1; SELECT %s(a); END", w.in("f"), w.functions[0])
	}
	if w.chance(50) {
		k := pick(w, w.kinds...)
		w.do("CREATE FUNCTION %s(INOUT %s %s, VARIADIC rest text[] DEFAULT '{}') LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $body$ BEGIN /* 'quotes' $$ */ END $body$",
			w.in("f"), w.name("a"), k.name)
	}
	if w.chance(50) {
		w.do("CREATE PROCEDURE %s(INOUT n int) LANGUAGE plpgsql AS 'BEGIN COMMIT; n := n + 1; END'", w.in("f"))
	}
	if w.chance(50) {
		w.do("CREATE AGGREGATE %s(int) (sfunc = int4pl, stype = int, initcond = '0')", w.in("f"))
	}
}
