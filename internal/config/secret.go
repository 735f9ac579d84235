package config

import (
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// hidden stands for what must not be shown.
const hidden = "***"

// Secret is text that must not reach a log, a terminal or a file. Every way
// of printing it (fmt with any verb, slog, JSON, YAML) gives ***, or nothing
// if it is empty; string(s) is the only way to the text itself.
type Secret string

// String returns *** unless the secret is empty.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return hidden
}

// Format implements fmt.Formatter: Stringer alone does not cover verbs such
// as %d, whose error text would show the value.
func (s Secret) Format(f fmt.State, verb rune) {
	out := s.String()
	if verb == 'q' || (verb == 'v' && f.Flag('#')) {
		out = `"` + out + `"`
	}
	_, _ = io.WriteString(f, out)
}

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText hides the secret in JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Masked returns a connection string that can be shown: host, database and
// user stay, the password and everything that is not known to be harmless is
// replaced by ***. It understands postgres:// URIs, key=value pairs and
// nats:// URLs. What it cannot read it hides whole, and where a separator is
// ambiguous it hides more rather than less.
func (s Secret) Masked() string {
	text := string(s)
	scheme, rest, isURI := strings.Cut(text, "://")
	switch {
	case text == "":
		return ""
	case isURI && isScheme(scheme):
		return scheme + "://" + maskURI(scheme, rest)
	case strings.Contains(text, "="):
		return maskPairs(text)
	case strings.Contains(text, "@"):
		return hidden + text[strings.LastIndex(text, "@"):]
	case strings.ContainsAny(text, " \t\r\n"):
		return hidden
	default:
		return text
	}
}

// maskedPassword matches what Masked makes of a password.
var maskedPassword = regexp.MustCompile(`:\*{3}@|(?:^|[ ?&])password=\*{3}`)

// hasPassword reports whether a connection string for Postgres holds a password.
func (s Secret) hasPassword() bool { return maskedPassword.MatchString(s.Masked()) }

// isScheme reports whether s is the scheme of a URI.
func isScheme(s string) bool {
	return s != "" && strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz+") == ""
}

// maskURI masks what follows the scheme. The password may hold unescaped
// separators, so it is taken to be everything between the first colon and the
// last @; with a ? before that @ nobody can tell a password from a parameter.
func maskURI(scheme, rest string) string {
	at := strings.LastIndex(rest, "@")
	userinfo, after := rest[:max(at, 0)], rest[max(at, 0):]
	if strings.Contains(userinfo, "?") {
		return hidden
	}
	user, _, hasPassword := strings.Cut(userinfo, ":")
	switch {
	case at < 0:
	case !strings.HasPrefix(scheme, "postgres"):
		userinfo = hidden // without a colon it is a token
	case hasPassword:
		userinfo = user + ":" + hidden
	}
	if head, query, ok := strings.Cut(after, "?"); ok {
		after = head + "?" + maskQuery(query)
	}
	return userinfo + after
}

// maskQuery hides the values of a query string that are not harmless.
func maskQuery(query string) string {
	fields := strings.Split(query, "&")
	for i, f := range fields {
		key, value, hasValue := strings.Cut(f, "=")
		name, err := url.QueryUnescape(key)
		plain, valueErr := url.QueryUnescape(value)
		switch {
		case err != nil || valueErr != nil || !hasValue:
			fields[i] = hidden
		case !harmless(name, plain):
			fields[i] = key + "=" + hidden
		}
	}
	return strings.Join(fields, "&")
}

// maskPairs masks libpq's key=value form, where a value may be quoted and a
// backslash escapes. Text that is not of this form is hidden whole.
func maskPairs(text string) string {
	var out []string
	for rest := strings.TrimSpace(text); rest != ""; {
		key, tail, ok := strings.Cut(rest, "=")
		key = strings.TrimSpace(key)
		if !ok || key == "" || strings.ContainsAny(key, " \t\r\n'\\") {
			return hidden
		}
		value, tail, ok := cutValue(strings.TrimLeft(tail, " \t\r\n"))
		if !ok {
			return hidden
		}
		if !harmless(key, value) {
			value = hidden
		}
		out = append(out, key+"="+value)
		rest = strings.TrimLeft(tail, " \t\r\n")
	}
	return strings.Join(out, " ")
}

// cutValue splits the value, with its quotes, from the text that follows it.
func cutValue(s string) (value, rest string, ok bool) {
	quoted := strings.HasPrefix(s, "'")
	i := 0
	if quoted {
		i = 1
	}
	for ; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case quoted && c == '\'':
			return s[:i+1], s[i+1:], true
		case !quoted && strings.IndexByte(" \t\r\n", c) >= 0:
			return s[:i], s[i:], true
		}
	}
	return s, "", !quoted
}

// harmless reports whether a connection parameter can be shown. A value that
// may itself be a connection string, which libpq allows for dbname, cannot.
func harmless(key, value string) bool {
	return !strings.Contains(value, "://") && !strings.Contains(value, "password") && slices.Contains([]string{
		"host", "hostaddr", "port", "dbname", "user", "service", "servicefile", "passfile",
		"application_name", "connect_timeout", "target_session_attrs", "load_balance_hosts",
		"sslmode", "sslrootcert", "sslcert", "sslkey", "channel_binding", "gssencmode",
		"client_encoding", "options", "search_path", "statement_timeout",
	}, key)
}
