package run_test

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/check"
	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/run"
)

// TestPooler: planner and workers say what is in the way, both sides at once, and
// change nothing.
func TestPooler(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	src.Exec(t, "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a SELECT generate_series(1, 1000)")
	before, behind := src.Server.Bouncer(t, "transaction"), dst.Server.Bouncer(t, "session")
	direct, _ := external(t, src, dst)
	pooled := direct
	pooled.Config.Source.URI, pooled.Config.Target.URI = config.Secret(before.URI(src.Name)), config.Secret(behind.URI(dst.Name))
	for name, verb := range map[string]func() error{
		"check":  func() error { return run.Check(t.Context(), pooled) },
		"run":    func() error { _, err := run.Run(t.Context(), pooled); return err },
		"verify": func() error { _, err := run.Verify(t.Context(), pooled); return err },
		"resume": func() error { _, err := run.Resume(t.Context(), pooled, run.Resumption{}); return err },
	} {
		var failed *check.FailedError
		require.ErrorAs(t, verb(), &failed, name)
		require.Len(t, failed.Findings, 2, name)
		for _, f := range failed.Findings {
			require.Equal(t, "proxy", f.Check, name)
		}
		require.Equal(t, 5, failed.ExitCode(), name)
	}
	require.True(t, dst.Empty(t))

	wait := start(t.Context(), direct)
	binary := build(t, "worker")
	for _, setting := range []string{"PGCONVOY_SOURCE_URI=" + before.URI(src.Name), "PGCONVOY_TARGET_URI=" + behind.URI(dst.Name)} {
		p := startWorker(t, binary, direct, setting)
		var exit *exec.ExitError
		require.ErrorAs(t, p.Wait(), &exit)
		require.Equal(t, 1, exit.ExitCode())
		require.Contains(t, p.String(), "goes through a connection pooler")
		require.Contains(t, p.String(), "connect to the server itself")
	}
	startWorker(t, binary, direct)
	_, err := wait()
	require.NoError(t, err)
	pgtest.RequireEqual(t, src, dst)
}
