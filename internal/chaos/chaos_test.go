package chaos_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fixedSeeds is how many seeds share all kinds of fault out.
const fixedSeeds = 4

// runBound is how long a run may take, faults and all. The longest pauses in it
// are the planner's 30 seconds until it fills the queue anew, and the backoff of
// tasks that were broken several times.
const runBound = 4 * time.Minute

// TestChaos breaks one run per seed. PGCONVOY_TEST_CHAOS_SEEDS is how many seeds,
// PGCONVOY_TEST_CHAOS_SEED the first.
func TestChaos(t *testing.T) {
	t.Parallel()
	first, n := number(t, "PGCONVOY_TEST_CHAOS_SEED", 1), number(t, "PGCONVOY_TEST_CHAOS_SEEDS", fixedSeeds)
	var passed atomic.Int64
	t.Cleanup(func() { t.Logf("seeds %d to %d: %d run, %d passed", first, first+n-1, n, passed.Load()) })
	for seed := first; seed < first+n; seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("to repeat: make chaos SEEDS=1 SEED=%d", seed)
				} else {
					passed.Add(1)
				}
			})
			runSeed(t, seed)
		})
	}
}

func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, name)
	return n
}

// runSeed breaks the run of one seed.
func runSeed(t *testing.T, seed int) {
	rng := rand.New(rand.NewPCG(uint64(seed), 42))
	faults := drawFaults(seed, rng)
	o := setup{settings: drawSettings(rng), unlogged: rng.IntN(2) == 0, writes: rng.IntN(3) == 0}
	workers := 2 + rng.IntN(3)
	all := has(faults, "everybody killed")
	o.ownTarget = has(faults, "target crashes")
	o.ownSource = has(faults, "source crashes") || all && rng.IntN(2) == 0
	o.proxied = has(faults, "network cut") || has(faults, "network cut one way") || has(faults, "network slow")
	s := newScene(t, rng, o)
	t.Logf("%+v, %d workers, %+v", faults, workers, o)
	if has(faults, "source crashes") && !o.writes { // which empties its unlogged tables
		s.expected = s.recorded("")
	}
	s.mayLose = all || has(faults, "source crashes") || has(faults, "sessions on the source ended") || has(faults, "planner killed") || has(faults, "planner frozen") ||
		has(faults, "target crashes") && o.unlogged // what it empties is read again, perhaps after the snapshot was let go
	// Nobody but us writes to a server of our own; a snapshot that is lost by nothing but kills is proven there.
	s.mustNot = o.ownSource && !o.writes && !o.unlogged && !has(faults, "source crashes")
	var crashes []*crash
	if has(faults, "workers crash at named steps") {
		for range 1 + rng.IntN(4) {
			crashes = append(crashes, newCrash(rng))
			t.Logf("a worker dies %s, %q, after %d", crashes[len(crashes)-1].Step, crashes[len(crashes)-1].Kind, crashes[len(crashes)-1].Skip)
		}
	}
	s.play(faults, workers, crashes)
	s.judge()
}

// pending is a fault that has still to begin, or to end.
type pending struct {
	fault
	due  time.Time // zero until its share of the tasks is done
	heal func()
}

// play runs to the end, and breaks what there is to break on the way.
func (s *scene) play(faults []fault, workers int, crashes []*crash) {
	s.t.Helper()
	ended := make(chan error, 1)
	pause := time.Duration(s.rng.IntN(3000)) * time.Millisecond
	s.supports.Go(func() { ended <- s.drive(pause) })
	var waiting, lasting []*pending
	for _, f := range faults {
		waiting = append(waiting, &pending{fault: f})
	}
	staffed := s.writer == nil
	if staffed {
		s.staff(workers, crashes)
	}
	progress := -1.0
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(runBound)
	for {
		select {
		case err := <-ended:
			for _, p := range lasting {
				p.heal()
			}
			s.say("ended: %v; %d of %d faults", err, len(faults)-len(waiting), len(faults))
			require.NoError(s.t, err)
			return
		case <-deadline:
			s.hang()
		case <-tick.C:
		}
		progress = s.progress(progress)
		if !staffed && progress >= 0 {
			s.expected = s.recorded("SELECT name FROM pgconvoy.snapshot WHERE id = 1")
			staffed = true
			s.staff(workers, crashes)
		}
		waiting, lasting = s.advance(waiting, lasting, progress)
	}
}

// advance begins and ends the faults that are due.
func (s *scene) advance(waiting, lasting []*pending, progress float64) (stillWaiting, stillLasting []*pending) {
	now := time.Now()
	for _, p := range lasting {
		if now.Before(p.due) {
			stillLasting = append(stillLasting, p)
			continue
		}
		p.heal()
	}
	for _, p := range waiting {
		if p.due.IsZero() && progress >= p.at {
			p.due = now.Add(p.lag)
		}
		if p.due.IsZero() || now.Before(p.due) {
			stillWaiting = append(stillWaiting, p)
			continue
		}
		if p.heal = s.strike(p.fault); p.heal != nil {
			p.due = time.Now().Add(p.lasts)
			stillLasting = append(stillLasting, p)
		}
	}
	return stillWaiting, stillLasting
}

// hang fails with what every process was doing.
func (s *scene) hang() {
	s.t.Helper()
	s.mu.Lock()
	s.closing = true
	all := slices.Clone(s.all)
	s.mu.Unlock()
	for _, p := range all {
		if p.running() {
			p.dump()
		}
	}
	s.t.Fatalf("the run did not end within %s; what the processes did is at the end of their logs", runBound)
}
