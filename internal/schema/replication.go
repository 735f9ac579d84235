package schema

// publications are publications; what they publish are families of their own.
func publications() family {
	return family{kind: "publication", owns: true, query: func(d dialect) string {
		return `SELECT quote_ident(p.pubname) AS object, ` + d.owner("p.pubowner") + `, p.puballtables::text AS "all tables",
			concat_ws(', ', CASE WHEN p.pubinsert THEN 'insert' END, CASE WHEN p.pubupdate THEN 'update' END, CASE WHEN p.pubdelete THEN 'delete' END,
				CASE WHEN p.pubtruncate THEN 'truncate' END) AS publishes, p.pubviaroot::text AS "as the root",
			` + d.since(18, "CASE p.pubgencols WHEN 's' THEN 'stored' ELSE 'none' END", "'none'") + ` AS "generated columns", ` + d.comment("pg_publication", "p.oid", "0") + `
		FROM pg_publication p WHERE ` + own("pg_publication", "p.oid")
	}}
}

// publishedTables are the tables that publications name, with columns and
// condition.
func publishedTables() family {
	return family{kind: "published table", query: func(d dialect) string {
		columns := `(SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = r.prrelid AND a.attnum = ANY (r.prattrs))`
		return `SELECT ` + name("n", "c.relname") + ` || ' in ' || quote_ident(p.pubname) AS object, quote_ident(p.pubname) AS of,
			` + d.since(15, columns, "NULL") + ` AS columns, ` + d.since(15, "pg_get_expr(r.prqual, r.prrelid)", "NULL") + ` AS condition,
			` + addressIn("pg_publication_rel", "r.oid") + `
		FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace`
	}}
}

// publishedSchemas are the schemas that publications name.
func publishedSchemas() family {
	return family{kind: "published schema", query: func(d dialect) string {
		return d.since(15, `SELECT quote_ident(n.nspname) || ' in ' || quote_ident(p.pubname) AS object, quote_ident(p.pubname) AS of, `+addressIn("pg_publication_namespace", "r.oid")+`
		FROM pg_publication_namespace r JOIN pg_publication p ON p.oid = r.pnpubid JOIN pg_namespace n ON n.oid = r.pnnspid`,
			`SELECT ''::text AS object, ''::text AS of, NULL::text AS address WHERE false`)
	}}
}

// subscriptions are copied disabled, and to where they connect is for superusers
// only; neither is compared.
func subscriptions() family {
	return family{kind: "subscription", query: func(d dialect) string {
		return `SELECT quote_ident(s.subname) AS object, ` + d.owner("s.subowner") + `, array_to_string(s.subpublications, ', ') AS publications,
			s.subslotname::text AS slot, s.subsynccommit AS "synchronous commit", ` + d.comment("pg_subscription", "s.oid", "0") + `
		FROM pg_subscription s WHERE s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())`
	}}
}
