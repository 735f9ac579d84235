package filter

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Pattern matches names: those of schemas or extensions if it was read by
// [ParseName], those of tables or indexes if by [ParseQualified].
type Pattern struct {
	Text string // as it was written
	From string // where: a setting's path, or a line of a filter file

	schema part           // not used by a pattern of one name
	name   part           // not used if there is whole
	whole  *regexp.Regexp // of schema and name with a dot between
}

// part matches one identifier.
type part struct {
	exact string
	regex *regexp.Regexp // in place of exact
}

func (p part) matches(s string) bool {
	if p.regex != nil {
		return p.regex.MatchString(s)
	}
	return p.exact == s
}

// Exact reports whether the pattern is a plain name: one that matches nothing is
// a mistake.
func (p Pattern) Exact() bool { return p.whole == nil && p.schema.regex == nil && p.name.regex == nil }

// MatchesName reports whether a pattern of one name matches.
func (p Pattern) MatchesName(name string) bool { return p.name.matches(name) }

// Matches reports whether a pattern of a qualified name matches.
func (p Pattern) Matches(schema, name string) bool {
	if p.whole != nil {
		return p.whole.MatchString(schema + "." + name)
	}
	return p.schema.matches(schema) && p.name.matches(name)
}

// ParseName reads the name of a schema or extension as in SQL, or a regular
// expression between slashes, which may have a ~ in front.
func ParseName(text, from string) (Pattern, error) {
	p := Pattern{Text: text, From: from}
	candidates, err := parts(strings.TrimSpace(text))
	if err != nil {
		return p, err
	}
	for _, c := range candidates {
		if c.rest == "" {
			p.name = c.part
			return p, p.valid()
		}
	}
	return p, errors.New("this is a schema-qualified name, where a single one is meant")
}

// ParseQualified reads the name of a table or index with its schema. Each of the
// two is a name as in SQL, or a regular expression between slashes; a single
// regular expression is matched with both, joined by a dot.
func ParseQualified(text, from string) (Pattern, error) {
	p := Pattern{Text: text, From: from}
	text = strings.TrimSpace(text)
	candidates, err := parts(text)
	if err != nil {
		return p, err
	}
	for _, schema := range candidates {
		if schema.rest == "" && schema.regex != nil {
			p.whole = schema.regex
			return p, p.valid()
		}
		rest, dot := strings.CutPrefix(schema.rest, ".")
		if !dot {
			continue
		}
		names, err := parts(rest)
		if err != nil {
			continue
		}
		for _, name := range names {
			if name.rest == "" {
				p.schema, p.name = schema.part, name.part
				return p, p.valid()
			}
		}
	}
	if candidates[len(candidates)-1].rest == "" {
		return p, fmt.Errorf("the schema is missing: write public.%s if that is meant", text)
	}
	return p, errors.New("neither a name as in SQL, such as app.orders or \"App\".\"Orders\", nor a /regular expression/")
}

// valid refuses an expression that is empty, as it would match everything.
func (p Pattern) valid() error {
	for _, r := range []*regexp.Regexp{p.whole, p.schema.regex, p.name.regex} {
		if r != nil && r.String() == "" {
			return errors.New("the regular expression is empty")
		}
	}
	return nil
}

// candidate is one way to read the beginning of a text.
type candidate struct {
	part
	rest string
}

// parts returns the ways to read one identifier or regular expression at the
// beginning of the text: an expression may hold slashes itself, and ends at one
// that a dot or the end follows.
func parts(text string) ([]candidate, error) {
	expression, tilde := strings.CutPrefix(text, "~")
	if body, ok := strings.CutPrefix(expression, "/"); ok {
		return expressions(body)
	}
	if tilde {
		return nil, errors.New("a ~ begins a regular expression between slashes: ~/^tmp_/")
	}
	if quoted, ok := strings.CutPrefix(text, `"`); ok {
		return quotedName(quoted)
	}
	end := strings.IndexFunc(text, func(r rune) bool { return !inName(r) })
	if end < 0 {
		end = len(text)
	}
	if end == 0 || strings.ContainsRune("0123456789$", rune(text[0])) {
		return nil, fmt.Errorf("%q is not a name as in SQL: put names with capitals or special characters in double quotes, regular expressions in slashes", text)
	}
	return []candidate{{part{exact: foldASCII(text[:end])}, text[end:]}}, nil
}

func quotedName(text string) ([]candidate, error) {
	var name strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] != '"':
			name.WriteByte(text[i])
		case i+1 < len(text) && text[i+1] == '"':
			name.WriteByte('"')
			i++
		case name.Len() == 0:
			return nil, errors.New("a name in double quotes is empty")
		default:
			return []candidate{{part{exact: name.String()}, text[i+1:]}}, nil
		}
	}
	return nil, errors.New("a double quote is not closed")
}

func expressions(body string) ([]candidate, error) {
	var found []candidate
	var failed error
	for i := range len(body) {
		if body[i] != '/' || i+1 < len(body) && body[i+1] != '.' {
			continue
		}
		r, err := regexp.Compile(body[:i])
		if err != nil {
			failed = err
			continue
		}
		found = append(found, candidate{part{regex: r}, body[i+1:]})
	}
	switch {
	case len(found) > 0:
		return found, nil
	case failed != nil:
		return nil, failed
	}
	return nil, errors.New("a regular expression must end with a slash: /^tenant_/")
}

func inName(r rune) bool {
	return r == '_' || r == '$' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r > 127
}

// foldASCII is what a server makes of a name without quotes.
func foldASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
