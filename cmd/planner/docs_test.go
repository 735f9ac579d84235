package main

import (
	"bytes"
	"io"
	"os"
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

// TestReferenceIsComplete compares docs/cli.md with the verbs and flags that there
// are. Each has a row of a table, or a heading, that begins with its name in
// backquotes. The generated reference is tested in internal/docs.
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
	for name := range real {
		require.True(t, documented[name], "docs/cli.md lacks %s", name)
	}
	for name := range documented {
		known := real[name] || strings.HasPrefix(name, "worker")
		require.True(t, known, "docs/cli.md describes %s, which does not exist", name)
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
	var doc yaml.Node
	require.NoError(t, yaml.Unmarshal(text, &doc))
	var paths []string
	var walk func(prefix string, n *yaml.Node)
	walk = func(prefix string, n *yaml.Node) {
		for i := 0; i+1 < len(n.Content); i += 2 {
			path := prefix + n.Content[i].Value
			if m := n.Content[i+1]; m.Kind == yaml.MappingNode && len(m.Content) > 0 {
				walk(path+".", n.Content[i+1])
			} else {
				paths = append(paths, path)
			}
		}
	}
	walk("", doc.Content[0])
	return paths
}
