package check

import (
	"context"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// sqlAccessMethods lists the access methods in use that came with the source's
// server; those of extensions and of users come with the archive.
const sqlAccessMethods = `SELECT a.amname::text FROM pg_catalog.pg_am a
	WHERE a.oid < 16384 AND EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relam = a.oid AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pgconvoy') AND` + sqlChosen + `)
	ORDER BY 1`

// sqlMissingAccessMethods lists those that the target lacks.
const sqlMissingAccessMethods = `SELECT w.name FROM unnest($1::text[]) AS w (name)
	WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_am a WHERE a.amname = w.name)`

// checkAccessMethods looks for table and index access methods that a server of
// another make brought along.
func checkAccessMethods(ctx context.Context, p *probe) (Findings, error) {
	used, err := queryTexts(ctx, p.Source, sqlAccessMethods, p.Choice.args()...)
	if err != nil {
		return nil, err
	}
	missing, err := queryList(ctx, p.Target, sqlMissingAccessMethods, used)
	if err != nil || missing.empty() {
		return nil, err
	}
	return Findings{blocker("access-methods", "copy into a server of the source's make; or on the source, move to a common one: ALTER TABLE … SET ACCESS METHOD heap, CREATE INDEX … USING btree",
		"the target server lacks %s that the source uses: %s", tasks.Plural(missing.total, "access method"), missing)}, nil
}
