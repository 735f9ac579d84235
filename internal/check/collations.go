package check

import (
	"context"
	"fmt"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// sqlUsedCollations lists collations of the system schema that objects depend
// on by name. Those which every server has are pinned, so nothing depends on
// them in the catalog.
const sqlUsedCollations = `SELECT DISTINCT c.collname::text FROM pg_catalog.pg_depend d
	JOIN pg_catalog.pg_collation c ON c.oid = d.refobjid JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
	WHERE d.refclassid = 'pg_catalog.pg_collation'::regclass AND n.nspname = 'pg_catalog' AND d.classid <> 'pg_catalog.pg_collation'::regclass
	ORDER BY 1`

const sqlMissingCollations = `SELECT w.name FROM unnest($1::text[]) AS w (name)
	WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_collation c JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
		WHERE c.collname = w.name AND n.nspname = 'pg_catalog'
		AND c.collencoding IN (-1, (SELECT d.encoding FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())))`

// sqlOwnCollations lists the locales of the source's own collations.
const sqlOwnCollations = `SELECT pg_catalog.format('%%I.%%I', n.nspname, c.collname), c.collprovider::text, coalesce(c.collcollate::text, %s)
	FROM pg_catalog.pg_collation c JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
	WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pgconvoy') ORDER BY 1`

// sqlTargetLocales yields whether the target knows ICU, and the libc locales
// that its system schema has collations for.
const sqlTargetLocales = `SELECT coalesce(pg_catalog.bool_or(c.collprovider = 'i'), false),
	coalesce(pg_catalog.array_agg(DISTINCT c.collcollate::text) FILTER (WHERE c.collprovider = 'c'), '{}') FROM pg_catalog.pg_collation c`

// checkCollations looks for collations that the target's operating system or
// ICU does not have.
func checkCollations(ctx context.Context, p *probe) (Findings, error) {
	var found Findings
	used, err := queryTexts(ctx, p.Source, sqlUsedCollations)
	if err != nil {
		return nil, err
	}
	missing, err := queryList(ctx, p.Target, sqlMissingCollations, used)
	if err != nil {
		return nil, err
	}
	if !missing.empty() {
		found = append(found, blocker("collations",
			"install the locale on the target's operating system (Debian: package locales-all, or locale-gen), then there, as superuser: SELECT pg_import_system_collations('pg_catalog');",
			"the target database lacks %s that the source uses: %s", tasks.Plural(missing.total, "collation"), missing))
	}
	own, err := ownCollations(ctx, p)
	return append(found, own...), err
}

func ownCollations(ctx context.Context, p *probe) (Findings, error) {
	name := "''"
	switch {
	case p.Source.Major() >= 17:
		name = "c.colllocale"
	case p.Source.Major() >= 15:
		name = "c.colliculocale"
	}
	type collation struct{ Label, Provider, Locale string }
	collations, err := query[collation](ctx, p.Source, fmt.Sprintf(sqlOwnCollations, name))
	if err != nil || len(collations) == 0 {
		return nil, err
	}
	var icu bool
	var libc []string
	if err := queryRow(ctx, p.Target, sqlTargetLocales, &icu, &libc); err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, l := range libc {
		known[plainLocale(l)] = true
	}
	var noICU, unknown list
	for _, c := range collations {
		switch {
		case c.Provider == "i" && !icu:
			noICU.add(c.Label)
		case c.Provider == "c" && !known[plainLocale(c.Locale)]:
			unknown.add(fmt.Sprintf("%s (%s)", c.Label, c.Locale))
		}
	}
	var found Findings
	if !noICU.empty() {
		found = append(found, blocker("collations", "copy into a server that was built with ICU",
			"the target server has no ICU collations, which %s of the source need: %s", tasks.Plural(noICU.total, "collation"), noICU))
	}
	if !unknown.empty() {
		found = append(found, blocker("collations",
			"install the locales on the target's operating system (Debian: package locales-all, or locale-gen), then there, as superuser: SELECT pg_import_system_collations('pg_catalog');",
			"the target server does not know the locale of %s of the source: %s", tasks.Plural(unknown.total, "collation"), unknown))
	}
	return found, nil
}
