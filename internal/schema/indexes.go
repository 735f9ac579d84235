package schema

// indexes are those of tables and materialized views. A copy leaves out invalid
// ones, as pg_dump does: they are what a failed CREATE INDEX CONCURRENTLY leaves.
// On a partitioned table invalid means that partitions have none attached.
func indexes() family {
	return family{kind: "index", owns: true, query: func(d dialect) string {
		return `SELECT ` + name("n", "i.relname") + ` AS object, ` + name("n", "c.relname") + ` AS of,
			(NOT x.indisvalid AND i.relkind = 'i')::text AS dispensable, pg_get_indexdef(x.indexrelid) AS definition, ` + d.tablespace("ts.spcname") + `,
			x.indisvalid::text AS valid, x.indisclustered::text AS clustered, x.indisreplident::text AS "replica identity",
			(SELECT ` + name("pn", "p.relname") + ` FROM pg_inherits h JOIN pg_class p ON p.oid = h.inhparent JOIN pg_namespace pn ON pn.oid = p.relnamespace
				WHERE h.inhrelid = x.indexrelid) AS "attached to", ` + partitionOf + `,
			(SELECT string_agg(a.attnum || ': ' || a.attstattarget, ', ' ORDER BY a.attnum) FROM pg_attribute a
				WHERE a.attrelid = x.indexrelid AND a.attstattarget >= 0) AS "statistics targets",
			` + dependsOn("pg_class", "x.indexrelid") + `, ` + d.comment("pg_class", "x.indexrelid", "0") + `
		FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class c ON c.oid = x.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		LEFT JOIN pg_tablespace ts ON ts.oid = i.reltablespace
		WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't' AND ` + d.user("n") + ` AND ` + own("pg_class", "c.oid")
	}}
}

// constraints are those of tables and domains, but for constraint triggers, which
// are triggers. What partitions have of a foreign key is made in other ways by
// other versions. NOT NULL is a constraint of its own in domains since 17 and in
// tables since 18; it is a property of the column in all versions.
func constraints() family {
	return family{kind: "constraint", query: func(d dialect) string {
		kinds := "'c', 'p', 'u', 'x', 'f'"
		if d.both(notNull) {
			kinds += ", 'n'"
		}
		return `SELECT quote_ident(k.conname) || ' on ' || coalesce(` + name("n", "c.relname") + `, ` + name("tn", "t.typname") + `) AS object,
			coalesce(` + name("n", "c.relname") + `, ` + name("tn", "t.typname") + `) AS of,
			pg_get_constraintdef(k.oid) AS definition, k.convalidated::text AS validated, ` + d.since(18, "k.conenforced::text", "'true'") + ` AS enforced,
			CASE WHEN k.coninhcount > 0 THEN k.coninhcount || ' parents' || CASE WHEN k.conislocal THEN ', and its own' ELSE '' END END AS inherited,
			CASE WHEN k.conindid <> 0 THEN k.conindid::regclass::text END AS index, ` + partitionOf + `,
			CASE WHEN k.contype = 'f' AND k.convalidated THEN k.confrelid END::text AS "refers to", (c.relkind = 'p')::text AS "of partitions", ` + d.comment("pg_constraint", "k.oid", "0") + `
		FROM pg_constraint k LEFT JOIN pg_class c ON c.oid = k.conrelid LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
		LEFT JOIN pg_type t ON t.oid = k.contypid LEFT JOIN pg_namespace tn ON tn.oid = t.typnamespace
		WHERE k.contype IN (` + kinds + `) AND (k.contype <> 'f' OR k.conparentid = 0)
		AND (` + d.user("n") + ` AND c.relpersistence <> 't' AND ` + own("pg_class", "c.oid") + ` OR ` + d.user("tn") + ` AND ` + own("pg_type", "t.oid") + `)`
	}}
}

// statistics are extended statistics.
func statistics() family {
	return family{kind: "statistics object", query: func(d dialect) string {
		return `SELECT ` + name("n", "s.stxname") + ` AS object, ` + name("cn", "c.relname") + ` AS of, ` + d.owner("s.stxowner") + `,
			pg_get_statisticsobjdef(s.oid) AS definition, nullif(s.stxstattarget, -1)::text AS "statistics target", ` + d.comment("pg_statistic_ext", "s.oid", "0") + `
		FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace
		JOIN pg_class c ON c.oid = s.stxrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace
		WHERE ` + d.user("n") + ` AND ` + own("pg_statistic_ext", "s.oid")
	}}
}

// sequences are all of them, those of identity columns, too. Their values are
// compared apart.
func sequences() family {
	return family{kind: "sequence", owns: true, query: func(d dialect) string {
		return `SELECT ` + name("n", "c.relname") + ` AS object, ` + d.owner("c.relowner") + `,
			CASE c.relpersistence WHEN 'u' THEN 'unlogged' ELSE 'logged' END AS persistence, format_type(s.seqtypid, NULL) AS type,
			s.seqstart::text AS start, s.seqincrement::text AS increment, s.seqmin::text AS minimum, s.seqmax::text AS maximum,
			s.seqcache::text AS cache, s.seqcycle::text AS cycle,
			(SELECT CASE o.deptype WHEN 'i' THEN 'identity of ' ELSE '' END || ` + name("tn", "t.relname") + ` || '.' || quote_ident(a.attname)
				FROM pg_depend o JOIN pg_class t ON t.oid = o.refobjid JOIN pg_namespace tn ON tn.oid = t.relnamespace
				JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = o.refobjsubid
				WHERE o.classid = 'pg_class'::regclass AND o.objid = c.oid AND o.refclassid = 'pg_class'::regclass AND o.deptype IN ('a', 'i')) AS "owned by",
			(SELECT 'pg_class'::regclass::oid || ' ' || o.refobjid FROM pg_depend o WHERE o.classid = 'pg_class'::regclass AND o.objid = c.oid
				AND o.refclassid = 'pg_class'::regclass AND o.deptype IN ('a', 'i')) AS "from",
			` + d.privileges("c.relacl", "s", "c.relowner") + `, ` + d.comment("pg_class", "c.oid", "0") + `
		FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relpersistence <> 't' AND ` + d.user("n") + ` AND ` + own("pg_class", "c.oid")
	}}
}
