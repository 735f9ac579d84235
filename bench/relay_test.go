// Package bench_test measures what pgconvoy's client costs, on throwaway servers
// of this machine. Run it with
//
//	go test ./bench -run '^$' -bench . -benchtime 1x
//
// A benchmark prints a table of medians; README.md holds one, with how it was
// made. A new comparison gets a file of its own.
package bench_test

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
	"github.com/pgconvoy/pgconvoy/internal/verify"
)

func TestMain(m *testing.M) {
	if os.Getenv("TMPDIR") == "" { // pgtest would have clusters in memory, where fsync costs nothing
		_ = os.Setenv("TMPDIR", "/var/tmp")
	}
	os.Exit(pgtest.Main(m))
}

const (
	rounds  = 7
	numRows = 3_000_000
)

// cost is what one copy of the table took.
type cost struct {
	user, system, wall time.Duration // user and system: CPU of the client, the servers' left out
	source, target     time.Duration // CPU of the servers
}

func (c cost) servers() time.Duration { return c.source + c.target }

// method is a way to copy public.t from one database to the other.
type method struct {
	name string
	copy func(b *testing.B, src, dst *pgtest.Database) cost
}

// BenchmarkRelay compares the raw relay with two psql and a pipe, which is the
// least that programs of Postgres itself need for the same, and with a file that one
// server writes and the other one reads, which is the least that the servers need.
func BenchmarkRelay(b *testing.B) {
	src, dst := pgtest.Source(b).Database(b), pgtest.Target(b).Database(b)
	const ddl = "CREATE TABLE public.t (id bigint, customer int, at timestamptz, amount numeric, note text)"
	src.Exec(b, ddl)
	dst.Exec(b, ddl)
	src.Exec(b, fmt.Sprintf(`INSERT INTO public.t SELECT n, n %% 100003, '2020-01-01'::timestamptz + n * interval '1 second', n * 1.37,
		md5(n::text) || repeat(' lorem ipsum', (n %% 7)::int) FROM generate_series(1, %d) n`, numRows))
	src.Exec(b, "VACUUM FREEZE public.t")
	methods := []method{
		{"relay", relay}, {"relay with digest", relayHashed}, {"psql | psql", pipe}, {"COPY TO and FROM a file", file},
		{"relay, binary", relayBinary}, {"psql | psql, binary", pipeBinary}, {"COPY TO and FROM a file, binary", fileBinary},
	}
	measured := map[string][]cost{}
	size := relationSize(b, src)
	for b.Loop() {
		for round := range rounds + 1 {
			for _, m := range methods {
				dst.Exec(b, "TRUNCATE public.t")
				dst.Exec(b, "CHECKPOINT")
				source, target := serverCPU(b, src.Server.Pid()), serverCPU(b, dst.Server.Pid())
				c := m.copy(b, src, dst)
				c.source, c.target = serverCPU(b, src.Server.Pid())-source, serverCPU(b, dst.Server.Pid())-target
				require.Equal(b, numRows, dst.Count(b, "public.t"))
				if round > 0 { // the first one warms the caches
					measured[m.name] = append(measured[m.name], c)
				}
			}
		}
	}
	report(b, methods, measured, size)
}

const binary = " (FORMAT binary)"

func relay(b *testing.B, src, dst *pgtest.Database) cost { return relayTo(b, src, dst, "") }

func relayBinary(b *testing.B, src, dst *pgtest.Database) cost { return relayTo(b, src, dst, binary) }

func pipe(b *testing.B, src, dst *pgtest.Database) cost { return pipeTo(b, src, dst, "") }

func pipeBinary(b *testing.B, src, dst *pgtest.Database) cost { return pipeTo(b, src, dst, binary) }

func file(b *testing.B, src, dst *pgtest.Database) cost { return fileTo(b, src, dst, "") }

func fileBinary(b *testing.B, src, dst *pgtest.Database) cost { return fileTo(b, src, dst, binary) }

// relayHashed is a relay whose rows are hashed on their way, as with verify: digest.
func relayHashed(b *testing.B, src, dst *pgtest.Database) cost {
	rows, err := verify.NewRows(tasks.DigestKey{1})
	require.NoError(b, err)
	defer func() { require.Equal(b, int64(numRows), rows.Sum().Rows) }()
	return relayTo(b, src, dst, "", rows)
}

// relayTo copies in this process, so its CPU is what the process used meanwhile.
func relayTo(b *testing.B, src, dst *pgtest.Database, format string, sinks ...pg.RowSink) cost {
	source, target := session(b, pg.Source, src), session(b, pg.Target, dst)
	defer source.Discard()
	defer target.Discard()
	for _, c := range []*pg.Conn{source, target} {
		_, err := c.Exec(b.Context(), "BEGIN")
		require.NoError(b, err)
	}
	return timed(b, func() {
		_, err := pg.Relay(b.Context(), source, target, "COPY public.t TO STDOUT"+format, "COPY public.t FROM STDIN"+format, sinks...)
		require.NoError(b, err)
		_, err = target.Exec(b.Context(), "COMMIT")
		require.NoError(b, err)
	})
}

func since(before, after syscall.Timeval) time.Duration {
	return time.Duration(after.Nano() - before.Nano())
}

func session(b *testing.B, side pg.Side, db *pgtest.Database) *pg.Conn {
	c, err := pg.Connect(b.Context(), pg.Options{Side: side, URI: db.URI(), Name: "bench"})
	require.NoError(b, err)
	return c
}

// pipeTo copies with two psql, the second one reading what the first one writes.
func pipeTo(b *testing.B, src, dst *pgtest.Database, format string) cost {
	read, write, err := os.Pipe()
	require.NoError(b, err)
	out := psql(b.Context(), src, "COPY public.t TO STDOUT"+format)
	out.Stdout = write
	in := psql(b.Context(), dst, "SET synchronous_commit = off", "COPY public.t FROM STDIN"+format)
	in.Stdin = read
	start := time.Now()
	require.NoError(b, out.Start())
	require.NoError(b, in.Start())
	require.NoError(b, write.Close())
	require.NoError(b, read.Close())
	require.NoError(b, out.Wait())
	require.NoError(b, in.Wait())
	wall := time.Since(start)
	return cost{
		user:   out.ProcessState.UserTime() + in.ProcessState.UserTime(),
		system: out.ProcessState.SystemTime() + in.ProcessState.SystemTime(), wall: wall,
	}
}

// fileTo has the source write a file, and then the target read it.
func fileTo(b *testing.B, src, dst *pgtest.Database, format string) cost {
	dir, err := os.MkdirTemp("", "pgconvoy-bench-") //nolint:usetesting // b.TempDir is in a folder that the servers may not enter
	require.NoError(b, err)
	defer func() { require.NoError(b, os.RemoveAll(dir)) }()
	require.NoError(b, os.Chmod(dir, 0o777)) // the servers may be another user's
	name := filepath.Join(dir, "t")
	start := time.Now()
	src.Exec(b, fmt.Sprintf("COPY public.t TO '%s'%s", name, format))
	dst.Exec(b, fmt.Sprintf("SET synchronous_commit = off; COPY public.t FROM '%s'%s", name, format))
	return cost{wall: time.Since(start)}
}

func psql(ctx context.Context, db *pgtest.Database, commands ...string) *exec.Cmd {
	args := []string{"-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", db.URI()}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	cmd := exec.CommandContext(ctx, db.Server.Bin("psql"), args...)
	cmd.Stderr = os.Stderr
	return cmd
}

// relationSize is how many bytes the table takes on the source.
func relationSize(b *testing.B, src *pgtest.Database) int64 {
	size, err := strconv.ParseInt(src.Query(b, "SELECT pg_relation_size('public.t')"), 10, 64)
	require.NoError(b, err)
	return size
}

func report(b *testing.B, methods []method, measured map[string][]cost, size int64) {
	var text strings.Builder
	fmt.Fprintf(&text, "%d rows, %d MB of heap, medians of %d\n", numRows, size>>20, rounds)
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "client\tCPU s\tuser\tsystem\tmin … max\tsource CPU s\ttarget CPU s\tMB per s of both\twall s")
	for _, m := range methods {
		costs := measured[m.name]
		seconds := func(of func(cost) time.Duration) float64 { return median(each(costs, of)).Seconds() }
		cpu := func(c cost) time.Duration { return c.user + c.system }
		fmt.Fprintf(w, "%s\t%.2f\t%.2f\t%.2f\t%.2f … %.2f\t%.2f\t%.2f\t%.0f\t%.2f\n", m.name, seconds(cpu),
			seconds(func(c cost) time.Duration { return c.user }), seconds(func(c cost) time.Duration { return c.system }),
			slices.Min(each(costs, cpu)).Seconds(), slices.Max(each(costs, cpu)).Seconds(),
			seconds(func(c cost) time.Duration { return c.source }), seconds(func(c cost) time.Duration { return c.target }),
			float64(size)/(1<<20)/seconds(cost.servers), seconds(func(c cost) time.Duration { return c.wall }))
		unit := strings.ReplaceAll(strings.ReplaceAll(m.name, ",", ""), " ", "-")
		b.ReportMetric(seconds(cpu), unit+"-cpu-s")
	}
	_ = w.Flush()
	b.Log(text.String())
}

func each[T, V any](list []T, of func(T) V) []V {
	values := make([]V, len(list))
	for i, one := range list {
		values[i] = of(one)
	}
	return values
}

// median is the upper one of two in the middle.
func median[V cmp.Ordered](values []V) V {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
