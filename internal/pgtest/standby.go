package pgtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Standby returns a private cluster that follows s, which is private, too, and is
// stopped for a moment. Settings are those of the standby.
func (s *Server) Standby(t testing.TB, settings map[string]string) *Server {
	t.Helper()
	all := map[string]string{"primary_conninfo": fmt.Sprintf("host=%s port=%d user=%s", host, s.Port, superuser), "wal_retrieve_retry_interval": "100ms"}
	maps.Copy(all, settings)
	return s.clone(t, "standby", all)
}

// Clone returns a private cluster with the data of s, which is private, too, and
// is stopped for a moment. It is a standby that follows nobody. Of a server that
// [Server.Freeze] has frozen, all clones stand still where it does.
func (s *Server) Clone(t testing.TB) *Server {
	t.Helper()
	return s.clone(t, "clone", nil)
}

func (s *Server) clone(t testing.TB, role string, settings map[string]string) *Server {
	t.Helper()
	dir, err := s.reg.workDir(fmt.Sprint(role, s.Major))
	if err != nil {
		t.Fatal(err)
	}
	c := &Server{Major: s.Major, reg: s.reg, in: s.in, clients: s.clients, dir: dir, owner: s.owner, settings: maps.Clone(s.settings)}
	c.rolesOnce = sync.OnceValue(c.createRoles)
	c.museum = newMuseumTemplate(c)
	c.settings["unix_socket_directories"] = dir
	maps.Copy(c.settings, settings)
	s.Stop(t, syscall.SIGINT)
	if err := copyCluster(context.Background(), s.data(), c.data()); err != nil {
		t.Fatal(err)
	}
	s.Launch(t)
	err = errors.Join(c.own(dir), os.WriteFile(filepath.Join(c.data(), "standby.signal"), nil, 0o644))
	if err == nil {
		err = c.launchAnywhere(context.Background())
	}
	if err != nil {
		t.Fatalf("start a %s of postgres %d: %v", role, s.Major, err)
	}
	t.Cleanup(func() {
		if err := c.remove(); err != nil {
			t.Errorf("remove postgres in %s: %v", c.dir, err)
		}
	})
	return c
}

// AwaitReplay waits until a standby has replayed what its primary has committed
// so far.
func (s *Server) AwaitReplay(t testing.TB, primary *Server) {
	t.Helper()
	lsn := (&Database{Server: primary, Name: "postgres"}).Query(t, "SELECT pg_current_wal_lsn()")
	standby := &Database{Server: s, Name: "postgres"}
	deadline := time.Now().Add(startTimeout)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for standby.Query(t, "SELECT pg_last_wal_replay_lsn() >= '"+lsn+"'") != "t" {
		if time.Now().After(deadline) {
			t.Fatalf("the standby has not replayed up to %s in %s", lsn, startTimeout)
		}
		<-tick.C
	}
}
