package check

import (
	"context"
	"fmt"
	"strings"
)

// sqlASCII is the encoding of databases that do not know theirs.
const sqlASCII = "SQL_ASCII"

// checkEncoding compares the encodings of the databases. UTF8 holds what every
// other holds; anything else must be the same on both sides.
func checkEncoding(_ context.Context, p *probe) (Findings, error) {
	return encodingFindings(p.source.Facts.Encoding, p.target.Facts.Encoding, p.target.Facts.Database), nil
}

func encodingFindings(source, target, database string) Findings {
	utf8 := fmt.Sprintf("create the target database in UTF8: CREATE DATABASE %s TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8'", quoteIdent(database))
	same := fmt.Sprintf("create the target database in the source's encoding: CREATE DATABASE %s TEMPLATE template0 ENCODING '%s' LOCALE 'C'", quoteIdent(database), source)
	switch {
	case source == target:
		return nil
	case source == sqlASCII:
		return Findings{warning("encoding", same+"; or mend the text on the source first",
			"the source is in SQL_ASCII, so its text may be in any encoding; text that is not valid %s will be refused by the target, and fail its table", target)}
	case target == sqlASCII:
		return Findings{blocker("encoding", utf8, "the target is in SQL_ASCII, which does not know characters; the source is in %s", source)}
	case target != "UTF8":
		return Findings{blocker("encoding", utf8, "the target is in %s, which cannot hold every character that the source, in %s, can", target, source)}
	}
	return Findings{warning("encoding", "nothing to do, unless an application relies on "+source,
		"the source is in %s, the target in UTF8: text will be converted", source)}
}

// locale is what a database sorts and compares text by.
type locale struct {
	Provider, Collate, Ctype, Locale, Rules string
	Version, Actual                         string // of the collation: recorded, and as the library has it now
}

func (l locale) String() string {
	provider := map[string]string{"c": "libc", "i": "icu", "b": "builtin"}[l.Provider]
	parts := []string{"provider " + provider, "LC_COLLATE " + l.Collate, "LC_CTYPE " + l.Ctype}
	if l.Locale != "" {
		parts = append(parts, "locale "+l.Locale)
	}
	if l.Rules != "" {
		parts = append(parts, "rules "+l.Rules)
	}
	return strings.Join(parts, ", ")
}

// localeSQL returns the query for a server's major version.
func localeSQL(major int) string {
	provider, name, rules, version := "'c'", "''", "''", "'', ''"
	if major >= 15 {
		provider, name = "d.datlocprovider::text", "coalesce(d.daticulocale::text, '')"
		version = "coalesce(d.datcollversion, ''), coalesce(pg_catalog.pg_database_collation_actual_version(d.oid), '')"
	}
	if major >= 16 {
		rules = "coalesce(d.daticurules, '')"
	}
	if major >= 17 {
		name = "coalesce(d.datlocale, '')"
	}
	return fmt.Sprintf(`SELECT %s, d.datcollate::text, d.datctype::text, %s, %s, %s
		FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()`, provider, name, rules, version)
}

// checkLocale warns of default collations that differ: text then sorts, and is
// upper-cased, in another way, and range partitions of text may not fit.
func checkLocale(ctx context.Context, p *probe) (Findings, error) {
	var locales [2]locale
	for i, s := range []*server{p.source, p.target} {
		rows, err := query[locale](ctx, s.Conn, localeSQL(s.Major()))
		if err != nil {
			return nil, err
		}
		locales[i] = rows[0]
	}
	return localeFindings(locales[0], locales[1], p.source.Facts.Database, p.target.Facts.Database), nil
}

func localeFindings(source, target locale, sourceDB, targetDB string) Findings {
	var found Findings
	if source.Version != source.Actual && source.Version != "" && source.Actual != "" {
		found = append(found, warning("locale", fmt.Sprintf("on the source: REINDEX DATABASE %[1]s; ALTER DATABASE %[1]s REFRESH COLLATION VERSION;", quoteIdent(sourceDB)),
			"the collation library of the source was updated from version %s to %s: unique indexes there may have let duplicates in, on which the copy would fail", source.Version, source.Actual))
	}
	if !source.sameAs(target) {
		return append(found, warning("locale", fmt.Sprintf("if order matters, create the target database with the source's: CREATE DATABASE %s TEMPLATE template0 … (%s)", quoteIdent(targetDB), source),
			"the databases sort text in different ways: the source has %s; the target %s", source, target))
	}
	if source.Actual != target.Actual && source.Actual != "" && target.Actual != "" {
		found = append(found, warning("locale", "nothing to do: indexes are built anew; compare the order of text if an application relies on it",
			"the collation library of the source is of version %s, that of the target %s: some text may sort in another order", source.Actual, target.Actual))
	}
	return found
}

// sameAs ignores how libc spells an encoding: en_US.utf8 is en_US.UTF-8.
func (l locale) sameAs(other locale) bool {
	same := func(a, b string) bool { return plainLocale(a) == plainLocale(b) }
	return l.Provider == other.Provider && same(l.Collate, other.Collate) && same(l.Ctype, other.Ctype) && same(l.Locale, other.Locale) && l.Rules == other.Rules
}

// plainLocale makes spellings of one locale equal.
func plainLocale(name string) string {
	return strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(name))
}
