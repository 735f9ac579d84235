package bench_test

import (
	"cmp"
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

// outlay is what one copy of a database took.
type outlay struct {
	wall           time.Duration
	client         time.Duration // CPU of all client processes
	source, target time.Duration // CPU of the servers
	wal            int64         // bytes that the target wrote
	memory         int64         // peak of the largest client process, in bytes
}

// tool is a way to copy a database into an empty one.
type tool struct {
	name    string
	missing string // why it cannot run here, "" if it can
	// commands are started together; the standard output of one is the input of the next.
	commands func(b *testing.B, w way) []*exec.Cmd
}

// way is how a tool gets at the two databases, and where programs of PostgreSQL are.
type way struct {
	source, target string // connection strings
	bin            string // folder
}

// BenchmarkCopy copies whole databases, by turns with pgconvoy and with the peers
// that this machine has, between two servers of their own that keep what they
// are told to (fsync is on). After each copy the two databases are compared,
// definitions and rows. PGCONVOY_BENCH_PERCENT is the size of the data sets (100
// if not set), PGCONVOY_BENCH_ROUNDS how many rounds count after the first, 5;
// with PGCONVOY_BENCH_BINDIR, pgconvoy is measured with the pg_dump there, too.
func BenchmarkCopy(b *testing.B) {
	percent, counted := number(b, "PGCONVOY_BENCH_PERCENT", 100), number(b, "PGCONVOY_BENCH_ROUNDS", 5)
	for _, set := range dataSets {
		b.Run(set.name, func(b *testing.B) {
			source, target := pgtest.Start(b, benchServer()), pgtest.Start(b, benchServer())
			src, dst := source.Database(b), target.Database(b)
			for _, statement := range set.fill(percent) {
				src.Exec(b, statement)
			}
			src.Exec(b, "VACUUM (FREEZE, ANALYZE)")
			recorded, err := pgtest.Recorded(b.Context(), src, "")
			require.NoError(b, err)
			list := slices.DeleteFunc(tools(b), func(t tool) bool {
				if t.missing != "" {
					b.Logf("NOT MEASURED: %s: %s", t.name, t.missing)
				}
				return t.missing != ""
			})
			w := way{source: src.URI(), target: dst.URI(), bin: source.BinDir()}
			if set.delay > 0 {
				w.source, w.target = far(b, "127.0.0.1", w.source, set.delay), far(b, "127.0.0.1", w.target, set.delay)
			}
			measured := map[string][]outlay{}
			for b.Loop() {
				for round := range counted + 1 {
					for _, t := range list {
						renew(b, dst, set.files)
						source.Exec(b, "CHECKPOINT")
						target.Exec(b, "CHECKPOINT")
						o := spend(b, t, w, src, dst)
						requireCopied(b, t, recorded, src, dst)
						if round > 0 { // the first one warms the caches
							measured[t.name] = append(measured[t.name], o)
						}
					}
				}
			}
			printOutlays(b, src, list, measured)
		})
	}
}

// requireCopied compares rows and definitions.
func requireCopied(b *testing.B, t tool, recorded *pgtest.Record, src, dst *pgtest.Database) {
	rows, err := recorded.Diff(dst)
	require.NoError(b, err)
	definitions, err := pgtest.Diff(src, dst, pgtest.SchemaOnly())
	require.NoError(b, err)
	require.Empty(b, append(rows, definitions...), "the copy by %s is not equal", t.name)
}

// benchServer has the settings of a server that is to be filled, on a machine of
// some gigabytes; autovacuum would be measured with whatever comes next.
func benchServer() pgtest.Options {
	return pgtest.Options{Settings: map[string]string{
		"fsync": "on", "full_page_writes": "on", "wal_init_zero": "on", "autovacuum": "off", "wal_level": "replica",
		"shared_buffers": "1GB", "maintenance_work_mem": "256MB", "max_wal_size": "8GB", "checkpoint_timeout": "15min",
		"max_locks_per_transaction": "512",
	}}
}

// renew makes the database anew, empty. One of many files is kept under another
// name: a file system may avoid the inodes of files that were just deleted, and
// look for others, at the expense of the next copy.
func renew(b *testing.B, db *pgtest.Database, files bool) {
	if files {
		db.Server.Exec(b, fmt.Sprintf("ALTER DATABASE %s RENAME TO %[1]s_%d", db.Name, time.Now().UnixNano()))
	} else {
		db.Server.Exec(b, "DROP DATABASE "+db.Name+" WITH (FORCE)")
	}
	db.Server.Exec(b, "CREATE DATABASE "+db.Name)
}

// spend runs the tool and returns what that took.
func spend(b *testing.B, t tool, w way, src, dst *pgtest.Database) outlay {
	commands := t.commands(b, w)
	for i, c := range commands {
		c.Stderr = &strings.Builder{}
		if i == 0 {
			continue
		}
		read, write, err := os.Pipe()
		require.NoError(b, err)
		commands[i-1].Stdout, c.Stdin = write, read
	}
	wal := position(b, dst)
	before := [2]time.Duration{serverCPU(b, src.Server.Pid()), serverCPU(b, dst.Server.Pid())}
	began := time.Now()
	for _, c := range commands {
		require.NoError(b, c.Start(), t.name)
	}
	for _, c := range commands { // the processes have their own
		for _, f := range []any{c.Stdin, c.Stdout} {
			if f, ok := f.(*os.File); ok {
				require.NoError(b, f.Close())
			}
		}
	}
	var o outlay
	for _, c := range commands {
		require.NoError(b, c.Wait(), "%s: %s", t.name, c.Stderr)
		o.client += c.ProcessState.UserTime() + c.ProcessState.SystemTime()
		if usage, ok := c.ProcessState.SysUsage().(*syscall.Rusage); ok {
			o.memory = max(o.memory, usage.Maxrss<<10)
		}
	}
	o.wall = time.Since(began)
	o.source, o.target = serverCPU(b, src.Server.Pid())-before[0], serverCPU(b, dst.Server.Pid())-before[1]
	o.wal = position(b, dst) - wal
	return o
}

// position is how many bytes of WAL the server has written since it was made.
func position(b *testing.B, db *pgtest.Database) int64 {
	var n int64
	_, err := fmt.Sscan(db.Query(b, "SELECT (pg_current_wal_insert_lsn() - '0/0')::int8"), &n)
	require.NoError(b, err)
	return n
}

// tools are pgconvoy and its peers.
func tools(b *testing.B) []tool {
	bin := filepath.Join(commands(b), "planner")
	ours := func(name, tools string) tool {
		return tool{name: name, commands: func(b *testing.B, w way) []*exec.Cmd {
			c := exec.CommandContext(b.Context(), bin, "run")
			c.Env = append(os.Environ(), "PGCONVOY_SOURCE_URI="+w.source, "PGCONVOY_TARGET_URI="+w.target, "PGCONVOY_VERIFY=none", "PGCONVOY_PG_BINDIR="+cmp.Or(tools, w.bin))
			return []*exec.Cmd{c}
		}}
	}
	list := []tool{ours("pgconvoy", "")}
	if dir := os.Getenv("PGCONVOY_BENCH_BINDIR"); dir != "" {
		list = []tool{ours("pgconvoy, newer pg_dump", dir), ours("pgconvoy", "")}
	}
	list = append(list, tool{name: "pg_dump -Fc -Z0 | pg_restore", commands: func(b *testing.B, w way) []*exec.Cmd {
		return []*exec.Cmd{
			exec.CommandContext(b.Context(), filepath.Join(w.bin, "pg_dump"), "-Fc", "-Z0", "-d", w.source),
			exec.CommandContext(b.Context(), filepath.Join(w.bin, "pg_restore"), "-d", w.target),
		}
	}})
	return append(list, pgcopydb())
}

// pgcopydb is that of PATH, with the flags that make it fastest here.
func pgcopydb() tool {
	path, err := exec.LookPath("pgcopydb")
	if err != nil {
		return tool{name: "pgcopydb", missing: "no such program on PATH: scripts/get-postgres pgcopydb"}
	}
	version, err := exec.Command(path, "--version").Output()
	if err != nil {
		return tool{name: "pgcopydb", missing: err.Error()}
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(version)), "\n")
	return tool{name: strings.ReplaceAll(line, "version ", ""), commands: func(b *testing.B, w way) []*exec.Cmd {
		c := exec.CommandContext(b.Context(), path, "clone", "--source", w.source, "--target", w.target, "--dir", b.TempDir(), "--restart",
			"--table-jobs", "2", "--index-jobs", "2", "--use-copy-binary")
		c.Env = append(os.Environ(), "PATH="+w.bin+string(os.PathListSeparator)+os.Getenv("PATH"))
		return []*exec.Cmd{c}
	}}
}

func printOutlays(b *testing.B, src *pgtest.Database, list []tool, measured map[string][]outlay) {
	var text strings.Builder
	fmt.Fprintf(&text, "%s tables, %s in all; medians of %d; PostgreSQL %s\n", src.Query(b, "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"),
		src.Query(b, "SELECT pg_size_pretty(pg_database_size(current_database()))"), len(measured[list[0].name]), src.Query(b, "SHOW server_version"))
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "tool\twall s\tmin … max\tours / it\tclient CPU s\tsource CPU s\ttarget CPU s\tWAL MB\tpeak MB")
	for _, t := range list {
		all := measured[t.name]
		walls, ratios := each(all, func(o outlay) time.Duration { return o.wall }), make([]float64, len(all))
		for i := range all {
			ratios[i] = measured[list[0].name][i].wall.Seconds() / walls[i].Seconds()
		}
		fmt.Fprintf(w, "%s\t%.2f\t%.2f … %.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%d\t%d\n", t.name, median(walls).Seconds(), slices.Min(walls).Seconds(), slices.Max(walls).Seconds(),
			median(ratios), seconds(all, func(o outlay) time.Duration { return o.client }), seconds(all, func(o outlay) time.Duration { return o.source }),
			seconds(all, func(o outlay) time.Duration { return o.target }), median(each(all, func(o outlay) int64 { return o.wal }))>>20,
			median(each(all, func(o outlay) int64 { return o.memory }))>>20)
	}
	_ = w.Flush()
	b.Log("\n" + text.String())
}

func seconds(all []outlay, of func(outlay) time.Duration) float64 {
	return median(each(all, of)).Seconds()
}
