-- Every role that an archive names: what it is needed for, and for example where. Needs sql/objects.sql before it.
-- $1 says whether the copies get owners, $2 whether they get privileges.
, needed (role, owns, label) AS (
	SELECT o.owner, true, o.label FROM object o
	WHERE $1 AND NOT (o.member OR o.system OR o.ledger) AND o.kind <> 'column'
	UNION ALL
	-- Also of extensions and the system: an archive has the privileges that were changed there.
	-- Whoever has granted some must be a role that the session can be, too.
	SELECT a.role, a.grants, CASE WHEN a.grants THEN 'grants on ' ELSE '' END || o.label
	FROM object o, pg_catalog.aclexplode(o.acl) x, LATERAL (VALUES (x.grantee, false), (x.grantor, x.grantor <> o.owner AND NOT (o.member OR o.system))) AS a (role, grants)
	WHERE $2 AND o.acl IS NOT NULL AND NOT o.ledger AND a.role <> 0 AND (a.role <> o.owner OR NOT $1 AND NOT (o.member OR o.system))
	UNION ALL
	SELECT d.defaclrole, true, 'default privileges' FROM pg_catalog.pg_default_acl d WHERE $2
	UNION ALL
	SELECT x.grantee, false, 'default privileges' FROM pg_catalog.pg_default_acl d, pg_catalog.aclexplode(d.defaclacl) x
	WHERE $2 AND x.grantee NOT IN (0, d.defaclrole)
	UNION ALL
	SELECT r.role, false, pg_catalog.format('policy %I of %s', p.polname, p.polrelid::regclass)
	FROM pg_catalog.pg_policy p, pg_catalog.unnest(p.polroles) AS r (role) WHERE r.role <> 0
	UNION ALL
	SELECT u.umuser, false, pg_catalog.format('user mapping for server %I', u.srvname) FROM pg_catalog.pg_user_mappings u WHERE u.umuser <> 0
)
SELECT n.role, coalesce(r.rolname::text, ''), pg_catalog.bool_or(n.owns), pg_catalog.min(n.label), pg_catalog.count(*)::int8
FROM needed n LEFT JOIN pg_catalog.pg_roles r ON r.oid = n.role
WHERE r.rolname IS DISTINCT FROM 'pg_database_owner'
GROUP BY n.role, r.rolname ORDER BY r.rolname, n.role
