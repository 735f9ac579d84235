package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// RolesInput is what the copy of roles is made from.
type RolesInput struct {
	Source, Target []pg.Role
	Named          []string // roles of the source that what is copied names; nil means that all roles are copied
	Owns           []string // names on the target of those that own anything
	SourceMajor    int
	Around         tasks.Around
	Session        RoleSession
}

// RoleSession is who makes the roles on the target.
type RoleSession struct {
	Name                              string
	Major                             int
	Superuser, Replication, BypassRLS bool
	CreateRole                        bool
	SeesPasswords                     bool // Target has passwords
}

// Roles returns the steps that make the roles of the source on the target, and
// what a person should know of it. A role that is there gets what it lacks and
// loses nothing; what else differs is said. The superuser of initdb and the
// roles of the system are nobody's to make. A session that may not make roles
// does nothing to those that are there either; the preflight refuses it where an
// object needs one that is missing.
func Roles(in RolesInput) (steps []tasks.Step, notes []string) {
	b := roleBuilder{RolesInput: in, have: map[string]pg.Role{}, wanted: map[string]pg.Role{}}
	for _, r := range in.Target {
		b.have[r.Name] = r
	}
	var chosen []pg.Role
	for _, r := range b.chosen() {
		name := in.Around.Role(r.Name)
		_, twice := b.wanted[name]
		_, there := b.have[name]
		if twice || there && name != r.Name { // two roles become one, or somebody has said which role it is
			continue
		}
		r.Name = name
		b.wanted[name] = r
		chosen = append(chosen, r)
	}
	if !in.Session.Superuser && !in.Session.CreateRole {
		for _, r := range chosen {
			if _, there := b.have[r.Name]; !there {
				b.note("role %s is not on the target, where role %s may not make it", tasks.QuoteIdent(r.Name), tasks.QuoteIdent(in.Session.Name))
			}
		}
		return nil, b.notes
	}
	for _, r := range chosen {
		b.role(r)
	}
	for _, r := range chosen {
		b.belongings(r)
	}
	for _, r := range chosen {
		b.memberships(r)
	}
	return b.steps, b.notes
}

type roleBuilder struct {
	RolesInput
	have, wanted map[string]pg.Role // by their names on the target
	steps        []tasks.Step
	notes        []string
}

// chosen returns the roles to copy: those that are named, and what they are
// members of.
func (b *roleBuilder) chosen() []pg.Role {
	named := map[string]bool{}
	byName := map[string]pg.Role{}
	for _, r := range b.Source {
		byName[r.Name] = r
	}
	var add func(name string)
	add = func(name string) {
		if named[name] {
			return
		}
		named[name] = true
		for _, m := range byName[name].MemberOf {
			add(m.Role)
		}
	}
	for _, name := range b.Named {
		add(name)
	}
	return slices.DeleteFunc(slices.Clone(b.Source), func(r pg.Role) bool {
		return r.Bootstrap || r.Reserved() || b.Named != nil && !named[r.Name]
	})
}

func (b *roleBuilder) do(may bool, format string, args ...any) {
	sql := fmt.Sprintf(format, args...)
	b.steps = append(b.steps, tasks.Step{Label: sql, SQL: sql, May: may})
}

func (b *roleBuilder) note(format string, args ...any) {
	b.notes = append(b.notes, fmt.Sprintf(format, args...))
}

// attribute is one that a role has or has not.
type attribute struct {
	word   string
	of     func(*pg.RoleAttributes) *bool
	strong bool // whoever has it may do what the target's administrators may not want
}

func attributes() []attribute {
	return []attribute{
		{"SUPERUSER", func(a *pg.RoleAttributes) *bool { return &a.Superuser }, true},
		{"INHERIT", func(a *pg.RoleAttributes) *bool { return &a.Inherit }, false},
		{"CREATEROLE", func(a *pg.RoleAttributes) *bool { return &a.CreateRole }, true},
		{"CREATEDB", func(a *pg.RoleAttributes) *bool { return &a.CreateDB }, false},
		{"LOGIN", func(a *pg.RoleAttributes) *bool { return &a.Login }, false},
		{"REPLICATION", func(a *pg.RoleAttributes) *bool { return &a.Replication }, true},
		{"BYPASSRLS", func(a *pg.RoleAttributes) *bool { return &a.BypassRLS }, true},
	}
}

// mayGrant reports whether the session may make a role with the attribute.
func (b *roleBuilder) mayGrant(word string) bool {
	s := b.Session
	switch {
	case s.Superuser:
		return true
	case word == "SUPERUSER":
		return false
	case word == "REPLICATION":
		return s.Major >= 16 && s.Replication
	case word == "BYPASSRLS":
		return s.Major >= 16 && s.BypassRLS
	}
	return true
}

// role makes the role, or gives it the attributes that it lacks.
func (b *roleBuilder) role(r pg.Role) {
	if there, ok := b.have[r.Name]; ok {
		b.reconcile(r, there)
		return
	}
	var words []string
	for _, a := range attributes() {
		switch has := *a.of(&r.Attributes); {
		case has && !b.mayGrant(a.word):
			b.note("role %s is made without %s, which role %s may not give", tasks.QuoteIdent(r.Name), a.word, tasks.QuoteIdent(b.Session.Name))
		case has:
			words = append(words, a.word)
		case a.word == "INHERIT": // the others are off by default
			words = append(words, "NOINHERIT")
		}
	}
	if r.ConnLimit != -1 {
		words = append(words, fmt.Sprintf("CONNECTION LIMIT %d", r.ConnLimit))
	}
	if r.ValidUntil != "" {
		words = append(words, "VALID UNTIL "+tasks.QuoteLiteral(r.ValidUntil))
	}
	b.do(false, "CREATE ROLE %s %s", tasks.QuoteIdent(r.Name), strings.Join(words, " "))
	if !b.Session.Superuser && slices.Contains(b.Owns, r.Name) {
		option := ""
		if b.Session.Major >= 16 {
			option = " WITH INHERIT TRUE, SET TRUE"
		}
		b.do(false, "GRANT %s TO %s%s", tasks.QuoteIdent(r.Name), tasks.QuoteIdent(b.Session.Name), option)
		b.note("role %s becomes a member of %s, to give it what it owns; when the run is complete: REVOKE %[2]s FROM %[1]s", tasks.QuoteIdent(b.Session.Name), tasks.QuoteIdent(r.Name))
	}
}

// reconcile adds what is harmless and says what else differs. A superuser of the
// target, and whoever the session is, are left alone.
func (b *roleBuilder) reconcile(r, there pg.Role) {
	if there.Attributes.Superuser || there.Name == b.Session.Name {
		return
	}
	var add, differs []string
	for _, a := range attributes() {
		switch want, has := *a.of(&r.Attributes), *a.of(&there.Attributes); {
		case want && !has && !a.strong:
			add = append(add, a.word)
		case want && !has:
			differs = append(differs, "it is without "+a.word)
		case has && !want:
			differs = append(differs, "it has "+a.word)
		}
	}
	if r.ConnLimit != there.ConnLimit {
		differs = append(differs, fmt.Sprintf("its connection limit is %d, not %d", there.ConnLimit, r.ConnLimit))
	}
	if r.ValidUntil != there.ValidUntil {
		differs = append(differs, fmt.Sprintf("it is valid until %s, not %s", orNever(there.ValidUntil), orNever(r.ValidUntil)))
	}
	if len(add) > 0 {
		b.do(true, "ALTER ROLE %s %s", tasks.QuoteIdent(r.Name), strings.Join(add, " "))
	}
	if len(differs) > 0 {
		b.note("role %s is on the target already and stays as it is there: %s", tasks.QuoteIdent(r.Name), strings.Join(differs, ", "))
	}
}

func orNever(time string) string {
	if time == "" {
		return "always"
	}
	return time
}

// belongings adds comment, settings and password.
func (b *roleBuilder) belongings(r pg.Role) {
	there, old := b.have[r.Name]
	if old && (there.Attributes.Superuser || there.Name == b.Session.Name) {
		return
	}
	name := tasks.QuoteIdent(r.Name)
	if r.Comment != "" && there.Comment == "" && !b.Around.NoComments {
		b.do(true, "COMMENT ON ROLE %s IS %s", name, tasks.QuoteLiteral(r.Comment))
	}
	has := settingsByName(there.Settings)
	for _, entry := range r.Settings {
		key, value, _ := strings.Cut(entry, "=")
		switch other, set := has[key]; {
		case !set:
			b.do(true, "ALTER ROLE %s %s", name, pg.SettingSQL(entry))
		case other != value:
			b.note("role %s has another %s on the target, which stays", name, key)
		}
	}
	b.password(r, there, old)
}

// password sets the password of a role that has none. The verifier is in no label.
func (b *roleBuilder) password(r, there pg.Role, old bool) {
	name := tasks.QuoteIdent(r.Name)
	switch {
	case r.Password == "" || there.Password == r.Password:
	case strings.HasPrefix(r.Password, "md5") && b.renamed(r.Name):
		b.note("role %s gets no password: an MD5 verifier belongs to the name that it was made for", name)
	case old && (!b.Session.SeesPasswords || there.Password != ""):
		b.note("role %s is on the target already, and keeps the password that it has there", name)
	default:
		b.steps = append(b.steps, tasks.Step{
			Label: fmt.Sprintf("ALTER ROLE %s PASSWORD '***'", name), SQL: fmt.Sprintf("ALTER ROLE %s PASSWORD %s", name, tasks.QuoteLiteral(r.Password)),
		})
	}
}

// renamed reports whether the role has another name on the source.
func (b *roleBuilder) renamed(name string) bool {
	return !slices.ContainsFunc(b.Source, func(r pg.Role) bool { return r.Name == name && b.Around.Role(name) == name })
}

func settingsByName(entries []string) map[string]string {
	all := map[string]string{}
	for _, e := range entries {
		name, value, _ := strings.Cut(e, "=")
		all[name] = value
	}
	return all
}

// memberships grants what the role is a member of. A new member of a role with
// power over the whole server is only made where the member is new, too.
func (b *roleBuilder) memberships(r pg.Role) {
	there, old := b.have[r.Name]
	if old && there.Attributes.Superuser {
		return
	}
	for _, m := range r.MemberOf {
		group := b.Around.Role(m.Role)
		i := slices.IndexFunc(there.MemberOf, func(o pg.Membership) bool { return o.Role == group })
		target, exists := b.have[group]
		_, made := b.wanted[group]
		grant := b.grant(group, r.Name, m)
		switch {
		case group == r.Name:
		case i >= 0:
			if m.Admin && !there.MemberOf[i].Admin {
				b.note("role %s is a member of %s on the target without ADMIN OPTION; if it should have it: %s", tasks.QuoteIdent(r.Name), tasks.QuoteIdent(group), grant)
			}
		case !exists && !made:
			b.note("role %s is no member of %s, which the target does not have", tasks.QuoteIdent(r.Name), tasks.QuoteIdent(group))
		case old && exists && (target.Reserved() || target.Attributes.Superuser):
			b.note("role %s is on the target already, and is not made a member of %s; if it should be: %s", tasks.QuoteIdent(r.Name), tasks.QuoteIdent(group), grant)
		default:
			b.do(true, "%s", grant)
			if b.SourceMajor >= 16 && b.Session.Major < 16 && (!m.Set || m.Inherit != r.Attributes.Inherit) {
				b.note("the membership of %s in %s has other INHERIT or SET options on the source, which the target does not know", tasks.QuoteIdent(r.Name), tasks.QuoteIdent(group))
			}
		}
	}
}

// grant returns the statement for a membership. Before 16 a member inherits if
// its own attribute says so, and may always SET ROLE.
func (b *roleBuilder) grant(group, member string, m pg.Membership) string {
	sql := fmt.Sprintf("GRANT %s TO %s", tasks.QuoteIdent(group), tasks.QuoteIdent(member))
	switch {
	case b.SourceMajor >= 16 && b.Session.Major >= 16:
		return fmt.Sprintf("%s WITH ADMIN %t, INHERIT %t, SET %t", sql, m.Admin, m.Inherit, m.Set)
	case m.Admin:
		return sql + " WITH ADMIN OPTION"
	}
	return sql
}
