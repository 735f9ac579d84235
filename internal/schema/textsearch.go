package schema

// textSearchConfigurations are configurations with what they map to what.
func textSearchConfigurations() family {
	return family{kind: "text search configuration", query: func(d dialect) string {
		return `SELECT ` + name("n", "c.cfgname") + ` AS object, ` + d.owner("c.cfgowner") + `, ` + name("pn", "p.prsname") + ` AS parser,
			(SELECT string_agg(m, '; ' ORDER BY m COLLATE "C") FROM (
				SELECT t.alias || ' with ' || string_agg(m.mapdict::regdictionary::text, ', ' ORDER BY m.mapseqno) AS m
				FROM pg_ts_config_map m JOIN ts_token_type(c.cfgparser) t ON t.tokid = m.maptokentype WHERE m.mapcfg = c.oid GROUP BY t.alias) maps) AS mappings,
			` + d.comment("pg_ts_config", "c.oid", "0") + `
		FROM pg_ts_config c JOIN pg_namespace n ON n.oid = c.cfgnamespace JOIN pg_ts_parser p ON p.oid = c.cfgparser JOIN pg_namespace pn ON pn.oid = p.prsnamespace
		WHERE ` + d.user("n") + ` AND ` + own("pg_ts_config", "c.oid")
	}}
}

// textSearchDictionaries are dictionaries with their options.
func textSearchDictionaries() family {
	return family{kind: "text search dictionary", query: func(d dialect) string {
		return `SELECT ` + name("n", "c.dictname") + ` AS object, ` + d.owner("c.dictowner") + `, ` + name("tn", "t.tmplname") + ` AS template,
			c.dictinitoption AS options, ` + d.comment("pg_ts_dict", "c.oid", "0") + `
		FROM pg_ts_dict c JOIN pg_namespace n ON n.oid = c.dictnamespace JOIN pg_ts_template t ON t.oid = c.dicttemplate JOIN pg_namespace tn ON tn.oid = t.tmplnamespace
		WHERE ` + d.user("n") + ` AND ` + own("pg_ts_dict", "c.oid")
	}}
}

// textSearchParsers are parsers with their functions.
func textSearchParsers() family {
	return family{kind: "text search parser", query: func(d dialect) string {
		return `SELECT ` + name("n", "c.prsname") + ` AS object,
			concat_ws(', ', c.prsstart::regproc, c.prstoken::regproc, c.prsend::regproc, nullif(c.prsheadline, 0)::regproc, c.prslextype::regproc) AS functions,
			` + d.comment("pg_ts_parser", "c.oid", "0") + `
		FROM pg_ts_parser c JOIN pg_namespace n ON n.oid = c.prsnamespace WHERE ` + d.user("n") + ` AND ` + own("pg_ts_parser", "c.oid")
	}}
}

// textSearchTemplates are templates with their functions.
func textSearchTemplates() family {
	return family{kind: "text search template", query: func(d dialect) string {
		return `SELECT ` + name("n", "c.tmplname") + ` AS object,
			concat_ws(', ', nullif(c.tmplinit, 0)::regproc, c.tmpllexize::regproc) AS functions, ` + d.comment("pg_ts_template", "c.oid", "0") + `
		FROM pg_ts_template c JOIN pg_namespace n ON n.oid = c.tmplnamespace WHERE ` + d.user("n") + ` AND ` + own("pg_ts_template", "c.oid")
	}}
}
