package check

import (
	"bytes"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/natstest"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

// samplePassword is what a person writes to deployments/.env.
const samplePassword = "c0ffee"

// compose reads compose.yaml as docker compose does.
func compose(t *testing.T) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{"../compose.yaml"}, cli.WithEnv([]string{"SAMPLE_PASSWORD=" + samplePassword}))
	require.NoError(t, err)
	project, err := options.LoadProject(t.Context())
	require.NoError(t, err)
	return project
}

func composeProcesses(t *testing.T) []process {
	project := compose(t)
	var found []process
	for _, name := range []string{"planner", "worker"} {
		s := project.Services[name]
		require.True(t, s.ReadOnly)
		require.Equal(t, []string{"ALL"}, s.CapDrop)
		require.Equal(t, name, s.Build.Target)
		stage(t, name)
		p := process{where: "compose.yaml/" + name, program: name, args: s.Command, env: map[string]string{}, stop: time.Duration(*s.StopGracePeriod)}
		for key, value := range s.Environment {
			p.env[key] = strings.ReplaceAll(*value, samplePassword, "")
		}
		found = append(found, p)
	}
	return found
}

// TestComposeFiles makes sure that what the services mount is there.
func TestComposeFiles(t *testing.T) {
	t.Parallel()
	for name, s := range compose(t).Services {
		for _, v := range s.Volumes {
			if v.Type == types.VolumeTypeBind {
				require.FileExists(t, v.Source, name)
			}
		}
	}
}

// TestComposeRuns does what docker compose up does, without containers for the
// servers: the sample is loaded, a NATS server is started with the configuration
// and the passwords that the file gives it, and planner and workers with the
// arguments and variables that it gives them, in which only the addresses are
// other ones. The workers run in their image where that is possible.
func TestComposeRuns(t *testing.T) {
	t.Parallel()
	project := compose(t)
	made := assemble(t)
	src, dst := sample(t, project, "source", pgtest.Source(t)), sample(t, project, "target", pgtest.Target(t))
	nats := project.Services["nats"]
	queue := natstest.StartConfig(t, nats.Volumes[0].Source, pairs(nats.Environment)...)
	moved := strings.NewReplacer(
		"postgres://postgres@source:5432/shop", src.URI(), "postgres://postgres@target:5432/shop", dst.URI(),
		"nats://nats:4222", queue.URL(), "0.0.0.0:8080", "127.0.0.1:0", "/var/lib/pgconvoy", t.TempDir())
	environ := func(s types.ServiceConfig) []string {
		var env []string
		for _, pair := range pairs(s.Environment) {
			if !strings.HasPrefix(pair, "PGPASSWORD=") { // the test's servers have their own
				env = append(env, moved.Replace(pair))
			}
		}
		return env
	}

	worker := project.Services["worker"]
	var workers []*exec.Cmd
	var logs []*log
	for range worker.GetScale() {
		w := inImage(t, made, worker.Command...)
		w.Env = append(environ(worker), "PATH="+os.Getenv("PATH"))
		l := &log{Writer: t.Output(), begun: make(chan struct{})}
		w.Stderr = l
		require.NoError(t, w.Start())
		workers, logs = append(workers, w), append(logs, l)
	}
	planner := project.Services["planner"]
	p := exec.CommandContext(t.Context(), program(t, "planner"), planner.Command...)
	p.Env = append(environ(planner), "PATH="+pgtest.ClientDir(t, dst.Server.Major)+":"+os.Getenv("PATH"))
	var out bytes.Buffer
	p.Stdout, p.Stderr = &out, t.Output()
	require.NoError(t, p.Run())
	require.Contains(t, out.String(), "complete")
	pgtest.RequireEqual(t, src, dst)

	// They are told to end, and do within the time that they have. One that has said nothing yet may not know what
	// to do about a signal.
	for i, w := range workers {
		select {
		case <-logs[i].begun:
		case <-time.After(time.Minute):
			require.Fail(t, "a worker says nothing")
		}
		require.NoError(t, w.Process.Signal(syscall.SIGTERM))
	}
	for _, w := range workers {
		ended := time.AfterFunc(time.Duration(*worker.StopGracePeriod), func() { _ = w.Process.Kill() })
		require.NoError(t, w.Wait())
		ended.Stop()
	}
}

// log passes on what a process logs, and tells when it has begun.
type log struct {
	io.Writer
	once  sync.Once
	begun chan struct{}
}

func (l *log) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("waiting for run")) {
		l.once.Do(func() { close(l.begun) })
	}
	return l.Writer.Write(p)
}

// pairs returns variables as a process takes them.
func pairs(m types.MappingWithEquals) []string {
	var all []string
	for name, value := range maps.All(m) {
		all = append(all, name+"="+*value)
	}
	return all
}

// sample makes the database of a service with the files that it loads at its
// start, in the order of their names.
func sample(t *testing.T, project *types.Project, service string, server *pgtest.Server) *pgtest.Database {
	t.Helper()
	db := server.Database(t)
	files := map[string]string{}
	for _, v := range project.Services[service].Volumes {
		if strings.HasPrefix(v.Target, "/docker-entrypoint-initdb.d/") {
			files[filepath.Base(v.Target)] = v.Source
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		db.LoadFile(t, files[name])
	}
	return db
}
