package chaos_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/natstest"
)

// scriptedSettings are those of the runs here: everything is compared.
var scriptedSettings = settings{KeepLedger: true, Verify: config.VerifyDigest, BundleTables: 4, Slots: 2}

// A planner that is killed, at whatever point, while the source is written to,
// costs the run nothing: its workers keep the snapshot, and another planner goes
// on with it. PGCONVOY_TEST_CHAOS_POINTS is how many points, spread over the run.
func TestPlannerKilledAtRandomPoints(t *testing.T) {
	t.Parallel()
	points := number(t, "PGCONVOY_TEST_CHAOS_POINTS", 3)
	for i := range points {
		t.Run(fmt.Sprintf("point=%d", i+1), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(uint64(number(t, "PGCONVOY_TEST_CHAOS_SEED", 1)), uint64(i)))
			s := newScene(t, rng, setup{unlogged: true, writes: true, settings: scriptedSettings})
			struck := false
			f := fault{
				kind: "planner killed", at: (float64(i) + rng.Float64()) / float64(points) * 0.85, lag: time.Duration(rng.IntN(200)) * time.Millisecond,
				do: func(s *scene, f fault) func() {
					struck = true
					return s.killKeptPlanner(f)
				},
			}
			s.play([]fault{f}, 3, nil)
			require.True(t, struck, "the run ended before its planner was killed")
			s.judge()
			require.False(t, s.lost)
		})
	}
}

// killKeptPlanner kills the planner as soon as another process holds the
// snapshot, too, or nobody needs to any more.
func (s *scene) killKeptPlanner(f fault) func() {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		kept, err := ask[bool](s.src, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'pgconvoy keeper%' AND state = 'idle in transaction')")
		released, err2 := ask[bool](s.dst, "SELECT NOT EXISTS (SELECT FROM pgconvoy.snapshot WHERE released_at IS NULL)")
		return err == nil && kept || err2 == nil && released || s.runningPlanner() == nil
	}, time.Minute, 20*time.Millisecond)
	return s.killPlanner(f)
}

// Six of eight workers are killed, one after the other, and not replaced.
func TestSixOfEightWorkersKilled(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(uint64(number(t, "PGCONVOY_TEST_CHAOS_SEED", 1)), 6))
	s := newScene(t, rng, setup{unlogged: true, writes: true, settings: scriptedSettings})
	s.mortal = true
	var faults []fault
	for i := range 6 {
		faults = append(faults, fault{kind: "worker killed", at: 0.05 + 0.13*float64(i), lag: time.Duration(rng.IntN(100)) * time.Millisecond, pick: rng.IntN(8)})
	}
	s.play(faults, 8, nil)
	require.Len(t, s.runningWorkers(), 2)
	s.judge()
	require.False(t, s.lost)
}

// The server that leads the run's stream is killed, and once more when it is
// back: a cluster of three loses no task.
func TestLeaderOfTheQueueKilledTwice(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(uint64(number(t, "PGCONVOY_TEST_CHAOS_SEED", 1)), 3))
	cluster := natstest.StartCluster(t)
	s := newScene(t, rng, setup{unlogged: true, writes: true, settings: scriptedSettings, nats: cluster})
	s.child.Replicas = 3
	kills := 0
	kill := func(s *scene, _ fault) func() {
		stream := "PGCONVOY-" + s.child.Run
		if kills > 0 {
			cluster.AwaitCurrent(stream)
		}
		leader := cluster.Leader(stream)
		leader.Kill()
		kills++
		return leader.Start
	}
	s.play([]fault{{kind: "leader killed", at: 0.1, lasts: ackWait, do: kill}, {kind: "leader killed again", at: 0.5, lasts: ackWait, do: kill}}, 3, nil)
	require.Equal(t, 2, kills)
	s.judge()
	require.False(t, s.lost)
}
