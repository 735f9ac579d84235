-- What only a superuser can create. Needs sql/objects.sql before it.
SELECT o.label || ' (language ' || l.lanname || ')' FROM object o JOIN pg_catalog.pg_proc p ON p.oid = o.oid JOIN pg_catalog.pg_language l ON l.oid = p.prolang
WHERE o.class = 'pg_catalog.pg_proc'::regclass AND NOT (o.member OR o.system OR o.ledger) AND NOT l.lanpltrusted AND p.prokind <> 'a'
UNION ALL
SELECT o.label || ' (LEAKPROOF)' FROM object o JOIN pg_catalog.pg_proc p ON p.oid = o.oid JOIN pg_catalog.pg_language l ON l.oid = p.prolang
WHERE o.class = 'pg_catalog.pg_proc'::regclass AND NOT (o.member OR o.system OR o.ledger) AND l.lanpltrusted AND p.proleakproof
UNION ALL
SELECT o.label || ' (base type)' FROM object o JOIN pg_catalog.pg_type t ON t.oid = o.oid
WHERE o.kind = 'type' AND NOT (o.member OR o.system OR o.ledger) AND t.typtype = 'b'
UNION ALL
SELECT o.label FROM object o
WHERE o.kind IN ('event trigger', 'operator class', 'operator family', 'language', 'foreign-data wrapper') AND NOT (o.member OR o.system OR o.ledger)
UNION ALL
SELECT o.label || CASE WHEN p.puballtables THEN ' (FOR ALL TABLES)' ELSE ' (FOR TABLES IN SCHEMA)' END
FROM object o JOIN pg_catalog.pg_publication p ON p.oid = o.oid
WHERE o.kind = 'publication' AND NOT o.member AND (p.puballtables%s)
UNION ALL
SELECT 'access method ' || pg_catalog.quote_ident(a.amname) FROM pg_catalog.pg_am a
WHERE a.oid >= 16384 AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_am'::regclass AND m.objid = a.oid)
UNION ALL
SELECT 'text search parser ' || pg_catalog.quote_ident(t.prsname) FROM pg_catalog.pg_ts_parser t
WHERE t.oid >= 16384 AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_ts_parser'::regclass AND m.objid = t.oid)
UNION ALL
SELECT 'text search template ' || pg_catalog.quote_ident(t.tmplname) FROM pg_catalog.pg_ts_template t
WHERE t.oid >= 16384 AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_ts_template'::regclass AND m.objid = t.oid)
UNION ALL
SELECT 'cast (' || pg_catalog.format_type(c.castsource, NULL) || ' AS ' || pg_catalog.format_type(c.casttarget, NULL) || ')' FROM pg_catalog.pg_cast c
WHERE c.oid >= 16384 AND c.castmethod = 'b' AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_cast'::regclass AND m.objid = c.oid)
