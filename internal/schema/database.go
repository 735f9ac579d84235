package schema

// schemas are those of users. To whom public belongs, and who may create there,
// changed with 15; between servers on either side of that only what is granted to
// roles by name is compared.
func schemas() family {
	return family{kind: "schema", owns: true, query: func(d dialect) string {
		owner, acl := d.ownerName("n.nspowner"), "n.nspacl"
		if d.across(publicOwner) {
			owner = "CASE n.nspname WHEN 'public' THEN 'not compared' ELSE " + owner + " END"
			acl = `CASE n.nspname WHEN 'public' THEN (SELECT array_agg(item) FROM unnest(n.nspacl) item, aclexplode(ARRAY[item]) x WHERE x.grantee NOT IN (0, n.nspowner)) ELSE n.nspacl END`
		}
		return `SELECT quote_ident(n.nspname) AS object, ` + owner + ` AS owner,
			` + d.privileges("("+acl+")", "n", "n.nspowner") + `, ` + d.comment("pg_namespace", "n.oid", "0") + `
		FROM pg_namespace n WHERE ` + d.user("n") + ` AND ` + own("pg_namespace", "n.oid")
	}}
}

// extensions stand for what they own. Between majors a version is compared unless
// it is what CREATE EXTENSION installs there, or one that is asked for.
func extensions() family {
	return family{kind: "extension", query: func(d dialect) string {
		version := "x.extversion"
		if d.major != d.other {
			version = "CASE x.extversion WHEN a.default_version THEN 'the default of the server' ELSE x.extversion END"
		}
		version = d.pinned(version)
		return `SELECT quote_ident(x.extname) AS object, ` + version + ` AS version, quote_ident(n.nspname) AS schema,
			` + d.comment("pg_extension", "x.oid", "0") + `
		FROM pg_extension x JOIN pg_namespace n ON n.oid = x.extnamespace LEFT JOIN pg_available_extensions() a ON a.name = x.extname WHERE true`
	}}
}

// eventTriggers are those of the database.
func eventTriggers() family {
	return family{kind: "event trigger", query: func(d dialect) string {
		return `SELECT quote_ident(t.evtname) AS object, ` + d.owner("t.evtowner") + `, t.evtevent::text AS event, t.evtfoid::regprocedure::text AS function,
			` + enabled("t.evtenabled") + `, (SELECT string_agg(tag, ', ' ORDER BY tag COLLATE "C") FROM unnest(t.evttags) tag) AS tags,
			` + d.comment("pg_event_trigger", "t.oid", "0") + `
		FROM pg_event_trigger t WHERE ` + own("pg_event_trigger", "t.oid")
	}}
}

// largeObjects are compared by their metadata.
func largeObjects() family {
	return family{kind: "large object", query: func(d dialect) string {
		return `SELECT o.oid::text AS object, ` + d.owner("o.lomowner") + `, ` + d.privileges("o.lomacl", "L", "o.lomowner") + `,
			` + d.comment("pg_largeobject", "o.oid", "0") + `
		FROM pg_largeobject_metadata o`
	}}
}

// securityLabels are those on anything in the database.
func securityLabels() family {
	return family{kind: "security label", query: func(d dialect) string {
		return `SELECT l.provider || ' on ' || i.type || ' ' || i.identity AS object, l.label AS label, ` + address("l.classoid", "l.objoid") + `
		FROM pg_seclabel l, pg_identify_object(l.classoid, l.objoid, l.objsubid) i WHERE l.provider <> ALL (` + array(d.expected.NoLabels) + `)`
	}}
}
