package run_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/run"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
	"github.com/pgconvoy/pgconvoy/internal/web"
)

// browse returns the document that a browser has made of the page after a time, and
// what it complained about.
func browse(t *testing.T, url string, after time.Duration) (document, complaints string) {
	t.Helper()
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("no chromium")
	}
	ctx, cancel := context.WithTimeout(t.Context(), after+time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir="+t.TempDir(),
		"--enable-logging=stderr", fmt.Sprintf("--timeout=%d", after.Milliseconds()), "--dump-dom", url)
	var out, log strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &log
	err = cmd.Run()
	if state := cmd.ProcessState; state != nil && state.ExitCode() < 0 && ctx.Err() == nil {
		t.Logf("the browser has crashed: %v", err)
		return "", ""
	}
	require.NoError(t, err, log.String())
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, "CONSOLE") {
			complaints += line
		}
	}
	return out.String(), complaints
}

// TestDashboardOfARun looks at a run with a browser, while its copies wait.
func TestDashboardOfARun(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	release := gated(t, src, dst, 10_000)
	src.Exec(t, "CREATE TABLE quick (id int PRIMARY KEY); INSERT INTO quick VALUES (1)")
	o := options(t, src, dst)
	var last atomic.Pointer[tasks.RunStatus]
	o.Progress = func(s tasks.RunStatus) { last.Store(&s) }
	wait := start(t.Context(), o)
	awaitGate(t, dst, 2)
	require.Eventually(t, func() bool { return last.Load() != nil && len(last.Load().Running) > 0 }, time.Minute, 50*time.Millisecond)
	h, err := web.Dashboard{
		Status: func(context.Context) (tasks.RunStatus, error) { return *last.Load(), nil },
		Report: func(ctx context.Context) (tasks.Report, error) { return run.Report(ctx, o) },
	}.Handler()
	require.NoError(t, err)
	server := httptest.NewServer(h)
	defer server.Close()
	document := look(t, server.URL, "public.quick")
	require.Contains(t, document, `role="status">running</span>`)
	require.Contains(t, document, "copy.public.big.", "what runs")
	require.Contains(t, document, "public.quick", "a table")
	require.Regexp(t, "Timeline of [1-9]", document)
	release()
	_, err = wait()
	require.NoError(t, err)
}

// TestDashboardBeforeARun looks at the page of a planner that still plans.
func TestDashboardBeforeARun(t *testing.T) {
	t.Parallel()
	h, err := web.Dashboard{
		Status: func(context.Context) (tasks.RunStatus, error) {
			return tasks.RunStatus{Run: "main", State: tasks.RunPlanning, At: time.Now()}, nil
		},
		Report: func(context.Context) (tasks.Report, error) { return tasks.Report{}, nil },
	}.Handler()
	require.NoError(t, err)
	server := httptest.NewServer(h)
	defer server.Close()
	require.Contains(t, look(t, server.URL, `role="status">planning</span>`), `role="status">planning</span>`)
}

// look returns the document once it contains the text, or what it is after a while: a
// browser writes it down when the page is there, on a busy machine before the first
// event is. It is given twice the time then.
func look(t *testing.T, url, text string) (document string) {
	t.Helper()
	for after := 4 * time.Second; after < time.Minute; after *= 2 {
		var complaints string
		document, complaints = browse(t, url, after)
		require.Empty(t, complaints)
		if strings.Contains(document, text) {
			break
		}
	}
	return document
}
