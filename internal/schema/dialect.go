package schema

import (
	"fmt"
	"strings"

	"github.com/pgconvoy/pgconvoy/internal/pg"
)

// dialect writes the pieces of SQL that the queries of one side are made of.
// What a version does not have yet stands there as what it amounts to in a newer
// one: nothing. So the columns of a family are the same on both sides.
//
// search_path is empty in the sessions, so that unqualified names are of
// pg_catalog, and everything else is printed with its schema.
type dialect struct {
	major, other int
	order        string // what sorts the same on both sides, whatever their encodings
	without      string // an array of the schemas that are left out
}

func newDialect(c, other *pg.Conn, without []string) dialect {
	d := dialect{major: c.Major(), other: other.Major()}
	// The bytes of UTF-8 sort as its characters do; those of other encodings need not.
	switch c.PgConn().ParameterStatus("server_encoding") {
	case "UTF8", "SQL_ASCII":
		d.order = `object COLLATE "C"`
	default:
		d.order = "convert_to(object, 'UTF8')"
	}
	quoted := make([]string, len(without))
	for i, name := range without {
		quoted[i] = pg.QuoteLiteral(name)
	}
	d.without = "ARRAY[" + strings.Join(quoted, ", ") + "]::text[]"
	return d
}

// since returns the SQL if the server is of that version or a newer one, and
// otherwise what it amounts to there.
func (d dialect) since(major int, sql, before string) string {
	if d.major >= major {
		return sql
	}
	return before
}

// both reports whether both servers are of that version or a newer one.
func (d dialect) both(major int) bool { return min(d.major, d.other) >= major }

// across reports whether one server is older than that version and the other is not.
func (d dialect) across(major int) bool {
	return min(d.major, d.other) < major && max(d.major, d.other) >= major
}

// typed is an identity with names of types in it, spelled alike on both sides.
func (d dialect) typed(identity string) string {
	if !d.across(jsonWord) {
		return identity
	}
	return fmt.Sprintf(`replace(%s, '"json"', 'json')`, identity)
}

// user is the condition that objects in the schema, a pg_namespace of that alias,
// are the user's.
func (d dialect) user(namespace string) string {
	return fmt.Sprintf("(%[1]s.nspname !~ '^pg_' AND %[1]s.nspname <> 'information_schema' AND %[1]s.nspname <> ALL (%[2]s))", namespace, d.without)
}

// own is the condition that an object of a system catalog belongs to no extension.
func own(catalog, oid string) string {
	return fmt.Sprintf(`NOT EXISTS (SELECT FROM pg_depend dep WHERE dep.classid = '%s'::regclass AND dep.objid = %s AND dep.deptype = 'e')`, catalog, oid)
}

// made is the condition that an object belongs neither to an extension nor to
// another object that comes with it, as the constructors of a range do.
func made(catalog, oid string) string {
	return fmt.Sprintf(`NOT EXISTS (SELECT FROM pg_depend dep WHERE dep.classid = '%s'::regclass AND dep.objid = %s AND dep.deptype IN ('e', 'i'))`, catalog, oid)
}

// name is the qualified, quoted name of an object.
func name(namespace, object string) string {
	return fmt.Sprintf("(quote_ident(%s.nspname) || '.' || quote_ident(%s))", namespace, object)
}

// comment is the comment on an object.
func comment(catalog, oid, column string) string {
	return fmt.Sprintf(`(SELECT description FROM pg_description WHERE classoid = '%s'::regclass AND objoid = %s AND objsubid = %s) AS comment`, catalog, oid, column)
}

// owner is the role that owns an object.
func owner(oid string) string { return "pg_get_userbyid(" + oid + ") AS owner" }

// options is a list of name=value, which has no order.
func options(array string) string {
	return fmt.Sprintf(`(SELECT string_agg(o, ', ' ORDER BY o COLLATE "C") FROM unnest(%s) o)`, array)
}

// dependsOn lists the extensions that an object is marked as depending on.
func dependsOn(catalog, oid string) string {
	return fmt.Sprintf(`(SELECT string_agg(quote_ident(ext.extname), ', ' ORDER BY ext.extname COLLATE "C") FROM pg_depend dep JOIN pg_extension ext ON ext.oid = dep.refobjid
		WHERE dep.classid = '%s'::regclass AND dep.objid = %s AND dep.refclassid = 'pg_extension'::regclass AND dep.deptype = 'x') AS "depends on extensions"`, catalog, oid)
}

// privileges are those on an object whose kind acldefault() knows by that
// letter, as role=privileges/grantor, with a star where they may be passed on.
// Privileges that are not set, and those that say the same, are
// "default".
func (d dialect) privileges(acl, letter, owner string) string {
	explode := func(acl string) string {
		counted := "true"
		if d.across(maintain) {
			counted = "privilege_type <> 'MAINTAIN'" // GRANT ALL holds it where it exists
		}
		return fmt.Sprintf(`(SELECT coalesce(string_agg(g, ' ' ORDER BY g COLLATE "C"), 'none') FROM (
			SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END || '='
				|| string_agg(privilege_type || CASE WHEN is_grantable THEN '*' ELSE '' END, ',' ORDER BY privilege_type COLLATE "C")
				|| '/' || quote_ident(pg_get_userbyid(grantor)) AS g
			FROM aclexplode(%s) WHERE %s GROUP BY grantee, grantor) grants)`, acl, counted)
	}
	set, usual := explode(acl), explode(fmt.Sprintf("acldefault('%s', %s)", letter, owner))
	return fmt.Sprintf("CASE WHEN %s IS NULL THEN 'default' ELSE coalesce(nullif(%s, %s), 'default') END AS privileges", acl, set, usual)
}
