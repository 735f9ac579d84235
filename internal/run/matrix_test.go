package run_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

// TestMatrix copies the museum, and the sample database if there is one (see
// TestSample), between the pairs of majors that PGCONVOY_TEST_MATRIX names, such
// as "13-18 14-14".
func TestMatrix(t *testing.T) {
	t.Parallel()
	pairs := strings.Fields(os.Getenv("PGCONVOY_TEST_MATRIX"))
	if len(pairs) == 0 {
		t.Skip("PGCONVOY_TEST_MATRIX names no pairs of majors")
	}
	for _, pair := range pairs {
		var from, to int
		_, err := fmt.Sscanf(pair, "%d-%d", &from, &to)
		require.NoError(t, err, "PGCONVOY_TEST_MATRIX has %q", pair)
		t.Run(pair, func(t *testing.T) {
			t.Parallel()
			source, target := pgtest.Pair(t, from, to)
			t.Run("museum", func(t *testing.T) { copyBetween(t, source.Museum(t), target) })
			t.Run("sample", func(t *testing.T) { copyBetween(t, loadSample(t, source), target) })
		})
	}
}

// copyBetween copies a database and compares it with the source, and with what
// pg_dump | pg_restore make of it: another major prints some definitions in other
// words, or has them as other objects.
func copyBetween(t *testing.T, src *pgtest.Database, target *pgtest.Server) {
	t.Helper()
	target.MuseumRoles(t)
	dst := target.Database(t)
	copyAll(t, options(t, src, dst))
	pgtest.RequireEqual(t, pgtest.Reference(t, src, target), dst)
	if src.Server.Major == target.Major {
		pgtest.RequireEqual(t, src, dst)
		return
	}
	diffs, err := pgtest.Diff(src, dst)
	require.NoError(t, err)
	for _, d := range diffs {
		require.True(t, slices.ContainsFunc(newWords, func(n newWord) bool {
			return src.Server.Major < n.major && n.major <= target.Major && n.pattern.MatchString(d)
		}), "no major between explains %s", d)
	}
}

// newWord is what a major prints otherwise, or has as objects that were none.
type newWord struct {
	major   int
	pattern *regexp.Regexp
	why     string
}

// newWords are all differences that there may be between equal databases of two
// majors: docs/versions.md has them, too.
var newWords = []newWord{
	{14, regexp.MustCompile(`^schema .*; Type: TYPE;(.|\n)*multirange_type_name`), "every range type has a multirange type"},
	{14, regexp.MustCompile(`^schema .*; Type: OPERATOR (CLASS|FAMILY);`), "an operator of a GiST class belongs to the family"},
	{15, regexp.MustCompile(`^trigger .*: only in the target: enabled . cloned t$`), "partitions show the triggers that they have from the root"},
	{16, regexp.MustCompile(`^schema .*; Type: (VIEW|MATERIALIZED VIEW|RULE);`), "columns of a query that reads one table are printed without its name"},
	{17, regexp.MustCompile(`^schema .*; Type: ACL;`), "who had all privileges but those that were revoked has MAINTAIN"},
	{18, regexp.MustCompile(`^schema .*; Type: TABLE;(.|\n)* NOT NULL`), "NOT NULL is a constraint with a name, which is shown where it was cut to 63 bytes"},
}
