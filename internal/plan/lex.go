package plan

import (
	"strings"
	"unicode/utf8"
)

// token is one piece of SQL that means something: a word, a quoted name, a
// constant, or a sign.
type token struct {
	start, end int // bytes of the text
	text       string
}

// is reports whether the token is the keyword.
func (t token) is(word string) bool { return strings.EqualFold(t.text, word) }

// name returns the name that the token stands for as an identifier.
func (t token) name() string {
	if len(t.text) > 1 && t.text[0] == '"' {
		return strings.ReplaceAll(t.text[1:len(t.text)-1], `""`, `"`)
	}
	return strings.ToLower(t.text)
}

// statementsIn cuts SQL into the tokens of its statements, each without the
// semicolon. Statements within the body of another (BEGIN ATOMIC) are cut, too.
func statementsIn(sql string) [][]token {
	var all [][]token
	var current []token
	for at := 0; at < len(sql); {
		end, means := nextToken(sql, at)
		switch {
		case !means:
		case sql[at:end] == ";":
			all, current = append(all, current), nil
		default:
			current = append(current, token{at, end, sql[at:end]})
		}
		at = end
	}
	if len(current) > 0 {
		all = append(all, current)
	}
	return all
}

// nextToken returns the end of what begins at a byte of the text, and whether it
// means something: white space and comments do not. What has no end ends with
// the text.
func nextToken(sql string, at int) (end int, means bool) {
	rest := sql[at:]
	switch c := rest[0]; {
	case strings.IndexByte(" \t\r\n\f\v", c) >= 0:
		return at + 1, false
	case strings.HasPrefix(rest, "--"):
		if i := strings.IndexByte(rest, '\n'); i >= 0 {
			return at + i + 1, false
		}
		return len(sql), false
	case strings.HasPrefix(rest, "/*"):
		return at + commentLength(rest), false
	case c == '"':
		return at + quotedLength(rest, false), true
	case c == '\'':
		return at + quotedLength(rest, false), true
	case (c == 'E' || c == 'e') && strings.HasPrefix(rest[1:], "'"):
		return at + 1 + quotedLength(rest[1:], true), true
	case c == '$':
		return at + dollarLength(rest), true
	case startsWord(c):
		n := 1
		for n < len(rest) && (startsWord(rest[n]) || rest[n] >= '0' && rest[n] <= '9' || rest[n] == '$') {
			n++
		}
		return at + n, true
	default:
		return at + 1, true
	}
}

func startsWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= utf8.RuneSelf
}

// quotedLength returns the length of a constant or name with its quotes; a
// doubled quote does not end it, nor does one after a backslash if that escapes.
func quotedLength(text string, escapes bool) int {
	quote := text[0]
	for i := 1; i < len(text); i++ {
		switch {
		case escapes && text[i] == '\\':
			i++
		case text[i] != quote:
		case i+1 < len(text) && text[i+1] == quote:
			i++
		default:
			return i + 1
		}
	}
	return len(text)
}

// dollarLength returns the length of a dollar-quoted constant, 1 if the sign
// begins none.
func dollarLength(text string) int {
	n := 1
	for n < len(text) && (startsWord(text[n]) || n > 1 && text[n] >= '0' && text[n] <= '9') {
		n++
	}
	if n == len(text) || text[n] != '$' {
		return 1
	}
	tag := text[:n+1]
	if i := strings.Index(text[n+1:], tag); i >= 0 {
		return n + 1 + i + len(tag)
	}
	return len(text)
}

// commentLength returns the length of a comment, which may hold others.
func commentLength(text string) int {
	depth := 0
	for i := 0; i+1 < len(text); i++ {
		switch text[i : i+2] {
		case "/*":
			depth++
			i++
		case "*/":
			depth--
			i++
			if depth == 0 {
				return i + 1
			}
		}
	}
	return len(text)
}
