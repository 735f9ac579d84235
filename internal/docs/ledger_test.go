package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What lines of the ledger's schema may be.
var (
	tableLine  = regexp.MustCompile(`^CREATE (UNLOGGED )?TABLE pgconvoy\.(\w+) \($`)
	columnLine = regexp.MustCompile(`^    (\w+) ([^-]*?),?(?: +-- (.*))?$`)
	keyLine    = regexp.MustCompile(`^    PRIMARY KEY \((.*)\)$`)
	indexLine  = regexp.MustCompile(`^CREATE INDEX (\w+) ON pgconvoy\.\w+ (.*);$`)
)

// ledgerReference is every table of the ledger with its columns. What they are for is
// in the comments of the file that makes them; a line of another form fails the test.
func ledgerReference(t *testing.T, _ string) string {
	source, err := os.ReadFile(filepath.Join(root, "internal", "ledger", "sql", "schema.sql"))
	require.NoError(t, err)
	var b strings.Builder
	var about []string // comment lines that wait for their table
	for line := range strings.Lines(string(source)) {
		line = strings.TrimRight(line, "\n")
		if comment, ok := strings.CutPrefix(line, "-- "); ok {
			about = append(about, comment)
			continue
		}
		if m := tableLine.FindStringSubmatch(line); m != nil {
			require.NotEmpty(t, about, "say in a comment what table %s is for", m[2])
			if m[1] != "" {
				about = append(about, "The table is unlogged.")
			}
			fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| column | definition | meaning |\n|---|---|---|\n", m[2], strings.Join(about, " "))
			about = nil
			continue
		}
		switch {
		case line == ");" || strings.HasPrefix(line, "CREATE SCHEMA ") || strings.HasPrefix(line, "COMMENT ON SCHEMA "):
		case keyLine.MatchString(line):
			fmt.Fprintf(&b, "\nPrimary key: `%s`.\n", keyLine.FindStringSubmatch(line)[1])
		case indexLine.MatchString(line):
			m := indexLine.FindStringSubmatch(line)
			fmt.Fprintf(&b, "\nIndex `%s`: `%s`.\n", m[1], m[2])
		default:
			m := columnLine.FindStringSubmatch(line)
			require.NotNil(t, m, "schema.sql has a line that is none of what the reference knows: %s", line)
			fmt.Fprintf(&b, "| `%s` | `%s` | %s |\n", m[1], m[2], m[3])
		}
	}
	return b.String()
}
