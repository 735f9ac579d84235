package schema

// relations are tables of all kinds and views.
func relations() family {
	return family{kind: "relation", owns: true, deparsed: []string{"query"}, query: func(d dialect) string {
		return `SELECT ` + name("n", "c.relname") + ` AS object,
			CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'f' THEN 'foreign table' WHEN 'v' THEN 'view' ELSE 'materialized view' END AS kind,
			` + d.owner("c.relowner") + `,
			CASE c.relpersistence WHEN 'u' THEN 'unlogged' ELSE 'logged' END AS persistence,
			am.amname::text AS "access method", ` + d.tablespace("ts.spcname") + `,
			CASE c.relkind WHEN 'p' THEN pg_get_partkeydef(c.oid) END AS "partition key",
			(SELECT string_agg(` + name("pn", "p.relname") + `, ', ' ORDER BY h.inhseqno) FROM pg_inherits h JOIN pg_class p ON p.oid = h.inhparent
				JOIN pg_namespace pn ON pn.oid = p.relnamespace WHERE h.inhrelid = c.oid) AS "parents", ` + partitionOf + `,
			CASE WHEN c.relispartition THEN pg_get_expr(c.relpartbound, c.oid) END AS "partition bound",
			CASE WHEN c.reloftype <> 0 THEN format_type(c.reloftype, NULL) END AS "of type",
			` + options("c.reloptions") + ` AS options, ` + options("t.reloptions") + ` AS "TOAST options",
			c.relrowsecurity::text AS "row security", c.relforcerowsecurity::text AS "forced row security",
			CASE c.relreplident WHEN 'n' THEN 'nothing' WHEN 'f' THEN 'full' WHEN 'i' THEN 'index' ELSE 'default' END AS "replica identity",
			CASE c.relkind WHEN 'm' THEN c.relispopulated::text END AS populated,
			CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END AS query,
			quote_ident(s.srvname) AS server, ` + options("ft.ftoptions") + ` AS "foreign options",
			` + d.privileges("c.relacl", "r", "c.relowner") + `, ` + d.comment("pg_class", "c.oid", "0") + `
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_am am ON am.oid = c.relam
		LEFT JOIN pg_tablespace ts ON ts.oid = c.reltablespace LEFT JOIN pg_class t ON t.oid = c.reltoastrelid
		LEFT JOIN pg_foreign_table ft ON ft.ftrelid = c.oid LEFT JOIN pg_foreign_server s ON s.oid = ft.ftserver
		WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm') AND c.relpersistence <> 't' AND ` + d.user("n") + ` AND ` + own("pg_class", "c.oid")
	}}
}

// columns are those of relations, and the attributes of composite types. What a
// column has from its type is not repeated. The columns that a table inherits are
// in the order of its parents wherever pg_dump made it, and before its own.
func columns() family {
	return family{kind: "column", query: func(d dialect) string {
		return `SELECT ` + name("n", "c.relname") + ` || '.' || quote_ident(a.attname) AS object, ` + name("n", "c.relname") + ` AS of,
			CASE WHEN c.relkind = 'c' THEN 'attribute' ELSE 'column' END AS kind,
			CASE WHEN a.attinhcount = 0 OR c.relispartition THEN quote_ident(lag(a.attname) OVER (PARTITION BY a.attrelid, a.attinhcount > 0 ORDER BY a.attnum)) END AS after,
			format_type(a.atttypid, a.atttypmod) AS type,
			CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text END AS collation,
			a.attnotnull::text AS "not null",
			CASE a.attgenerated WHEN '' THEN pg_get_expr(def.adbin, def.adrelid) END AS "default",
			CASE a.attgenerated WHEN '' THEN NULL ELSE pg_get_expr(def.adbin, def.adrelid) || CASE a.attgenerated WHEN 's' THEN ' STORED' ELSE ' VIRTUAL' END END AS generated,
			CASE a.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'by default' END AS identity,
			CASE WHEN a.attstorage <> t.typstorage THEN CASE a.attstorage WHEN 'p' THEN 'plain' WHEN 'e' THEN 'external' WHEN 'm' THEN 'main' ELSE 'extended' END END AS storage,
			` + d.since(14, `CASE a.attcompression WHEN 'p' THEN 'pglz' WHEN 'l' THEN 'lz4' END`, "NULL") + ` AS compression,
			nullif(a.attstattarget, -1)::text AS "statistics target",
			` + options("a.attoptions") + ` AS options, ` + options("a.attfdwoptions") + ` AS "foreign options",
			CASE WHEN a.attinhcount > 0 THEN a.attinhcount || ' parents' || CASE WHEN a.attislocal THEN ', and its own' ELSE '' END END AS inherited, ` + partitionOf + `,
			` + d.privileges("a.attacl", "c", "c.relowner") + `, ` + d.comment("pg_class", "c.oid", "a.attnum") + `
		FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_type t ON t.oid = a.atttypid
		LEFT JOIN pg_attrdef def ON def.adrelid = a.attrelid AND def.adnum = a.attnum
		WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'f', 'v', 'm', 'c') AND c.relpersistence <> 't'
		AND ` + d.user("n") + ` AND ` + own("pg_class", "c.oid") + ` AND (c.relkind <> 'c' OR ` + own("pg_type", "c.reltype") + `)`
	}}
}

// rules are those on tables; the rule that makes a view is its query.
func rules() family {
	return family{kind: "rule", deparsed: []string{"definition"}, query: func(d dialect) string {
		return `SELECT quote_ident(r.rulename) || ' on ' || ` + name("n", "c.relname") + ` AS object, ` + name("n", "c.relname") + ` AS of,
			pg_get_ruledef(r.oid) AS definition, ` + enabled("r.ev_enabled") + `, ` + d.comment("pg_rewrite", "r.oid", "0") + `
		FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE r.rulename <> '_RETURN' AND ` + d.user("n") + ` AND ` + own("pg_class", "c.oid")
	}}
}

// enabled says when a trigger or a rule fires.
func enabled(column string) string {
	return `CASE ` + column + ` WHEN 'O' THEN 'yes' WHEN 'D' THEN 'no' WHEN 'R' THEN 'on replicas' ELSE 'always' END AS enabled`
}

// triggers are those that people make. Of their clones on partitions, only when
// they fire is their own, and before 15 they count as internal ones.
func triggers() family {
	return family{kind: "trigger", query: func(d dialect) string {
		return `SELECT quote_ident(t.tgname) || ' on ' || ` + name("n", "c.relname") + ` AS object, ` + name("n", "c.relname") + ` AS of,
			CASE t.tgparentid WHEN 0 THEN pg_get_triggerdef(t.oid) ELSE 'that of its parent' END AS definition, ` + enabled("t.tgenabled") + `,
			(SELECT 'pg_class'::regclass::oid || ' ' || pt.tgrelid FROM pg_trigger pt WHERE pt.oid = t.tgparentid) AS needs,
			` + dependsOn("pg_trigger", "t.oid") + `, ` + d.comment("pg_trigger", "t.oid", "0") + `
		FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		LEFT JOIN pg_constraint k ON k.oid = t.tgconstraint
		WHERE (NOT t.tgisinternal OR t.tgparentid <> 0 AND coalesce(k.contype, 't') = 't') AND ` + d.user("n") + ` AND ` + own("pg_class", "c.oid")
	}}
}

// policies are those of row security.
func policies() family {
	return family{kind: "policy", deparsed: []string{"using", "with check"}, query: func(d dialect) string {
		return `SELECT quote_ident(p.polname) || ' on ' || ` + name("n", "c.relname") + ` AS object, ` + name("n", "c.relname") + ` AS of,
			CASE WHEN p.polpermissive THEN 'yes' ELSE 'no' END AS permissive,
			CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END AS command,
			(SELECT string_agg(r, ', ' ORDER BY r COLLATE "C") FROM (SELECT DISTINCT CASE role WHEN 0 THEN 'PUBLIC' ELSE quote_ident(` + d.roleOf("role") + `) END AS r
				FROM unnest(p.polroles) role) names) AS roles,
			pg_get_expr(p.polqual, p.polrelid) AS using, pg_get_expr(p.polwithcheck, p.polrelid) AS "with check", ` + d.comment("pg_policy", "p.oid", "0") + `
		FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE ` + d.user("n") + ` AND ` + own("pg_class", "c.oid")
	}}
}
