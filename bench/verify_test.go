package bench_test

import (
	"cmp"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/run"
)

// verifyParts is how many streams read each side, with and without hashing.
const verifyParts = 2

// BenchmarkVerify compares planner verify at level digest, from connecting to
// the result, with reading both sides by the same number of COPYs and throwing
// the rows away. PGCONVOY_BENCH_MB is the size of the heap on either side (1024
// if not set), PGCONVOY_BENCH_PAD the length of a text column (60), which makes
// rows narrow or wide.
func BenchmarkVerify(b *testing.B) {
	megabytes, pad := number(b, "PGCONVOY_BENCH_MB", 1024), number(b, "PGCONVOY_BENCH_PAD", 60)
	src, dst := pgtest.Source(b).Database(b), pgtest.Target(b).Database(b)
	fill := fmt.Sprintf(`CREATE TABLE public.t (id bigint, customer int, at timestamptz, amount numeric, note text);
		ALTER TABLE public.t ALTER note SET STORAGE EXTERNAL;
		INSERT INTO public.t SELECT n, n %% 100003, '2020-01-01'::timestamptz + n * interval '1 second', n * 1.37,
			left(repeat(md5(n::text), %[1]d), %[1]d) FROM generate_series(1, %[2]d) n;
		ALTER TABLE public.t ADD PRIMARY KEY (id); VACUUM (FREEZE, ANALYZE) public.t`, pad, megabytes<<20/(pad+70))
	for statement := range strings.SplitSeq(fill, ";") { // VACUUM runs by itself
		src.Exec(b, statement)
		dst.Exec(b, statement)
	}
	size, err := strconv.ParseInt(src.Query(b, "SELECT pg_relation_size('public.t')"), 10, 64)
	require.NoError(b, err)
	methods := []method{{"COPY both, no hash", read}, {"planner verify", compare}}
	measured := map[string][]cost{}
	for b.Loop() {
		for round := range rounds + 1 {
			for _, m := range methods {
				c := m.copy(b, src, dst)
				if round > 0 {
					measured[m.name] = append(measured[m.name], c)
				}
			}
		}
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%s rows, %d MB of heap on either side, %d streams each, medians of %d\n", src.Query(b, "SELECT count(*) FROM public.t"), size>>20, verifyParts, rounds)
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\twall s\tmin … max\tclient CPU s")
	for _, m := range methods {
		costs := measured[m.name]
		walls := each(costs, func(c cost) time.Duration { return c.wall })
		fmt.Fprintf(w, "%s\t%.2f\t%.2f … %.2f\t%.2f\n", m.name, median(walls).Seconds(), slices.Min(walls).Seconds(), slices.Max(walls).Seconds(),
			median(each(costs, func(c cost) time.Duration { return c.user + c.system })).Seconds())
	}
	_ = w.Flush()
	ratios := make([]float64, rounds)
	for i := range ratios {
		ratios[i] = measured[methods[1].name][i].wall.Seconds() / measured[methods[0].name][i].wall.Seconds()
	}
	slices.Sort(ratios)
	fmt.Fprintf(&text, "ratio of each pair: %.2f\n", ratios)
	b.ReportMetric(ratios[len(ratios)/2], "ratio")
	b.Log(text.String())
}

func number(b *testing.B, variable string, otherwise int) int {
	n, err := strconv.Atoi(cmp.Or(os.Getenv(variable), strconv.Itoa(otherwise)))
	require.NoError(b, err, variable)
	return n
}

// timed measures what this process uses for do.
func timed(b *testing.B, do func()) cost {
	var before, after syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &before))
	start := time.Now()
	do()
	wall := time.Since(start)
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &after))
	return cost{user: since(before.Utime, after.Utime), system: since(before.Stime, after.Stime), wall: wall}
}

// read reads both sides and throws the rows away.
func read(b *testing.B, src, dst *pgtest.Database) cost {
	blocks, err := strconv.Atoi(src.Query(b, "SELECT pg_relation_size('public.t') / 8192"))
	require.NoError(b, err)
	return timed(b, func() {
		var group errgroup.Group
		for side, db := range map[pg.Side]*pgtest.Database{pg.Source: src, pg.Target: dst} {
			for i := range verifyParts {
				group.Go(func() error {
					c := session(b, side, db)
					defer c.Discard()
					var n counter
					_, err := pg.CopyOut(b.Context(), c, fmt.Sprintf(`COPY (SELECT id, customer, at, amount, note FROM ONLY public.t
						WHERE ctid >= '(%d,0)' AND ctid < '(%d,0)') TO STDOUT`, blocks*i/verifyParts, blocks*(i+1)/verifyParts), &n)
					return err
				})
			}
		}
		require.NoError(b, group.Wait())
	})
}

// compare is planner verify, with its own queue.
func compare(b *testing.B, src, dst *pgtest.Database) cost {
	c := config.Default()
	c.Source.URI, c.Target.URI = config.Secret(src.URI()), config.Secret(dst.URI())
	c.Verify = config.VerifyDigest
	size, err := strconv.ParseInt(src.Query(b, "SELECT pg_table_size('public.t')"), 10, 64)
	require.NoError(b, err)
	c.Split.LargerThan = config.Bytes(size/verifyParts + 1)
	c.Caps.Copy, c.Slots.Copy = 2*verifyParts, 2*verifyParts
	return timed(b, func() {
		result, err := run.Verify(b.Context(), run.Options{Config: c, Version: "bench", Log: slog.New(slog.DiscardHandler)})
		require.NoError(b, err)
		require.NotZero(b, result.Rows)
	})
}

// counter is a row sink that counts bytes.
type counter int64

func (c *counter) Row(piece []byte, _ bool) { *c += counter(len(piece)) }
