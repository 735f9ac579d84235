package run

// ofUser is the condition that objects in the schema pg_namespace n are the
// user's; $1 names the schemas that a run leaves out.
const ofUser = ` n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND n.nspname <> ALL ($1::text[]) `

// noMember is the condition that relation pg_class c belongs to no extension.
const noMember = ` NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = 'pg_catalog.pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e') `

// listSQL are the listings that are one query each.
var listSQL = map[string]string{
	"databases": `SELECT pg_catalog.quote_ident(datname) AS database, pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(datdba)) AS owner,
		pg_catalog.pg_encoding_to_char(encoding)::text AS encoding, datcollate::text AS collation,
		CASE WHEN pg_catalog.has_database_privilege(oid, 'CONNECT') THEN pg_catalog.pg_database_size(oid) END AS bytes,
		datname = pg_catalog.current_database() AS source
	FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate AND datconnlimit <> -2 AND $1::text[] IS NOT NULL ORDER BY datname`,

	"schemas": `SELECT pg_catalog.quote_ident(n.nspname) AS schema, pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(n.nspowner)) AS owner,
		pg_catalog.count(c.oid) FILTER (WHERE c.relkind IN ('r', 'p')) AS tables, pg_catalog.count(c.oid) FILTER (WHERE c.relkind IN ('v', 'm')) AS views,
		coalesce(pg_catalog.sum(pg_catalog.pg_table_size(c.oid)) FILTER (WHERE c.relkind = 'r'), 0)::int8 AS bytes
	FROM pg_catalog.pg_namespace n LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relpersistence <> 't' AND ` + noMember + `
	WHERE` + ofUser + `GROUP BY n.oid, n.nspname, n.nspowner ORDER BY n.nspname`,

	// A value that was never given out, or that the role may not read, is not known here.
	"sequences": `SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS sequence, pg_catalog.format_type(s.seqtypid, NULL) AS type,
		CASE WHEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT, USAGE') THEN pg_catalog.pg_sequence_last_value(c.oid) END AS "last value", s.seqincrement AS increment,
		(SELECT pg_catalog.format('%I.%I.%I', tn.nspname, t.relname, a.attname) FROM pg_catalog.pg_depend o
			JOIN pg_catalog.pg_class t ON t.oid = o.refobjid JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
			JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = o.refobjsubid
			WHERE o.classid = 'pg_catalog.pg_class'::regclass AND o.objid = c.oid AND o.refclassid = 'pg_catalog.pg_class'::regclass AND o.deptype IN ('a', 'i')) AS "owned by"
	FROM pg_catalog.pg_sequence s JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	WHERE c.relpersistence <> 't' AND ` + noMember + ` AND ` + ofUser + `ORDER BY n.nspname, c.relname`,

	"extensions": `SELECT pg_catalog.quote_ident(x.extname) AS extension, x.extversion AS version, pg_catalog.quote_ident(n.nspname) AS schema,
		coalesce(pg_catalog.array_length(x.extconfig, 1), 0)::int8 AS "configuration tables"
	FROM pg_catalog.pg_extension x JOIN pg_catalog.pg_namespace n ON n.oid = x.extnamespace WHERE $1::text[] IS NOT NULL ORDER BY x.extname`,

	// The servers do not record what the first superuser, whose oid is 10, owns.
	"roles": `SELECT pg_catalog.quote_ident(r.rolname) AS role, r.rolsuper AS superuser, r.rolcanlogin AS login,
		CASE r.oid WHEN 10 THEN (SELECT pg_catalog.count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
			WHERE c.relowner = r.oid AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND` + ofUser + `) ELSE pg_catalog.count(d.*) FILTER (WHERE d.deptype = 'o') END AS owns,
		pg_catalog.count(d.*) FILTER (WHERE d.deptype <> 'o') AS "named by"
	FROM pg_catalog.pg_roles r LEFT JOIN pg_catalog.pg_shdepend d ON d.refclassid = 'pg_catalog.pg_authid'::regclass AND d.refobjid = r.oid
		AND d.dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
	GROUP BY r.oid, r.rolname, r.rolsuper, r.rolcanlogin HAVING r.oid = 10 OR pg_catalog.count(d.*) > 0 ORDER BY r.rolname`,

	"large-objects": `SELECT pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(lomowner)) AS owner, pg_catalog.count(*) AS objects,
		pg_catalog.min(oid)::text AS "lowest oid", pg_catalog.max(oid)::text AS "highest oid"
	FROM pg_catalog.pg_largeobject_metadata WHERE $1::text[] IS NOT NULL GROUP BY lomowner ORDER BY 1`,

	"dependencies": `WITH relation AS (SELECT c.oid, pg_catalog.format('%I.%I', n.nspname, c.relname) AS name
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND c.relpersistence <> 't' AND ` + noMember + ` AND ` + ofUser + `)
	SELECT DISTINCT o.name AS object, x.how, r.name AS "depends on" FROM (
		SELECT k.conrelid AS id, 'foreign key ' || pg_catalog.quote_ident(k.conname) AS how, k.confrelid AS on_id
		FROM pg_catalog.pg_constraint k WHERE k.contype = 'f' AND k.conparentid = 0
		UNION ALL SELECT i.inhrelid, CASE WHEN c.relispartition THEN 'partition' ELSE 'inherits' END, i.inhparent
		FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
		UNION ALL SELECT w.ev_class, CASE w.rulename WHEN '_RETURN' THEN 'query' ELSE 'rule ' || pg_catalog.quote_ident(w.rulename) END, d.refobjid
		FROM pg_catalog.pg_rewrite w JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = w.oid
			AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid <> w.ev_class
		UNION ALL SELECT a.adrelid, 'default', d.refobjid
		FROM pg_catalog.pg_attrdef a JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_attrdef'::regclass AND d.objid = a.oid
			AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid <> a.adrelid
		UNION ALL SELECT p.polrelid, 'policy ' || pg_catalog.quote_ident(p.polname), d.refobjid
		FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_policy'::regclass AND d.objid = p.oid
			AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid <> p.polrelid
		UNION ALL SELECT d.objid, 'owned by', d.refobjid FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_sequence s ON s.seqrelid = d.objid
		WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.deptype IN ('a', 'i')
	) x JOIN relation o ON o.oid = x.id JOIN relation r ON r.oid = x.on_id ORDER BY 1, 3, 2`,
}
