-- The statements that bring default privileges back to what they are without any ALTER DEFAULT PRIVILEGES. Entries of one
-- schema only ever add; an entry for all schemas stands in place of the built-in privileges.
WITH entry AS (
	SELECT d.oid, d.defaclrole, r.rolname, n.nspname, d.defaclacl,
		CASE WHEN d.defaclnamespace = 0
			THEN pg_catalog.acldefault((CASE d.defaclobjtype WHEN 'S' THEN 's' ELSE d.defaclobjtype END)::"char", d.defaclrole)
			END AS builtin,
		CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS' WHEN 'T' THEN 'TYPES'
			WHEN 'n' THEN 'SCHEMAS' WHEN 'L' THEN 'LARGE OBJECTS' END AS kind
	FROM pg_catalog.pg_default_acl d JOIN pg_catalog.pg_roles r ON r.oid = d.defaclrole
	LEFT JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace
	WHERE n.nspname IS DISTINCT FROM 'pgconvoy'
), difference (oid, verb, preposition, grantee, privilege) AS (
	SELECT e.oid, 'REVOKE', 'FROM', a.grantee, a.privilege_type FROM entry e, pg_catalog.aclexplode(e.defaclacl) a
	WHERE NOT EXISTS (SELECT FROM pg_catalog.aclexplode(e.builtin) b WHERE b.grantee = a.grantee AND b.privilege_type = a.privilege_type)
	UNION ALL
	SELECT e.oid, 'GRANT', 'TO', b.grantee, b.privilege_type FROM entry e, pg_catalog.aclexplode(e.builtin) b
	WHERE NOT EXISTS (SELECT FROM pg_catalog.aclexplode(e.defaclacl) a WHERE a.grantee = b.grantee AND a.privilege_type = b.privilege_type)
)
SELECT pg_catalog.format('ALTER DEFAULT PRIVILEGES FOR ROLE %I%s %s %s ON %s %s %s;', e.rolname,
	CASE WHEN e.nspname IS NULL THEN '' ELSE pg_catalog.format(' IN SCHEMA %I', e.nspname) END,
	d.verb, pg_catalog.string_agg(d.privilege, ', ' ORDER BY d.privilege), e.kind, d.preposition,
	CASE WHEN d.grantee = 0 THEN 'PUBLIC' ELSE coalesce(pg_catalog.quote_ident(r.rolname), d.grantee::text) END)
FROM entry e JOIN difference d ON d.oid = e.oid LEFT JOIN pg_catalog.pg_roles r ON r.oid = d.grantee
WHERE (e.rolname = current_user) = %s
GROUP BY e.oid, e.rolname, e.nspname, e.kind, d.verb, d.preposition, d.grantee, r.rolname
