package run_test

import (
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/run"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
	"github.com/pgconvoy/pgconvoy/internal/web"
)

// tellDocument has a page tell what it has become, at each change.
const tellDocument = `<script>
new MutationObserver(() => fetch("document", {method: "POST", body: document.documentElement.outerHTML}))
	.observe(document, {subtree: true, childList: true, characterData: true});
</script></body>`

// look returns the document that a browser has made of the page once it contains the
// text, and demands that the browser has nothing to complain about.
func look(t *testing.T, h http.Handler, text string) (document string) {
	t.Helper()
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("no chromium")
	}
	found := make(chan string, 1)
	mux := http.NewServeMux()
	mux.Handle("/", h)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		page := httptest.NewRecorder()
		h.ServeHTTP(page, r)
		maps.Copy(w.Header(), page.Header())
		_, _ = io.WriteString(w, strings.Replace(page.Body.String(), "</body>", tellDocument, 1))
	})
	mux.HandleFunc("POST /document", func(_ http.ResponseWriter, r *http.Request) {
		if document, err := io.ReadAll(r.Body); err == nil && strings.Contains(string(document), text) {
			select {
			case found <- string(document):
			default: // once is enough
			}
		}
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	for ctx.Err() == nil {
		document, complaints := browse(ctx, t, browser, server.URL, found)
		require.Empty(t, complaints)
		if document != "" {
			return document
		}
	}
	require.Fail(t, "the page never shows "+text)
	return ""
}

// browse runs a browser until a document is found, and returns that and what the
// browser complained about; no document if it has crashed.
func browse(ctx context.Context, t *testing.T, browser, url string, found <-chan string) (document, complaints string) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	home, err := os.MkdirTemp("", "browser") //nolint:usetesting // what the browser leaves behind late is no failure
	require.NoError(t, err)
	defer os.RemoveAll(home) //nolint:errcheck // see above
	cmd := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir="+home,
		"--enable-logging=stderr", "--remote-debugging-port=0", url)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // it is many processes
	cmd.WaitDelay = 10 * time.Second
	var log strings.Builder
	cmd.Stderr = &log
	require.NoError(t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // by a signal, ours or that of a crash
	}()
	select {
	case document = <-found:
		cancel()
	case <-ended:
		t.Log("the browser has ended by itself")
	}
	<-ended
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, "CONSOLE") {
			complaints += line
		}
	}
	return document, complaints
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
	require.Eventually(t, func() bool {
		s := last.Load()
		return s != nil && slices.ContainsFunc(s.Running, func(r tasks.RunningTask) bool { return strings.HasPrefix(string(r.Task), "copy.public.big.") })
	}, time.Minute, 50*time.Millisecond)
	h, err := web.Dashboard{
		Status: func(context.Context) (tasks.RunStatus, error) { return *last.Load(), nil },
		Report: func(ctx context.Context) (tasks.Report, error) { return run.Report(ctx, o) },
	}.Handler()
	require.NoError(t, err)
	document := look(t, h, "public.quick")
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
	look(t, h, `role="status">planning</span>`)
}
