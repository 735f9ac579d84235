package pgtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// helperTimeout bounds one helper call; a test that hangs names its statement.
const helperTimeout = 5 * time.Minute

const (
	awaitTimeout = time.Minute
	awaitTick    = 10 * time.Millisecond
)

// Null is how the query helpers show an SQL NULL.
const Null = "<null>"

// Database is one database of a throwaway cluster. Its helpers open a connection
// per call, so that no idle session of theirs is in the way of the code under
// test; they are safe for use by many goroutines.
type Database struct {
	Server *Server
	Name   string
}

// Database creates an empty database with a name of its own, dropped at the end
// of the test even if sessions are still connected to it.
func (s *Server) Database(t testing.TB) *Database {
	t.Helper()
	return s.Databases(t, 1)[0]
}

// Databases creates n empty databases in one session.
func (s *Server) Databases(t testing.TB, n int) []*Database {
	t.Helper()
	dbs := make([]*Database, n)
	for i := range dbs {
		dbs[i] = s.newDatabase(t)
	}
	err := s.admin(func(ctx context.Context, conn *pgx.Conn) error {
		for _, db := range dbs {
			if err := createDatabase(ctx, conn, db.Name, "template0"); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return dbs
}

// DatabaseWith creates an empty database with clauses of CREATE DATABASE, such as
// "ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'" or "CONNECTION LIMIT 8".
func (s *Server) DatabaseWith(t testing.TB, clauses string) *Database {
	t.Helper()
	db := s.newDatabase(t)
	s.Exec(t, "CREATE DATABASE "+quote(db.Name)+" TEMPLATE template0 "+clauses)
	return db
}

// newDatabase invents a name that says which test made the database, and has it
// dropped after that test.
func (s *Server) newDatabase(t testing.TB) *Database {
	label := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '_':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return '_'
	}, strings.TrimPrefix(t.Name(), "Test"))
	label = label[:min(len(label), 40)]
	db := &Database{Server: s, Name: fmt.Sprintf("%s_%d", label, s.databases.Add(1))}
	t.Cleanup(func() {
		if s.Pid() == 0 {
			return // the test has stopped its server
		}
		if err := s.dropDatabase(db.Name); err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
	})
	return db
}

func createDatabase(ctx context.Context, conn *pgx.Conn, name, template string) error {
	if err := execUnused(ctx, conn, "CREATE DATABASE "+quote(name)+" TEMPLATE "+quote(template)); err != nil {
		return fmt.Errorf("create database %s: %w", name, err)
	}
	return nil
}

// dropDatabase ends the sessions of a database and drops it.
func (s *Server) dropDatabase(name string) error {
	return s.admin(func(ctx context.Context, conn *pgx.Conn) error {
		return execUnused(ctx, conn, "DROP DATABASE IF EXISTS "+quote(name)+" WITH (FORCE)")
	})
}

// execUnused runs a statement about a database that nobody may be connected to. A
// session that is about to end may take longer than the five seconds that the server
// waits for it.
func execUnused(ctx context.Context, conn *pgx.Conn, sql string) error {
	tick := time.NewTicker(awaitTick)
	defer tick.Stop()
	for began := time.Now(); ; <-tick.C {
		_, err := conn.Exec(ctx, sql)
		var refused *pgconn.PgError
		if !errors.As(err, &refused) || refused.Code != "55006" || time.Since(began) > awaitTimeout {
			return err
		}
	}
}

// admin runs fn on a session of database postgres.
func (s *Server) admin(fn func(context.Context, *pgx.Conn) error) error {
	return withConn(s.URI("postgres"), fn)
}

func withConn(uri string, fn func(context.Context, *pgx.Conn) error) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), helperTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, uri)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end(ctx, conn)) }()
	return fn(ctx, conn)
}

// Close ends a session that does nothing, and waits until the server has ended it,
// too: pgx does not wait, and for a while the server would list and count the session,
// and go on holding what it holds.
func Close(t testing.TB, conn *pgx.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), awaitTimeout)
	defer cancel()
	if err := end(ctx, conn); err != nil {
		t.Fatal(err)
	}
}

// end is Close with a bound. The server closes the connection when its process is
// gone, and not before.
func end(ctx context.Context, conn *pgx.Conn) error {
	session := conn.PgConn()
	defer func() { _ = conn.Close(ctx) }() // may find the connection closed
	session.Frontend().Send(&pgproto3.Terminate{})
	if session.Frontend().Flush() != nil {
		return nil // it has ended already
	}
	deadline, _ := ctx.Deadline()
	if session.Conn().SetReadDeadline(deadline) != nil {
		return nil
	}
	if _, err := io.Copy(io.Discard, session.Conn()); errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the server does not end session %d: %w", session.PID(), err)
	}
	return nil
}

// Exec runs statements on the server's database postgres: roles, tablespaces,
// ALTER SYSTEM.
func (s *Server) Exec(t testing.TB, sql string) {
	t.Helper()
	(&Database{Server: s, Name: "postgres"}).Exec(t, sql)
}

// Clone creates a copy of the database by CREATE DATABASE … TEMPLATE. No session
// may be connected to the original.
func (d *Database) Clone(t testing.TB) *Database {
	t.Helper()
	db := d.Server.newDatabase(t)
	err := d.Server.admin(func(ctx context.Context, conn *pgx.Conn) error {
		return createDatabase(ctx, conn, db.Name, d.Name)
	})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// URI is the connection string for the superuser.
func (d *Database) URI() string { return d.Server.URI(d.Name) }

// URIAs is the connection string for a role.
func (d *Database) URIAs(role string) string { return d.Server.URIAs(role, d.Name) }

// Connect opens a session that is closed at the end of the test.
func (d *Database) Connect(t testing.TB) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), d.URI())
	if err != nil {
		t.Fatalf("connect to %s: %v", d.Name, err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// Exec runs statements, separated by semicolons, as one simple query: one
// transaction unless they say otherwise.
func (d *Database) Exec(t testing.TB, sql string) {
	t.Helper()
	if _, err := d.results(sql); err != nil {
		t.Fatalf("%s: %v\n%s", d.Name, err, shorten(sql))
	}
}

// TryExec is Exec that returns the error.
func (d *Database) TryExec(sql string) error {
	_, err := d.results(sql)
	return err
}

// Rows runs statements and returns the rows of the last one, every value as
// text, NULL as Null.
func (d *Database) Rows(t testing.TB, sql string) [][]string {
	t.Helper()
	results, err := d.results(sql)
	if err != nil {
		t.Fatalf("%s: %v\n%s", d.Name, err, shorten(sql))
	}
	if len(results) == 0 {
		return nil
	}
	return results[len(results)-1]
}

// Query returns the one value of a query as text, NULL as Null. The test fails
// unless there is exactly one row of one column.
func (d *Database) Query(t testing.TB, sql string) string {
	t.Helper()
	rows := d.Rows(t, sql)
	if len(rows) != 1 || len(rows[0]) != 1 {
		t.Fatalf("want one value, have %d rows\n%s", len(rows), shorten(sql))
	}
	return rows[0][0]
}

// Await asks a query of one value again and again until that is wanted. It does so
// in one session, which it closes: a new one costs a server more than the query, and
// what is waited for is slowed down by that. A session that the server has lost is
// opened again.
func (d *Database) Await(t testing.TB, want, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), awaitTimeout)
	defer cancel()
	tick := time.NewTicker(awaitTick)
	defer tick.Stop()
	for {
		got, err := d.awaitOn(ctx, tick.C, want, sql)
		var refused *pgconn.PgError
		switch {
		case err == nil:
			return
		case ctx.Err() != nil:
			t.Fatalf("%s: want %s, have %s after %s\n%s", d.Name, want, got, awaitTimeout, shorten(sql))
		case errors.As(err, &refused) && refused.Severity == "ERROR":
			t.Fatalf("%s: %v\n%s", d.Name, err, shorten(sql))
		}
		<-tick.C
	}
}

// awaitOn is Await in one session, until the first error. got is the last answer.
func (d *Database) awaitOn(ctx context.Context, tick <-chan time.Time, want, sql string) (got string, err error) {
	conn, err := pgx.Connect(ctx, d.URI())
	if err != nil {
		return err.Error(), err
	}
	defer func() { err = cmp.Or(err, end(ctx, conn)) }()
	for {
		results, err := conn.PgConn().Exec(ctx, sql).ReadAll()
		if err != nil {
			return cmp.Or(got, err.Error()), err
		}
		if got = oneValue(results); got == want {
			return got, nil
		}
		select {
		case <-ctx.Done():
			return got, ctx.Err()
		case <-tick:
		}
	}
}

// oneValue returns the value of the last result as text, or what that has instead.
func oneValue(results []*pgconn.Result) string {
	if len(results) == 0 {
		return "nothing"
	}
	rows := textRows(results[len(results)-1])
	if len(rows) != 1 || len(rows[0]) != 1 {
		return fmt.Sprintf("%d rows", len(rows))
	}
	return rows[0][0]
}

// Column returns the first column of a query as text.
func (d *Database) Column(t testing.TB, sql string) []string {
	t.Helper()
	rows := d.Rows(t, sql)
	col := make([]string, len(rows))
	for i, row := range rows {
		col[i] = row[0]
	}
	return col
}

// Count returns the number of rows of a table, or of anything that can follow
// FROM.
func (d *Database) Count(t testing.TB, from string) int {
	t.Helper()
	var n int
	if _, err := fmt.Sscan(d.Query(t, "SELECT count(*) FROM "+from), &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func (d *Database) results(sql string) ([][][]string, error) {
	var all [][][]string
	err := withConn(d.URI(), func(ctx context.Context, conn *pgx.Conn) error {
		results, err := conn.PgConn().Exec(ctx, sql).ReadAll()
		for _, r := range results {
			all = append(all, textRows(r))
		}
		return err
	})
	return all, err
}

func textRows(r *pgconn.Result) [][]string {
	rows := make([][]string, len(r.Rows))
	for i, row := range r.Rows {
		rows[i] = make([]string, len(row))
		for j, v := range row {
			rows[i][j] = string(v)
			if v == nil {
				rows[i][j] = Null
			}
		}
	}
	return rows
}

// LoadFile runs a script through psql, so that COPY FROM stdin blocks and psql's
// own commands work. The first error fails the test.
func (d *Database) LoadFile(t testing.TB, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := d.psql(f); err != nil {
		t.Fatalf("load %s: %v", path, err)
	}
}

// Load runs a script given as text, as LoadFile does.
func (d *Database) Load(t testing.TB, script string) {
	t.Helper()
	if err := d.psql(strings.NewReader(script)); err != nil {
		t.Fatal(err)
	}
}

func (d *Database) psql(script interface{ Read([]byte) (int, error) }) error {
	return d.psqlAs(superuser, "1", script)
}

// psqlAs runs a script as a role. stop is psql's ON_ERROR_STOP; with 0, a statement
// that fails is no error.
func (d *Database) psqlAs(role, stop string, script interface{ Read([]byte) (int, error) }) error {
	ctx, cancel := context.WithTimeout(context.Background(), helperTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, d.Server.Bin("psql"), "-X", "-q", "-v", "ON_ERROR_STOP="+stop, "-f", "-", "-d", d.URIAs(role))
	cmd.Env = clientEnv()
	cmd.Stdin = script
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = nil, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("psql: %w\n%s", err, out.String())
	}
	return nil
}

// clientEnv keeps libpq's variables of the person who runs the tests away from
// client programs.
func clientEnv() []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "PG") || strings.HasPrefix(kv, "PGCONVOY_") {
			env = append(env, kv)
		}
	}
	return append(env, "PGCLIENTENCODING=UTF8", "PGOPTIONS=-c client_min_messages=warning")
}

// Empty reports whether the database holds nothing of a user: no relation, type,
// function or large object outside extensions.
func (d *Database) Empty(t testing.TB) bool {
	t.Helper()
	return d.Query(t, sqlEmpty) == "t"
}

const sqlEmpty = `
SELECT NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
                   WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
                     AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e'))
   AND NOT EXISTS (SELECT FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
                   WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
                     AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = p.oid AND deptype = 'e'))
   AND NOT EXISTS (SELECT FROM pg_type y JOIN pg_namespace n ON n.oid = typnamespace
                   WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
                     AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_type'::regclass AND objid = y.oid AND deptype IN ('e', 'i')))
   AND NOT EXISTS (SELECT FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'public'))
   AND NOT EXISTS (SELECT FROM pg_largeobject_metadata)
   AND NOT EXISTS (SELECT FROM pg_publication)
   AND NOT EXISTS (SELECT FROM pg_event_trigger)`

// quote makes an SQL identifier.
func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

func shorten(sql string) string {
	const limit = 2000
	if len(sql) > limit {
		return sql[:limit] + " …"
	}
	return sql
}
