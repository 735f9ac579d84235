package docs

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// guideTime bounds one document: a command that hangs is a failure of its own.
const guideTime = 3 * time.Minute

// follow does what a document says: it runs its blocks marked sh, in order, in one
// shell in the folder, and compares what each prints with the block marked text that
// comes next. Every command has to succeed. Further variables of the environment are
// given as name=value.
func follow(t *testing.T, p *Page, dir string, environment ...string) {
	t.Helper()
	var steps []step
	for _, b := range p.blocks() {
		switch {
		case b.info == "sh":
			steps = append(steps, step{block: b})
		case b.info == "text" && len(steps) > 0 && steps[len(steps)-1].prints == nil:
			steps[len(steps)-1].prints = &b.text
		}
	}
	require.NotEmpty(t, steps)
	const mark = "\x01 step is done"
	script := "set -eu -o pipefail\n"
	for _, s := range steps {
		script += s.text + "echo '" + mark + "'\n"
	}
	printed, err := bash(t, dir, script, environment)
	parts := strings.Split(printed, mark+"\n")
	for i, s := range steps {
		where := fmt.Sprintf("%s:%d", p.Path, s.line)
		require.Less(t, i+1, len(parts), "%s: a command of this block failed (%v) after it had printed:\n%s", where, err, parts[len(parts)-1])
		t.Logf("%s\n%s", where, parts[i])
		if s.prints != nil {
			require.True(t, shows(*s.prints, parts[i]), "%s printed:\n%s\nand the document shows:\n%s", where, parts[i], *s.prints)
		}
	}
	require.NoError(t, err)
}

// step is a block of commands, and what it is said to print.
type step struct {
	block
	prints *string
}

// bash runs a script and returns what it and its commands print. Whatever it leaves
// behind is ended with the test. Output goes to a file, so that nobody waits for the
// servers that a script starts.
func bash(t *testing.T, dir, script string, environment []string) (printed string, err error) {
	t.Helper()
	work := t.TempDir()
	file, output := filepath.Join(work, "script"), filepath.Join(work, "output")
	require.NoError(t, os.WriteFile(file, []byte(script), 0o600))
	out, err := os.Create(output)
	require.NoError(t, err)
	defer func() { _ = out.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), guideTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", file)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PG") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(append(cmd.Env, "PGCONVOY_LOG_FORMAT=text", "NO_COLOR=1", "PAGER=cat"), environment...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, cmd.Start())
	defer func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }()
	err = cmd.Wait()
	text, readErr := os.ReadFile(output)
	require.NoError(t, readErr)
	return string(text), err
}

// took matches times, which are never the same twice.
var took = regexp.MustCompile(`\b(\d+h)?(\d+m)?\d+(\.\d+)?(ms|µs|s)\b|<1ms`)

// shows reports whether a document shows what was printed: the same lines, but for
// times and numbers of blanks. A line of the document that is … stands for any
// lines, and … within one for any letters.
func shows(document, printed string) bool {
	plain := func(text string) []string {
		lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
		for i, line := range lines {
			lines[i] = strings.Join(strings.Fields(took.ReplaceAllString(line, "time")), " ")
		}
		return lines
	}
	var pattern strings.Builder
	for _, line := range plain(document) {
		if line == "…" {
			pattern.WriteString(`(?:.*\n)*?`)
			continue
		}
		parts := strings.Split(line, "…")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		pattern.WriteString(strings.Join(parts, ".*") + `\n`)
	}
	return regexp.MustCompile(`\A` + pattern.String() + `\z`).MatchString(strings.Join(plain(printed), "\n") + "\n")
}

func TestShows(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		document, printed string
		want              bool
	}{
		{"a b\n", "a   b\n", true},
		{"a 3.21s\n", "a  17ms\n", true},
		{"a 3 rows\n", "a 4 rows\n", false},
		{"a\n…\nd\n", "a\nb\nc\nd\n", true},
		{"a\n…\nd\n", "a\nd\n", true},
		{"a\n…\n", "a\nb\n", true},
		{"a\n", "a\nb\n", false},
		{"a\nd\n", "a\nb\nd\n", false},
		{"port … is (free)\n", "port 123 is (free)\n", true},
		{"port … is (free)\n", "port 123\nis (free)\n", false},
	} {
		require.Equal(t, c.want, shows(c.document, c.printed), "%q %q", c.document, c.printed)
	}
}
