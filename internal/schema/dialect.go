package schema

import (
	"fmt"
	"maps"
	"slices"
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

	source   bool // this is the side that a copy is made of
	expected Expected
	receiver string // the role of the session on the target
	space    string // the default tablespace of the target
}

func newDialect(c, other *pg.Conn, e Expected) dialect {
	d := dialect{major: c.Major(), other: other.Major(), source: c.Side() == pg.Source, expected: e, without: array(e.Without)}
	// The bytes of UTF-8 sort as its characters do; those of other encodings need not.
	switch c.PgConn().ParameterStatus("server_encoding") {
	case "UTF8", "SQL_ASCII":
		d.order = `object COLLATE "C"`
	default:
		d.order = "convert_to(object, 'UTF8')"
	}
	return d
}

// array is an array of texts.
func array(texts []string) string {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = pg.QuoteLiteral(text)
	}
	return "ARRAY[" + strings.Join(quoted, ", ") + "]::text[]"
}

// targetMajor is the target's version.
func (d dialect) targetMajor() int {
	if d.source {
		return d.other
	}
	return d.major
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

// comment is the comment on an object, and after it the address of the object.
func (d dialect) comment(catalog, oid, column string) string {
	text := fmt.Sprintf(`(SELECT description FROM pg_description WHERE classoid = '%s'::regclass AND objoid = %s AND objsubid = %s)`, catalog, oid, column)
	if d.expected.Around.NoComments {
		text = "NULL::text"
	}
	return text + " AS comment, " + addressIn(catalog, oid)
}

// addressIn is the address of an object in that catalog.
func addressIn(catalog, oid string) string { return address("'"+catalog+"'::regclass::oid", oid) }

// address is the address of an object.
func address(class, oid string) string { return class + " || ' ' || " + oid + " AS address" }

// partitionOf is the address of the table that table c is a partition of.
const partitionOf = `(SELECT 'pg_class'::regclass::oid || ' ' || whole.inhparent FROM pg_inherits whole WHERE c.relispartition AND whole.inhrelid = c.oid) AS "from"`

// role is what the target calls the role with the name.
func (d dialect) role(name string) string {
	if !d.source {
		return name
	}
	return renamed(name, d.expected.Around.Owners)
}

// roleOf is what the target calls the role with the oid.
func (d dialect) roleOf(oid string) string { return d.role("pg_get_userbyid(" + oid + ")") }

// renamed is another name for those that have one.
func renamed(name string, names map[string]string) string {
	if len(names) == 0 {
		return name
	}
	var sql strings.Builder
	sql.WriteString("CASE " + name)
	for _, old := range slices.Sorted(maps.Keys(names)) {
		sql.WriteString(" WHEN " + pg.QuoteLiteral(old) + " THEN " + pg.QuoteLiteral(names[old]))
	}
	return sql.String() + " ELSE " + name + " END"
}

// owner is the role that owns an object.
func (d dialect) owner(oid string) string { return d.ownerName(oid) + " AS owner" }

func (d dialect) ownerName(oid string) string {
	if d.expected.Around.NoOwner {
		return "NULL::text"
	}
	return d.roleOf(oid)
}

// tablespace is where an object is, if that is not the default of the database.
func (d dialect) tablespace(name string) string {
	sql := "quote_ident(" + name + ")"
	switch a := d.expected.Around; {
	case a.NoTablespaces:
		sql = "NULL::text"
	case d.source && len(a.Tablespaces) > 0:
		sql = "quote_ident(nullif(" + renamed(name, a.Tablespaces) + ", " + pg.QuoteLiteral(d.space) + "))"
	}
	return sql + " AS tablespace"
}

// pinned is the version of an extension where one is asked for, and otherwise the
// one given.
func (d dialect) pinned(version string) string {
	versions := d.expected.Around.Versions
	for _, name := range slices.Sorted(maps.Keys(versions)) {
		is := "x.extversion"
		if d.source {
			is = pg.QuoteLiteral(versions[name])
		}
		version = fmt.Sprintf("CASE x.extname WHEN %s THEN %s ELSE %s END", pg.QuoteLiteral(name), is, version)
	}
	return version
}

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
	if d.expected.Around.NoACL {
		return "NULL::text AS privileges"
	}
	explode := func(acl string) string {
		counted, grantor := "true", "quote_ident("+d.roleOf("x.grantor")+")"
		if d.across(maintain) {
			counted = "x.privilege_type <> 'MAINTAIN'" // GRANT ALL holds it where it exists
		}
		if d.expected.Around.NoOwner && owner != "0" { // that is nobody
			counted += " AND " + d.notTheOwners(acl, letter, owner)
			grantor = fmt.Sprintf("CASE x.grantor WHEN %s THEN 'the owner' ELSE %s END", owner, grantor)
		}
		return fmt.Sprintf(`(SELECT coalesce(string_agg(g, ' ' ORDER BY g COLLATE "C"), 'none') FROM (
			SELECT grantee || '=' || string_agg(privilege_type || CASE WHEN grantable THEN '*' ELSE '' END, ',' ORDER BY privilege_type COLLATE "C") || '/' || grantor AS g
			FROM (SELECT CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(%s) END AS grantee, %s AS grantor, x.privilege_type, bool_or(x.is_grantable) AS grantable
				FROM aclexplode(%s) x WHERE %s GROUP BY 1, 2, 3) named GROUP BY grantee, grantor) grants)`, d.roleOf("x.grantee"), grantor, acl, counted)
	}
	set, usual := explode(acl), explode(fmt.Sprintf("acldefault('%s', %s)", letter, owner))
	return fmt.Sprintf("CASE WHEN %s IS NULL THEN 'default' ELSE coalesce(nullif(%s, %s), 'default') END AS privileges", acl, set, usual)
}

// notTheOwners leaves out what the owner of an object may do anyway, where owners
// are not copied: the owner on the target is another one. Of the source's owner,
// who is anybody there, it stays if it is less than usual.
func (d dialect) notTheOwners(acl, letter, owner string) string {
	if !d.source {
		return "x.grantee <> " + owner
	}
	may := func(acl string) string {
		return fmt.Sprintf("(SELECT array_agg(may.privilege_type ORDER BY may.privilege_type) FROM aclexplode(%s) may WHERE may.grantee = %s)", acl, owner)
	}
	return fmt.Sprintf("(x.grantee <> %[1]s OR %[2]s IS DISTINCT FROM %[3]s) AND (x.grantee = 0 OR %[4]s <> %[5]s)",
		owner, may(acl), may(fmt.Sprintf("acldefault('%s', %s)", letter, owner)), d.roleOf("x.grantee"), pg.QuoteLiteral(d.receiver))
}
