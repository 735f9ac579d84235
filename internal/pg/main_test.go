package pg_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// connect opens a session that is closed at the end of the test.
func connect(t testing.TB, side pg.Side, uri string) *pg.Conn {
	t.Helper()
	c, err := pg.Connect(context.Background(), pg.Options{Side: side, URI: uri, Name: "pgconvoy test"})
	require.NoError(t, err)
	t.Cleanup(c.Discard)
	return c
}

func exec(t testing.TB, c *pg.Conn, sql string) {
	t.Helper()
	_, err := c.Exec(context.Background(), sql)
	require.NoError(t, err, sql)
}

// value returns the one value of a query.
func value(t testing.TB, c *pg.Conn, sql string, args ...any) string {
	t.Helper()
	var text string
	require.NoError(t, c.QueryRow(context.Background(), "SELECT ("+sql+")::text", args...).Scan(&text), sql)
	return text
}

// pair is an empty database on either side, and a session in each with an open
// transaction.
type pair struct {
	src, dst       *pgtest.Database
	source, target *pg.Conn
}

// newPair makes two databases and runs the definitions in both.
func newPair(t testing.TB, ddl string) *pair {
	t.Helper()
	p := &pair{src: pgtest.Source(t).Database(t), dst: pgtest.Target(t).Database(t)}
	if ddl != "" {
		p.src.Exec(t, ddl)
		p.dst.Exec(t, ddl)
	}
	p.source, p.target = connect(t, pg.Source, p.src.URI()), connect(t, pg.Target, p.dst.URI())
	return p
}

func (p *pair) begin(t testing.TB) {
	t.Helper()
	exec(t, p.source, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
	exec(t, p.target, "BEGIN")
}

func (p *pair) commit(t testing.TB) {
	t.Helper()
	exec(t, p.source, "COMMIT")
	exec(t, p.target, "COMMIT")
}

// relay copies with the statements, in a transaction on either side.
func (p *pair) relay(t testing.TB, sourceSQL, targetSQL string) []pg.Copied {
	t.Helper()
	p.begin(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	copied, err := pg.Relay(ctx, p.source, p.target, sourceSQL, targetSQL)
	require.NoError(t, err)
	p.commit(t)
	return copied
}

// fail is relay for statements that must fail; it returns the error.
func (p *pair) fail(t testing.TB, sourceSQL, targetSQL string) *pg.RelayError {
	t.Helper()
	p.begin(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := pg.Relay(ctx, p.source, p.target, sourceSQL, targetSQL)
	var failed *pg.RelayError
	require.ErrorAs(t, err, &failed)
	return failed
}

// copyAll returns the two query strings that copy the tables.
func copyAll(tables ...string) (sourceSQL, targetSQL string) {
	var from, into strings.Builder
	for _, name := range tables {
		from.WriteString("COPY " + name + " TO STDOUT;")
		into.WriteString("COPY " + name + " FROM STDIN;")
	}
	return from.String(), into.String()
}
