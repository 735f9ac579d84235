package schema

// foreignDataWrappers are wrappers with their options.
func foreignDataWrappers() family {
	return family{kind: "foreign-data wrapper", query: func(d dialect) string {
		return `SELECT quote_ident(w.fdwname) AS object, ` + d.owner("w.fdwowner") + `, nullif(w.fdwhandler, 0)::regproc::text AS handler,
			nullif(w.fdwvalidator, 0)::regproc::text AS validator, ` + options("w.fdwoptions") + ` AS options,
			` + d.privileges("w.fdwacl", "F", "w.fdwowner") + `, ` + d.comment("pg_foreign_data_wrapper", "w.oid", "0") + `
		FROM pg_foreign_data_wrapper w WHERE ` + own("pg_foreign_data_wrapper", "w.oid")
	}}
}

// foreignServers are servers with their options, which may be secrets of a
// wrapper that puts them there.
func foreignServers() family {
	return family{kind: "foreign server", owns: true, query: func(d dialect) string {
		return `SELECT quote_ident(s.srvname) AS object, ` + d.owner("s.srvowner") + `, quote_ident(w.fdwname) AS wrapper, s.srvtype AS type, s.srvversion AS version,
			` + options("s.srvoptions") + ` AS "secret options",
			` + d.privileges("s.srvacl", "S", "s.srvowner") + `, ` + d.comment("pg_foreign_server", "s.oid", "0") + `
		FROM pg_foreign_server s JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw WHERE ` + own("pg_foreign_server", "s.oid")
	}}
}

// userMappings are mappings with their options as far as the role may see them:
// passwords are among them.
func userMappings() family {
	return family{kind: "user mapping", query: func(d dialect) string {
		return `SELECT CASE m.umuser WHEN 0 THEN 'PUBLIC' ELSE quote_ident(` + d.role("m.usename") + `) END || ' on ' || quote_ident(m.srvname) AS object, quote_ident(m.srvname) AS of,
			` + options("m.umoptions") + ` AS "secret options", ` + addressIn("pg_user_mapping", "m.umid") + `
		FROM pg_user_mappings m WHERE ` + own("pg_user_mapping", "m.umid")
	}}
}
