package schema

// defaultPrivileges are those that objects will get.
func defaultPrivileges() family {
	return family{kind: "default privileges", query: func(d dialect) string {
		const kinds = `CASE a.defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions' WHEN 'T' THEN 'types' WHEN 'n' THEN 'schemas' ELSE 'large objects' END`
		return `SELECT 'of ' || quote_ident(` + d.roleOf("a.defaclrole") + `) || ' for ' || ` + kinds + ` || coalesce(' in ' || quote_ident(n.nspname), '') AS object,
			` + d.privileges("a.defaclacl", "r", "0") + `, ` + addressIn("pg_default_acl", "a.oid") + `
		FROM pg_default_acl a LEFT JOIN pg_namespace n ON n.oid = a.defaclnamespace`
	}}
}

// changedPrivileges are those that people have changed on what came with the
// server or with an extension.
func changedPrivileges() family {
	return family{kind: "changed privileges", query: func(d dialect) string {
		changed := func(catalog, id, object, acl, letter, owner, from, column string) string {
			return `SELECT ` + object + ` AS object, ` + d.privileges(acl, letter, owner) + `, ` + addressIn(catalog, id) + `
			FROM ` + from + ` LEFT JOIN pg_init_privs i ON i.classoid = '` + catalog + `'::regclass AND i.objoid = ` + column + `
			WHERE ` + acl + ` IS NOT NULL AND (SELECT array_agg(x ORDER BY x) FROM aclexplode(` + acl + `) x)
				IS DISTINCT FROM (SELECT array_agg(x ORDER BY x) FROM aclexplode(coalesce(i.initprivs, acldefault('` + letter + `', ` + owner + `))) x)`
		}
		member := func(catalog, oid string) string {
			return ` AND NOT (` + d.user("n") + ` AND ` + own(catalog, oid) + `)`
		}
		return changed("pg_class", "c.oid", `'of relation ' || `+name("n", "c.relname"), "c.relacl", "r", "c.relowner",
			"pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND c.relkind <> 'S'", "c.oid AND i.objsubid = 0") + member("pg_class", "c.oid") + ` UNION ALL ` +
			changed("pg_class", "c.oid", `'of sequence ' || `+name("n", "c.relname"), "c.relacl", "s", "c.relowner",
				"pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND c.relkind = 'S'", "c.oid AND i.objsubid = 0") + member("pg_class", "c.oid") + ` UNION ALL ` +
			changed("pg_class", "c.oid", `'of column ' || `+name("n", "c.relname")+` || '.' || quote_ident(a.attname)`, "a.attacl", "c", "c.relowner",
				"pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace", "a.attrelid AND i.objsubid = a.attnum") + member("pg_class", "c.oid") + ` UNION ALL ` +
			changed("pg_proc", "p.oid", `'of function ' || p.oid::regprocedure`, "p.proacl", "f", "p.proowner",
				"pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace", "p.oid") + member("pg_proc", "p.oid") + ` UNION ALL ` +
			changed("pg_type", "t.oid", `'of type ' || format_type(t.oid, NULL)`, "t.typacl", "T", "t.typowner",
				"pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace", "t.oid") + member("pg_type", "t.oid") + ` UNION ALL ` +
			changed("pg_language", "l.oid", `'of language ' || quote_ident(l.lanname)`, "l.lanacl", "l", "l.lanowner", "pg_language l", "l.oid") +
			` AND NOT (l.oid >= 16384 AND ` + own("pg_language", "l.oid") + `) UNION ALL ` +
			changed("pg_namespace", "n.oid", `'of schema ' || quote_ident(n.nspname)`, "n.nspacl", "n", "n.nspowner", "pg_namespace n", "n.oid") + member("pg_namespace", "n.oid")
	}}
}
