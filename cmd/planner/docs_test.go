package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/pgconvoy/pgconvoy/internal/cli"
	"github.com/pgconvoy/pgconvoy/internal/config"
)

// TestReferenceIsComplete compares docs/cli.md with the verbs, flags, settings
// and variables that there are. Each has a row of a table, or a heading, that
// begins with its name in backquotes.
func TestReferenceIsComplete(t *testing.T) {
	documented := references(t, "../../docs/cli.md")
	real := map[string]bool{}
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Name() == "help" || cmd.Name() == "completion" {
			return // cobra's own
		}
		real[cmd.CommandPath()] = true
		note := func(f *pflag.Flag) { real["--"+f.Name] = true }
		cmd.PersistentFlags().VisitAll(note)
		cmd.LocalNonPersistentFlags().VisitAll(note)
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(newRoot(cli.New(strings.NewReader(""), io.Discard, io.Discard)))
	for _, path := range settingPaths(t) {
		real[path] = true
	}
	for _, name := range config.Variables() {
		real[name] = true
	}
	for name := range real {
		require.True(t, documented[name], "docs/cli.md lacks %s", name)
	}
	for name := range documented {
		known := real[name] || strings.HasPrefix(name, "worker")
		require.True(t, known, "docs/cli.md describes %s, which does not exist", name)
	}
}

// TestReferenceNamesDefaults makes sure that the default which docs/cli.md
// gives for a setting is the one that it has.
func TestReferenceNamesDefaults(t *testing.T) {
	text, err := os.ReadFile("../../docs/cli.md")
	require.NoError(t, err)
	defaults := scalars(t, printed(t))
	rows := regexp.MustCompile("(?m)^\\| `([a-z_.]+)` \\| `PGCONVOY_[A-Z_]+` \\| (.*?) \\|").FindAllSubmatch(text, -1)
	require.Len(t, rows, len(defaults))
	for _, row := range rows {
		want := "none"
		if value := defaults[string(row[1])]; value != "" {
			want = "`" + value + "`"
		}
		require.Equal(t, want, string(row[2]), "default of %s", row[1])
	}
}

// TestLinks makes sure that relative links in the documents lead somewhere.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	var files []string
	for _, pattern := range []string{"../../*.md", "../../docs/*.md"} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		files = append(files, found...)
	}
	require.NotEmpty(t, files)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, m := range link.FindAllSubmatch(text, -1) {
			_, err := os.Stat(filepath.Join(filepath.Dir(file), string(m[1])))
			require.NoError(t, err, file)
		}
	}
}

// references returns what the document describes: the code at the beginning of
// a heading or of a table's row, and further code in the same cell.
func references(t *testing.T, file string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	code := regexp.MustCompile("`([^`]+)`")
	found := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		head, isHeading := strings.CutPrefix(line, "### ")
		cells := strings.Split(line, "|")
		switch {
		case isHeading:
			cells = []string{"", head}
		case len(cells) < 3 || !strings.HasPrefix(line, "| `"):
			continue
		case strings.HasPrefix(cells[2], " `PGCONVOY_"):
			cells = cells[:3]
		default:
			cells = cells[:2]
		}
		for _, cell := range cells[1:] {
			for _, m := range code.FindAllStringSubmatch(cell, -1) {
				if !strings.HasPrefix(m[1], "-") || strings.HasPrefix(m[1], "--") {
					found[m[1]] = true
				}
			}
		}
	}
	return found
}

// printed returns the default configuration as planner config prints it.
func printed(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, config.Default().Print(&b))
	return b.Bytes()
}

// settingPaths returns the paths of all settings.
func settingPaths(t *testing.T) []string {
	t.Helper()
	return keysOf(t, printed(t))
}

// keysOf returns the paths of all values in a YAML document.
func keysOf(t *testing.T, text []byte) []string {
	t.Helper()
	var paths []string
	for path := range scalars(t, text) {
		paths = append(paths, path)
	}
	return paths
}

// scalars returns the values of a YAML document by their paths.
func scalars(t *testing.T, text []byte) map[string]string {
	t.Helper()
	var doc yaml.Node
	require.NoError(t, yaml.Unmarshal(text, &doc))
	found := map[string]string{}
	var walk func(prefix string, n *yaml.Node)
	walk = func(prefix string, n *yaml.Node) {
		for i := 0; i+1 < len(n.Content); i += 2 {
			path := prefix + n.Content[i].Value
			if m := n.Content[i+1]; m.Kind == yaml.MappingNode && len(m.Content) > 0 {
				walk(path+".", n.Content[i+1])
			} else {
				found[path] = n.Content[i+1].Value
			}
		}
	}
	walk("", doc.Content[0])
	return found
}
