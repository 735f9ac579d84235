package obs

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNewLoggerForms(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name            string
		o               Options
		isJSON, colours bool
	}{
		{"auto on a terminal", Options{Format: Auto, Terminal: true}, false, true},
		{"auto elsewhere", Options{Format: Auto}, true, false},
		{"unset elsewhere", Options{}, true, false},
		{"text elsewhere", Options{Format: Text}, false, false},
		{"text on a terminal without colours", Options{Format: Text, Terminal: true, NoColor: true}, false, false},
		{"json on a terminal", Options{Format: JSON, Terminal: true}, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			logger := NewLogger(&out, tt.o)
			logger.Debug("not shown")
			logger.Info("copied", "table", "public.orders", "rows", 3)
			require.Equal(t, tt.isJSON, json.Valid(out.Bytes()), out.String())
			require.Equal(t, tt.colours, strings.Contains(out.String(), "\x1b["), out.String())
			require.Contains(t, out.String(), "public.orders")
			require.Equal(t, 1, strings.Count(out.String(), "\n"))
		})
	}
}

func TestNewLoggerLevel(t *testing.T) {
	t.Parallel()
	for _, format := range []Format{Text, JSON} {
		var out bytes.Buffer
		logger := NewLogger(&out, Options{Format: format, Level: slog.LevelWarn})
		logger.Info("not shown")
		logger.Warn("shown")
		require.Contains(t, out.String(), "shown")
		require.NotContains(t, out.String(), "not shown")
	}
}

func TestErrIsMasked(t *testing.T) {
	t.Parallel()
	for _, format := range []Format{Text, JSON} {
		var out bytes.Buffer
		logger := NewLogger(&out, Options{Format: format}).With("worker", "w1")
		logger.Error("attempt ended", "err", errors.New("connect postgres://me:hunter2@h/d: no route"))
		logger.Error("attempt ended", "err", "host=h password=hunter2 dbname=d")
		logger.Error("attempt ended", "err", nil)
		require.NotContains(t, out.String(), "hunter2")
		require.Contains(t, out.String(), "no route")
		require.Contains(t, out.String(), "dbname=d")
	}
}

func TestMaskText(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"dial postgres://me:pw@h:5432/d: refused":             "dial postgres://me:***@h:5432/d: refused",
		"dial postgres://me:p@w@h/d: refused":                 "dial postgres://me:***@h/d: refused",
		"dial nats://tok@h:4222: refused":                     "dial nats://***@h:4222: refused",
		"host=h password='p w' dbname=d":                      "host=h password=*** dbname=d",
		"host=h password = pw":                                "host=h password = ***",
		`password='p\'w x' host=h`:                            "password=*** host=h",
		"h/d?sslpassword=pw&user=me":                          "h/d?sslpassword=***&user=me",
		`PASSWORD="p w", host=h`:                              "PASSWORD=***, host=h",
		`password authentication failed for user "me"`:        `password authentication failed for user "me"`,
		"postgres://me@h/d and mail to a@b":                   "postgres://me@h/d and mail to a@b",
		"listen 127.0.0.1:5432, see https://example.org/a:b.": "listen 127.0.0.1:5432, see https://example.org/a:b.",
	} {
		require.Equal(t, want, MaskText(in))
	}
}
