package plan

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// around applies Options.Around to everything that the plan is made from: what is
// left out is gone from the selection, and roles and tablespaces have their names
// on the target.
func (b *builder) around() {
	a := b.in.Options.Around
	s := &b.in.Selection
	for _, left := range []struct {
		out          bool
		what, option string
		descs        []string
	}{
		{a.NoACL, "privileges", "no_acl", []string{"ACL", "DEFAULT ACL"}},
		{a.NoComments, "comments", "no_comments", []string{"COMMENT"}},
	} {
		if !left.out {
			continue
		}
		if n := s.drop(func(e pg.Entry) bool { return slices.Contains(left.descs, e.Desc) }); n > 0 {
			b.skip(fmt.Sprintf("%s of %d objects", left.what, n), left.option+" is set")
		}
	}
	for i := range b.in.Catalog.Indexes {
		x := &b.in.Catalog.Indexes[i]
		x.Tablespace = a.Tablespace(x.Tablespace)
	}
	b.unlabel()
	b.uncomment()
	for i, e := range b.in.SQL {
		b.in.SQL[i].Settings = renameTablespace(a, e.Settings)
		b.in.SQL[i].SQL = asRole(e.Entry.Desc, pinVersion(a, e.Entry.Desc, renameRoles(a, e.Entry.Desc, e.SQL)))
	}
}

// drop takes some entries out and returns how many there were.
func (s *Selection) drop(out func(pg.Entry) bool) int {
	before := len(s.Kept())
	for _, list := range []*[]pg.Entry{&s.Pre, &s.Statistics, &s.Rest, &s.Access, &s.Last} {
		*list = slices.DeleteFunc(slices.Clone(*list), out)
	}
	return before - len(s.Kept())
}

// unlabel takes out the security labels of providers that the target does not have.
func (b *builder) unlabel() {
	if len(b.in.NoLabels) == 0 {
		return
	}
	empty := map[int]bool{} // dump IDs of entries of which nothing is left
	count := map[string]int{}
	for i, e := range b.in.SQL {
		if e.Entry.Desc != "SECURITY LABEL" {
			continue
		}
		var edits []edit
		statements := statementsIn(e.SQL)
		for _, s := range statements {
			if len(s) > 4 && s[2].is("FOR") && slices.Contains(b.in.NoLabels, s[3].name()) { // SECURITY LABEL FOR provider
				edits = append(edits, edit{s[0].start, s[len(s)-1].end + len(";"), ""})
				count[s[3].name()]++
			}
		}
		empty[e.Entry.DumpID] = len(edits) == len(statements)
		b.in.SQL[i].SQL = apply(edits, e.SQL)
	}
	b.in.Selection.drop(func(e pg.Entry) bool { return empty[e.DumpID] })
	for _, provider := range slices.Sorted(maps.Keys(count)) {
		b.skip(fmt.Sprintf("%d security labels of provider %s", count[provider], provider), "the target has not loaded it")
	}
}

// uncomment takes out the comments on extensions that belong to others on the target,
// which made them there beforehand.
func (b *builder) uncomment() {
	for _, name := range slices.Sorted(maps.Keys(b.in.Foreign)) {
		n := b.in.Selection.drop(func(e pg.Entry) bool {
			return e.Desc == "COMMENT" && strings.TrimSpace(e.Rest) == "- EXTENSION "+name
		})
		if n > 0 && b.in.Foreign[name] {
			b.skip("comment on extension "+name, "the extension belongs to another role on the target")
		}
	}
}

var tablespaceSetting = regexp.MustCompile(`SET default_tablespace = ("(?:[^"]|"")+"|[a-z_][a-z0-9_$]*);`)

func renameTablespace(a tasks.Around, settings string) string {
	return tablespaceSetting.ReplaceAllStringFunc(settings, func(set string) string {
		old := token{text: tablespaceSetting.FindStringSubmatch(set)[1]}.name()
		switch name := a.Tablespace(old); name {
		case old:
			return set
		case "":
			return "SET default_tablespace = '';"
		default:
			return "SET default_tablespace = " + tasks.QuoteIdent(name) + ";"
		}
	})
}

// edit is a piece of a text that becomes another one.
type edit struct {
	start, end int
	text       string
}

// renameRoles gives the roles that an entry's SQL names their names on the target,
// and takes the statements that set an owner out if there is to be none.
func renameRoles(a tasks.Around, desc, sql string) string {
	if !a.NoOwner && len(a.Owners) == 0 {
		return sql
	}
	var edits []edit
	for _, statement := range statementsIn(sql) {
		if setsOwner(statement) && a.NoOwner {
			edits = append(edits, edit{statement[0].start, statement[len(statement)-1].end + len(";"), ""})
			continue
		}
		for _, t := range rolesIn(desc, statement) {
			if other := a.Owners[t.name()]; other != "" {
				edits = append(edits, edit{t.start, t.end, tasks.QuoteIdent(other)})
			}
		}
	}
	return apply(edits, sql)
}

// apply makes edits, which are in order, in a text.
func apply(edits []edit, sql string) string {
	var b strings.Builder
	at := 0
	for _, e := range edits {
		b.WriteString(sql[at:e.start] + e.text)
		at = e.end
	}
	b.WriteString(sql[at:])
	return strings.TrimRight(b.String(), "\n")
}

// asRole has privileges that others than the owner have granted be granted by them
// with SET ROLE. pg_dump writes SET SESSION AUTHORIZATION, which is for superusers.
func asRole(desc, sql string) string {
	if desc != "ACL" || !strings.Contains(sql, "SESSION AUTHORIZATION") {
		return sql
	}
	var edits []edit
	for _, s := range statementsIn(sql) {
		if len(s) >= 3 && (s[0].is("SET") || s[0].is("RESET")) && s[1].is("SESSION") && s[2].is("AUTHORIZATION") {
			edits = append(edits, edit{s[1].start, s[2].end, "ROLE"})
		}
	}
	return apply(edits, sql)
}

// pinVersion has an extension made in the version that is asked for.
func pinVersion(a tasks.Around, desc, sql string) string {
	if desc != "EXTENSION" || len(a.Versions) == 0 {
		return sql
	}
	for _, s := range statementsIn(sql) {
		if len(s) < 6 || !s[0].is("CREATE") || !s[4].is("EXISTS") { // CREATE EXTENSION IF NOT EXISTS name …
			continue
		}
		if version := a.Versions[s[5].name()]; version != "" {
			end := s[len(s)-1].end
			return sql[:end] + " VERSION " + tasks.QuoteLiteral(version) + sql[end:]
		}
	}
	return sql
}

// setsOwner reports whether the statement is ALTER … OWNER TO role. No entry's own
// SQL has such a one: it is what pg_restore adds.
func setsOwner(s []token) bool {
	n := len(s)
	return n > 4 && s[0].is("ALTER") && s[n-3].is("OWNER") && s[n-2].is("TO")
}

// rolesIn returns the tokens of a statement that name roles, of those entries that
// have any. PUBLIC is among them, and is no name that can be mapped.
func rolesIn(desc string, s []token) []token {
	n := len(s)
	switch {
	case n < 2:
		return nil
	case setsOwner(s):
		return s[n-1:]
	case desc == "ACL" || desc == "DEFAULT ACL":
		return rolesOfGrant(s)
	case desc == "POLICY" && s[0].is("CREATE"):
		return rolesOfPolicy(s)
	case desc == "USER MAPPING" && n > 4 && s[3].is("FOR"):
		return s[4:5] // CREATE USER MAPPING FOR role
	}
	return nil
}

// rolesOfGrant returns the roles of a statement of pg_dump's about privileges.
func rolesOfGrant(s []token) []token {
	var roles []token
	n := len(s)
	if s[0].is("SET") { // SET SESSION AUTHORIZATION role
		return s[n-1:]
	}
	if n > 5 && s[0].is("ALTER") && s[3].is("FOR") && s[4].is("ROLE") { // ALTER DEFAULT PRIVILEGES FOR ROLE role
		roles = append(roles, s[5])
	}
	if n > 3 && s[n-3].is("WITH") && s[n-2].is("GRANT") && s[n-1].is("OPTION") {
		n -= 3
	}
	if n > 1 && (s[n-2].is("TO") || s[n-2].is("FROM")) {
		roles = append(roles, s[n-1])
	}
	return roles
}

// rolesOfPolicy returns the roles of CREATE POLICY … TO role, role USING (…).
func rolesOfPolicy(s []token) []token {
	depth := 0
	for i, t := range s {
		switch {
		case t.text == "(":
			depth++
		case t.text == ")":
			depth--
		case t.is("TO") && depth == 0:
			roles := []token{s[i+1]}
			for i += 2; i+1 < len(s) && s[i].text == ","; i += 2 {
				roles = append(roles, s[i+1])
			}
			return roles
		}
	}
	return nil
}
