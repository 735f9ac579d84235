package check

import (
	"context"
	"slices"
	"strings"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// sqlTablespaces lists the tablespaces that relations name. Those in the
// database's own name none.
const sqlTablespaces = `SELECT t.spcname::text FROM pg_catalog.pg_tablespace t
	WHERE EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE c.reltablespace = t.oid AND c.relkind IN ('r', 'p', 'm', 'i', 'I') AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pgconvoy') AND` + sqlChosen + `)
	ORDER BY 1`

// The database's own tablespace needs no privilege.
const sqlTargetTablespaces = `SELECT w.name, t.oid IS NOT NULL,
	coalesce(pg_catalog.has_tablespace_privilege(t.oid, 'CREATE')
		OR t.oid = (SELECT d.dattablespace FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()), false)
	FROM unnest($1::text[]) AS w (name) LEFT JOIN pg_catalog.pg_tablespace t ON t.spcname = w.name ORDER BY 1`

// checkTablespaces looks for tablespaces that the target lacks, or that the
// role may not use.
func checkTablespaces(ctx context.Context, p *probe) (Findings, error) {
	if p.Around.NoTablespaces {
		return nil, nil
	}
	used, err := queryTexts(ctx, p.Source, sqlTablespaces, p.Choice.args()...)
	if err != nil {
		return nil, err
	}
	used = renamed(used, p.Around.Tablespace)
	type space struct {
		Name        string
		Exists, May bool
	}
	spaces, err := query[space](ctx, p.Target, sqlTargetTablespaces, used)
	if err != nil {
		return nil, err
	}
	var missing, closed list
	for _, s := range spaces {
		switch {
		case !s.Exists:
			missing.add(quoteIdent(s.Name))
		case !s.May:
			closed.add(quoteIdent(s.Name))
		}
	}
	var found Findings
	if !missing.empty() {
		found = append(found, blocker("tablespaces", "on the target, each in an empty folder that the server's user owns:\n"+missing.each("CREATE TABLESPACE %s LOCATION '…';")+
			"\nor name others with tablespace_map, or leave them out with no_tablespaces: true",
			"the target server lacks %s that the source uses: %s", tasks.Plural(missing.total, "tablespace"), missing))
	}
	if !closed.empty() {
		found = append(found, blocker("target-privileges", "on the target:\n"+closed.each("GRANT CREATE ON TABLESPACE %s TO "+strings.ReplaceAll(p.target.role(), "%", "%%")+";"),
			"role %s may not use %s of the target: %s", p.target.role(), tasks.Plural(closed.total, "tablespace"), closed))
	}
	return found, nil
}

// renamed returns the distinct names on the target of names on the source, in order.
func renamed(names []string, on func(string) string) []string {
	others := make([]string, len(names))
	for i, name := range names {
		others[i] = on(name)
	}
	slices.Sort(others)
	return slices.Compact(others)
}
