package check_test

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/check"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// bench is a pair of databases to look at, and who looks.
type bench struct {
	source, target         *pgtest.Database
	sourceRole, targetRole string // "" is the superuser
	edit                   func(*check.Input)
}

// setup makes an empty pair on the shared servers.
func setup(t *testing.T) *bench {
	t.Helper()
	return &bench{source: pgtest.Source(t).Database(t), target: pgtest.Target(t).Database(t)}
}

// run carries out the preflight.
func (b *bench) run(t *testing.T) check.Findings {
	t.Helper()
	in := b.input(t)
	found, err := check.Run(t.Context(), in)
	require.NoError(t, err)
	closeBoth(t, in)
	return found
}

// closeBoth ends the sessions of a preflight, so that the next one does not count them.
func closeBoth(t *testing.T, in check.Input) {
	t.Helper()
	pgtest.Close(t, in.Source.Conn)
	pgtest.Close(t, in.Target.Conn)
}

func (b *bench) input(t *testing.T) check.Input {
	t.Helper()
	in := check.Input{
		Source:      connect(t, pg.Source, b.source, b.sourceRole),
		Target:      connect(t, pg.Target, b.target, b.targetRole),
		Connections: check.Connections{Source: 5, Target: 5},
	}
	in.Tools, in.ToolsErr = pg.FindTools(t.Context(), b.source.Server.BinDir(), b.source.Server.Major, b.target.Server.Major)
	if b.edit != nil {
		b.edit(&in)
	}
	return in
}

func connect(t *testing.T, side pg.Side, db *pgtest.Database, role string) *pg.Conn {
	t.Helper()
	uri := db.URI()
	if role != "" {
		uri = db.URIAs(role)
	}
	conn, err := pg.Connect(t.Context(), pg.Options{Side: side, URI: uri, Name: "pgconvoy check"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

var serial = new(atomic.Int64)

// newRole creates a role of a name of its own. It must come before the
// databases that it is used in, since what is cleaned up last must come first.
func newRole(t *testing.T, s *pgtest.Server, options string) string {
	t.Helper()
	name := fmt.Sprintf("check_role_%d", serial.Add(1))
	createRole(t, s, name, options)
	return name
}

func createRole(t *testing.T, s *pgtest.Server, name, options string) {
	t.Helper()
	s.Exec(t, fmt.Sprintf("CREATE ROLE %s %s", name, options))
	t.Cleanup(func() { s.Exec(t, "DROP ROLE "+name) })
}

// of returns the findings of a check.
func of(found check.Findings, name string) check.Findings {
	var some check.Findings
	for _, f := range found {
		if f.Check == name {
			some = append(some, f)
		}
	}
	return some
}

// requireOnly checks that there is one finding in all, and returns it.
func requireOnly(t *testing.T, found check.Findings, level check.Level, name string) check.Finding {
	t.Helper()
	require.Len(t, found, 1, "%v", found)
	require.Equal(t, name, found[0].Check, "%v", found)
	require.Equal(t, level, found[0].Level, "%v", found)
	require.NotEmpty(t, found[0].Hint)
	return found[0]
}

// runHint runs the SQL of a hint: what ends a line with a semicolon, but for
// alternatives.
func runHint(t *testing.T, db *pgtest.Database, hint string) {
	t.Helper()
	runHintLines(t, db, hint, func(line string) bool { return !strings.HasPrefix(line, "or") })
}

// runAlternative runs only the SQL of the lines that begin with "or".
func runAlternative(t *testing.T, db *pgtest.Database, hint string) {
	t.Helper()
	runHintLines(t, db, hint, func(line string) bool { return strings.HasPrefix(line, "or") })
}

var sqlOfHint = regexp.MustCompile(`\b(?:GRANT|ALTER|CREATE|DROP|REVOKE) .*;$`)

func runHintLines(t *testing.T, db *pgtest.Database, hint string, chosen func(string) bool) {
	t.Helper()
	n := 0
	for line := range strings.Lines(hint) {
		line = strings.TrimSpace(line)
		if sql := sqlOfHint.FindString(line); sql != "" && chosen(line) {
			db.Exec(t, sql)
			n++
		}
	}
	require.Positive(t, n, "no SQL in the hint: %s", hint)
}

func TestEmptyPairIsFine(t *testing.T) {
	t.Parallel()
	require.Empty(t, setup(t).run(t))
}

func TestOrdinaryDatabaseIsFine(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.source.Exec(t, `CREATE TABLE a (id int PRIMARY KEY); CREATE VIEW v AS SELECT * FROM a; CREATE EXTENSION citext; CREATE TYPE mood AS ENUM ('x');
		CREATE SEQUENCE s; CREATE SCHEMA sales; CREATE TABLE sales.b (id int, t citext); SELECT lo_create(0); CREATE PUBLICATION p FOR ALL TABLES;
		CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION f()`)
	require.Empty(t, b.run(t))
}
