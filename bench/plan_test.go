package bench_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

// BenchmarkPlanning runs planner plan for databases of 2,000 and of 20,000 tables
// with three indexes each, to show how planning grows, also with --save.
// PGCONVOY_BENCH_PERCENT is the size of both, PGCONVOY_BENCH_ROUNDS how many rounds
// count, PGCONVOY_BENCH_BINDIR another folder of pg_dump.
func BenchmarkPlanning(b *testing.B) {
	percent, counted := number(b, "PGCONVOY_BENCH_PERCENT", 100), number(b, "PGCONVOY_BENCH_ROUNDS", 3)
	planner := filepath.Join(commands(b), "planner")
	options := benchServer()
	options.Settings["fsync"] = "off" // a plan writes nothing, and the tables are made the sooner
	source, target := pgtest.Start(b, options), pgtest.Start(b, options)
	dst := target.Database(b)
	bin := source.BinDir()
	if dir := os.Getenv("PGCONVOY_BENCH_BINDIR"); dir != "" {
		bin = dir
	}
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "tables\tindexes\tcommand\twall s\tclient CPU s\tsource CPU s\ttarget CPU s\tpeak MB")
	for b.Loop() {
		for _, tables := range []int{20 * percent, 200 * percent} {
			src := source.Database(b)
			manyIndexed(b, src, tables)
			file := filepath.Join(b.TempDir(), "plan.json")
			for _, args := range [][]string{{"plan"}, {"plan", "--save", file}} {
				var all []outlay
				for range counted {
					c := exec.CommandContext(b.Context(), planner, args...)
					c.Env = append(os.Environ(), "PGCONVOY_SOURCE_URI="+src.URI(), "PGCONVOY_TARGET_URI="+dst.URI(), "PGCONVOY_PG_BINDIR="+bin)
					all = append(all, plans(b, c, source, target))
				}
				wall := median(each(all, func(o outlay) time.Duration { return o.wall }))
				fmt.Fprintf(w, "%d\t%d\t%s\t%.2f\t%.2f\t%.2f\t%.2f\t%d\n", tables, 3*tables, strings.Join(args[:min(len(args), 2)], " "), wall.Seconds(),
					seconds(all, func(o outlay) time.Duration { return o.client }), seconds(all, func(o outlay) time.Duration { return o.source }),
					seconds(all, func(o outlay) time.Duration { return o.target }), median(each(all, func(o outlay) int64 { return o.memory }))>>20)
			}
		}
	}
	_ = w.Flush()
	b.Log("\n" + text.String())
}

// manyIndexed makes small tables with three indexes each.
func manyIndexed(b *testing.B, db *pgtest.Database, tables int) {
	for from := 0; from < tables; from += 500 {
		db.Exec(b, fmt.Sprintf(`DO $$ BEGIN FOR i IN %d..%d LOOP
			EXECUTE format('CREATE TABLE t%%s (id int PRIMARY KEY, parent int, at timestamptz, name text)', i);
			EXECUTE format('INSERT INTO t%%s SELECT n, n, now(), n::text FROM generate_series(1, 10) n', i);
			EXECUTE format('CREATE INDEX ON t%%s (parent)', i); EXECUTE format('CREATE INDEX ON t%%s (at, id)', i); END LOOP; END $$`, from, min(from+500, tables)-1))
	}
	db.Exec(b, "VACUUM ANALYZE")
}

// plans runs a planner and returns what that took.
func plans(b *testing.B, c *exec.Cmd, source, target *pgtest.Server) outlay {
	var said strings.Builder
	c.Stderr = &said
	before := [2]time.Duration{serverCPU(b, source.Pid()), serverCPU(b, target.Pid())}
	began := time.Now()
	require.NoError(b, c.Run(), "%s", &said)
	o := outlay{wall: time.Since(began), client: c.ProcessState.UserTime() + c.ProcessState.SystemTime()}
	o.source, o.target = serverCPU(b, source.Pid())-before[0], serverCPU(b, target.Pid())-before[1]
	if usage, ok := c.ProcessState.SysUsage().(*syscall.Rusage); ok {
		o.memory = usage.Maxrss << 10
	}
	return o
}
