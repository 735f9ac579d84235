package run_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/run"
)

// served returns the URL that a process serves HTTP on, once it says so.
func (p *process) served(t *testing.T) string {
	t.Helper()
	line := regexp.MustCompile(`"msg":"HTTP is served","url":"([^"]+)"`)
	require.Eventually(t, func() bool { return line.MatchString(p.String()) }, 20*time.Second, 20*time.Millisecond)
	return line.FindStringSubmatch(p.String())[1]
}

// get returns what a server answers.
func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(text)
}

// scraped is what a scrape got: values by name and labels, as Prometheus reads them.
type scraped map[string]float64

func scrape(t *testing.T, url string) (scraped, string) {
	t.Helper()
	status, body := get(t, url+"metrics")
	require.Equal(t, http.StatusOK, status)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	require.NoError(t, err)
	values := scraped{}
	for name, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				if l.GetName() != "run" {
					labels = append(labels, l.GetName()+"="+l.GetValue())
				}
			}
			key := name + "{" + strings.Join(labels, ",") + "}"
			values[key] = m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return values, body
}

// named returns the names of ours in a file.
func named(t *testing.T, file string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", file))
	require.NoError(t, err)
	names := map[string]bool{}
	for _, name := range regexp.MustCompile(`\bpgconvoy_[a-z_]+\b`).FindAllString(string(text), -1) {
		names[regexp.MustCompile(`_(bucket|count|sum)$`).ReplaceAllString(name, "")] = true
	}
	require.NotEmpty(t, names)
	return names
}

// lacking returns which names none of the scrapes has.
func lacking(names map[string]bool, all ...scraped) (missing []string) {
	there := map[string]bool{}
	for _, s := range all {
		for key := range s {
			name, _, _ := strings.Cut(key, "{")
			there[name] = true
		}
	}
	for name := range names {
		if !there[name] {
			missing = append(missing, name)
		}
	}
	return missing
}

// TestMetricsOfARun scrapes planner and worker processes of a run whose copies wait,
// as Prometheus, a kubelet and an autoscaler would.
func TestMetricsOfARun(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	release := gated(t, src, dst, 40_000)
	o, _ := external(t, src, dst)
	w := startWorker(t, build(t, "worker"), o, "PGCONVOY_HTTP_LISTEN=127.0.0.1:0", "PGCONVOY_SLOTS_COPY=2")
	worker := w.served(t)
	status, why := get(t, worker+"readyz")
	require.Equal(t, http.StatusOK, status, "it waits for a run: %s", why)
	p := startPlanner(t, build(t, "planner"), o, "run", "--http", "127.0.0.1:0")
	planner := p.served(t)
	desired := func() int {
		status, body := get(t, planner+"desired_workers")
		require.Equal(t, http.StatusOK, status)
		var answer struct {
			N *int `json:"desired_workers"`
		}
		require.NoError(t, json.Unmarshal([]byte(body), &answer))
		require.NotNil(t, answer.N, body)
		return *answer.N
	}
	awaitGate(t, dst, 2)

	// What is documented, shown and alerted of is there.
	var ofPlanner, ofWorker scraped
	var texts [2]string
	for _, file := range []string{"docs/metrics.md", "deployments/grafana/pgconvoy.json", "deployments/prometheus/pgconvoy.rules.yml"} {
		names := named(t, file)
		missing := []string{"all"}
		require.Eventually(t, func() bool {
			ofPlanner, texts[0] = scrape(t, planner)
			ofWorker, texts[1] = scrape(t, worker)
			missing = lacking(names, ofPlanner, ofWorker)
			return len(missing) == 0
		}, 20*time.Second, 100*time.Millisecond, "%s names what is not there: %s", file, &missing)
	}
	for _, text := range texts {
		require.NotContains(t, text, "big", "no name of a table")
		promtool(t, text, "check", "metrics")
	}

	// What they say is so: two of the seven parts stand at the gate, which is a lock.
	require.Eventually(t, func() bool {
		ofPlanner, _ = scrape(t, planner)
		return ofPlanner["pgconvoy_run_running_tasks{kind=copy}"] == 2 && ofPlanner["pgconvoy_sessions{doing=wait_lock,side=target}"] == 2 &&
			ofPlanner["pgconvoy_workers{}"] == 1
	}, time.Minute, 100*time.Millisecond)
	ofWorker, _ = scrape(t, worker)
	require.InDelta(t, 2, ofWorker["pgconvoy_worker_busy_slots{stage=copy}"], 0)
	require.Positive(t, ofWorker["pgconvoy_worker_moved_bytes_total{}"], "while they are copied")
	require.Positive(t, ofWorker["pgconvoy_worker_task_duration_seconds{kind=schema,outcome=done}"])
	require.InDelta(t, 1, ofPlanner["pgconvoy_run_state{state=running}"], 0)
	require.Greater(t, ofPlanner["pgconvoy_allowed_workers{}"], 1.0)
	require.Eventually(t, func() bool { return desired() == 2 }, time.Minute, 50*time.Millisecond, "the cap is 4, and a worker has 2 slots")
	for _, url := range []string{planner + "healthz", planner + "readyz", worker + "healthz", worker + "readyz"} {
		status, why := get(t, url)
		require.Equal(t, http.StatusOK, status, "%s: %s", url, why)
	}
	status, _ = get(t, worker+"desired_workers")
	require.Equal(t, http.StatusNotFound, status, "only a planner knows")
	require.NoError(t, run.Pause(t.Context(), o))
	require.Eventually(t, func() bool { return desired() == 0 }, 20*time.Second, 50*time.Millisecond)
	require.NoError(t, run.Unpause(t.Context(), o))

	// A worker that drains is not to be counted on, and is alive until it has finished.
	require.NoError(t, w.Process.Signal(syscall.SIGTERM))
	require.Eventually(t, func() bool {
		status, why = get(t, worker+"readyz")
		return status == http.StatusServiceUnavailable
	}, 20*time.Second, 20*time.Millisecond)
	require.Equal(t, "the worker drains\n", why)
	status, _ = get(t, worker+"healthz")
	require.Equal(t, http.StatusOK, status)
	release()
	require.NoError(t, w.Wait())
	startWorker(t, build(t, "worker"), o)
	require.NoError(t, p.Wait())
	require.Equal(t, "40000", dst.Query(t, "SELECT count(*) FROM big"))
}

// promtool runs the tool of Prometheus on the text, or in deployments/prometheus.
func promtool(t *testing.T, input string, args ...string) {
	t.Helper()
	binary, err := exec.LookPath("promtool")
	if err != nil {
		t.Logf("no promtool (apt-get install prometheus): not tested: promtool %s", strings.Join(args, " "))
		return
	}
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Dir, cmd.Stdin = filepath.Join("..", "..", "deployments", "prometheus"), strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
}

// TestAlerts has Prometheus itself say that the rules are rules, and what sets them
// off, and that it can read the queries of the dashboard.
func TestAlerts(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("promtool"); err != nil {
		t.Skip("no promtool (apt-get install prometheus): that the alerts go off, and the queries of the dashboard, are not tested")
	}
	promtool(t, "", "check", "rules", "pgconvoy.rules.yml")
	promtool(t, "", "test", "rules", "pgconvoy.test.yml")
	text, err := os.ReadFile(filepath.Join("..", "..", "deployments", "grafana", "pgconvoy.json"))
	require.NoError(t, err)
	var dashboard struct {
		Panels []struct {
			Targets []struct{ Expr string }
		}
	}
	require.NoError(t, json.Unmarshal(text, &dashboard))
	rules := "groups: [{name: dashboard, rules: ["
	for i, p := range dashboard.Panels {
		require.NotEmpty(t, p.Targets)
		for j, target := range p.Targets {
			expr := strings.NewReplacer("$__rate_interval", "1m", "$run", "main").Replace(target.Expr)
			rules += fmt.Sprintf("{record: 'panel:%d:%d', expr: %q},", i, j, expr)
		}
	}
	file := filepath.Join(t.TempDir(), "dashboard.yml")
	require.NoError(t, os.WriteFile(file, []byte(rules+"]}]"), 0o600))
	promtool(t, "", "check", "rules", file)
}
