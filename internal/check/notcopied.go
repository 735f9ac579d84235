package check

import (
	"context"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

const sqlInvalidIndexes = `SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_index x
	JOIN pg_catalog.pg_class c ON c.oid = x.indexrelid AND c.relkind = 'i' JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	WHERE NOT x.indisvalid AND n.nspname !~ '^pg_' AND n.nspname <> 'pgconvoy'`

// The view hides the options of a mapping from those who may not read them.
const sqlHiddenMappings = `SELECT pg_catalog.format('%s on server %I', u.usename, u.srvname) FROM pg_catalog.pg_user_mappings u
	WHERE u.umoptions IS NULL AND NOT (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user)`

const sqlSubscriptions = `SELECT s.subname::text FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid
	WHERE d.datname = pg_catalog.current_database()`

const sqlLabelProviders = `SELECT DISTINCT l.provider FROM pg_catalog.pg_seclabel l`

const sqlLibraries = `SELECT DISTINCT p.probin FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang
	WHERE l.lanname = 'c' AND p.oid >= 16384 AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
		WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')`

// checkNotCopied warns of what an archive leaves out, or takes for granted.
func checkNotCopied(ctx context.Context, p *probe) (Findings, error) {
	var found Findings
	for _, c := range []struct{ sql, noun, what, hint string }{
		{sqlInvalidIndexes, "index", "not valid and will not be copied", "on the source: REINDEX INDEX, or DROP INDEX"},
		{sqlHiddenMappings, "user mapping", "copied without the options, as role " + p.source.role() + " cannot read them",
			"connect to the source as superuser; or after the run, on the target: ALTER USER MAPPING … OPTIONS (ADD password '…')"},
		{sqlSubscriptions, "subscription", "copied disabled, and only by a superuser",
			"after the run, on the target: ALTER SUBSCRIPTION … ENABLE and REFRESH PUBLICATION; at most one of the two databases may use a slot"},
		{sqlLabelProviders, "provider", "needed on the target for the security labels of the source", "add the library of each to shared_preload_libraries of the target, or its labels are left out"},
	} {
		names, err := queryList(ctx, p.Source, c.sql)
		if err != nil {
			return nil, err
		}
		if !names.empty() {
			found = append(found, warning("not-copied", c.hint, "%s %s: %s", tasks.Plural(names.total, c.noun), c.what, names))
		}
	}
	libraries, err := newLibraries(ctx, p)
	if err == nil && !libraries.empty() {
		found = append(found, warning("not-copied", "copy the files to the target server",
			"%s needed on the target server for functions of the source: %s", tasks.Plural(libraries.total, "library file"), libraries))
	}
	return found, err
}

// newLibraries returns the libraries of C functions that the target does not
// use yet.
func newLibraries(ctx context.Context, p *probe) (list, error) {
	used, err := queryTexts(ctx, p.Source, sqlLibraries)
	if err != nil {
		return list{}, err
	}
	return queryList(ctx, p.Target, `SELECT w.name FROM pg_catalog.unnest($1::text[]) AS w (name)
		WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_proc p WHERE p.probin = w.name)`, used)
}
