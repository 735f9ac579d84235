package check

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// sqlConfigTables lists the tables and sequences of extensions whose contents are
// the user's.
const sqlConfigTables = `SELECT e.extname::text, n.nspname::text, cn.nspname::text, c.relname::text, c.relkind = 'S'
	FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
	CROSS JOIN LATERAL unnest(e.extconfig) AS t (oid) JOIN pg_catalog.pg_class c ON c.oid = t.oid
	JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace ORDER BY 1, 3, 4`

type configTable struct {
	Extension, ExtensionSchema string
	Schema, Name               string
	Sequence                   bool
}

func (t configTable) quoted() string { return quoteIdent(t.Schema) + "." + quoteIdent(t.Name) }

// sqlMayConfigure says of each of them whether the target has it, and whether the
// session's role may write there.
// What is not there yet belongs to the role, unless the extension is trusted with a
// superuser's rights, or needs a superuser who makes it.
const sqlMayConfigure = `SELECT p.oid IS NOT NULL, CASE WHEN p.oid IS NOT NULL THEN p.may
		ELSE NOT coalesce(v.superuser, false) OR coalesce((SELECT pg_catalog.pg_has_role(r.oid, 'USAGE') FROM pg_catalog.pg_roles r WHERE r.rolname = 'pg_write_all_data'), false) END
	FROM ROWS FROM (unnest($1::text[]), unnest($2::text[]), unnest($3::text[])) WITH ORDINALITY AS w (extension, space, name, n)
	LEFT JOIN LATERAL (SELECT c.oid, CASE c.relkind WHEN 'S' THEN pg_catalog.has_sequence_privilege(c.oid, 'UPDATE') ELSE pg_catalog.has_table_privilege(c.oid, 'INSERT') END AS may
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace
		WHERE s.nspname = w.space AND c.relname = w.name AND $4 AND EXISTS (SELECT FROM pg_catalog.pg_extension e WHERE e.extname = w.extension)) p ON true
	LEFT JOIN pg_catalog.pg_available_extensions a ON a.name = w.extension
	LEFT JOIN pg_catalog.pg_available_extension_versions v ON v.name = a.name AND v.version = a.default_version
	ORDER BY w.n`

// checkExtensionTables looks whether the role may write the contents of extensions'
// tables that are copied: an extension that a superuser has made, or that the server
// makes as one for others, has tables of a superuser.
func checkExtensionTables(ctx context.Context, p *probe) (Findings, error) {
	if p.target.Facts.Superuser {
		return nil, nil
	}
	tables, err := query[configTable](ctx, p.Source, sqlConfigTables)
	if err != nil {
		return nil, err
	}
	without := p.Choice.Scope.LostExtensions()
	tables = slices.DeleteFunc(tables, func(t configTable) bool {
		return slices.Contains(without, t.Extension) || !p.Only.Has(data) && !t.Sequence || !p.Only.Has(tasks.SectionSequences) && t.Sequence
	})
	extensions, schemas, names := make([]string, len(tables)), make([]string, len(tables)), make([]string, len(tables))
	for i, t := range tables {
		extensions[i], schemas[i], names[i] = t.Extension, t.Schema, t.Name
	}
	type right struct{ There, Has bool }
	rights, err := query[right](ctx, p.Target, sqlMayConfigure, extensions, schemas, names, p.Absent == "")
	if err != nil {
		return nil, err
	}
	var closed list
	var made, grants []string // SQL
	level, last := Warning, ""
	for i, t := range tables {
		if rights[i].Has {
			continue
		}
		if rights[i].There || p.target.Facts.Delegate == "" { // or the service may make it in its own way
			level = Blocker
		}
		closed.add(t.quoted() + " of " + quoteIdent(t.Extension))
		if t.Extension != last {
			last = t.Extension
			made = append(made, fmt.Sprintf("CREATE SCHEMA IF NOT EXISTS %s;", quoteIdent(t.ExtensionSchema)),
				fmt.Sprintf("CREATE EXTENSION IF NOT EXISTS %s SCHEMA %s;", quoteIdent(t.Extension), quoteIdent(t.ExtensionSchema)))
		}
		privilege := "INSERT ON TABLE "
		if t.Sequence {
			privilege = "UPDATE ON SEQUENCE "
		}
		grants = append(grants, fmt.Sprintf("GRANT %s%s TO %s;", privilege, t.quoted(), p.target.role()))
	}
	if closed.empty() {
		return nil, nil
	}
	sql := slices.Concat(made, grants)
	hint := fmt.Sprintf("on the target, in database %s, as superuser:\n%s", quoteIdent(p.target.Facts.Database), strings.Join(sql, "\n"))
	if p.Target.Major() >= 14 {
		hint = fmt.Sprintf("on the target, for the time of the run: GRANT pg_write_all_data TO %s;\nor, in database %s, as superuser: %s",
			p.target.role(), quoteIdent(p.target.Facts.Database), strings.Join(sql, " "))
	}
	f := blocker("extension-tables", hint, "role %s of the target may not write to %s of extensions, which a superuser owns, and whose contents are copied: %s",
		p.target.role(), tasks.Plural(closed.total, "configuration table"), closed)
	f.Level = level
	return Findings{f}, nil
}
