package check_test

import (
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

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
	b.edit = func(in *check.Input) {
		conn, err := pg.Connect(t.Context(), pg.Options{Side: pg.Target, URI: u.String()})
		require.NoError(t, err)
		t.Cleanup(func() { conn.Discard() })
		in.Target = conn
	}
	f := requireOnly(t, b.run(t), check.Blocker, "proxy")
	require.Contains(t, f.What, u.Host)
	require.Contains(t, f.What, "target")
}

// poolerLike relays connections to the server and changes the process id in
// BackendKeyData. It ends with the test.
func poolerLike(t *testing.T, server string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
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
	defer client.Close()
	backend, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer backend.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = io.Copy(backend, client)
		_ = backend.Close()
	})
	defer wg.Wait()
	defer client.Close()
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

// standby makes a private server one that recovers for ever.
func standby(t *testing.T, s *pgtest.Server) {
	t.Helper()
	s.Stop(t, syscall.SIGINT)
	signal := filepath.Join(s.DataDir(), "standby.signal")
	require.NoError(t, os.WriteFile(signal, nil, 0o644))
	s.Launch(t)
}

func TestStandbys(t *testing.T) {
	t.Parallel()
	s := pgtest.Start(t, pgtest.Options{})
	b := setup(t)
	replica := &pgtest.Database{Server: s, Name: "shop"}
	s.Exec(t, "CREATE DATABASE shop")
	replica.Exec(t, "CREATE TABLE plain (id int); CREATE SCHEMA s; CREATE UNLOGGED TABLE s.cache (id int)")
	standby(t, s)

	asTarget := &bench{source: b.source, target: replica}
	f := requireOnly(t, asTarget.run(t), check.Blocker, "target-standby")
	require.Contains(t, f.What, "shop")

	asSource := &bench{source: replica, target: b.target}
	found := asSource.run(t)
	require.Len(t, found, 2, "%v", found)
	require.Contains(t, found[0].What, "1 unlogged table: s.cache")
	require.Equal(t, check.Blocker, found[0].Level)
	require.Contains(t, found[1].What, "cancels queries")
	require.Equal(t, check.Warning, found[1].Level)
}

func TestVersionsOnRealServers(t *testing.T) {
	t.Parallel()
	for major := 13; major <= 18; major++ {
		if major == pgtest.DefaultMajor(t) || !pgtest.HasMajor(major) {
			continue
		}
		t.Run(string(rune('0'+major/10))+string(rune('0'+major%10)), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			other := pgtest.Major(t, major).Database(t)
			if major > pgtest.DefaultMajor(t) {
				b.target = other
			} else {
				b.source = other
			}
			require.Empty(t, b.run(t).Blockers())
			b.source, b.target = b.target, b.source
			requireOnly(t, b.run(t).Blockers()[:1], check.Blocker, map[bool]string{true: "target-older", false: "target-version"}[major != 13])
		})
	}
}
