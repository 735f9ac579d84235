package pgtest

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// fact is a query for what pg_dump -s does not show, or shows only if it is not
// the default. It returns the name of an object and a text of its properties; $1
// is the list of schemas to leave out.
type fact struct{ kind, sql string }

// userSchemas is the condition on pg_namespace n for objects of users.
const userSchemas = ` n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND n.nspname <> ALL ($1::text[]) `

// copiedIndex is false for pg_class c if it is an invalid index, which is what a
// failed CREATE INDEX CONCURRENTLY leaves: pg_dump passes it over. On a
// partitioned table (relkind I) invalid means that leaves have none attached.
const copiedIndex = ` NOT EXISTS (SELECT FROM pg_index x WHERE x.indexrelid = c.oid AND NOT x.indisvalid AND c.relkind = 'i') `

var facts = []fact{
	{"relation", `
SELECT c.oid::regclass::text,
       concat_ws(' ', c.relkind, 'persistence', c.relpersistence, 'replident', c.relreplident,
                 'rls', c.relrowsecurity, c.relforcerowsecurity, 'populated', c.relispopulated,
                 'tablespace', coalesce(ts.spcname, '-'), 'owner', pg_get_userbyid(c.relowner),
                 'options', c.reloptions::text, 'am', am.amname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     LEFT JOIN pg_tablespace ts ON ts.oid = c.reltablespace LEFT JOIN pg_am am ON am.oid = c.relam
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'i', 'I', 'c') AND` + copiedIndex + `AND` + userSchemas},
	{"index", `
SELECT i.indexrelid::regclass::text,
       concat_ws(' ', 'on', i.indrelid::regclass, 'valid', i.indisvalid, 'ready', i.indisready, 'immediate', i.indimmediate,
                 'clustered', i.indisclustered, 'replident', i.indisreplident,
                 'parent', (SELECT h.inhparent::regclass FROM pg_inherits h WHERE h.inhrelid = i.indexrelid),
                 'constraint', (SELECT k.conname FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x')))
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE` + copiedIndex + `AND` + userSchemas},
	{"statistics target", `
SELECT a.attrelid::regclass || ' ' || a.attname, a.attstattarget::text
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE a.attstattarget >= 0 AND a.attnum > 0 AND NOT a.attisdropped AND` + copiedIndex + `AND` + userSchemas},
	// Child rows of a foreign key on a partitioned table differ between releases,
	// and so do the rows of NOT NULL, which pg_dump shows. Of several unique indexes
	// on the columns that a foreign key refers to, the server takes that with the
	// least oid, whatever the source has; no statement can say which.
	{"constraint", `
SELECT concat_ws(' ', nullif(k.conrelid, 0)::regclass, nullif(k.contypid, 0)::regtype, k.conname),
       concat_ws(' ', k.contype, 'validated', k.convalidated, 'deferrable', k.condeferrable, k.condeferred,
                 'index', CASE WHEN k.contype = 'f' AND (
                     SELECT count(*) FROM pg_index i
                     WHERE i.indrelid = k.confrelid AND i.indisunique AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
                       AND (SELECT array_agg(a ORDER BY a) FROM unnest(i.indkey[:i.indnkeyatts - 1]) a) = (SELECT array_agg(a ORDER BY a) FROM unnest(k.confkey) a)
                 ) > 1 THEN 'one of several' ELSE nullif(k.conindid, 0)::regclass::text END, 'references', nullif(k.confrelid, 0)::regclass,
                 'inherited', k.coninhcount, k.conislocal)
FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace
WHERE k.conparentid = 0 AND k.contype NOT IN ('n', 't') AND` + userSchemas},
	{"trigger", `
SELECT t.tgrelid::regclass || ' ' || t.tgname, concat_ws(' ', 'enabled', t.tgenabled, 'cloned', t.tgparentid <> 0)
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT t.tgisinternal AND` + userSchemas},
	{"rule", `
SELECT r.ev_class::regclass || ' ' || r.rulename, concat_ws(' ', 'enabled', r.ev_enabled)
FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE` + userSchemas},
	{"partition", `
SELECT h.inhrelid::regclass || ' of ' || h.inhparent::regclass, h.inhseqno || ' ' || coalesce(pg_get_expr(c.relpartbound, c.oid), '')
FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'f') AND` + userSchemas},
	{"event trigger", `
SELECT evtname::text, concat_ws(' ', evtevent, 'enabled', evtenabled, 'owner', pg_get_userbyid(evtowner))
FROM pg_event_trigger WHERE $1::text[] IS NOT NULL`},
	{"extension", `
SELECT extname::text, concat_ws(' ', 'schema', n.nspname, 'owner', pg_get_userbyid(extowner))
FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace WHERE $1::text[] IS NOT NULL`},
}

// diffFacts compares the catalog facts of both sides.
func (c *comparison) diffFacts(ctx context.Context, src, dst *Database) ([]string, error) {
	read := func(ctx context.Context, conn *pgx.Conn) (map[string]map[string]string, error) {
		all := map[string]map[string]string{}
		for _, f := range facts {
			found, err := readPairs(ctx, conn, f.sql, c.ignoredSchemas)
			if err != nil {
				return nil, fmt.Errorf("read %s facts: %w", f.kind, err)
			}
			all[f.kind] = found
		}
		return all, nil
	}
	s, d, err := bothSides(ctx, src, dst, read)
	if err != nil {
		return nil, err
	}
	var diffs []string
	for _, f := range facts {
		diffs = append(diffs, diffMaps(f.kind, s[f.kind], d[f.kind])...)
	}
	return diffs, nil
}

// readPairs runs a query of two text columns into a map.
func readPairs(ctx context.Context, conn *pgx.Conn, sql string, args ...any) (map[string]string, error) {
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	pairs := map[string]string{}
	var key, value string
	_, err = pgx.ForEachRow(rows, []any{&key, &value}, func() error {
		pairs[key] = value
		return nil
	})
	return pairs, err
}
