package check

import (
	_ "embed"
	"strconv"
	"strings"

	"github.com/pgconvoy/pgconvoy/internal/pg"
)

// sqlObjects is a WITH clause whose table object lists every object of a
// database that has a name, an owner or an ACL: kind, class, oid, space (oid of
// the schema, 0 if none), label (kind and quoted name), owner, acl, and whether
// it belongs to an extension (member), to the system (system) or is in the
// schema of our ledger, or left out by what the user chose (ledger).
//
//go:embed sql/objects.sql
var sqlObjects string

// withObjects puts the WITH clause before a query on object.
func withObjects(query string) string { return Choice{}.withObjects(query) }

// withObjects does so for the source, of which not all may be copied.
func (c Choice) withObjects(query string) string {
	schemas, relations := []string{"'pgconvoy'"}, make([]string, len(c.Without.Relations))
	for _, s := range c.Without.Schemas {
		schemas = append(schemas, pg.QuoteLiteral(s))
	}
	for i, id := range c.Without.IDs() {
		relations[i] = strconv.FormatUint(uint64(id), 10)
	}
	clause := strings.NewReplacer("$schemas", strings.Join(schemas, ", "), "$relations", strings.Join(relations, ",")).Replace(sqlObjects)
	return strings.TrimRight(clause, "\n") + "\n" + query
}
