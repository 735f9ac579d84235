package check

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// sqlExtensions lists what is installed. An archive does not mention those that
// came with initdb (plpgsql).
const sqlExtensions = `SELECT e.extname::text, e.extversion, n.nspname::text, e.oid < 16384
	FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace ORDER BY 1`

type extension struct {
	Name, Version, Schema string
	Initdb                bool
}

// sqlAvailable says of each wanted extension what the target can do.
const sqlAvailable = `SELECT w.name, coalesce(a.default_version, ''), coalesce(e.extversion, ''), coalesce(n.nspname::text, ''),
	coalesce(v.superuser AND NOT v.trusted, false),
	coalesce((SELECT pg_catalog.array_agg(x.version ORDER BY x.version) FROM pg_catalog.pg_available_extension_versions x WHERE x.name = w.name), '{}')
	FROM unnest($1::text[]) WITH ORDINALITY AS w (name, n)
	LEFT JOIN pg_catalog.pg_available_extensions a ON a.name = w.name
	LEFT JOIN pg_catalog.pg_available_extension_versions v ON v.name = a.name AND v.version = a.default_version
	LEFT JOIN pg_catalog.pg_extension e ON e.extname = w.name
	LEFT JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
	ORDER BY w.n`

type available struct {
	Name, Default     string // Default is "" if the target has no files of it
	Installed, Schema string // "" if it is not installed
	NeedsSuperuser    bool
	Versions          []string
}

// checkExtensions compares the extensions of the source with what the target
// has installed, or could install.
func checkExtensions(ctx context.Context, p *probe) (Findings, error) {
	wanted, err := query[extension](ctx, p.Source, sqlExtensions)
	if err != nil {
		return nil, err
	}
	without := p.Choice.Scope.LostExtensions()
	wanted = slices.DeleteFunc(wanted, func(e extension) bool { return slices.Contains(without, e.Name) })
	names := make([]string, len(wanted))
	for i, e := range wanted {
		names[i] = e.Name
	}
	offers, err := query[available](ctx, p.Target, sqlAvailable, names)
	if err != nil {
		return nil, err
	}
	found := p.pinsOfNothing(names)
	var untrusted list
	for i, w := range wanted {
		offer := offers[i]
		if p.Absent != "" && !w.Initdb {
			offer.Installed, offer.Schema = "", ""
		}
		if pin := p.Around.Versions[w.Name]; pin != "" {
			w.Version = pin
		}
		if pinned := p.pinFindings(w.Name, offer); len(pinned) > 0 {
			found = append(found, pinned...)
		} else {
			found = append(found, extensionFindings(p, w, offer)...)
		}
		if offer.Installed == "" && offer.Default != "" && offer.NeedsSuperuser && !p.target.Facts.Superuser {
			untrusted.add(w.Name)
		}
	}
	if !untrusted.empty() {
		f := p.superuserFinding("extensions", "role %s of the target may not create %s, which only a superuser can: %s",
			p.target.role(), tasks.Plural(untrusted.total, "extension"), untrusted)
		if f.Level == Blocker {
			f.Hint = "on the target, as superuser:\n" + untrusted.each("CREATE EXTENSION %s;") + "\nor connect as superuser"
		}
		found = append(found, f)
	}
	return found, nil
}

// pinsOfNothing warns of versions that are asked for of extensions that the source
// does not have: their names may be mistaken.
func (p *probe) pinsOfNothing(names []string) Findings {
	have := set(names)
	var unknown list
	for _, name := range slices.Sorted(maps.Keys(p.Around.Versions)) {
		if !have[name] {
			unknown.add(name)
		}
	}
	if unknown.empty() {
		return nil
	}
	return Findings{warning("extensions", "nothing to do, unless a name is mistaken",
		"requirements has versions of extensions that the source does not have: %s", unknown)}
}

// pinFindings refuses a target that cannot have the version that is asked for. That
// it has no files of the extension at all is extensionFindings' to say.
func (p *probe) pinFindings(name string, offer available) Findings {
	version, quoted := p.Around.Versions[name], quoteIdent(name)
	switch {
	case version == "":
	case offer.Installed != "" && offer.Installed != version:
		return Findings{blocker("extensions", fmt.Sprintf("on the target: ALTER EXTENSION %s UPDATE TO '%s'; or DROP EXTENSION %s; or mend the file of requirements", quoted, version, quoted),
			"extension %s is installed in version %s on the target; requirements asks for %s", quoted, offer.Installed, version)}
	case offer.Installed == "" && offer.Default != "" && !slices.Contains(offer.Versions, version):
		return Findings{blocker("extensions", "install its files on the target server, or mend the file of requirements",
			"the target server does not have version %s of extension %s, which requirements asks for; it has %s", version, quoted, strings.Join(offer.Versions, ", "))}
	}
	return nil
}

func extensionFindings(p *probe, w extension, offer available) Findings {
	name, schema := quoteIdent(w.Name), quoteIdent(w.Schema)
	switch {
	case offer.Installed == "" && offer.Default == "":
		return Findings{blocker("extensions",
			fmt.Sprintf("install its files on the target server (contrib modules: package postgresql-contrib, or postgresql%d-contrib), or drop it on the source: DROP EXTENSION %s", p.Target.Major(), name),
			"the target server has no extension %s, which the source uses in version %s", name, w.Version)}
	case offer.Installed == "" && w.Initdb:
		return Findings{blocker("extensions", fmt.Sprintf("on the target, in database %s: CREATE EXTENSION %s;", quoteIdent(p.target.Facts.Database), name),
			"the %s lacks extension %s, which archives take for granted", p.target.place(), name)}
	case offer.Installed != "" && offer.Schema != w.Schema:
		return Findings{blocker("extensions", fmt.Sprintf("on the target: ALTER EXTENSION %s SET SCHEMA %s; or DROP EXTENSION %s;", name, schema, name),
			"extension %s is installed in schema %s of the %s; the source has it in %s", name, quoteIdent(offer.Schema), p.target.place(), schema)}
	case offer.Installed != "" && offer.Installed != w.Version:
		return Findings{warning("extensions", fmt.Sprintf("if the application needs it, on the target: ALTER EXTENSION %s UPDATE TO '%s';", name, w.Version),
			"extension %s is installed in version %s on the target; the source has %s", name, offer.Installed, w.Version)}
	case offer.Installed == "" && !slices.Contains(offer.Versions, w.Version):
		return Findings{warning("extensions", fmt.Sprintf("if the application needs version %s, install its files on the target server", w.Version),
			"the target server does not have version %s of extension %s; version %s will be created", w.Version, name, offer.Default)}
	}
	return nil
}
