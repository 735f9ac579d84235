package schema

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Versions since which servers show the same in another way.
const (
	publicOwner = 15 // the schema public belongs to pg_database_owner, and not everybody may create there
	bareColumns = 16 // columns of a query of one table are printed without the table
	maintain    = 17 // MAINTAIN is among the privileges on tables
	jsonWord    = 17 // the type json is a word of the grammar and never quoted
	notNull     = 18 // NOT NULL of a table is a constraint with a name
)

// notes says what is not compared, or not to the letter, between servers of the
// two majors.
func notes(source, target int) []string {
	d := dialect{major: source, other: target}
	list := []string{}
	note := func(applies bool, text string) {
		if applies {
			list = append(list, fmt.Sprintf("between %d and %d: %s", source, target, text))
		}
	}
	note(source != target, "the versions of extensions are compared only where they are not what CREATE EXTENSION installs")
	note(d.across(publicOwner), "of the schema public neither the owner nor what its owner and PUBLIC may do there is compared")
	note(d.across(maintain), "the privilege MAINTAIN is not compared")
	note(d.across(notNull), "the names of NOT NULL constraints are not compared")
	note(d.across(bareColumns), "queries of views, rules, policies and functions are compared without the names of tables that one side leaves out before columns")
	return list
}

// notes says what is not compared because a copy leaves it out.
func (e Expected) notes() []string {
	var list []string
	note := func(applies bool, text string) {
		if applies {
			list = append(list, text)
		}
	}
	note(!e.Source.All(), "filter and tables: what they leave out is not compared")
	note(e.Around.NoOwner, "no_owner: owners are not compared")
	note(e.Around.NoACL, "no_acl: privileges are not compared")
	note(e.Around.NoComments, "no_comments: comments are not compared")
	note(e.Around.NoTablespaces, "no_tablespaces: tablespaces are not compared")
	for _, provider := range e.NoLabels {
		list = append(list, "security labels of provider "+provider+" are not compared: the target has not loaded it")
	}
	return list
}

// sameDefinition reports whether a property differs only in how servers of the two
// versions print it.
func (d dialect) sameDefinition(f family, diff tasks.SchemaDifference) bool {
	source, target := diff.Source, diff.Target
	if d.across(jsonWord) {
		source, target = unquoteJSON(source), unquoteJSON(target)
	}
	if d.across(bareColumns) && slices.Contains(f.deparsed, diff.Property) {
		return sameQuery(source, target)
	}
	return source == target
}

func unquoteJSON(s string) string { return strings.ReplaceAll(s, `"json"`, "json") }

// sameQuery reports whether two queries are the same but for space between words,
// and names of tables before columns that only one of them has.
func sameQuery(x, y string) bool {
	a, b := words(x), words(y)
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0] == b[0]:
			a, b = a[1:], b[1:]
		case qualified(a, b[0]):
			a = a[2:]
		case qualified(b, a[0]):
			b = b[2:]
		default:
			return false
		}
	}
	return len(a) == 0 && len(b) == 0
}

// qualified reports whether the words begin with the column and a name before it.
func qualified(list []string, column string) bool {
	return len(list) > 2 && strings.HasPrefix(list[0], `"`) && list[1] == "." && list[2] == column && (column == "*" || strings.HasPrefix(column, `"`))
}

// words cuts SQL, in which every identifier is quoted, into quoted identifiers,
// string constants, and what is between them and between spaces.
func words(sql string) []string {
	var list []string
	for sql != "" {
		var n int
		switch c := sql[0]; c {
		case ' ', '\n', '\t':
			sql = sql[1:]
			continue
		case '"', '\'':
			n = quotedLength(sql, c)
		default:
			if n = strings.IndexAny(sql[1:], " \n\t\"'.(),;") + 1; n == 0 {
				n = len(sql)
			}
		}
		list = append(list, sql[:n])
		sql = sql[n:]
	}
	return list
}

// quotedLength returns how long the quoted word is that the text begins with. A
// doubled quote makes two words of it, on both sides.
func quotedLength(sql string, quote byte) int {
	end := strings.IndexByte(sql[1:], quote)
	if end < 0 {
		return len(sql)
	}
	return end + 2
}

// secretPrefix begins the names of properties that must not be shown.
const secretPrefix = "secret "

// hideSecrets takes values that must not be shown out of a difference.
func hideSecrets(d tasks.SchemaDifference) tasks.SchemaDifference {
	property, secret := strings.CutPrefix(d.Property, secretPrefix)
	if !secret {
		return d
	}
	d.Property = property
	for _, value := range []*string{&d.Source, &d.Target} {
		if *value != "" {
			*value = "what is not shown"
		}
	}
	return d
}
