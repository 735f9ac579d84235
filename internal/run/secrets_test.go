package run_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/natstest"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

// The passwords of a run, and what only rows hold.
const (
	sourceSecret = "correct-horse-battery"
	targetSecret = "staple-of-the-target"
	natsSecret   = "carrier-pigeon"
	rowSecret    = "a-row-of-a-customer"
)

// evidence is everything that a run leaves behind or shows, by where it was
// found. It is safe for concurrent use.
type evidence struct {
	mu    sync.Mutex
	found map[string][]byte
}

func (e *evidence) add(where string, text []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.found == nil {
		e.found = map[string][]byte{}
	}
	e.found[where] = append(append(e.found[where], text...), '\n')
}

// of returns what was found at a place, which must not be nothing: evidence
// that was never taken would prove everything.
func (e *evidence) of(t *testing.T, where string) string {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	require.NotEmpty(t, e.found[where], where)
	return string(e.found[where])
}

// requireWithout fails if one of the secrets is in the evidence of places that
// begin with the prefix.
func (e *evidence) requireWithout(t *testing.T, prefix string, secrets ...string) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	for where, text := range e.found {
		if !strings.HasPrefix(where, prefix) {
			continue
		}
		for _, s := range secrets {
			if at := bytes.Index(text, []byte(s)); at >= 0 {
				t.Errorf("%s shows %q: …%q", where, s, text[max(at-300, 0):min(at+100, len(text))])
			}
		}
	}
}

// TestSecretsStaySecret looks for the passwords in everything that processes of
// a run write or show: logs and errors, stdout, arguments of processes, all of
// the queue, the ledger, and what the servers see of statements.
func TestSecretsStaySecret(t *testing.T) {
	t.Parallel()
	planner, worker := build(t, "planner"), build(t, "worker")
	dir := t.TempDir()
	sourceFile, targetFile := filepath.Join(dir, "source"), filepath.Join(dir, "target")
	rewrite(t, sourceFile, sourceSecret+"\n")
	rewrite(t, targetFile, targetSecret+"\n")
	for name, environment := range map[string]func(src, dst *pgtest.Database, queue string) []string{
		"environment": func(src, dst *pgtest.Database, queue string) []string {
			return []string{
				"PGCONVOY_SOURCE_URI=" + string(withPassword(src.URIAs("reader"), sourceSecret)),
				"PGCONVOY_TARGET_URI=" + string(withPassword(dst.URIAs("owner"), targetSecret)),
				"PGCONVOY_NATS_URL=" + string(withPassword(strings.Replace(queue, "//", "//me@", 1), natsSecret)),
			}
		},
		"file": func(src, dst *pgtest.Database, queue string) []string {
			return []string{
				"PGCONVOY_SOURCE_URI=" + src.URIAs("reader"), "PGCONVOY_SOURCE_PASSWORD_FILE=" + sourceFile,
				"PGCONVOY_TARGET_URI=" + dst.URIAs("owner"), "PGCONVOY_TARGET_PASSWORD_FILE=" + targetFile,
				"PGCONVOY_NATS_URL=" + queue, "PGCONVOY_NATS_USER=me", "PGCONVOY_NATS_PASSWORD=" + natsSecret,
			}
		},
		"command": func(src, dst *pgtest.Database, queue string) []string {
			return []string{
				"PGCONVOY_SOURCE_URI=" + src.URIAs("reader"), "PGCONVOY_SOURCE_PASSWORD_COMMAND=cat '" + sourceFile + "'",
				"PGCONVOY_TARGET_URI=" + dst.URIAs("owner"), "PGCONVOY_TARGET_PASSWORD_COMMAND=set -x; cat '" + targetFile + "' | tee /dev/stderr",
				"PGCONVOY_NATS_URL=" + queue, "PGCONVOY_NATS_USER=me", "PGCONVOY_NATS_PASSWORD=" + natsSecret,
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSecretRun(t, planner, worker)
			s.environment = append(os.Environ(), environment(s.src, s.dst, s.queue.URL())...)
			s.environment = append(s.environment, "PGCONVOY_LOG_LEVEL=debug", "PGCONVOY_PG_BINDIR="+s.tools, "PGCONVOY_BUNDLE_MAX_TABLE=0")
			s.runAll(t)
			s.requireWithout(t, "", sourceSecret, targetSecret, natsSecret)
			s.requireWithout(t, "queue", rowSecret, "COPY ", "CREATE ") // nor do rows and SQL travel there, whatever fails

			for where, needle := range map[string]string{
				"planner run: stderr": "is_fine", "worker: stderr": "is_fine", "ledger": "is_fine", "archive": "is_fine",
				"planner config: stdout": "password_command", "planner plan: stdout": `"kind": "copy"`, "queue: messages": "copy.public.strict.all",
				"planner status: stdout": "copy.public.strict.all", "planner runs: stdout": `"failed"`,
				"queue: streams": "copy.public.big.all", "pg_dump: arguments": "--dbname=", "pg_dump: password": "set", "processes": "worker",
				"sessions": "COPY", "server log": "pgconvoy planner", "planner run, wrong password: stderr": "refuses the password",
				"worker, wrong password: stderr": "password authentication failed",
			} {
				require.Contains(t, s.of(t, where), needle, where)
			}
		})
	}
}

// secretRun is a run in processes, with a table that cannot be copied.
type secretRun struct {
	evidence
	planner, worker string // programs
	tools           string // folder
	guarded         *pgtest.Server
	src, dst        *pgtest.Database
	queue           *natstest.Server
	environment     []string
	release         func()
}

func newSecretRun(t *testing.T, planner, worker string) *secretRun {
	t.Helper()
	s := &secretRun{planner: planner, worker: worker, guarded: startGuarded(t, sourceSecret)}
	setPassword(t, s.guarded, "owner", targetSecret)
	s.guarded.Exec(t, "ALTER ROLE reader SET log_statement = 'all'")
	s.guarded.Exec(t, "ALTER ROLE owner SET log_statement = 'all'")
	s.src, s.dst = owned(t, s.guarded), owned(t, s.guarded)
	s.release = gated(t, s.src, s.dst, 10_000)
	s.src.Exec(t, `ALTER TABLE big OWNER TO owner; ALTER FUNCTION gate(int8) OWNER TO owner; SET ROLE owner;
		CREATE FUNCTION fine(t text) RETURNS bool LANGUAGE sql AS 'SELECT true';
		CREATE TABLE strict (t text CONSTRAINT is_fine CHECK (public.fine(t))); INSERT INTO strict VALUES ('`+rowSecret+`');
		CREATE OR REPLACE FUNCTION fine(t text) RETURNS bool LANGUAGE sql AS 'SELECT false'`)
	s.queue = natstest.Start(t, func(o *server.Options) { o.Username, o.Password = "me", natsSecret })
	s.tools = s.recordingTools(t)
	return s
}

// recordingTools returns a folder with a pg_dump that notes its arguments, and
// whether it has a password, before it becomes the real one.
func (s *secretRun) recordingTools(t *testing.T) string {
	t.Helper()
	dir, real := t.TempDir(), pgtest.ClientDir(t, s.guarded.Major)
	script := fmt.Sprintf("#!/bin/sh\ntr '\\0' ' ' < /proc/$$/cmdline >> '%[1]s/arguments'\necho ${PGPASSWORD:+set} >> '%[1]s/password'\nexec '%[2]s/pg_dump' \"$@\"\n", dir, real)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "pg_dump"), []byte(script), 0o700))
	require.NoError(t, os.Symlink(filepath.Join(real, "pg_restore"), filepath.Join(dir, "pg_restore")))
	return dir
}

// command runs a verb to its end and keeps what it says.
func (s *secretRun) command(t *testing.T, label, program string, args ...string) int {
	t.Helper()
	cmd := s.process(t, program, args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	require.NoError(t, cmd.Start())
	stop := s.watch(t, cmd.Process.Pid)
	_ = cmd.Wait()
	stop()
	s.add(label+": stdout", out.Bytes())
	s.add(label+": stderr", errOut.Bytes())
	return cmd.ProcessState.ExitCode()
}

func (s *secretRun) process(t *testing.T, program string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), program, args...)
	cmd.Env = s.environment
	return cmd
}

func (s *secretRun) startWorker(t *testing.T) *process {
	t.Helper()
	p := &process{Cmd: s.process(t, s.worker)}
	p.Stderr = p
	require.NoError(t, p.Start())
	t.Cleanup(func() {
		_ = p.Process.Kill()
		_ = p.Wait()
	})
	return p
}

// runAll goes through the life of a run and takes evidence on the way.
func (s *secretRun) runAll(t *testing.T) {
	t.Helper()
	nc := natstest.Connect(t, s.queue.URL(), nats.UserInfo("me", natsSecret))
	_, err := nc.Subscribe(">", func(m *nats.Msg) {
		s.add("queue: messages", fmt.Appendf(nil, "%s %s %v %s", m.Subject, m.Reply, m.Header, m.Data))
	})
	require.NoError(t, err)
	require.NoError(t, nc.Flush())

	require.Equal(t, 0, s.command(t, "planner config", s.planner, "config"))
	require.Equal(t, 0, s.command(t, "planner check", s.planner, "check"), s.of(t, "planner check: stderr"))
	require.Equal(t, 0, s.command(t, "planner plan", s.planner, "plan", "-o", "json"))

	worker := s.startWorker(t)
	stop := s.watch(t, worker.Process.Pid)
	ended := make(chan int, 1)
	go func() { ended <- s.command(t, "planner run", s.planner, "run") }()
	awaitGate(t, s.dst, 1)
	s.inspect(t, nc)
	setPassword(t, s.guarded, "owner", "another")
	refused := s.startWorker(t)
	require.Eventually(t, func() bool { return strings.Contains(refused.String(), "password authentication failed") }, time.Minute, 10*time.Millisecond)
	s.add("worker, wrong password: stderr", []byte(refused.String()))
	require.NoError(t, refused.Process.Kill())
	setPassword(t, s.guarded, "owner", targetSecret)
	s.release()
	require.Equal(t, 3, <-ended, s.of(t, "planner run: stderr"))
	stop()
	s.add("worker: stderr", []byte(worker.String()))
	s.ledger(t)
	for _, verb := range []string{"status", "runs"} {
		require.Equal(t, 0, s.command(t, "planner "+verb, s.planner, verb, "-o", "json"), s.of(t, "planner "+verb+": stderr"))
	}

	// What is given is refused now, and is still a secret.
	setPassword(t, s.guarded, "reader", "another")
	setPassword(t, s.guarded, "owner", "another")
	require.Equal(t, 5, s.command(t, "planner run, wrong password", s.planner, "run"))
	s.add("server log", []byte(s.statements(t)))
	for kind, file := range map[string]string{"pg_dump: arguments": "arguments", "pg_dump: password": "password"} {
		text, err := os.ReadFile(filepath.Join(s.tools, file))
		require.NoError(t, err)
		s.add(kind, text)
	}
	require.NoError(t, nc.Flush())
}

// inspect looks at everything that there is while tasks are under way.
func (s *secretRun) inspect(t *testing.T, nc *nats.Conn) {
	t.Helper()
	s.add("sessions", []byte(strings.Join(s.dst.Column(t, "SELECT query FROM pg_stat_activity WHERE usename IN ('reader', 'owner')"), "\n")))
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	streams := js.ListStreams(t.Context())
	for info := range streams.Info() {
		s.add("queue: streams", fmt.Appendf(nil, "%+v", info.Config))
		stream, err := js.Stream(t.Context(), info.Config.Name)
		require.NoError(t, err)
		for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
			if m, err := stream.GetMsg(t.Context(), seq); err == nil { // done meanwhile, if not
				s.add("queue: streams", fmt.Appendf(nil, "%s %v %s", m.Subject, m.Header, m.Data))
			}
		}
		for c := range stream.ListConsumers(t.Context()).Info() {
			s.add("queue: streams", fmt.Appendf(nil, "%+v", c.Config))
		}
	}
	require.NoError(t, streams.Err())
}

// ledger keeps the ledger's tables as text, and the schema archive unpacked.
func (s *secretRun) ledger(t *testing.T) {
	t.Helper()
	dump, err := exec.CommandContext(t.Context(), filepath.Join(s.tools, "pg_dump"), "--schema=pgconvoy", s.dst.URI()).Output()
	require.NoError(t, err)
	s.add("ledger", dump)
	s.add("archive", []byte(s.dst.Query(t, "SELECT string_agg(encode(data, 'escape'), '' ORDER BY id) FROM pgconvoy.archive")))
}

// statements returns what the server's log says of sessions that are not this
// test's own.
func (s *secretRun) statements(t *testing.T) string {
	t.Helper()
	var kept []string
	for line := range strings.Lines(s.guarded.Log(t)) {
		if !strings.Contains(line, "ALTER ROLE") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

// watch keeps the arguments of a process and of everything that it starts, as
// anybody on the machine could see them, until stop is called.
func (s *secretRun) watch(t *testing.T, pid int) (stop func()) {
	t.Helper()
	if _, err := os.Stat("/proc/self/cmdline"); err != nil {
		t.Skip("no /proc to look at arguments in")
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		seen := map[string]bool{}
		for {
			for _, arguments := range family(pid) {
				if !seen[arguments] {
					seen[arguments] = true
					s.add("processes", []byte(arguments))
				}
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

// family returns the arguments of a process and of its descendants. Processes
// that end meanwhile are left out.
func family(pid int) []string {
	children := map[int][]int{}
	all, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range all {
		text, err := os.ReadFile(file)
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])) // state, parent, …
		if err != nil || len(fields) < 2 {
			continue
		}
		parent, _ := strconv.Atoi(fields[1])
		child, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		children[parent] = append(children[parent], child)
	}
	var found []string
	for list := []int{pid}; len(list) > 0; list = list[1:] {
		list = append(list, children[list[0]]...)
		if arguments, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", list[0])); err == nil {
			found = append(found, string(bytes.ReplaceAll(arguments, []byte{0}, []byte{' '})))
		}
	}
	return found
}
