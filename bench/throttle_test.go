package bench_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

// load is what an application of the source went through during a copy.
type load struct {
	copied       time.Duration   // how long the copy took
	latencies    []time.Duration // of the transactions within that, in order of length
	transactions float64         // per second
}

// BenchmarkThrottle copies a database that pgbench is at work in, at a fixed rate,
// with and without limits, and says how long its transactions took meanwhile. pgbench
// counts from when a transaction was due. PGCONVOY_BENCH_PERCENT is the size of the table
// that is copied (100, if not set, is 800 MB), PGCONVOY_BENCH_ROUNDS how many rounds there are, 3.
func BenchmarkThrottle(b *testing.B) {
	percent, rounds := number(b, "PGCONVOY_BENCH_PERCENT", 100), number(b, "PGCONVOY_BENCH_ROUNDS", 3)
	source, target := pgtest.Start(b, benchServer()), pgtest.Start(b, benchServer())
	src, dst := source.Database(b), target.Database(b)
	pgbench := filepath.Join(source.BinDir(), "pgbench")
	if _, err := os.Stat(pgbench); err != nil {
		b.Skipf("no load without pgbench: %v", err)
	}
	out, err := exec.CommandContext(b.Context(), pgbench, "-i", "-q", "-s", "10", src.URI()).CombinedOutput()
	require.NoError(b, err, string(out))
	src.Exec(b, fmt.Sprintf("CREATE TABLE wide AS SELECT i AS id, repeat(md5(i::text), 31) AS pad FROM generate_series(1, %d) i", 7_500*percent))
	src.Exec(b, "VACUUM (FREEZE, ANALYZE)")
	planner := filepath.Join(commands(b), "planner")
	ways := []struct {
		name   string
		copies bool
		limits []string
	}{
		{"nothing is copied", false, nil},
		{"no limits", true, nil},
		{"source.bytes_per_second 40MB", true, []string{"SOURCE_BYTES_PER_SECOND=40MB"}},
		{"source.max_active_sessions 4", true, []string{"SOURCE_MAX_ACTIVE_SESSIONS=4"}},
		{"automatic", true, []string{"AUTOMATIC=true"}},
	}
	measured := map[string][]load{}
	for b.Loop() {
		for range rounds {
			for _, w := range ways {
				renew(b, dst, false)
				source.Exec(b, "CHECKPOINT")
				target.Exec(b, "CHECKPOINT")
				measured[w.name] = append(measured[w.name], underLoad(b, pgbench, planner, src, dst, w.copies, w.limits))
			}
		}
	}
	var text strings.Builder
	fmt.Fprintf(&text, "medians of %d rounds; PostgreSQL %s\n", rounds, src.Query(b, "SHOW server_version"))
	t := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "limits\tcopy s\ttransactions/s\tmedian ms\t95 % ms\t99 % ms")
	for _, w := range ways {
		all := measured[w.name]
		at := func(share float64) float64 {
			return median(each(all, func(l load) time.Duration { return l.latencies[int(share*float64(len(l.latencies)-1))] })).Seconds() * 1000
		}
		fmt.Fprintf(t, "%s\t%.1f\t%.0f\t%.2f\t%.2f\t%.2f\n", w.name, median(each(all, func(l load) time.Duration { return l.copied })).Seconds(),
			median(each(all, func(l load) float64 { return l.transactions })), at(0.5), at(0.95), at(0.99))
	}
	require.NoError(b, t.Flush())
	b.Log("\n" + text.String())
}

// underLoad copies the database while pgbench is at work in the source. What is
// measured is what happens within the copy, or within ten seconds if nothing is copied.
func underLoad(b *testing.B, pgbench, planner string, src, dst *pgtest.Database, copies bool, limits []string) load {
	const transactions, clients, quiet = 400, 8, 10 * time.Second
	dir := b.TempDir()
	bench := exec.CommandContext(b.Context(), pgbench, "-n", "-b", "simple-update", "-c", fmt.Sprint(clients), "-j", "2", "-R", fmt.Sprint(transactions),
		"-T", "600", "-l", "--log-prefix", filepath.Join(dir, "log"), src.URI())
	var said strings.Builder
	bench.Stderr = &said
	require.NoError(b, bench.Start())
	require.Eventually(b, func() bool {
		return src.Query(b, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbench'") == fmt.Sprint(clients)
	},
		time.Minute, 20*time.Millisecond)
	began := time.Now()
	if copies {
		c := exec.CommandContext(b.Context(), planner, "run")
		c.Env = append(os.Environ(), "PGCONVOY_SOURCE_URI="+src.URI(), "PGCONVOY_TARGET_URI="+dst.URI(), "PGCONVOY_VERIFY=none", "PGCONVOY_REPORTS=",
			"PGCONVOY_PG_BINDIR="+src.Server.BinDir(), "PGCONVOY_SPLIT_LARGER_THAN=64MB")
		for _, l := range limits {
			c.Env = append(c.Env, "PGCONVOY_LIMITS_"+l)
		}
		out, err := c.CombinedOutput()
		require.NoError(b, err, string(out))
	} else {
		<-time.After(quiet)
	}
	within := time.Since(began)
	require.NoError(b, bench.Process.Signal(syscall.SIGALRM)) // as its own clock would, at the end of -T
	require.NoError(b, bench.Wait(), said.String())
	var l load
	if copies {
		l.copied = within
	}
	logs, err := filepath.Glob(filepath.Join(dir, "log.*"))
	require.NoError(b, err)
	for _, name := range logs {
		l.read(b, name, began, within)
	}
	require.NotEmpty(b, l.latencies)
	slices.Sort(l.latencies)
	l.transactions = float64(len(l.latencies)) / within.Seconds()
	return l
}

// read adds the transactions of one of pgbench's logs that ended within a time: client,
// number, microseconds, script, and when it ended.
func (l *load) read(b *testing.B, name string, began time.Time, within time.Duration) {
	f, err := os.Open(name)
	require.NoError(b, err)
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var client, serial, took, script, seconds, micros int64
		_, err := fmt.Sscan(lines.Text(), &client, &serial, &took, &script, &seconds, &micros)
		require.NoError(b, err, lines.Text())
		if after := time.Unix(seconds, micros*1000).Sub(began); after >= 0 && after <= within {
			l.latencies = append(l.latencies, time.Duration(took)*time.Microsecond)
		}
	}
	require.NoError(b, lines.Err())
}
