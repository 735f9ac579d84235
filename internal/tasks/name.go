package tasks

import (
	"cmp"
	"fmt"
	"strings"
)

// Name is the schema-qualified name of a relation, unquoted.
type Name struct {
	Schema string `json:"schema"`
	Name   string `json:"name"`
}

// String returns the name quoted for use in SQL: "public"."orders". Both parts
// are always quoted, so the text means the same under every search_path.
func (n Name) String() string { return QuoteIdent(n.Schema) + "." + QuoteIdent(n.Name) }

// CompareNames orders names by schema, then by name.
func CompareNames(x, y Name) int {
	return cmp.Or(cmp.Compare(x.Schema, y.Schema), cmp.Compare(x.Name, y.Name))
}

// QuoteIdent quotes one identifier for use in SQL.
func QuoteIdent(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

// QuoteIdents quotes each identifier and joins them with ", ".
func QuoteIdents(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = QuoteIdent(n)
	}
	return strings.Join(quoted, ", ")
}

// QuoteLiteral quotes a string constant for use in SQL, right under any
// setting of standard_conforming_strings.
func QuoteLiteral(s string) string {
	quoted := "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.Contains(s, `\`) {
		return " E" + strings.ReplaceAll(quoted, `\`, `\\`)
	}
	return quoted
}

// Token turns one identifier into one token of a queue subject: letters,
// digits, _ and - stand for themselves, any other byte is written =HH. The
// mapping is one to one, so two names never share a token. The empty
// identifier, which Postgres does not allow, becomes "=".
func Token(s string) string {
	if s == "" {
		return "="
	}
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	return b.String()
}
