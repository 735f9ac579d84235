package check_test

import (
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/check"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

func TestSameDatabase(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.target = b.source
	f := requireOnly(t, b.run(t), check.Blocker, "same-database")
	require.Contains(t, f.What, b.source.Name)
}

func TestSameServerIsFine(t *testing.T) {
	t.Parallel()
	dbs := pgtest.Source(t).Databases(t, 2)
	require.Empty(t, (&bench{source: dbs[0], target: dbs[1]}).run(t))
}

// TestProxy puts a relay in the way that makes up the process id of a session,
// as poolers do.
func TestProxy(t *testing.T) {
	t.Parallel()
	b := setup(t)
	u, err := url.Parse(b.target.URI())
	require.NoError(t, err)
	u.Host = poolerLike(t, u.Host)
	requirePooler(t, pg.Target, u.String(), u.Host)
}

// requirePooler connects, which must be refused with the reason.
func requirePooler(t *testing.T, side pg.Side, uri, address string) {
	t.Helper()
	_, err := pg.Connect(t.Context(), pg.Options{Side: side, URI: uri})
	require.Error(t, err)
	require.Equal(t, pg.Final, pg.Classify(err))
	f := check.ConnectFinding(side, err)
	require.Equal(t, "proxy", f.Check)
	require.Equal(t, check.Blocker, f.Level)
	require.Contains(t, f.What, address)
	require.Contains(t, f.What, string(side)+" at ")
	require.Contains(t, f.What, "connection pooler")
	require.Contains(t, f.Hint, "connect to the server itself")
}

// TestPgBouncer: the real one is refused in each of its pool modes.
func TestPgBouncer(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"session", "transaction", "statement"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			db := pgtest.Source(t).Database(t)
			bouncer := db.Server.Bouncer(t, mode)
			requirePooler(t, pg.Source, bouncer.URI(db.Name), "127.0.0.1:"+strconv.Itoa(bouncer.Port))
		})
	}
}

// poolerLike relays connections to the server and changes the process id in
// BackendKeyData. It ends with the test.
func poolerLike(t *testing.T, server string) string {
	t.Helper()
	l := listen(t)
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { _ = l.Close() })
	wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { relayAsPooler(client, server) })
		}
	})
	return l.Addr().String()
}

func relayAsPooler(client net.Conn, server string) {
	defer func() { _ = client.Close() }()
	backend, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer func() { _ = backend.Close() }()
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = io.Copy(backend, client)
		_ = backend.Close()
	})
	defer wg.Wait()
	defer func() { _ = client.Close() }()
	for head := make([]byte, 5); ; {
		if _, err := io.ReadFull(backend, head); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
		if _, err := io.ReadFull(backend, body); err != nil {
			return
		}
		if head[0] == 'K' {
			binary.BigEndian.PutUint32(body, 4242)
		}
		if _, err := client.Write(append(head[:5:5], body...)); err != nil {
			return
		}
	}
}

func TestStandbys(t *testing.T) {
	t.Parallel()
	s := pgtest.Start(t, pgtest.Options{})
	b := setup(t)
	replica := &pgtest.Database{Server: s, Name: "shop"}
	s.Exec(t, "CREATE DATABASE shop")
	replica.Exec(t, "CREATE TABLE plain (id int); CREATE SCHEMA s; CREATE UNLOGGED TABLE s.cache (id int)")
	s.Freeze(t)

	asTarget := &bench{source: b.source, target: replica}
	f := requireOnly(t, asTarget.run(t), check.Blocker, "target-standby")
	require.Contains(t, f.What, "shop")

	asSource := &bench{source: replica, target: b.target}
	f = requireOnly(t, asSource.run(t), check.Blocker, "source-standby") // nothing is replayed there, and nothing in the way
	require.Contains(t, f.What, "1 unlogged table: s.cache")
}

// TestMovingStandby: what lets replay cancel the snapshot of a run is told
// beforehand, with the setting to change.
func TestMovingStandby(t *testing.T) {
	t.Parallel()
	primary := pgtest.Start(t, pgtest.Options{})
	primary.Exec(t, "CREATE DATABASE shop")
	b := setup(t)
	standby := primary.Standby(t, nil)
	b.source = &pgtest.Database{Server: standby, Name: "shop"}
	f := requireOnly(t, b.run(t), check.Warning, "source-standby")
	require.Contains(t, f.What, "(max_standby_streaming_delay 30s, max_standby_archive_delay 30s)")
	require.Contains(t, f.What, "hot_standby_feedback is off")
	require.Contains(t, f.Hint, "ALTER SYSTEM SET hot_standby_feedback = on")

	alter := func(settings ...string) {
		for _, s := range append(settings, "") {
			if s == "" {
				standby.Exec(t, "SELECT pg_reload_conf()")
				continue
			}
			standby.Exec(t, "ALTER SYSTEM SET "+s)
		}
	}
	alter("hot_standby_feedback = on")
	require.Eventually(t, func() bool { return len(b.run(t)) == 0 }, 30*time.Second, 100*time.Millisecond)
	primary.Stop(t, syscall.SIGINT) // nobody is told any more
	require.Eventually(t, func() bool {
		found := b.run(t)
		return len(found) == 1 && strings.Contains(found[0].What, "no connection to its primary")
	}, 30*time.Second, 100*time.Millisecond)
	alter("max_standby_streaming_delay = -1", "max_standby_archive_delay = -1")
	require.Eventually(t, func() bool { return len(b.run(t)) == 0 }, 30*time.Second, 100*time.Millisecond)
	alter("max_standby_streaming_delay = '1s'")
	require.Eventually(t, func() bool { return len(b.run(t)) == 1 }, 30*time.Second, 100*time.Millisecond)
	standby.Exec(t, "SELECT pg_wal_replay_pause()")
	require.Empty(t, b.run(t), "what is paused is in nobody's way")
}

// TestVersionsOnRealServers runs every query on every major that is there: as a
// source of the newest, and as a target of the oldest.
func TestVersionsOnRealServers(t *testing.T) {
	t.Parallel()
	var majors []int
	for major := 13; major <= 18; major++ {
		if pgtest.HasMajor(major) {
			majors = append(majors, major)
		}
	}
	oldest, newest := majors[0], majors[len(majors)-1]
	for _, major := range majors {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			t.Parallel()
			requireFine(t, major, newest)
			if major >= 14 {
				requireFine(t, oldest, major)
			}
			if major < newest && newest >= 14 {
				b := &bench{source: pgtest.Major(t, newest).Database(t), target: pgtest.Major(t, major).Database(t)}
				require.Len(t, of(b.run(t), "target-older"), 1)
			}
		})
	}
}

// requireFine checks that the preflight passes after its hints were followed.
func requireFine(t *testing.T, source, target int) {
	t.Helper()
	owner := newRole(t, pgtest.Major(t, source), "LOGIN")
	if source != target {
		createRole(t, pgtest.Major(t, target), owner, "")
	}
	migrator := newRole(t, pgtest.Major(t, target), "LOGIN")
	b := &bench{source: pgtest.Major(t, source).Database(t), target: pgtest.Major(t, target).Database(t)}
	b.source.Exec(t, `CREATE SCHEMA s AUTHORIZATION `+owner+`; CREATE TABLE s.a (id serial PRIMARY KEY, t text COLLATE "C"); ALTER TABLE s.a OWNER TO `+owner+`;
		CREATE TABLE s.p (id int PRIMARY KEY) PARTITION BY HASH (id); ALTER TABLE s.p OWNER TO `+owner+`; CREATE EXTENSION citext;
		CREATE COLLATION s.c (provider = icu, locale = 'de'); ALTER COLLATION s.c OWNER TO `+owner)
	b.sourceRole, b.targetRole = owner, migrator
	for _, f := range b.run(t).Blockers() {
		if f.Check != "tools" { // clients of the newest may be missing here
			require.Equal(t, "target-privileges", f.Check, "%v", f)
			runHint(t, b.target, f.Hint)
		}
	}
	for _, f := range b.run(t).Blockers() {
		require.Equal(t, "tools", f.Check, "%v", f)
	}
}
