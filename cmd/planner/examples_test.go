package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/config"
)

// examplesDir holds the configuration files that people start from.
const examplesDir = "../../examples"

// clearSettings keeps the caller's environment out of the test.
func clearSettings(t *testing.T) {
	t.Helper()
	for _, name := range config.Variables() {
		t.Setenv(name, "")
	}
}

func TestExamplesAreValid(t *testing.T) {
	clearSettings(t)
	files, err := filepath.Glob(filepath.Join(examplesDir, "*.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		_, err := config.Load(file, nil, config.Config.Validate)
		require.NoError(t, err, file)
	}
}

// TestFullExampleShowsDefaults keeps examples/planner.yaml true: it names
// every key, and what it sets is the default.
func TestFullExampleShowsDefaults(t *testing.T) {
	clearSettings(t)
	file := filepath.Join(examplesDir, "planner.yaml")
	cfg, err := config.Load(file, nil)
	require.NoError(t, err)
	want := config.Default()
	want.Source, want.Target = cfg.Source, cfg.Target
	require.Empty(t, cmp.Diff(want, cfg))

	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.ElementsMatch(t, settingPaths(t), keysOf(t, text))
}

// TestDeploymentsNameSettings makes sure that every variable in deployments/ is a
// setting. deployments/check holds the files against much more, if its modules
// can be fetched.
func TestDeploymentsNameSettings(t *testing.T) {
	variable := regexp.MustCompile(`\bPGCONVOY_[A-Z_]+\b`)
	known, found := config.Variables(), 0
	require.NoError(t, filepath.WalkDir("../../deployments", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		for _, name := range variable.FindAllString(string(text), -1) {
			found++
			require.Contains(t, known, name, path)
		}
		return err
	}))
	require.NotZero(t, found)
}

// What the users may do is shown by a test of internal/queue, and that a run gets
// along with it by one of internal/run.
func TestExampleOfNATSIsValid(t *testing.T) {
	for _, role := range []string{"PLANNER", "WORKER", "OBSERVER"} {
		t.Setenv(role+"_PASSWORD", "secret")
	}
	t.Setenv("NODE", "nats-0")
	for file, routes := range map[string]int{"nats-server.conf": 0, "nats-cluster.conf": 3} {
		options, err := server.ProcessConfigFile(filepath.Join("..", "..", "deployments", file))
		require.NoError(t, err)
		var users []string
		for _, u := range options.Users {
			users = append(users, u.Username)
			require.NotNil(t, u.Permissions, u.Username)
		}
		require.Equal(t, []string{"planner", "worker", "observer"}, users)
		require.Len(t, options.Routes, routes)
	}
}
