package run_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// planner is a planner process with a configuration file of two lines.
type planner struct {
	*exec.Cmd
	out, err bytes.Buffer
}

func newPlanner(t *testing.T, binary, source, target string, args ...string) *planner {
	t.Helper()
	file := filepath.Join(t.TempDir(), "planner.yaml")
	require.NoError(t, os.WriteFile(file, []byte("source: {uri: \""+source+"\"}\ntarget: {uri: \""+target+"\"}\n"), 0o600))
	p := &planner{Cmd: exec.CommandContext(t.Context(), binary, append(args, "--config", file)...)}
	p.Stdout, p.Stderr, p.Dir = &p.out, &p.err, filepath.Dir(file) // it leaves reports there
	return p
}

// exit runs the planner and returns its exit status.
func (p *planner) exit(t *testing.T) int {
	t.Helper()
	_ = p.Run()
	require.NotNil(t, p.ProcessState)
	return p.ProcessState.ExitCode()
}

func TestCommands(t *testing.T) {
	t.Parallel()
	binary := build(t, "planner")
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	src.Exec(t, "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a SELECT generate_series(1, 100)")

	p := newPlanner(t, binary, src.URI(), dst.URI(), "check")
	require.Zero(t, p.exit(t), p.err.String())

	p = newPlanner(t, binary, src.URI(), dst.URI(), "plan", "-o", "json")
	require.Zero(t, p.exit(t), p.err.String())
	require.Contains(t, p.out.String(), `"kind": "bundle"`)
	require.Equal(t, "0", dst.Query(t, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"), "nothing is touched")
	require.Equal(t, "0", dst.Query(t, "SELECT count(*) FROM pg_namespace WHERE nspname = 'pgconvoy'"))

	p = newPlanner(t, binary, src.URI(), dst.URI(), "run", "-o", "json")
	require.Zero(t, p.exit(t), p.err.String())
	var report tasks.Report
	require.NoError(t, json.Unmarshal(p.out.Bytes(), &report), "stdout is data")
	require.Equal(t, int64(100), report.Rows)
	require.Equal(t, "rows", report.Verified)
	for line := range bytes.Lines(p.err.Bytes()) {
		require.True(t, json.Valid(line), "off a terminal every log line is JSON: %s", line)
	}

	p = newPlanner(t, binary, src.URI(), dst.URI(), "verify", "--verify", "digest")
	require.Zero(t, p.exit(t), p.err.String())
	dst.Exec(t, "DELETE FROM a WHERE id = 7")
	p = newPlanner(t, binary, src.URI(), dst.URI(), "verify")
	require.Equal(t, 4, p.exit(t))
	require.Contains(t, p.out.String(), `"public"."a": source has 100 rows, target has 99 rows`)
	p = newPlanner(t, binary, src.URI(), dst.URI(), "verify", "--verify", "digest")
	require.Equal(t, 4, p.exit(t))
	require.Contains(t, p.out.String(), `  only on the source: "id" = '7'`)
	require.Contains(t, p.err.String(), "differ in 1 table")
}

func TestBadInputIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	binary := build(t, "planner")
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	src.Exec(t, "CREATE TABLE a (id int PRIMARY KEY)")
	full := pgtest.Target(t).Database(t)
	full.Exec(t, "CREATE TABLE b (id int)")
	for name, c := range map[string]struct {
		source, target string
		exit           int
		says           []string
	}{
		"both unreachable":    {"postgres://x@127.0.0.1:1/a", "postgres://x@127.0.0.1:2/b", 5, []string{"127.0.0.1:1", "127.0.0.1:2", "hint:"}},
		"no database":         {src.Server.URI("nowhere"), dst.URI(), 5, []string{"nowhere", "hint:"}},
		"source is target":    {src.URI(), src.URI() + "&connect_timeout=9", 5, []string{"same"}},
		"target is not empty": {src.URI(), full.URI(), 5, []string{"not empty", "b"}},
		"no target":           {src.URI(), "", 2, []string{"target.uri"}},
		"not a URI":           {src.URI(), "postgres://a:hush@[", 5, []string{"target"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlanner(t, binary, c.source, c.target, "run")
			require.Equal(t, c.exit, p.exit(t), p.err.String())
			for _, s := range c.says {
				require.Contains(t, p.err.String(), s)
			}
			require.NotContains(t, p.err.String(), "hush")
			require.Empty(t, p.out.String())
		})
	}
}

func TestSignals(t *testing.T) {
	t.Parallel()
	binary := build(t, "planner")
	for name, signals := range map[string]int{"one drains": 1, "two stop at once": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
			release := gated(t, src, dst, 10_000)
			p := newPlanner(t, binary, src.URI(), dst.URI(), "run")
			p.Env = append(os.Environ(), "PGCONVOY_GRACE=60s")
			require.NoError(t, p.Start())
			awaitGate(t, dst, 1)
			require.NoError(t, p.Process.Signal(syscall.SIGINT))
			if signals == 1 {
				// The draining planner has taken nothing new; what runs is finished.
				release()
			} else {
				time.AfterFunc(100*time.Millisecond, func() { _ = p.Process.Signal(syscall.SIGINT) })
			}
			_ = p.Wait()
			require.Equal(t, 130, p.ProcessState.ExitCode(), p.err.String())
			if signals == 2 {
				release()
			}
			awaitQuery(t, dst, "0", "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pgconvoy%' AND datname = current_database()")
			rows, done := "0", "0"
			if signals == 1 {
				rows, done = "10000", "1"
			}
			require.Equal(t, rows, dst.Query(t, "SELECT count(*) FROM big"))
			require.Equal(t, done, dst.Query(t, "SELECT count(*) FROM pgconvoy.task WHERE kind IN ('copy', 'bundle') AND state = 'done'"))
		})
	}
}

// TestTargetOutOfDisk fills a small file system under the target's tablespace.
func TestTargetOutOfDisk(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can mount a small file system")
	}
	src := pgtest.Source(t).Database(t)
	src.Exec(t, "CREATE TABLE big (pad text); INSERT INTO big SELECT repeat(md5(i::text), 50) FROM generate_series(1, 100000) i; CREATE TABLE other (a int PRIMARY KEY)")
	target := pgtest.Start(t, pgtest.Options{})
	dir := filepath.Join(filepath.Dir(target.DataDir()), "small")
	require.NoError(t, os.Mkdir(dir, 0o700))
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=24m,mode=0777"); err != nil {
		t.Skipf("no file system can be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	place := filepath.Join(dir, "space")
	require.NoError(t, os.Mkdir(place, 0o700))
	data, err := os.Stat(target.DataDir())
	require.NoError(t, err)
	owner := data.Sys().(*syscall.Stat_t)
	require.NoError(t, os.Chown(place, int(owner.Uid), int(owner.Gid)))
	target.Exec(t, "CREATE TABLESPACE small LOCATION '"+place+"'")
	dst := target.Database(t)
	dst.Exec(t, "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_tablespace = small', current_database()); END $$")
	// The archive sets the tablespace of each table; the empty name means that of the database.
	target.Exec(t, "ALTER DATABASE "+dst.Name+" SET TABLESPACE small")
	o := options(t, src, dst)
	w := &witness{Handler: o.Log.Handler()}
	o.Log = slog.New(w)
	report := failing(t, dst, o)
	require.NotContains(t, w.all(), "attempt could not be counted", "there is room once the copy is rolled back")
	require.Contains(t, report.Failures[0].Reason, `"public"."big"`)
	require.Contains(t, report.Failures[0].Reason, "53100")
	require.Contains(t, report.Failures[0].Reason, "disk space")
}

// TestServiceAndPasswordFile connects as libpq's users are used to: a service
// file says where, a password file how. pg_dump needs both, too.
func TestServiceAndPasswordFile(t *testing.T) {
	t.Parallel()
	binary := build(t, "planner")
	server := pgtest.Start(t, pgtest.Options{})
	src, dst := server.Database(t), pgtest.Target(t).Database(t)
	src.Exec(t, "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (1)")
	server.Exec(t, "CREATE ROLE reader LOGIN PASSWORD 'hush'; GRANT pg_read_all_data TO reader")
	hba := filepath.Join(server.DataDir(), "pg_hba.conf")
	rules, err := os.ReadFile(hba)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(hba, append([]byte("host all reader all scram-sha-256\n"), rules...), 0o600))
	server.Exec(t, "SELECT pg_reload_conf()")

	dir := t.TempDir()
	services, passwords := filepath.Join(dir, "services"), filepath.Join(dir, "passwords")
	require.NoError(t, os.WriteFile(services, fmt.Appendf(nil, "[old]\nhost=127.0.0.1\nport=%d\nuser=reader\ndbname=%s\n", server.Port, src.Name), 0o600))
	require.NoError(t, os.WriteFile(passwords, []byte("127.0.0.1:*:*:reader:wrong\n"), 0o600))
	environment := append(os.Environ(), "PGSERVICEFILE="+services, "PGPASSFILE="+passwords)

	p := newPlanner(t, binary, "service=old", dst.URI(), "run", "-o", "json")
	p.Env = environment
	require.Equal(t, 5, p.exit(t), "wrong password: %s", p.err.String())
	require.Contains(t, p.err.String(), "password")
	require.NoError(t, os.WriteFile(passwords, []byte("127.0.0.1:*:*:reader:hush\n"), 0o600))
	p = newPlanner(t, binary, "service=old", dst.URI(), "run", "-o", "json")
	p.Env = environment
	require.Zero(t, p.exit(t), p.err.String())
	require.Equal(t, "1", dst.Query(t, "SELECT count(*) FROM a"))
}
