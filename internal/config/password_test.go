package config

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPasswordIsReadEachTime(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "password")
	d := Database{PasswordFile: file}
	password := d.Password("source")
	_, err := password(t.Context())
	require.ErrorContains(t, err, "source.password_file: open "+file)
	for text, want := range map[string]string{"one\n": "one", "two": "two", " three \r\n": " three ", "vier ü": "vier ü"} {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
		got, err := password(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, text := range []string{"", "\n", "hush\nhush\n", "hush\x00"} {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		_, err := password(t.Context())
		require.ErrorContains(t, err, "source.password_file: the password is ")
		require.NotContains(t, err.Error(), "hush")
	}
}

func TestPasswordCommandRunsEachTime(t *testing.T) {
	t.Parallel()
	counter := filepath.Join(t.TempDir(), "counter")
	password := Database{PasswordCommand: "echo x >> '" + counter + "'; wc -l < '" + counter + "'"}.Password("target")
	for _, want := range []string{"1", "2", "3"} {
		got, err := password(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, strings.TrimSpace(got))
	}
}

func TestPasswordCommandFails(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ command, says string }{
		"status":    {"echo hush; echo token expired >&2; exit 3", "target.password_command: exit status 3: token expired"},
		"no output": {"true", "target.password_command: the password is empty"},
		"two lines": {"echo hush; echo hush", "target.password_command: the password is not one line of text"},
		"missing":   {"no-such-program-at-all", "no-such-program-at-all"},
		"trace":     {"set -x; echo hush; false", "***"},
		"signal":    {"kill -TERM $$", "signal: terminated"},
		"input":     {"read line && echo \"$line\"", "exit status 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Database{PasswordCommand: test.command}.Password("target")(t.Context())
			require.ErrorContains(t, err, test.says)
			require.NotContains(t, err.Error(), "hush")
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

// A command that does not end is ended with whoever asks, and what it has
// started in the background holds nobody up.
func TestPasswordCommandIsBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	started := filepath.Join(dir, "started")
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		awaitFile(ctx, started)
		cancel()
	}()
	_, err := Database{PasswordCommand: "echo x > '" + started + "'; exec sleep 1000"}.Password("source")(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "source.password_command: ")
	<-watched

	left := filepath.Join(dir, "left")
	got, err := Database{PasswordCommand: "sleep 1000 & echo $! > '" + left + "'; echo hush"}.Password("source")(t.Context())
	require.NoError(t, err)
	require.Equal(t, "hush", got)
	text, err := os.ReadFile(left)
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	process, err := os.FindProcess(pid)
	require.NoError(t, err)
	require.NoError(t, process.Kill(), "it was still running")
}

// awaitFile waits until a file has contents.
func awaitFile(ctx context.Context, file string) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if text, err := os.ReadFile(file); err == nil && len(text) > 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func TestNoPassword(t *testing.T) {
	t.Parallel()
	require.Nil(t, Database{URI: "postgres://me:hush@h/d"}.Password("source"), "libpq's places are left to the driver")
}

func TestHasPassword(t *testing.T) {
	t.Parallel()
	for uri, want := range map[Secret]bool{
		"postgres://me@h/d": false, "postgres://me:pw@h/d": true, "postgresql://me:p@w@h:5432/d": true, "postgres://h/d?user=me&password=pw": true,
		"postgres://h/d?sslpassword=pw": false, "postgres://h/d?passfile=/p": false, "host=h user=me": false, "host=h password=pw": true,
		"password='p w' host=h": true, "host=h sslpassword=pw": false, "service=s": false, "": false,
	} {
		require.Equal(t, want, uri.hasPassword(), string(uri))
	}
}
