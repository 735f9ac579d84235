package schema

// operators are those that people make.
func operators() family {
	return family{kind: "operator", query: func(d dialect) string {
		return `SELECT ` + d.typed("o.oid::regoperator::text") + ` AS object, ` + d.owner("o.oprowner") + `, nullif(o.oprcode, 0)::regprocedure::text AS function,
			format_type(nullif(o.oprresult, 0), NULL) AS result, nullif(o.oprcom, 0)::regoperator::text AS commutator, nullif(o.oprnegate, 0)::regoperator::text AS negator,
			nullif(o.oprrest, 0)::regproc::text AS restrict, nullif(o.oprjoin, 0)::regproc::text AS join,
			o.oprcanhash::text AS hashes, o.oprcanmerge::text AS merges, ` + d.comment("pg_operator", "o.oid", "0") + `
		FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace WHERE ` + d.user("n") + ` AND ` + own("pg_operator", "o.oid")
	}}
}

// operatorFamilies are operator families with all their members.
func operatorFamilies() family {
	return family{kind: "operator family", owns: true, query: func(d dialect) string {
		return `SELECT ` + name("n", "f.opfname") + ` || ' using ' || quote_ident(am.amname) AS object, ` + d.owner("f.opfowner") + `,
			(SELECT string_agg(o, ', ' ORDER BY o COLLATE "C") FROM (SELECT a.amopstrategy || ' ' || a.amopopr::regoperator || CASE a.amoppurpose WHEN 'o' THEN
				(SELECT ' for order by ' || ` + name("sn", "sf.opfname") + ` FROM pg_opfamily sf JOIN pg_namespace sn ON sn.oid = sf.opfnamespace WHERE sf.oid = a.amopsortfamily) ELSE '' END AS o
				FROM pg_amop a WHERE a.amopfamily = f.oid) members) AS operators,
			(SELECT string_agg(o, ', ' ORDER BY o COLLATE "C") FROM (SELECT a.amprocnum || ' (' || format_type(a.amproclefttype, NULL) || ', ' || format_type(a.amprocrighttype, NULL) || ') '
				|| a.amproc::regprocedure AS o FROM pg_amproc a WHERE a.amprocfamily = f.oid) members) AS functions, ` + d.comment("pg_opfamily", "f.oid", "0") + `
		FROM pg_opfamily f JOIN pg_namespace n ON n.oid = f.opfnamespace JOIN pg_am am ON am.oid = f.opfmethod
		WHERE ` + d.user("n") + ` AND ` + own("pg_opfamily", "f.oid")
	}}
}

// operatorClasses are operator classes; their members are those of their families.
func operatorClasses() family {
	return family{kind: "operator class", query: func(d dialect) string {
		return `SELECT ` + name("n", "c.opcname") + ` || ' using ' || quote_ident(am.amname) AS object, ` + d.owner("c.opcowner") + `,
			format_type(c.opcintype, NULL) AS type, ` + name("fn", "f.opfname") + ` AS family, c.opcdefault::text AS default,
			format_type(nullif(c.opckeytype, 0), NULL) AS storage, ` + d.comment("pg_opclass", "c.oid", "0") + `
		FROM pg_opclass c JOIN pg_namespace n ON n.oid = c.opcnamespace JOIN pg_am am ON am.oid = c.opcmethod
		JOIN pg_opfamily f ON f.oid = c.opcfamily JOIN pg_namespace fn ON fn.oid = f.opfnamespace
		WHERE ` + d.user("n") + ` AND ` + own("pg_opclass", "c.oid")
	}}
}

// casts are those that people make.
func casts() family {
	return family{kind: "cast", query: func(d dialect) string {
		return `SELECT ` + d.typed("'(' || format_type(c.castsource, NULL) || ' as ' || format_type(c.casttarget, NULL) || ')'") + ` AS object,
			CASE c.castmethod WHEN 'f' THEN c.castfunc::regprocedure::text WHEN 'i' THEN 'input and output' ELSE 'same bytes' END AS method,
			CASE c.castcontext WHEN 'e' THEN 'explicit' WHEN 'a' THEN 'assignment' ELSE 'implicit' END AS context, ` + d.comment("pg_cast", "c.oid", "0") + `
		FROM pg_cast c WHERE c.oid >= 16384 AND ` + made("pg_cast", "c.oid")
	}}
}

// accessMethods are those that people make.
func accessMethods() family {
	return family{kind: "access method", query: func(d dialect) string {
		return `SELECT quote_ident(a.amname) AS object, CASE a.amtype WHEN 't' THEN 'tables' ELSE 'indexes' END AS "for",
			a.amhandler::regproc::text AS handler, ` + d.comment("pg_am", "a.oid", "0") + `
		FROM pg_am a WHERE a.oid >= 16384 AND ` + own("pg_am", "a.oid")
	}}
}
