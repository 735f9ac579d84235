package pgtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgconvoy/pgconvoy/internal/nettest"
)

// Bouncer is PgBouncer in front of a server.
type Bouncer struct {
	Port   int // TCP port on 127.0.0.1
	server *Server
}

// Bouncer starts PgBouncer in front of the server, in one of its pool modes. The
// test is skipped, and says so, where there is no PgBouncer: it is looked for on
// PATH and where scripts/get-postgres pgbouncer puts it.
func (s *Server) Bouncer(t testing.TB, mode string) *Bouncer {
	t.Helper()
	program := bouncerProgram()
	if program == "" {
		reason := "no pgbouncer program found: run scripts/get-postgres pgbouncer"
		fmt.Fprintf(os.Stderr, "SKIP %s: %s\n", t.Name(), reason)
		t.Skip(reason)
	}
	dir, err := s.reg.workDir("bouncer")
	if err != nil {
		t.Fatal(err)
	}
	b := &Bouncer{server: s, Port: nettest.Port(t)}
	files := map[string]string{
		"users.txt": fmt.Sprintf("%q \"\"\n", superuser),
		"pgbouncer.ini": strings.Join([]string{
			"[databases]", fmt.Sprintf("* = host=%s port=%d", host, s.Port),
			"[pgbouncer]", "listen_addr = " + host, "listen_port = " + strconv.Itoa(b.Port), "unix_socket_dir =",
			"auth_type = trust", "auth_file = " + filepath.Join(dir, "users.txt"), "pool_mode = " + mode, "ignore_startup_parameters = extra_float_digits", "",
		}, "\n"),
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.CommandContext(context.Background(), program, filepath.Join(dir, "pgbouncer.ini"))
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.owner}
	dieWithParent(cmd.SysProcAttr)
	if err := s.reg.spawner().start(cmd); err != nil {
		t.Fatalf("run pgbouncer: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	b.await(t, log.Name())
	return b
}

// await waits until it lets somebody in.
func (b *Bouncer) await(t testing.TB, log string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, b.URI("postgres"))
		if err == nil {
			_ = conn.Close(ctx)
			return
		}
		select {
		case <-ctx.Done():
			text, _ := os.ReadFile(log)
			t.Fatalf("pgbouncer does not answer: %v\n%s", err, text)
		case <-tick.C:
		}
	}
}

// URI is the connection string of a database for the superuser, through PgBouncer.
func (b *Bouncer) URI(db string) string {
	return strings.Replace(b.server.URI(db), ":"+strconv.Itoa(b.server.Port)+"/", ":"+strconv.Itoa(b.Port)+"/", 1)
}

// bouncerProgram is the path of PgBouncer, "" if there is none.
func bouncerProgram() string {
	for _, name := range []string{"pgbouncer", "/usr/sbin/pgbouncer"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if root := extraRoot(); root != "" {
		if bin := filepath.Join(root, "pgbouncer", "bin"); executable(bin, "pgbouncer") {
			return filepath.Join(bin, "pgbouncer")
		}
	}
	return ""
}
