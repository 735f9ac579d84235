package docs

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/pgconvoy/pgconvoy/internal/cli/clitest"
	"github.com/pgconvoy/pgconvoy/internal/config"
)

// verb matches a line of the list of verbs in a page of help.
var verb = regexp.MustCompile(`(?m)^  ([a-z]+) +[A-Z]`)

// askCommands asks planner and worker, and each of their verbs, for their help, once.
// The pages are by command line.
var askCommands = sync.OnceValues(func() (pages map[string]string, err error) {
	dir, err := clitest.Commands()
	if err != nil {
		return nil, err
	}
	pages = map[string]string{}
	ask := func(name string, args ...string) {
		out, failed := exec.Command(filepath.Join(dir, name), append(args, "--help")...).CombinedOutput()
		err = errors.Join(err, failed)
		pages[strings.Join(append([]string{name}, args...), " ")] = string(out)
	}
	for _, name := range []string{"planner", "worker"} {
		ask(name)
		for _, v := range verbsIn(pages[name]) {
			ask(name, v)
		}
	}
	return pages, err
})

// manuals returns the help of every command.
func manuals(t *testing.T) map[string]string {
	t.Helper()
	pages, err := askCommands()
	require.NoError(t, err)
	return pages
}

// verbsIn returns the verbs that a page of help lists, but for those that every
// command of this library has.
func verbsIn(page string) []string {
	_, list, _ := strings.Cut(page, "Available Commands:\n")
	list, _, _ = strings.Cut(list, "\n\n")
	var found []string
	for _, m := range verb.FindAllStringSubmatch(list, -1) {
		if m[1] != "help" && m[1] != "completion" {
			found = append(found, m[1])
		}
	}
	return found
}

// invocation matches a command line of planner or worker: after a prompt, settings
// for the environment, or a path, up to a comment, a pipe or the end.
var invocation = regexp.MustCompile(`^(?:\$ )?(?:[A-Z_]+=\S+ +)*(?:exec +|sudo +)?(?:\S*/)?(planner|worker)((?: +[^#|&;<>\n]*)?)`)

// flag matches a flag of a command line, or of a page of help.
var flag = regexp.MustCompile(`(?:^|\s)(--[a-z][a-z-]*|-[a-z])\b`)

// TestCommandLinesExist compares every command line of planner and worker in the
// documents with the help of its command: no verb and no flag is described that does
// not exist. In text, what begins with planner and a verb, or with worker and a flag,
// is a command line.
func TestCommandLinesExist(t *testing.T) {
	t.Parallel()
	pages, seen := manuals(t), 0
	for _, p := range read(t) {
		for _, line := range p.commandLines() {
			m := invocation.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			name, rest := m[1], strings.TrimSpace(m[2])
			first, _, _ := strings.Cut(rest, " ")
			switch {
			case first == "" || name == "worker" && !strings.HasPrefix(first, "-"):
				continue
			case !strings.HasPrefix(first, "-"):
				name += " " + first
			}
			seen++
			require.Contains(t, pages, name, "%s: %s", p.Path, line)
			for _, f := range flag.FindAllStringSubmatch(rest, -1) {
				known := flag.FindAllStringSubmatch(strings.ReplaceAll(pages[name], ",", " "), -1)
				require.True(t, slices.ContainsFunc(known, func(k []string) bool { return k[1] == f[1] }), "%s: %s has no flag %s", p.Path, line, f[1])
			}
		}
	}
	require.Greater(t, seen, 100)
}

// commandLines returns the lines of the document that may be command lines.
func (p *Page) commandLines() []string {
	var lines []string
	for _, b := range p.blocks() {
		if b.info == "text" {
			continue // what commands print
		}
		for line := range strings.SplitSeq(strings.ReplaceAll(b.text, "\\\n", " "), "\n") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	for _, s := range p.spans() {
		if strings.HasPrefix(s, "planner ") || strings.HasPrefix(s, "worker -") {
			lines = append(lines, s)
		}
	}
	return lines
}

// TestConfigurationsLoad loads every block of YAML that has a setting among its
// keys, with what it leaves out of the two databases.
func TestConfigurationsLoad(t *testing.T) {
	for _, name := range config.Variables() {
		t.Setenv(name, "")
	}
	settings := topKeys(t, defaults(t))
	require.Contains(t, settings, "source")
	dir, loaded := t.TempDir(), 0
	for _, p := range read(t) {
		for _, b := range p.blocks() {
			if !strings.HasPrefix(b.info, "yaml") || !slices.ContainsFunc(topKeys(t, []byte(b.text)), func(key string) bool { return slices.Contains(settings, key) }) {
				continue
			}
			file := filepath.Join(dir, "planner.yaml")
			require.NoError(t, os.WriteFile(file, []byte(b.text), 0o600))
			var given []config.Override
			for _, side := range []string{"source", "target"} {
				if !regexp.MustCompile(`(?m)^` + side + `:`).MatchString(b.text) {
					given = append(given, config.Override{Flag: "--" + side, Key: side + ".uri", Value: "postgres://me@" + side + ".example/shop"})
				}
			}
			_, err := config.Load(file, given, config.Config.Validate)
			require.NoError(t, err, "%s:%d", p.Path, b.line)
			loaded++
		}
	}
	require.Greater(t, loaded, 8)
}

// topKeys returns the keys of the outermost mapping of a document of YAML, nothing
// if it is something else, or several documents.
func topKeys(t *testing.T, text []byte) []string {
	t.Helper()
	var doc yaml.Node
	if yaml.Unmarshal(text, &doc) != nil || len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
		return nil
	}
	var keys []string
	for i := 0; i < len(doc.Content[0].Content); i += 2 {
		keys = append(keys, doc.Content[0].Content[i].Value)
	}
	return keys
}
