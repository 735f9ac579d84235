package schema

// types are those that people make: not the row types of tables, and not arrays
// and multiranges, which come with another type.
func types() family {
	return family{kind: "type", owns: true, query: func(d dialect) string {
		return `SELECT ` + name("n", "t.typname") + ` AS object,
			CASE WHEN NOT t.typisdefined THEN 'shell type' WHEN t.typtype = 'c' THEN 'composite type' WHEN t.typtype = 'e' THEN 'enum'
				WHEN t.typtype = 'd' THEN 'domain' WHEN t.typtype = 'r' THEN 'range' ELSE 'base type' END AS kind, ` + d.owner("t.typowner") + `,
			(SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid) AS labels,
			CASE t.typtype WHEN 'd' THEN format_type(t.typbasetype, t.typtypmod) END AS "base type",
			CASE t.typtype WHEN 'd' THEN t.typnotnull::text END AS "not null", coalesce(pg_get_expr(t.typdefaultbin, 0), t.typdefault) AS "default",
			CASE WHEN t.typtype = 'd' AND t.typcollation <> b.typcollation THEN t.typcollation::regcollation::text END AS collation,
			CASE t.typtype WHEN 'r' THEN concat_ws(', ', format_type(r.rngsubtype, NULL), 'class ' || quote_ident(oc.opcname), 'collation ' || nullif(r.rngcollation, 0)::regcollation,
				'canonical ' || nullif(r.rngcanonical, 0)::regproc, 'difference ' || nullif(r.rngsubdiff, 0)::regproc` +
			d.since(14, `, 'multirange ' || format_type(r.rngmultitypid, NULL)`, "") + `) END AS range,
			CASE WHEN t.typtype = 'b' AND t.typisdefined THEN concat_ws(' ', t.typinput::regproc, t.typoutput::regproc, t.typreceive::regproc, t.typsend::regproc,
				t.typmodin::regproc, t.typmodout::regproc, t.typanalyze::regproc, 'length', t.typlen, t.typbyval, t.typalign, t.typstorage, 'category', t.typcategory,
				t.typispreferred, t.typdelim, 'element', format_type(nullif(t.typelem, 0), NULL)` + d.since(14, `, 'subscript ' || nullif(t.typsubscript, 0)::regproc`, "") + `) END AS definition,
			` + d.privileges("t.typacl", "T", "t.typowner") + `, ` + d.comment("pg_type", "t.oid", "0") + `
		FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_type b ON b.oid = t.typbasetype
		LEFT JOIN pg_class c ON c.oid = t.typrelid LEFT JOIN pg_range r ON r.rngtypid = t.oid LEFT JOIN pg_opclass oc ON oc.oid = r.rngsubopc
		WHERE t.typtype IN ('b', 'c', 'd', 'e', 'r', 'p') AND (t.typtype <> 'c' OR c.relkind = 'c')
		AND NOT EXISTS (SELECT FROM pg_type element WHERE element.typarray = t.oid) AND ` + d.user("n") + ` AND ` + own("pg_type", "t.oid")
	}}
}

// collations are those that people make. The version of the library that sorts
// is the server's matter.
func collations() family {
	return family{kind: "collation", query: func(d dialect) string {
		// Before 15 an ICU locale stood where those of libc stand, and 16 began to write it as a language tag.
		locale := d.since(15, "c.colliculocale", "NULL")
		if d.major >= 17 {
			locale = "c.colllocale"
		}
		return `SELECT ` + name("n", "c.collname") + ` AS object,
			` + d.owner("c.collowner") + `, CASE c.collprovider WHEN 'i' THEN 'icu' WHEN 'c' THEN 'libc' WHEN 'b' THEN 'builtin' ELSE 'default' END AS provider,
			CASE c.collprovider WHEN 'i' THEN replace(coalesce(` + locale + `::text, c.collcollate::text), '_', '-') ELSE concat_ws(' ', ` + locale + `, c.collcollate, c.collctype) END AS locale,
			c.collisdeterministic::text AS deterministic, ` + d.since(16, "c.collicurules", "NULL") + ` AS rules, ` + d.comment("pg_collation", "c.oid", "0") + `
		FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace WHERE ` + d.user("n") + ` AND ` + own("pg_collation", "c.oid")
	}}
}

// conversions are those between encodings.
func conversions() family {
	return family{kind: "conversion", query: func(d dialect) string {
		return `SELECT ` + name("n", "c.conname") + ` AS object, ` + d.owner("c.conowner") + `,
			pg_encoding_to_char(c.conforencoding) || ' to ' || pg_encoding_to_char(c.contoencoding) AS encodings,
			c.conproc::regproc::text AS function, c.condefault::text AS default, ` + d.comment("pg_conversion", "c.oid", "0") + `
		FROM pg_conversion c JOIN pg_namespace n ON n.oid = c.connamespace WHERE ` + d.user("n") + ` AND ` + own("pg_conversion", "c.oid")
	}}
}
