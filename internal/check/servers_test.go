package check_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/check"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

func TestExtensions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.source.Exec(t, `CREATE EXTENSION citext; CREATE EXTENSION hstore; CREATE EXTENSION seg; CREATE EXTENSION cube;
		UPDATE pg_extension SET extname = 'unobtainable' WHERE extname = 'citext';
		UPDATE pg_extension SET extversion = '0.1' WHERE extname IN ('hstore', 'seg')`)
	b.target.Exec(t, "CREATE EXTENSION seg; CREATE SCHEMA cubes; CREATE EXTENSION cube SCHEMA cubes")
	found := of(b.run(t), "extensions")
	require.Len(t, found, 4, "%v", found)
	require.Contains(t, found[0].What, `extension "cube" is installed in schema "cubes"`)
	require.Equal(t, check.Blocker, found[0].Level)
	require.Contains(t, found[1].What, `does not have version 0.1 of extension "hstore"`)
	require.Equal(t, check.Warning, found[1].Level)
	require.Contains(t, found[2].What, `extension "seg" is installed in version`)
	require.Equal(t, check.Warning, found[2].Level)
	require.Contains(t, found[3].What, `no extension "unobtainable"`)
	require.Equal(t, check.Blocker, found[3].Level)
	b.source.Exec(t, "UPDATE pg_extension SET extname = 'citext' WHERE extname = 'unobtainable'")
}

func TestExtensionPrivileges(t *testing.T) {
	t.Parallel()
	role := newRole(t, pgtest.Target(t), "LOGIN")
	b := setup(t)
	b.targetRole = role
	b.target.Exec(t, "GRANT CREATE ON DATABASE "+b.target.Name+" TO "+role)
	b.source.Exec(t, "CREATE EXTENSION citext; CREATE EXTENSION pageinspect")
	f := requireOnly(t, b.run(t), check.Blocker, "extensions")
	require.Contains(t, f.What, "pageinspect")
	require.NotContains(t, f.What, "citext")
	runHint(t, b.target, f.Hint)
	require.Empty(t, b.run(t))
	b.target.Exec(t, "DROP EXTENSION plpgsql")
	f = requireOnly(t, b.run(t), check.Blocker, "extensions")
	runHint(t, b.target, f.Hint)
	require.Empty(t, b.run(t))
}

func TestAccessMethods(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.source.Exec(t, "CREATE TABLE a (id int); CREATE INDEX ON a USING brin (id)")
	require.Empty(t, b.run(t))
	b.source.Exec(t, "UPDATE pg_am SET amname = 'lsm' WHERE amname = 'brin'")
	f := requireOnly(t, b.run(t), check.Blocker, "access-methods")
	require.Contains(t, f.What, "lsm")
}

func TestTablespaces(t *testing.T) {
	t.Parallel()
	role := newRole(t, pgtest.Target(t), "LOGIN")
	b := setup(t)
	space := fmt.Sprintf("space_%d", serial.Add(1))
	tablespace(t, pgtest.Source(t), space)
	b.source.Exec(t, "CREATE TABLE a (id int); CREATE INDEX ON a (id) TABLESPACE "+space)
	t.Cleanup(func() { b.source.Exec(t, "DROP TABLE a") })
	f := requireOnly(t, b.run(t), check.Blocker, "tablespaces")
	require.Contains(t, f.What, space)
	require.Contains(t, f.Hint, "CREATE TABLESPACE \""+space+"\" LOCATION")

	tablespace(t, pgtest.Target(t), space)
	require.Empty(t, b.run(t))
	b.targetRole = role
	var granted bool
	for _, f := range of(b.run(t), "target-privileges") {
		if f.What == fmt.Sprintf("role %q may not use 1 tablespace of the target: %q", role, space) {
			runHint(t, b.target, f.Hint)
			granted = true
		}
	}
	require.True(t, granted)
	require.NotContains(t, b.run(t).Err().Error(), "1 tablespace")
	b.target.Exec(t, fmt.Sprintf("REVOKE ALL ON TABLESPACE %s FROM %s", space, role))
}

// tablespace makes a tablespace for the test inside the server's folder.
func tablespace(t *testing.T, s *pgtest.Server, name string) {
	t.Helper()
	dir := filepath.Join(filepath.Dir(s.DataDir()), name)
	require.NoError(t, os.Mkdir(dir, 0o700))
	info, err := os.Stat(s.DataDir())
	require.NoError(t, err)
	chownLike(t, dir, info)
	s.Exec(t, fmt.Sprintf("CREATE TABLESPACE %s LOCATION '%s'", name, dir))
	t.Cleanup(func() { s.Exec(t, "DROP TABLESPACE "+name) })
}

func TestEncodingAndLocale(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, c := range []struct {
		options, check string
		level          check.Level
	}{
		{"ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'", "encoding", check.Blocker},
		{"ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'", "encoding", check.Blocker},
		{"LC_COLLATE 'C'", "locale", check.Warning},
	} {
		name := fmt.Sprintf("encoding_%d", serial.Add(1))
		pgtest.Target(t).Exec(t, "CREATE DATABASE "+name+" TEMPLATE template0 "+c.options)
		t.Cleanup(func() { pgtest.Target(t).Exec(t, "DROP DATABASE "+name+" WITH (FORCE)") })
		other := &bench{source: b.source, target: &pgtest.Database{Server: pgtest.Target(t), Name: name}}
		require.Len(t, of(other.run(t), c.check), 1)
		requireOnly(t, of(other.run(t), c.check), c.level, c.check)
	}
}

func TestCollations(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.source.Exec(t, `CREATE TABLE a (t text COLLATE "POSIX", u text COLLATE "C"); CREATE COLLATION own (provider = libc, locale = 'C')`)
	require.Empty(t, b.run(t))

	// A name that only the source's system schema has, as after an import of the locales of another operating system.
	b.source.Exec(t, `CREATE COLLATION pg_catalog."xx_XX" (provider = libc, locale = 'C'); CREATE TABLE b (t text COLLATE "xx_XX")`)
	f := requireOnly(t, b.run(t), check.Blocker, "collations")
	require.Contains(t, f.What, "xx_XX")
	b.source.Exec(t, `DROP TABLE b; DROP COLLATION pg_catalog."xx_XX"; UPDATE pg_collation SET collcollate = 'xx_XX.utf8' WHERE collname = 'own'`)
	f = requireOnly(t, b.run(t), check.Blocker, "collations")
	require.Contains(t, f.What, "public.own (xx_XX.utf8)")
}

func TestCollationsNeedICU(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if b.source.Count(t, "pg_collation WHERE collprovider = 'i'") == 0 {
		t.Skip("the server was built without ICU")
	}
	b.source.Exec(t, "CREATE COLLATION german (provider = icu, locale = 'de')")
	require.Empty(t, b.run(t))
	b.target.Exec(t, "DELETE FROM pg_collation WHERE collprovider = 'i'")
	f := requireOnly(t, b.run(t), check.Blocker, "collations")
	require.Contains(t, f.What, "public.german")
}

func TestRemovedFeatures(t *testing.T) {
	t.Parallel()
	if !pgtest.HasMajor(13) {
		pgtest.Major(t, 13)
	}
	b := setup(t)
	b.source = pgtest.Major(t, 13).Database(t)
	require.Empty(t, b.run(t).Blockers())
	b.source.Exec(t, `CREATE FUNCTION fact(int) RETURNS int LANGUAGE sql AS 'SELECT $1'; CREATE OPERATOR !! (PROCEDURE = fact, LEFTARG = int);
		CREATE AGGREGATE gather (anyelement) (SFUNC = array_append, STYPE = anyarray, INITCOND = '{}')`)
	f := requireOnly(t, b.run(t).Blockers(), check.Blocker, "removed-features")
	require.Contains(t, f.What, "2 objects")
}

func TestConnections(t *testing.T) {
	t.Parallel()
	target := pgtest.Start(t, pgtest.Options{Settings: map[string]string{"max_connections": "20", "superuser_reserved_connections": "4"}})
	role := newRole(t, target, "LOGIN")
	b := setup(t)
	b.target = target.Database(t)
	b.target.Exec(t, "GRANT CREATE ON DATABASE "+b.target.Name+" TO "+role)
	need := func(n int) func(*check.Input) {
		return func(in *check.Input) { in.Connections = check.Connections{Source: 1, Target: n} }
	}
	b.edit = need(18)
	require.Empty(t, b.run(t))
	b.edit = need(21)
	f := requireOnly(t, b.run(t), check.Blocker, "connections")
	require.Contains(t, f.What, "max_connections 20, reserved 0")

	b.targetRole = role // is not let into the reserved ones
	b.edit = need(17)
	f = requireOnly(t, b.run(t), check.Blocker, "connections")
	require.Contains(t, f.What, "reserved 4")
	b.edit = need(14)
	require.Empty(t, b.run(t))

	target.Exec(t, fmt.Sprintf("ALTER ROLE %s CONNECTION LIMIT 10; ALTER DATABASE %s CONNECTION LIMIT 11", role, b.target.Name))
	found := b.run(t)
	require.Len(t, found, 2, "%v", found)
	for _, f := range found {
		require.Equal(t, check.Blocker, f.Level)
	}
	require.Contains(t, found[0].Hint, "CONNECTION LIMIT 14")
	in := b.input(t)
	begun, err := check.Begin(t.Context(), in)
	require.NoError(t, err)
	closeBoth(t, in)
	source, limits := begun.SessionLimits()
	require.Len(t, source, 1)
	require.Equal(t, []tasks.SessionLimit{
		{Of: "server", Max: 20, Reserved: 4, Needed: 14}, {Of: "database", Max: 11, Needed: 14}, {Of: "role", Max: 10, Needed: 14},
	}, limits)
	target.Exec(t, fmt.Sprintf("ALTER ROLE %s CONNECTION LIMIT 14; ALTER DATABASE %s CONNECTION LIMIT 14", role, b.target.Name))
	require.Empty(t, b.run(t))
}

func TestConnectionsOnOneServer(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, pgtest.Options{Settings: map[string]string{"max_connections": "20"}})
	dbs := server.Databases(t, 2)
	b := &bench{source: dbs[0], target: dbs[1]}
	b.edit = func(in *check.Input) { in.Connections = check.Connections{Source: 8, Target: 8} }
	require.Empty(t, b.run(t))
	b.edit = func(in *check.Input) { in.Connections = check.Connections{Source: 12, Target: 12} }
	found := b.run(t)
	require.Len(t, of(found, "connections"), 2, "%v", found)
	require.Contains(t, found[0].What, "24 connections")
}

// TestSessionLimitsOfARun: what the run itself uses, on either side of one server, is
// not used by others, and what another run uses is.
func TestSessionLimitsOfARun(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, pgtest.Options{Settings: map[string]string{"max_connections": "20"}})
	dbs := server.Databases(t, 3)
	open := func(side pg.Side, db *pgtest.Database, name string) *pg.Conn {
		c, err := pg.Connect(t.Context(), pg.Options{Side: side, URI: db.URI(), Name: name})
		require.NoError(t, err)
		t.Cleanup(c.Discard)
		return c
	}
	source, target := open(pg.Source, dbs[0], "pgconvoy planner"), open(pg.Target, dbs[1], "pgconvoy planner")
	var fp tasks.Fingerprint
	var err error
	fp.Source, err = pg.Fingerprint(t.Context(), source)
	require.NoError(t, err)
	fp.Target, err = pg.Fingerprint(t.Context(), target)
	require.NoError(t, err)
	used := func() int {
		onSource, onTarget, err := check.SessionLimits(t.Context(), source, target, check.Connections{Source: 4, Target: 5}, fp)
		require.NoError(t, err)
		require.Equal(t, onSource, onTarget, "one server, no limit of database or role")
		require.Equal(t, 9, onSource[0].Needed)
		return onSource[0].Used
	}
	before := used() // of the test itself
	open(pg.Source, dbs[0], "pgconvoy worker a-1-0")
	open(pg.Target, dbs[1], "pgconvoy worker a-1-0")
	require.Equal(t, before, used())
	open(pg.Target, dbs[1], "psql")
	open(pg.Target, dbs[2], "pgconvoy worker b-1-0")
	require.Equal(t, before+2, used())
}

func TestLocks(t *testing.T) {
	t.Parallel()
	small := pgtest.Start(t, pgtest.Options{Settings: map[string]string{
		"max_locks_per_transaction": "10", "max_connections": "20", "max_prepared_transactions": "0"}})
	b := setup(t)
	b.source = small.Database(t)
	for range 3 { // one transaction has not locks enough for all
		b.source.Exec(t, `DO $$ DECLARE n int = (SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace);
			BEGIN FOR i IN n..n+79 LOOP EXECUTE format('CREATE TABLE t%s ()', i); END LOOP; END $$`)
	}
	f := requireOnly(t, b.run(t), check.Blocker, "locks")
	require.Contains(t, f.What, "240 tables")
	require.Contains(t, f.What, "max_locks_per_transaction 10, times 20")
	require.Contains(t, f.Hint, "max_locks_per_transaction = ")

	b.source, b.target = b.target, small.Database(t)
	require.Empty(t, b.run(t), "an empty source needs few locks")
	b.source.Exec(t, `CREATE TABLE root (id int PRIMARY KEY) PARTITION BY RANGE (id);
		DO $$ BEGIN FOR i IN 1..60 LOOP EXECUTE format('CREATE TABLE p%s PARTITION OF root FOR VALUES FROM (%s) TO (%s)', i, i, i + 1); END LOOP; END $$`)
	f = requireOnly(t, b.run(t), check.Blocker, "locks")
	require.Contains(t, f.What, "122 partitions and indexes")
	require.Contains(t, f.What, "target")
}
