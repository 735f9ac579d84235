package schema

// functions are functions, procedures and aggregates.
func functions() family {
	return family{kind: "function", deparsed: []string{"body"}, query: func(d dialect) string {
		return `SELECT ` + d.typed("p.oid::regprocedure::text") + ` AS object,
			CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' WHEN 'w' THEN 'window function' ELSE 'function' END AS kind,
			` + d.owner("p.proowner") + `, quote_ident(l.lanname) AS language, pg_get_function_arguments(p.oid) AS arguments, pg_get_function_result(p.oid) AS result,
			nullif(p.prosrc, '') AS source, p.probin AS library, ` + d.since(14, "pg_get_function_sqlbody(p.oid)", "NULL") + ` AS body,
			CASE p.provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' ELSE 'volatile' END AS volatility,
			CASE p.proparallel WHEN 's' THEN 'safe' WHEN 'r' THEN 'restricted' ELSE 'unsafe' END AS parallel,
			p.proisstrict::text AS strict, p.prosecdef::text AS "security definer", p.proleakproof::text AS leakproof,
			p.procost::text AS cost, p.prorows::text AS rows, nullif(p.prosupport, 0)::regproc::text AS support, ` + options("p.proconfig") + ` AS settings,
			(SELECT string_agg(format_type(t, NULL), ', ') FROM unnest(p.protrftypes) t) AS transforms,
			CASE WHEN a.aggfnoid IS NOT NULL THEN concat_ws(', ', a.aggkind, a.aggnumdirectargs, 'transition ' || a.aggtransfn::regproc || ' on ' || format_type(a.aggtranstype, NULL)
				|| ' ' || a.aggtransspace || ' from ' || coalesce(quote_literal(a.agginitval), 'NULL'), 'final ' || a.aggfinalfn::regproc || ' ' || a.aggfinalextra || ' ' || a.aggfinalmodify::text,
				'combine ' || a.aggcombinefn::regproc, 'serial ' || a.aggserialfn::regproc || ' ' || a.aggdeserialfn::regproc,
				'moving ' || a.aggmtransfn::regproc || ' ' || a.aggminvtransfn::regproc || ' ' || a.aggmfinalfn::regproc || ' ' || a.aggmfinalextra || ' ' || a.aggmfinalmodify::text
				|| ' on ' || format_type(a.aggmtranstype, NULL) || ' ' || a.aggmtransspace || ' from ' || coalesce(quote_literal(a.aggminitval), 'NULL'),
				'sort ' || nullif(a.aggsortop, 0)::regoperator) END AS aggregate,
			` + dependsOn("pg_proc", "p.oid") + `, ` + d.privileges("p.proacl", "f", "p.proowner") + `, ` + d.comment("pg_proc", "p.oid", "0") + `
		FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang LEFT JOIN pg_aggregate a ON a.aggfnoid = p.oid
		WHERE ` + d.user("n") + ` AND ` + made("pg_proc", "p.oid")
	}}
}

// languages are those that people make.
func languages() family {
	return family{kind: "language", query: func(d dialect) string {
		return `SELECT quote_ident(l.lanname) AS object, ` + d.owner("l.lanowner") + `, l.lanpltrusted::text AS trusted,
			nullif(l.lanplcallfoid, 0)::regprocedure::text AS handler, nullif(l.laninline, 0)::regprocedure::text AS inline,
			nullif(l.lanvalidator, 0)::regprocedure::text AS validator,
			` + d.privileges("l.lanacl", "l", "l.lanowner") + `, ` + d.comment("pg_language", "l.oid", "0") + `
		FROM pg_language l WHERE l.oid >= 16384 AND ` + own("pg_language", "l.oid")
	}}
}

// transforms are those of types for languages.
func transforms() family {
	return family{kind: "transform", query: func(d dialect) string {
		return `SELECT ` + d.typed("'for ' || format_type(t.trftype, NULL) || ' language ' || quote_ident(l.lanname)") + ` AS object,
			nullif(t.trffromsql, 0)::regprocedure::text AS "from SQL", nullif(t.trftosql, 0)::regprocedure::text AS "to SQL", ` + d.comment("pg_transform", "t.oid", "0") + `
		FROM pg_transform t JOIN pg_language l ON l.oid = t.trflang WHERE ` + own("pg_transform", "t.oid")
	}}
}
