package natstest

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/pgconvoy/pgconvoy/internal/nettest"
)

// childEnv holds the options of a server that the test binary, run once more,
// is to become.
const childEnv = "NATSTEST_CHILD"

// childOptions is what a server process needs to know.
type childOptions struct {
	Port     int      `json:"port"`
	StoreDir string   `json:"store_dir"`
	Config   string   `json:"config,omitempty"` // path of a configuration file, "" for none
	Name     string   `json:"name,omitempty"`   // in the cluster
	Routes   []string `json:"routes,omitempty"` // of all servers of the cluster
	Route    int      `json:"route,omitempty"`  // port of this one in the cluster
}

// Main is what TestMain calls in packages that use [StartProcess]:
//
//	func TestMain(m *testing.M) { os.Exit(natstest.Main(m)) }
//
// It returns the exit code.
func Main(m *testing.M) int {
	text := os.Getenv(childEnv)
	if text == "" {
		return m.Run()
	}
	if err := serve(text, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "natstest:", err)
		return 1
	}
	return 0
}

// serve runs a server until stdin ends, as it does when the test that started
// it dies.
func serve(text string, stdin io.Reader, stdout io.Writer) error {
	var child childOptions
	if err := json.Unmarshal([]byte(text), &child); err != nil {
		return err
	}
	opts, err := child.options()
	if err != nil {
		return err
	}
	ns, err := server.NewServer(opts)
	if err != nil {
		return err
	}
	ns.Start()
	if !ns.ReadyForConnections(readyTimeout) {
		return fmt.Errorf("nats-server is not ready after %v", readyTimeout)
	}
	fmt.Fprintln(stdout, ns.ClientURL())
	_, err = io.Copy(io.Discard, stdin)
	ns.Shutdown()
	ns.WaitForShutdown()
	return err
}

// options returns what the server is started with.
func (c childOptions) options() (*server.Options, error) {
	opts := &server.Options{ServerName: "natstest-process", JetStream: true, JetStreamMaxMemory: maxStorage, JetStreamMaxStore: maxStorage}
	if c.Config != "" {
		var err error
		if opts, err = server.ProcessConfigFile(c.Config); err != nil {
			return nil, err
		}
	}
	opts.Host, opts.Port, opts.StoreDir = host, c.Port, c.StoreDir
	opts.NoSigs, opts.NoLog, opts.DisableJetStreamBanner = true, true, true
	wait(opts)
	if c.Name != "" {
		opts.ServerName = c.Name
		opts.Cluster.Name, opts.Cluster.Host, opts.Cluster.Port = cmp.Or(opts.Cluster.Name, "natstest"), host, c.Route
		opts.Routes = server.RoutesFromStr(strings.Join(c.Routes, ","))
	}
	return opts, nil
}

// Process is a NATS server in a process of its own.
type Process struct {
	t     testing.TB
	child childOptions
	env   []string
	cmd   *exec.Cmd
	stdin io.Closer
	url   string
}

// StartProcess starts a server with JetStream in files, in a process of its
// own. The test's package must call [Main]. It is stopped when the test ends.
func StartProcess(t testing.TB) *Process {
	t.Helper()
	return startProcess(t, childOptions{}, nil)
}

// StartConfig starts a server with a configuration file, as nats-server -c
// does, in a process of its own: with the environment variables given, each as
// NAME=value, but on a free port and with a directory of the test. The test's
// package must call [Main]. It is stopped when the test ends.
func StartConfig(t testing.TB, file string, env ...string) *Process {
	t.Helper()
	return startProcess(t, childOptions{Config: file}, env)
}

func startProcess(t testing.TB, child childOptions, env []string) *Process {
	t.Helper()
	child.StoreDir, child.Port = t.TempDir(), nettest.Port(t)
	p := &Process{t: t, child: child, env: env}
	p.Start()
	t.Cleanup(p.Stop)
	return p
}

// Start starts the server again after Kill or Stop, on the same port and with
// the same files.
func (p *Process) Start() {
	p.t.Helper()
	text, err := json.Marshal(p.child)
	if err != nil {
		p.t.Fatalf("encode options: %v", err)
	}
	// The process outlives the context of the test, which ends before cleanup.
	p.cmd = exec.Command(os.Args[0]) //nolint:noctx // see above
	p.cmd.Env = append(append(os.Environ(), p.env...), childEnv+"="+string(text))
	p.cmd.Stderr = os.Stderr
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		p.t.Fatalf("make pipe: %v", err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		p.t.Fatalf("make pipe: %v", err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatalf("start nats-server process: %v", err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		p.Kill()
		p.t.Fatalf("nats-server process ended at once, does TestMain call natstest.Main? (%v)", err)
	}
	p.url = strings.TrimSpace(line)
}

// URL returns where the server listens; it stays the same after Start.
func (p *Process) URL() string { return p.url }

// Kill ends the process at once, as kill -9 does, and waits for its end.
func (p *Process) Kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill() // fails only if it has ended
	_ = p.cmd.Wait()         // reports the kill
	p.cmd = nil
}

// Freeze keeps the process from running until the test ends: connections stay,
// and nothing is answered.
func (p *Process) Freeze() {
	p.t.Helper()
	process := p.cmd.Process
	if err := process.Signal(syscall.SIGSTOP); err != nil {
		p.t.Fatalf("freeze nats-server process: %v", err)
	}
	p.t.Cleanup(func() { _ = process.Signal(syscall.SIGCONT) }) // fails only if it has ended
}

// Stop shuts the server down and waits for that.
func (p *Process) Stop() {
	if p.cmd == nil {
		return
	}
	_ = p.stdin.Close()
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("nats-server process: %v", err)
	}
	p.cmd = nil
}

// Wipe removes what the server has stored: as after Kill or Stop, before Start.
func (p *Process) Wipe() {
	p.t.Helper()
	stored, err := filepath.Glob(filepath.Join(p.child.StoreDir, "*"))
	for _, name := range stored {
		err = errors.Join(err, os.RemoveAll(name))
	}
	if err != nil {
		p.t.Fatalf("wipe %s: %v", p.child.StoreDir, err)
	}
}
