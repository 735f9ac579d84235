package run_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/nettest"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

// TestAutoscaling lets an autoscaler start the workers of a run, from none to as
// many as it may, and each ends by itself when nothing is left for it. The NATS
// server, configured as in deployments, the planner and each worker are processes
// of the commands, planner and workers in network namespaces of their own. The
// autoscaler is the loop of KEDA's ScaledJob with its nats-jetstream triggers.
func TestAutoscaling(t *testing.T) {
	t.Parallel()
	if !nettest.Inside(t) {
		return
	}
	server := pgtest.Start(t, pgtest.Options{Settings: map[string]string{"listen_addresses": "*"}, HBA: []string{"host all all " + nettest.Network + " trust"}})
	src, dst := server.Database(t), server.Database(t)
	release := gated(t, src, dst, 10)
	for i := range 10 {
		src.Exec(t, fmt.Sprintf("CREATE TABLE t%d (id int8 PRIMARY KEY CHECK (public.gate(id))); INSERT INTO t%[1]d VALUES (5000)", i))
	}
	natsServer(t)

	const most = 3
	here := func(site nettest.Site, role, program string, args ...string) *exec.Cmd {
		cmd := site.Command(context.WithoutCancel(t.Context()), build(t, program), args...)
		cmd.Dir = t.TempDir() // for the report
		uri := func(db *pgtest.Database) string { return strings.Replace(db.URI(), "127.0.0.1", site.Hub, 1) }
		cmd.Env = append(os.Environ(), "PGCONVOY_SOURCE_URI="+uri(src), "PGCONVOY_TARGET_URI="+uri(dst), "PGCONVOY_NATS_URL=nats://"+site.Hub+":4222",
			"PGCONVOY_NATS_USER="+role, "PGCONVOY_NATS_PASSWORD="+role+"-secret", "PGCONVOY_BUNDLE_MAX_TABLE=0", "PGCONVOY_CAPS_COPY=6",
			"PGCONVOY_SLOTS_COPY=2", "PGCONVOY_EXIT_WHEN_IDLE=5s", "PGCONVOY_PG_BINDIR="+pgtest.ClientDir(t, server.Major))
		return cmd
	}
	s := &scaler{most: most, triggers: map[string]int{"copy": 2, "index": 4, "attach": 2, "analyze": 2, "fkey": 2, "blob": 1, "misc": 2}}
	for i := range most {
		s.free = append(s.free, here(nettest.NewSite(t, i), "worker", "worker"))
	}
	s.start(t)
	planner := &process{Cmd: here(nettest.NewSite(t, most), "planner", "planner", "run")}
	planner.launch(t)

	awaitGate(t, dst, 6) // what the cap of copies allows, in three workers with two slots
	require.Equal(t, most, s.now())
	release()
	require.NoError(t, planner.Wait())
	require.Eventually(t, func() bool { return s.now() == 0 }, time.Minute, 10*time.Millisecond, "workers do not end")
	require.Equal(t, 11, dst.Count(t, "pg_tables WHERE schemaname = 'public'"))
	pgtest.RequireEqual(t, src, dst)
	steps := s.stop(t)
	t.Logf("workers from look to look: %v", steps)
	require.Zero(t, steps[0])
	require.Equal(t, most, slices.Max(steps))
	require.Zero(t, steps[len(steps)-1])
}

// natsServer starts nats-server with the configuration of deployments, of which
// only the directory is another.
func natsServer(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(deployments, "nats-server.conf"))
	require.NoError(t, err)
	const store = "store_dir: /var/lib/nats"
	require.Equal(t, 1, strings.Count(string(text), store))
	dir := t.TempDir()
	file, binary := filepath.Join(dir, "nats-server.conf"), filepath.Join(dir, "nats-server")
	require.NoError(t, os.WriteFile(file, []byte(strings.Replace(string(text), store, "store_dir: "+filepath.Join(dir, "streams"), 1)), 0o600))
	nettest.Run(t, "env", "CGO_ENABLED=0", "go", "build", "-trimpath", "-o", binary, "github.com/nats-io/nats-server/v2")
	p := &process{Cmd: exec.CommandContext(context.WithoutCancel(t.Context()), binary, "-c", file, "-m", "8222")}
	p.Env = append(os.Environ(), rolePasswords()...)
	p.launch(t)
	require.Eventually(t, func() bool {
		_, err := readJetStream(t.Context())
		return err == nil
	}, time.Minute, 10*time.Millisecond, "nats-server does not answer")
}

// jetStream is what matters of the answer to /jsz.
type jetStream struct {
	Accounts []struct {
		Name    string
		Streams []struct {
			Name      string
			Consumers []struct {
				Name    string
				Pending int `json:"num_pending"`
				Leased  int `json:"num_ack_pending"`
			} `json:"consumer_detail"`
		} `json:"stream_detail"`
	} `json:"account_details"`
}

func readJetStream(ctx context.Context) (js jetStream, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:8222/jsz?acc=pgconvoy&consumers=true&config=true", nil)
	if err != nil {
		return js, err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		return js, err
	}
	defer func() { _ = response.Body.Close() }()
	return js, json.NewDecoder(response.Body).Decode(&js)
}

// lags returns, for each consumer of the run, what its scaler takes for its lag.
func (js jetStream) lags() map[string]int {
	lags := map[string]int{}
	for _, account := range js.Accounts {
		for _, stream := range account.Streams {
			for _, c := range stream.Consumers {
				if account.Name == "pgconvoy" && stream.Name == "PGCONVOY-main" {
					lags[c.Name] = c.Pending + c.Leased
				}
			}
		}
	}
	return lags
}

// scaler is a ScaledJob with the strategy default, which is the one for a lag
// that counts what is in hand, and the sum of its triggers.
type scaler struct {
	triggers map[string]int // lagThreshold of each consumer
	most     int            // maxReplicaCount

	mu      sync.Mutex
	free    []*exec.Cmd // workers that can be started, one for each namespace
	running int
	steps   []int // how many ran, at each look that saw another number
	cancel  context.CancelFunc
	all     sync.WaitGroup
	errs    []error
}

// create returns how many jobs to create beside those that run.
func (s *scaler) create(lags map[string]int) int {
	queue, scale := 0, 0
	for consumer, threshold := range s.triggers {
		lag, known := lags[consumer]
		if !known { // a trigger without its consumer is an error, and nothing is scaled
			return 0
		}
		queue += lag
		scale += min(s.most, (lag+threshold-1)/threshold)
	}
	return min(queue, max(0, min(s.most, scale)-s.running))
}

// start looks at the server again and again, until stop.
func (s *scaler) start(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s.cancel, s.steps = cancel, []int{0}
	t.Cleanup(func() { cancel(); s.all.Wait() })
	s.all.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond) // its pollingInterval
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			js, err := readJetStream(ctx)
			s.mu.Lock()
			if err != nil && ctx.Err() == nil {
				s.errs = append(s.errs, err)
			}
			for range s.create(js.lags()) {
				s.hire(ctx)
			}
			s.note()
			s.mu.Unlock()
		}
	})
}

// hire starts a worker and waits for its end in the background.
func (s *scaler) hire(ctx context.Context) {
	idle := s.free[0]
	s.free = s.free[1:]
	worker := exec.CommandContext(ctx, idle.Path, idle.Args[1:]...)
	var log bytes.Buffer
	worker.Env, worker.Dir, worker.Stderr = idle.Env, idle.Dir, &log
	if err := worker.Start(); err != nil {
		s.errs = append(s.errs, err)
		return
	}
	s.running++
	s.all.Go(func() {
		err := worker.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		if err != nil && ctx.Err() == nil {
			s.errs = append(s.errs, fmt.Errorf("worker: %w: %s", err, log.String()))
		}
		s.running--
		s.free = append(s.free, idle)
		s.note()
	})
}

func (s *scaler) note() {
	if s.steps[len(s.steps)-1] != s.running {
		s.steps = append(s.steps, s.running)
	}
}

// now returns how many workers run.
func (s *scaler) now() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running
}

// stop ends the loop and returns how many workers there were, change by change.
// All must have ended by themselves, as those do that had no more to do.
func (s *scaler) stop(t *testing.T) []int {
	t.Helper()
	s.cancel()
	s.all.Wait()
	require.Empty(t, s.errs)
	return s.steps
}
