package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// DatabaseInput is what the copy of a database's properties is made from.
type DatabaseInput struct {
	Source, Target pg.Database
	Around         tasks.Around
	Made           bool // the target database is the run's own
}

// DatabaseSteps is how the target database becomes like the source's.
type DatabaseSteps struct {
	Steps []tasks.Step      // before all tasks
	Late  []tasks.Statement // at the very end: what could keep the run's own sessions out
	Notes []string          // what a person should know
}

// DatabaseProperties returns what gives the target database the properties of
// the source's. A database that was there already gets what it lacks, and what
// else differs is said; the run's own gets everything.
func DatabaseProperties(in DatabaseInput) DatabaseSteps {
	b := databaseBuilder{DatabaseInput: in, name: tasks.QuoteIdent(in.Target.Name)}
	b.settings()
	if in.Source.Comment != in.Target.Comment && in.Target.Comment == "" && !in.Around.NoComments {
		b.do("COMMENT ON DATABASE %s IS %s", b.name, tasks.QuoteLiteral(in.Source.Comment))
	}
	if !in.Around.NoACL {
		b.privileges()
	}
	b.owner()
	if in.Source.ConnLimit != in.Target.ConnLimit && in.Source.ConnLimit >= -1 {
		b.late(fmt.Sprintf("ALTER DATABASE %s CONNECTION LIMIT %d", b.name, in.Source.ConnLimit))
	}
	return b.DatabaseSteps
}

type databaseBuilder struct {
	DatabaseInput
	DatabaseSteps
	name string // quoted
}

func (b *databaseBuilder) do(format string, args ...any) {
	sql := fmt.Sprintf(format, args...)
	b.Steps = append(b.Steps, tasks.Step{Label: sql, SQL: sql, May: true})
}

// late adds a statement for the end. In a database that is not the run's own it
// is a person's decision.
func (b *databaseBuilder) late(sql string) {
	if !b.Made {
		b.Notes = append(b.Notes, "the target database differs, and stays as it is; to have it as on the source, when the run is complete: "+sql)
		return
	}
	b.Late = append(b.Late, tasks.Statement{Label: sql, SQL: sql})
}

// blocking are settings that may keep every session out of the database, if what
// they name is not on the target's server.
func blocking(name string) bool {
	return slices.Contains([]string{"session_preload_libraries", "local_preload_libraries", "role"}, name)
}

func (b *databaseBuilder) settings() {
	have := map[string]string{}
	for _, s := range b.Target.Settings {
		key, value, _ := strings.Cut(s.Entry, "=")
		have[s.Role+"\x00"+key] = value
	}
	for _, s := range b.Source.Settings {
		role := s.Role
		whose := "ALTER DATABASE " + b.name
		if role != "" {
			role = b.Around.Role(role)
			whose = fmt.Sprintf("ALTER ROLE %s IN DATABASE %s", tasks.QuoteIdent(role), b.name)
		}
		key, value, _ := strings.Cut(s.Entry, "=")
		sql := whose + " " + pg.SettingSQL(s.Entry)
		switch other, set := have[role+"\x00"+key]; {
		case set && other != value:
			b.Notes = append(b.Notes, "the target database has another "+key+", which stays; to have the source's: "+sql)
		case set:
		case blocking(key):
			b.late(sql)
		default:
			b.do("%s", sql)
		}
	}
}

// privileges grants what is missing. What everybody has by default, and not on the
// source, is taken at the end.
func (b *databaseBuilder) privileges() {
	has := func(all []pg.DatabaseGrant, grantee string, g pg.DatabaseGrant) bool {
		return slices.ContainsFunc(all, func(o pg.DatabaseGrant) bool {
			return o.Grantee == grantee && o.Privilege == g.Privilege && (o.Grantable || !g.Grantable)
		})
	}
	for _, g := range b.Source.Grants {
		grantee, to := "", "PUBLIC"
		if g.Grantee != "" {
			grantee = b.Around.Role(g.Grantee)
			to = tasks.QuoteIdent(grantee)
		}
		if grantee == b.Target.Owner || has(b.Target.Grants, grantee, g) {
			continue
		}
		option := ""
		if g.Grantable {
			option = " WITH GRANT OPTION"
		}
		b.do("GRANT %s ON DATABASE %s TO %s%s", g.Privilege, b.name, to, option)
	}
	for _, g := range b.Target.Grants {
		if g.Grantee == "" && !has(b.Source.Grants, "", g) {
			b.late(fmt.Sprintf("REVOKE %s ON DATABASE %s FROM PUBLIC", g.Privilege, b.name))
		}
	}
}

// owner gives the run's own database to the owner that it has on the source.
func (b *databaseBuilder) owner() {
	owner := b.Around.Role(b.Source.Owner)
	if b.Around.NoOwner || owner == b.Target.Owner {
		return
	}
	sql := fmt.Sprintf("ALTER DATABASE %s OWNER TO %s", b.name, tasks.QuoteIdent(owner))
	if b.Made {
		b.do("%s", sql)
		return
	}
	b.Notes = append(b.Notes, fmt.Sprintf("the target database belongs to %s, the source's to %s; to have it so: %s", tasks.QuoteIdent(b.Target.Owner), tasks.QuoteIdent(owner), sql))
}

// CreateDatabase returns the statement that makes a database like the source's on a
// server of the major version. It fails if such a one cannot be made there.
func CreateDatabase(name string, l pg.Locale, major int, a tasks.Around) (string, error) {
	sql := fmt.Sprintf("CREATE DATABASE %s TEMPLATE template0 ENCODING %s LC_COLLATE %s LC_CTYPE %s",
		tasks.QuoteIdent(name), tasks.QuoteLiteral(l.Encoding), tasks.QuoteLiteral(l.Collate), tasks.QuoteLiteral(l.Ctype))
	switch {
	case l.Provider == "i" && major >= 15:
		sql += " LOCALE_PROVIDER icu ICU_LOCALE " + tasks.QuoteLiteral(l.Name)
	case l.Provider == "b" && major >= 17:
		sql += " LOCALE_PROVIDER builtin BUILTIN_LOCALE " + tasks.QuoteLiteral(l.Name)
	case l.Provider != "c":
		return "", fmt.Errorf("the source database has the locale %q of a provider (%s) that PostgreSQL %d does not have", l.Name, map[string]string{"i": "icu", "b": "builtin"}[l.Provider], major)
	case major >= 15:
		sql += " LOCALE_PROVIDER libc"
	}
	if l.Rules != "" {
		if major < 16 {
			return "", fmt.Errorf("the source database has ICU rules, which PostgreSQL %d does not have", major)
		}
		sql += " ICU_RULES " + tasks.QuoteLiteral(l.Rules)
	}
	if space := a.Tablespace(l.Tablespace); space != "" && space != "pg_default" {
		sql += " TABLESPACE " + tasks.QuoteIdent(space)
	}
	return sql, nil
}

// databaseLate adds what changes the database itself at the very end. Nothing of
// it fires an event trigger.
func (b *builder) databaseLate(after []tasks.Group) error {
	if len(b.in.Late) == 0 {
		return nil
	}
	return b.add(tasks.Task{
		Kind: tasks.KindSchema, ID: tasks.NewID(tasks.KindSchema, "database", "c0001"), Wave: tasks.WaveLate, Needs: after,
	}, tasks.Statements{Statements: b.in.Late})
}
