package run_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/check"
	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/natstest"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/run"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// TestSourceClones: two standbys that stand still at the same position share the
// reading, with workers in the planner's process and elsewhere.
func TestSourceClones(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, pgtest.Options{Settings: map[string]string{"log_statement": "all"}})
	server.Exec(t, "CREATE DATABASE shop")
	src := &pgtest.Database{Server: server, Name: "shop"}
	src.Exec(t, `CREATE TABLE big (id int PRIMARY KEY, pad text); INSERT INTO big SELECT i, repeat('x', 200) FROM generate_series(1, 20000) i;
		CREATE TABLE small (id int PRIMARY KEY, note text); INSERT INTO small SELECT i, 'n' || i FROM generate_series(1, 500) i;
		SELECT lo_from_bytea(0, 'object')`)
	server.Freeze(t)
	clone := server.Clone(t)
	for name, external := range map[string]bool{"embedded": false, "external": true} {
		t.Run(name, func(t *testing.T) {
			dst := pgtest.Target(t).Database(t)
			o := options(t, src, dst)
			o.Config.SourceClones = config.URIs{config.Secret(clone.URI("shop"))}
			if external {
				o.Config.NATS.URL = config.Secret(natstest.Start(t).URL())
				startWorker(t, build(t, "worker"), o, "PGCONVOY_SOURCE_CLONES="+clone.URI("shop"))
			}
			before := [2]int{copiesFrom(t, server), copiesFrom(t, clone)}
			copyAll(t, o)
			require.Greater(t, copiesFrom(t, server), before[0], "the source reads")
			require.Greater(t, copiesFrom(t, clone), before[1], "and so does its clone")
			pgtest.RequireEqual(t, src, dst)
		})
	}
}

// copiesFrom counts the COPYs that a server with log_statement = all has sent.
func copiesFrom(t *testing.T, s *pgtest.Server) int {
	t.Helper()
	return strings.Count(s.Log(t), "statement: COPY ")
}

// pause pauses the replay of standbys at one position.
func pause(t *testing.T, standbys ...*pgtest.Server) {
	t.Helper()
	require.Eventually(t, func() bool {
		at := map[string]bool{}
		for _, s := range standbys {
			s.Exec(t, "SELECT pg_wal_replay_pause()")
		}
		for _, s := range standbys {
			db := &pgtest.Database{Server: s, Name: "postgres"}
			awaitQuery(t, db, "paused", "SELECT pg_get_wal_replay_pause_state()")
			at[db.Query(t, "SELECT pg_last_wal_replay_lsn()")] = true
		}
		if len(at) > 1 {
			for _, s := range standbys {
				s.Exec(t, "SELECT pg_wal_replay_resume()")
			}
		}
		return len(at) == 1
	}, time.Minute, 100*time.Millisecond)
}

// TestCloneThatMovesOn: what is read from a clone whose replay goes on does not
// count; the tasks read from another one.
func TestCloneThatMovesOn(t *testing.T) {
	t.Parallel()
	primary := pgtest.Start(t, pgtest.Options{})
	primary.Exec(t, "CREATE DATABASE shop")
	shop := &pgtest.Database{Server: primary, Name: "shop"}
	dst := pgtest.Target(t).Database(t)
	release := gated(t, shop, dst, 30_000)
	first, second := primary.Standby(t, nil), primary.Standby(t, nil)
	first.AwaitReplay(t, primary)
	second.AwaitReplay(t, primary)
	pause(t, first, second)
	src := &pgtest.Database{Server: first, Name: "shop"}
	o := options(t, src, dst)
	o.Config.SourceClones = config.URIs{config.Secret(second.URI("shop"))}
	o.Config.Split.LargerThan, o.Config.Split.MaxParts = 2<<20, 6
	o.Config.KeepLedger = true
	wait := start(t.Context(), o)
	awaitQuery(t, dst, "t", sqlHeld)
	shop.Exec(t, "UPDATE big SET pad = 'changed' WHERE id % 3 = 0")
	second.Exec(t, "SELECT pg_wal_replay_resume()")
	second.AwaitReplay(t, primary)
	release()
	report, err := wait()
	require.NoError(t, err)
	require.Equal(t, tasks.RunComplete, report.State)
	require.NotEqual(t, "0", dst.Query(t, "SELECT sum(attempts) FROM pgconvoy.task WHERE id LIKE 'copy.public.big.p%'"), "a copy from the second one was given up")
	pgtest.RequireEqual(t, src, dst, pgtest.IgnoreSchemas("pgconvoy"))
}

// TestClonesMustStandStill: clones elsewhere, and a source that moves, are refused
// before anything is changed.
func TestClonesMustStandStill(t *testing.T) {
	t.Parallel()
	primary := pgtest.Start(t, pgtest.Options{})
	primary.Exec(t, "CREATE DATABASE shop")
	shop := &pgtest.Database{Server: primary, Name: "shop"}
	standby, dst := primary.Standby(t, nil), pgtest.Target(t).Database(t)
	standby.AwaitReplay(t, primary)
	pause(t, standby)
	shop.Exec(t, "CREATE TABLE a (id int)")
	other := primary.Clone(t) // further on
	src := &pgtest.Database{Server: standby, Name: "shop"}
	for name, c := range map[string]struct {
		source *pgtest.Database
		clone  string
		want   string
	}{
		"another position":      {src, other.URI("shop"), "it has replayed up to "},
		"another database":      {src, other.URI("postgres"), "and the source is "},
		"another cluster":       {src, pgtest.Source(t).URI("postgres"), "the server is no standby"},
		"a primary":             {src, primary.URI("shop"), "the server is no standby"},
		"a source that is none": {shop, other.URI("shop"), "is no standby that could stand still"},
		"no server":             {src, strings.Replace(other.URI("shop"), fmt.Sprint(other.Port), "1", 1), "nothing accepts connections"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(t, c.source, dst)
			o.Config.SourceClones = config.URIs{config.Secret(c.clone)}
			_, err := run.Run(t.Context(), o)
			var failed *check.FailedError
			require.ErrorAs(t, err, &failed)
			blockers := failed.Findings.Blockers()
			require.Len(t, blockers, 1, "%v", blockers)
			require.Contains(t, blockers[0].What, c.want)
			require.NotEmpty(t, blockers[0].Hint)
			require.True(t, dst.Empty(t))
		})
	}
}
