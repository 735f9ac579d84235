package bench_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/natstest"
	"github.com/pgconvoy/pgconvoy/internal/nettest"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

// BenchmarkScale copies one table with one and with four workers, each in a
// network namespace of its own, whose link carries 100 Mbit/s either way: so much
// that the servers, which share this machine, are not what limits four of them. It
// needs Linux, root, and ip and tc of iproute2.
func BenchmarkScale(b *testing.B) {
	if _, err := exec.LookPath("tc"); err != nil {
		b.Skip("needs iproute2: " + err.Error())
	}
	if !nettest.Inside(b) {
		return
	}
	percent, counted := number(b, "PGCONVOY_BENCH_PERCENT", 100), number(b, "PGCONVOY_BENCH_ROUNDS", 5)
	src, dst := pgtest.Start(b, benchServer()).Database(b), pgtest.Start(b, benchServer()).Database(b)
	src.Exec(b, "CREATE TABLE events (id int8, at timestamptz, note text)")
	src.Exec(b, fmt.Sprintf("INSERT INTO events SELECT n, now(), repeat(md5(n::text), 30) FROM generate_series(1, %d) n", 8000*percent))
	src.Exec(b, "VACUUM (FREEZE, ANALYZE) events")
	recorded, err := pgtest.Recorded(b.Context(), src, "")
	require.NoError(b, err)
	queue := natstest.Start(b).URL()
	c := convoy{bin: commands(b), source: src.URI(), target: dst.URI(), queue: queue}
	for i := range 4 {
		c.sites = append(c.sites, c.site(b, i))
	}
	took := map[int][]time.Duration{}
	for b.Loop() {
		for range counted {
			for _, workers := range []int{1, 4} {
				renew(b, dst, false)
				took[workers] = append(took[workers], c.run(b, workers))
				diff, err := recorded.Diff(dst)
				require.NoError(b, err)
				require.Empty(b, diff)
			}
		}
	}
	one, four := median(took[1]), median(took[4])
	b.Logf("%s of heap, medians of %d runs from start to end: 1 worker %.1f s, 4 workers %.1f s, %.2f times as fast",
		src.Query(b, "SELECT pg_size_pretty(pg_relation_size('events'))"), counted, one.Seconds(), four.Seconds(), one.Seconds()/four.Seconds())
}

// commands builds planner and worker and returns their folder.
func commands(b *testing.B) string {
	dir := b.TempDir()
	nettest.Run(b, "go", "build", "-o", dir+"/", "github.com/pgconvoy/pgconvoy/cmd/planner", "github.com/pgconvoy/pgconvoy/cmd/worker")
	return dir
}

// convoy is what the workers copy, and where they are.
type convoy struct {
	bin, source, target, queue string
	sites                      []site
}

// site is a namespace, and what the servers are called there.
type site struct {
	nettest.Site
	env []string
}

// site makes the namespace of a worker and slows the link to it down.
func (c *convoy) site(b *testing.B, i int) site {
	s := nettest.NewSite(b, i)
	shape := []string{"root", "tbf", "rate", "100mbit", "burst", "128kb", "latency", "50ms"}
	nettest.Run(b, append([]string{"tc", "qdisc", "add", "dev", s.Link}, shape...)...)
	nettest.Run(b, append([]string{"tc", "-n", s.Namespace, "qdisc", "add", "dev", "hub"}, shape...)...)
	return site{s, append(os.Environ(), c.settings("PGCONVOY_SOURCE_URI="+far(b, s.Hub, c.source, 0),
		"PGCONVOY_TARGET_URI="+far(b, s.Hub, c.target, 0), "PGCONVOY_NATS_URL="+far(b, s.Hub, c.queue, 0))...)}
}

// settings are those of all processes of a run: parts are small, so that no worker
// ends long before the others.
func (c *convoy) settings(more ...string) []string {
	return append(more, "PGCONVOY_CAPS_COPY=8", "PGCONVOY_SLOTS_COPY=2", "PGCONVOY_SPLIT_LARGER_THAN=4MB", "PGCONVOY_SPLIT_MAX_PARTS=128", "PGCONVOY_VERIFY=none")
}

// run copies the table with so many workers and returns how long that took.
func (c *convoy) run(b *testing.B, workers int) time.Duration {
	ctx, stop := context.WithCancel(b.Context())
	var running []*exec.Cmd
	defer func() {
		stop()
		for _, w := range running {
			_ = w.Wait()
		}
	}()
	for _, s := range c.sites[:workers] {
		w := s.Command(ctx, filepath.Join(c.bin, "worker"))
		w.Env = s.env
		require.NoError(b, w.Start())
		running = append(running, w)
	}
	planner := exec.CommandContext(ctx, filepath.Join(c.bin, "planner"), "run")
	planner.Env = append(os.Environ(), c.settings("PGCONVOY_SOURCE_URI="+c.source, "PGCONVOY_TARGET_URI="+c.target, "PGCONVOY_NATS_URL="+c.queue)...)
	began := time.Now()
	out, err := planner.CombinedOutput()
	require.NoError(b, err, "%s", out)
	return time.Since(began)
}
