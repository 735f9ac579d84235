WITH space AS (
	SELECT n.oid, n.nspname, n.nspname ~ '^pg_' OR n.nspname = 'information_schema' AS system, n.nspname IN ($schemas) AS ledger
	FROM pg_catalog.pg_namespace n
), member AS MATERIALIZED (
	SELECT d.classid, d.objid FROM pg_catalog.pg_depend d WHERE d.deptype = 'e' AND d.objsubid = 0
), listed (kind, class, oid, space, name, owner, acl) AS (
	SELECT 'schema', 'pg_catalog.pg_namespace'::regclass::oid, n.oid, n.oid, NULL, n.nspowner, n.nspacl
	FROM pg_catalog.pg_namespace n
	UNION ALL
	SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence' WHEN 'f' THEN 'foreign table' ELSE 'table' END,
		'pg_catalog.pg_class'::regclass, c.oid, c.relnamespace, c.relname, c.relowner, c.relacl
	FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
	UNION ALL
	-- The ACL of a column; its table's line has the owner.
	SELECT 'column', 'pg_catalog.pg_class'::regclass, c.oid, c.relnamespace, c.relname, c.relowner, a.attacl
	FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
	WHERE a.attacl IS NOT NULL AND NOT a.attisdropped
	UNION ALL
	-- Row types, array types and multirange types come and go with something else.
	SELECT 'type', 'pg_catalog.pg_type'::regclass, t.oid, t.typnamespace, t.typname, t.typowner, t.typacl
	FROM pg_catalog.pg_type t LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
	WHERE (c.oid IS NULL OR c.relkind = 'c') AND t.typtype <> 'm'
		AND NOT (t.typelem <> 0 AND EXISTS (SELECT FROM pg_catalog.pg_type e WHERE e.oid = t.typelem AND e.typarray = t.oid))
	UNION ALL
	-- The constructors of range types, which belong to the bootstrap superuser, come and go with them.
	SELECT CASE p.prokind WHEN 'a' THEN 'aggregate' WHEN 'p' THEN 'procedure' ELSE 'function' END,
		'pg_catalog.pg_proc'::regclass, p.oid, p.pronamespace, p.proname, p.proowner, p.proacl
	FROM pg_catalog.pg_proc p
	WHERE NOT (p.oid >= 16384 AND EXISTS (SELECT FROM pg_catalog.pg_depend d
		WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'i' AND d.refclassid = 'pg_catalog.pg_type'::regclass))
	UNION ALL
	SELECT 'large object', 'pg_catalog.pg_largeobject'::regclass, l.oid, 0, l.oid::text, l.lomowner, l.lomacl
	FROM pg_catalog.pg_largeobject_metadata l
	UNION ALL
	SELECT 'publication', 'pg_catalog.pg_publication'::regclass, p.oid, 0, p.pubname, p.pubowner, NULL FROM pg_catalog.pg_publication p
	UNION ALL
	SELECT 'event trigger', 'pg_catalog.pg_event_trigger'::regclass, e.oid, 0, e.evtname, e.evtowner, NULL FROM pg_catalog.pg_event_trigger e
	UNION ALL
	SELECT 'operator', 'pg_catalog.pg_operator'::regclass, o.oid, o.oprnamespace, o.oprname, o.oprowner, NULL FROM pg_catalog.pg_operator o
	UNION ALL
	SELECT 'operator class', 'pg_catalog.pg_opclass'::regclass, o.oid, o.opcnamespace, o.opcname, o.opcowner, NULL FROM pg_catalog.pg_opclass o
	UNION ALL
	SELECT 'operator family', 'pg_catalog.pg_opfamily'::regclass, o.oid, o.opfnamespace, o.opfname, o.opfowner, NULL FROM pg_catalog.pg_opfamily o
	UNION ALL
	SELECT 'collation', 'pg_catalog.pg_collation'::regclass, c.oid, c.collnamespace, c.collname, c.collowner, NULL FROM pg_catalog.pg_collation c
	UNION ALL
	SELECT 'conversion', 'pg_catalog.pg_conversion'::regclass, c.oid, c.connamespace, c.conname, c.conowner, NULL FROM pg_catalog.pg_conversion c
	UNION ALL
	SELECT 'statistics', 'pg_catalog.pg_statistic_ext'::regclass, s.oid, s.stxnamespace, s.stxname, s.stxowner, NULL FROM pg_catalog.pg_statistic_ext s
	UNION ALL
	SELECT 'text search configuration', 'pg_catalog.pg_ts_config'::regclass, c.oid, c.cfgnamespace, c.cfgname, c.cfgowner, NULL FROM pg_catalog.pg_ts_config c
	UNION ALL
	SELECT 'text search dictionary', 'pg_catalog.pg_ts_dict'::regclass, d.oid, d.dictnamespace, d.dictname, d.dictowner, NULL FROM pg_catalog.pg_ts_dict d
	UNION ALL
	SELECT 'language', 'pg_catalog.pg_language'::regclass, l.oid, 0, l.lanname, l.lanowner, l.lanacl FROM pg_catalog.pg_language l
	UNION ALL
	SELECT 'foreign-data wrapper', 'pg_catalog.pg_foreign_data_wrapper'::regclass, f.oid, 0, f.fdwname, f.fdwowner, f.fdwacl FROM pg_catalog.pg_foreign_data_wrapper f
	UNION ALL
	SELECT 'server', 'pg_catalog.pg_foreign_server'::regclass, s.oid, 0, s.srvname, s.srvowner, s.srvacl FROM pg_catalog.pg_foreign_server s
), object AS (
	SELECT l.kind, l.class, l.oid, l.space, l.owner, l.acl,
		l.kind || ' ' || pg_catalog.concat_ws('.', pg_catalog.quote_ident(s.nspname), CASE l.kind WHEN 'large object' THEN l.name ELSE pg_catalog.quote_ident(l.name) END) AS label,
		m.objid IS NOT NULL AS member,
		CASE WHEN l.space <> 0 THEN s.system ELSE l.kind <> 'large object' AND l.oid < 16384 END AS system,
		coalesce(s.ledger, false) OR l.class = 'pg_catalog.pg_class'::regclass AND l.oid = ANY ('{$relations}'::oid[]) AS ledger
	FROM listed l LEFT JOIN space s ON s.oid = l.space LEFT JOIN member m ON m.classid = l.class AND m.objid = l.oid
)
