package bench_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/natstest"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

// inNamespace tells the benchmark that it is in a network namespace of its own.
const inNamespace = "PGCONVOY_BENCH_NAMESPACE"

// BenchmarkScale copies one table with one and with four workers, each in a
// network namespace of its own, whose link carries 100 Mbit/s either way: so much
// that the servers, which share this machine, are not what limits four of them. It
// needs Linux, root, and ip and tc of iproute2.
func BenchmarkScale(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("network namespaces need root")
	}
	for _, program := range []string{"ip", "tc"} {
		if _, err := exec.LookPath(program); err != nil {
			b.Skip("needs iproute2: " + err.Error())
		}
	}
	if os.Getenv(inNamespace) == "" {
		moveIn(b)
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

// moveIn runs the benchmark in a namespace of its own, where its servers listen.
func moveIn(b *testing.B) {
	hub := namespace(b, "hub")
	command(b, "ip", "-n", hub, "link", "set", "lo", "up")
	c := exec.CommandContext(b.Context(), "ip", "netns", "exec", hub, os.Args[0], "-test.run=^$", "-test.bench=^BenchmarkScale$", "-test.benchtime=1x", "-test.timeout=1h")
	c.Env = append(os.Environ(), inNamespace+"="+hub)
	out, err := c.CombinedOutput()
	b.Logf("%s", out)
	require.NoError(b, err)
}

// namespace makes a network namespace that ends with the benchmark.
func namespace(b *testing.B, name string) string {
	name = fmt.Sprintf("pgconvoy-%d-%s", os.Getpid(), name)
	command(b, "ip", "netns", "add", name)
	b.Cleanup(func() { _ = exec.Command("ip", "netns", "delete", name).Run() })
	return name
}

func command(b *testing.B, args ...string) {
	out, err := exec.CommandContext(b.Context(), args[0], args[1:]...).CombinedOutput()
	require.NoError(b, err, "%s: %s", strings.Join(args, " "), out)
}

// commands builds planner and worker and returns their folder.
func commands(b *testing.B) string {
	dir := b.TempDir()
	command(b, "go", "build", "-o", dir+"/", "github.com/pgconvoy/pgconvoy/cmd/planner", "github.com/pgconvoy/pgconvoy/cmd/worker")
	return dir
}

// convoy is what the workers copy, and where they are.
type convoy struct {
	bin, source, target, queue string
	sites                      []site
}

// site is a namespace, and what the servers are called there.
type site struct {
	namespace string
	env       []string
}

// site makes the namespace of a worker and the link to it.
func (c *convoy) site(b *testing.B, i int) site {
	name := namespace(b, fmt.Sprintf("w%d", i))
	link := fmt.Sprintf("w%d", i)
	here, there := fmt.Sprintf("10.77.%d.1", i), fmt.Sprintf("10.77.%d.2", i)
	command(b, "ip", "link", "add", link, "type", "veth", "peer", "name", "hub", "netns", name)
	command(b, "ip", "addr", "add", here+"/30", "dev", link)
	command(b, "ip", "link", "set", link, "up")
	command(b, "ip", "-n", name, "addr", "add", there+"/30", "dev", "hub")
	command(b, "ip", "-n", name, "link", "set", "hub", "up")
	command(b, "ip", "-n", name, "link", "set", "lo", "up")
	shape := []string{"root", "tbf", "rate", "100mbit", "burst", "128kb", "latency", "50ms"}
	command(b, append([]string{"tc", "qdisc", "add", "dev", link}, shape...)...)
	command(b, append([]string{"tc", "-n", name, "qdisc", "add", "dev", "hub"}, shape...)...)
	return site{name, append(os.Environ(), c.settings("PGCONVOY_SOURCE_URI="+far(b, here, c.source, 0),
		"PGCONVOY_TARGET_URI="+far(b, here, c.target, 0), "PGCONVOY_NATS_URL="+far(b, here, c.queue, 0))...)}
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
		w := exec.CommandContext(ctx, "ip", "netns", "exec", s.namespace, filepath.Join(c.bin, "worker"))
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
