package pgtest_test

import (
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

// Two museums made apart are equal: nothing in it depends on time or chance.
func TestMuseumEqualsItself(t *testing.T) {
	t.Parallel()
	dst := pgtest.Target(t).Database(t)
	dst.LoadMuseum(t)
	pgtest.RequireEqual(t, pgtest.Source(t).Museum(t), dst)
}

// The oracle's own positive test: what pg_dump and psql make of the museum is
// equal to it.
func TestMuseumSurvivesDumpAndRestore(t *testing.T) {
	t.Parallel()
	src := pgtest.Source(t).Museum(t)
	pgtest.RequireEqual(t, src, pgtest.Reference(t, src, pgtest.Target(t)))
}

// Newer majors print definitions in other words; the rows stay the same.
func TestMuseumSurvivesAnUpgrade(t *testing.T) {
	t.Parallel()
	for _, majors := range [][2]int{{14, pgtest.DefaultMajor(t)}, {14, 18}, {18, 18}} {
		t.Run(fmt.Sprintf("%d to %d", majors[0], majors[1]), func(t *testing.T) {
			t.Parallel()
			src := pgtest.Major(t, majors[0]).Museum(t)
			dst := pgtest.Reference(t, src, pgtest.Major(t, majors[1]))
			opts := []pgtest.Option{pgtest.DataOnly()}
			if majors[0] == majors[1] {
				opts = nil
			}
			pgtest.RequireEqual(t, src, dst, opts...)
		})
	}
}

// Configuration rows and their traps are in the museum wherever an extension of
// its own can be installed.
func TestMuseumHasConfigurationTables(t *testing.T) {
	t.Parallel()
	db := pgtest.Source(t).Museum(t)
	require.Equal(t, "3", db.Query(t, "SELECT cardinality(extconfig) FROM pg_extension WHERE extname = 'pgtest_config'"))
}

// Every kind of entry that pg_dump can write is in the museum, but for
// SUBSCRIPTION, which belongs to the cluster, and SECURITY LABEL, which needs a
// provider that no server has by itself.
func TestMuseumHoldsEveryKind(t *testing.T) {
	t.Parallel()
	db := pgtest.Source(t).Museum(t)
	script, err := exec.CommandContext(t.Context(), db.Server.Bin("pg_dump"), "-d", db.URI()).Output()
	require.NoError(t, err)
	have := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^-- (?:Data for )?Name: .*; Type: ([A-Z ]+);`).FindAllSubmatch(script, -1) {
		have[string(m[1])] = true
	}
	for kind := range strings.SplitSeq(`ACCESS METHOD,ACL,AGGREGATE,CAST,CHECK CONSTRAINT,COLLATION,COMMENT,CONSTRAINT,CONVERSION,
		DEFAULT,DEFAULT ACL,DOMAIN,EVENT TRIGGER,EXTENSION,FK CONSTRAINT,FOREIGN DATA WRAPPER,FOREIGN TABLE,FUNCTION,INDEX,
		INDEX ATTACH,MATERIALIZED VIEW,MATERIALIZED VIEW DATA,OPERATOR,OPERATOR CLASS,OPERATOR FAMILY,POLICY,
		PROCEDURAL LANGUAGE,PROCEDURE,PUBLICATION,PUBLICATION TABLE,ROW SECURITY,RULE,SCHEMA,SEQUENCE,SEQUENCE OWNED BY,
		SEQUENCE SET,SERVER,SHELL TYPE,STATISTICS,TABLE,TABLE ATTACH,TABLE DATA,TEXT SEARCH CONFIGURATION,
		TEXT SEARCH DICTIONARY,TEXT SEARCH PARSER,TEXT SEARCH TEMPLATE,TRANSFORM,TRIGGER,TYPE,USER MAPPING,VIEW`, ",") {
		require.True(t, have[strings.TrimSpace(kind)], "no %s", strings.TrimSpace(kind))
	}
}
