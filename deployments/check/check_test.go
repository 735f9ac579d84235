// Package check holds the tests of the files in deployments/. Each file is
// decoded strictly into the types of the platform that it is for, and every
// planner and worker in it is held against the real programs: its flags, its
// settings, the time that it is given to end. The configuration of a release is
// decoded in the same way, though it is no file of deployments/.
//
// It is a module of its own, so that the libraries of the platforms stay out of
// the product's go.mod. A file for another platform gets a test file of its own
// here, which returns its processes for TestProcesses.
package check

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/natstest"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

// rootDir is the folder that root fills.
func rootDir() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("pgconvoy-deployments-%d", os.Getpid()))
}

// root builds what the images are made of, once: the programs, static, and the
// certificates. It is what the first stage of the Dockerfile has below /.
var root = sync.OnceValue(func() error {
	if out, err := exec.Command("../../scripts/image-root", rootDir()).CombinedOutput(); err != nil {
		return fmt.Errorf("scripts/image-root: %w: %s", err, out)
	}
	return nil
})

// TestMain lets the test binary play the nats-server, too.
func TestMain(m *testing.M) {
	if os.Getenv("NATSTEST_CHILD") != "" {
		os.Exit(natstest.Main(m))
	}
	code := pgtest.Main(m)
	_ = os.RemoveAll(rootDir())
	os.Exit(code)
}

// program returns the path of planner or worker.
func program(t *testing.T, name string) string {
	t.Helper()
	require.NoError(t, root())
	return filepath.Join(rootDir(), "out", name)
}

// process is one planner or worker as a file starts it.
type process struct {
	where   string // the file, and the name there
	program string // planner or worker
	args    []string
	env     map[string]string // of a secret, the empty string
	stop    time.Duration     // what the platform gives it to end
	refill  bool              // the platform starts another one when it ends
}

// processes returns all that the files start.
func processes(t *testing.T) []process {
	t.Helper()
	var all []process
	for _, of := range []func(*testing.T) []process{
		composeProcesses, kubernetesProcesses, batchProcesses, ecsProcesses, cloudRunProcesses, gcpBatchProcesses, azureProcesses, nomadProcesses, systemdProcesses,
	} {
		found := of(t)
		require.NotEmpty(t, found)
		all = append(all, found...)
	}
	return all
}

// TestProcesses holds every planner and worker against the real programs.
func TestProcesses(t *testing.T) {
	for _, name := range config.Variables() {
		t.Setenv(name, "")
	}
	for _, p := range processes(t) {
		t.Run(p.where, func(t *testing.T) {
			// A wrong verb or flag ends with status 2 before the help does with 0.
			out, err := exec.CommandContext(t.Context(), program(t, p.program), append(p.args, "--help")...).CombinedOutput()
			require.NoError(t, err, string(out))

			var environ []string
			for name, value := range p.env {
				environ = append(environ, name+"="+value)
				require.NotRegexp(t, `://[^/@]*:[^/@]*@`, value, "a password stands in %s", name)
				if value == "" {
					value = secret(name)
				} else {
					require.False(t, isSecret(name), "%s stands in the file", name)
				}
				t.Setenv(name, value)
			}
			require.Empty(t, config.UnknownVariables(environ))
			rules := config.Config.Validate
			if p.program == "worker" {
				rules = config.Config.ValidateWorker
			}
			cfg, err := config.Load("", overrides(p.args), rules)
			require.NoError(t, err)

			require.GreaterOrEqual(t, p.stop, cfg.Grace+3*time.Second, "what was not finished within grace is handed back, which takes a moment")
			if p.program == "worker" && cfg.ExitWhenIdle > 0 {
				require.NotEqual(t, p.refill, cfg.Linger, "a worker stays until the run has ended exactly where nothing takes its place")
			}
		})
	}
}

// isSecret reports whether the variable's value is one by its name. A
// connection string may be without.
func isSecret(name string) bool {
	return strings.HasSuffix(name, "_PASSWORD") || strings.HasSuffix(name, "_TOKEN")
}

// secret returns a value for a variable that the platform fills in.
func secret(name string) string {
	switch {
	case strings.HasSuffix(name, "_URI"): // each of its own, as the two databases are
		return "postgres://somebody@db.example/" + name
	case strings.HasSuffix(name, "_URL"):
		return "tls://nats.example:4222"
	default:
		return "secret"
	}
}

// overrides returns the settings that a command line gives.
func overrides(args []string) []config.Override {
	var found []config.Override
	for _, arg := range args {
		name, value, _ := strings.Cut(arg, "=")
		if key, ok := strings.CutPrefix(name, "--"); ok && slices.Contains([]string{"exit-when-idle", "linger", "verify"}, key) {
			found = append(found, config.Override{Flag: name, Key: strings.ReplaceAll(key, "-", "_"), Value: cmp.Or(value, "true")})
		}
	}
	return found
}
