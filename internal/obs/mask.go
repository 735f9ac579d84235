package obs

import (
	"log/slog"
	"regexp"
)

var (
	// passwordField matches password=… in a key=value string or a query.
	passwordField = regexp.MustCompile(`(?i)((?:password|passwd|pwd)\s*=\s*)(?:'(?:[^'\\]|\\.)*'?|"[^"]*"?|[^\s&'",;)]+)`)
	// userinfoPassword matches the password of scheme://user:password@host. It
	// runs to the last @ of the word, as a password may hold one.
	userinfoPassword = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://[^\s:/@"]*):\S*@`)
	// natsToken matches the token of nats://token@host.
	natsToken = regexp.MustCompile(`((?:nats|tls|wss?)://)[^\s:/@"]+@`)
)

// MaskText replaces what looks like a password in text by ***. It is the last
// net, for errors whose text comes from libraries; it hides too much rather
// than too little.
func MaskText(text string) string {
	text = userinfoPassword.ReplaceAllString(text, "$1:***@")
	text = natsToken.ReplaceAllString(text, "$1***@")
	return passwordField.ReplaceAllString(text, "$1***")
}

// maskErr masks the value of the key err.
func maskErr(_ []string, a slog.Attr) slog.Attr {
	if a.Key != "err" {
		return a
	}
	switch v := a.Value.Resolve().Any().(type) {
	case error:
		return slog.String(a.Key, MaskText(v.Error()))
	case string:
		return slog.String(a.Key, MaskText(v))
	default:
		return a
	}
}
