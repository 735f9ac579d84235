package check

import (
	_ "embed"
	"strings"
)

// sqlObjects is a WITH clause whose table object lists every object of a
// database that has a name, an owner or an ACL: kind, class, oid, space (oid of
// the schema, 0 if none), label (kind and quoted name), owner, acl, and whether
// it belongs to an extension (member), to the system (system) or is in the
// schema of our ledger (ledger).
//
//go:embed sql/objects.sql
var sqlObjects string

// withObjects puts the WITH clause before a query on object.
func withObjects(query string) string {
	return strings.TrimRight(sqlObjects, "\n") + "\n" + query
}
