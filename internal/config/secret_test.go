package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

func TestSecretNeverPrints(t *testing.T) {
	t.Parallel()
	const text = "hunter2"
	holder := struct {
		S Secret
		P *Secret
		L []Secret
	}{S: text, L: []Secret{text}}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%t", "%10s", "%08v"} {
		fmt.Fprintf(&out, verb+"\n", Secret(text))
		fmt.Fprintf(&out, verb+"\n", holder)
		fmt.Fprintf(&out, verb+"\n", &holder)
	}
	fmt.Fprintln(&out, Secret(text), fmt.Errorf("connect %w %s", fmt.Errorf("x"), Secret(text)))
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("login", "secret", Secret(text), "holder", holder, "cfg", Config{Source: Database{URI: text}})
	}
	asJSON, err := json.Marshal(holder)
	require.NoError(t, err)
	out.Write(asJSON)
	asYAML, err := yaml.Marshal(Config{NATS: NATS{Password: text, URL: text, Token: text}})
	require.NoError(t, err)
	out.Write(asYAML)

	require.NotContains(t, out.String(), text)
	require.NotContains(t, out.String(), fmt.Sprintf("%x", text))
	require.Contains(t, out.String(), hidden)
	require.Equal(t, `"***"`, fmt.Sprintf("%#v", Secret(text)))
}

func TestSecretEmpty(t *testing.T) {
	t.Parallel()
	require.Empty(t, Secret("").String())
	require.Empty(t, Secret("").Masked())
	require.Equal(t, `""`, fmt.Sprintf("%q", Secret("")))
}

func TestMasked(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, want string }{
		{"postgres://me@old.example/shop", "postgres://me@old.example/shop"},
		{"postgres://me:pw@old.example:5432/shop?sslmode=require", "postgres://me:***@old.example:5432/shop?sslmode=require"},
		{"postgresql://me:pw@a:1,b:2/shop", "postgresql://me:***@a:1,b:2/shop"},
		{"postgres://me:p@w/x@h/d", "postgres://me:***@h/d"},
		{"postgres://me:p?w@h/d", "postgres://***"},
		{"postgres://me:p#w@h/d", "postgres://me:***@h/d"},
		{"postgres://h/d?password=pw&user=me", "postgres://h/d?password=***&user=me"},
		{"postgres://h/d?sslpassword=pw", "postgres://h/d?sslpassword=***"},
		{"postgres://h/d?pass%77ord=pw", "postgres://h/d?pass%77ord=***"},
		{"postgres://h/d?password=pw@x", "postgres://***"},
		{"postgres://h:5432/d?password=pw@x", "postgres://***"},
		{"postgres://h/d?password=a&b", "postgres://h/d?password=***&***"},
		{"postgres://h/d?dbname=postgres%3A%2F%2Fme:pw%40h", "postgres://h/d?dbname=***"},
		{"postgres:///shop?host=/run/postgresql", "postgres:///shop?host=/run/postgresql"},
		{"host=h dbname=d user=me", "host=h dbname=d user=me"},
		{"host=h password=pw dbname=d", "host=h password=*** dbname=d"},
		{`host = h password = 'p w\' x' dbname = d`, "host=h password=*** dbname=d"},
		{`password=p\ w host=h`, "password=*** host=h"},
		{"password=p w host=h", "***"}, // a blank ends the value, and "w host" is no key
		{"dbname='postgres://me:pw@h/d'", "dbname=***"},
		{"host=h password='never closed", "***"},
		{"service=prod", "service=prod"},
		{"nats://u:p@h:4222", "nats://***@h:4222"},
		{"nats://token@h:4222", "nats://***@h:4222"},
		{"nats://u:p@a:4222,nats://u:p@b:4222", "nats://***@b:4222"},
		{"nats://a:4222,nats://b:4222", "nats://a:4222,nats://b:4222"},
		{"u:p@h:4222", "***@h:4222"},
		{"localhost:4222", "localhost:4222"},
		{"what is this", "***"},
	} {
		require.Equal(t, tt.want, Secret(tt.in).Masked(), tt.in)
	}
}

// FuzzMasked shows that the password has no influence on what is shown, in
// every form a connection string can carry it, and that nothing panics.
func FuzzMasked(f *testing.F) {
	for _, s := range []string{"pw", "", "p@w", "p:w", "p/w", "p?w", "p w", "'", `\`, "a&b=c", "%41", "host=h", "://", "password=x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, pw string) {
		_ = Secret(pw).Masked()
		quoted := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(pw)
		for _, form := range []struct{ in, want string }{
			{"postgres://me:" + url.QueryEscape(pw) + "@h:5432/d", "postgres://me:***@h:5432/d"},
			{"postgres://h/d?user=me&password=" + url.QueryEscape(pw) + "&sslmode=require", "postgres://h/d?user=me&password=***&sslmode=require"},
			{"host=h password='" + quoted + "' dbname=d", "host=h password=*** dbname=d"},
			{"nats://u:" + url.QueryEscape(pw) + "@h:4222", "nats://***@h:4222"},
		} {
			require.Equal(t, form.want, Secret(form.in).Masked(), form.in)
		}
		// A raw password may make the whole string unreadable, but is not shown.
		raw := Secret("postgres://me:" + pw + "@h/d").Masked()
		require.Contains(t, []string{"postgres://me:***@h/d", "postgres://***"}, raw)
	})
}
