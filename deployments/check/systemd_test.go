package check

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// units returns the units' files.
func units(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../systemd/*.service")
	require.NoError(t, err)
	return files
}

// systemdProcesses reads the services, in which a key may stand several times.
func systemdProcesses(t *testing.T) []process {
	var found []process
	for _, file := range units(t) {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		p := process{where: "systemd/" + filepath.Base(file), env: map[string]string{}}
		credentials := map[string]bool{}
		for line := range strings.Lines(string(text)) {
			key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
			switch {
			case !ok:
			case key == "ExecStart":
				words := strings.Fields(strings.NewReplacer("%i", "run").Replace(value))
				p.program, p.args = filepath.Base(words[0]), words[1:]
			case key == "LoadCredential":
				name, _, _ := strings.Cut(value, ":")
				credentials[name] = true
			case key == "Environment":
				name, setting, _ := strings.Cut(value, "=")
				p.env[name] = setting
			case key == "TimeoutStopSec":
				p.stop, err = time.ParseDuration(strings.ReplaceAll(value, "min", "m"))
				require.NoError(t, err)
			}
		}
		for _, value := range append(p.args, values(p.env)...) {
			if name, ok := strings.CutPrefix(value, "%d/"); ok {
				require.True(t, credentials[name], "%s: no credential %s", p.where, name)
			}
		}
		// What is in the files of the host.
		for _, name := range []string{"PGCONVOY_SOURCE_URI", "PGCONVOY_TARGET_URI", "PGCONVOY_NATS_URL"} {
			p.env[name] = ""
		}
		found = append(found, p)
	}
	return found
}

func values(m map[string]string) []string {
	var all []string
	for _, v := range m {
		all = append(all, v)
	}
	return all
}

// TestUnits has systemd look at the units, with the programs in the place that
// they have in a test.
func TestUnits(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("NOT TESTED: the units of systemd, as systemd-analyze is not here")
	}
	dir := t.TempDir()
	for _, file := range units(t) {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		name := strings.ReplaceAll(filepath.Base(file), "@", "@run")
		moved := strings.NewReplacer("/usr/bin/planner", program(t, "planner"), "/usr/bin/worker", program(t, "worker")).Replace(string(text))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(moved), 0o644))
		out, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", "--man=no", filepath.Join(dir, name)).CombinedOutput()
		require.NoError(t, err, string(out))
		require.Empty(t, string(out))
		out, err = exec.CommandContext(t.Context(), "systemd-analyze", "security", "--offline=true", "--threshold=20", filepath.Join(dir, name)).CombinedOutput()
		require.NoError(t, err, string(out))
	}
}
