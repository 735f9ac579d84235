package metrics

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// everything is a process of which every metric has a value.
func everything() Process {
	p := Process{Run: "main", Version: "test", Planner: NewPlanner(), Worker: NewWorker(nil)}
	p.Planner.Look(tasks.RunStatus{
		State: tasks.RunRunning, At: time.Now(), Started: time.Now(), Kinds: []tasks.KindStatus{{Kind: tasks.KindCopy}},
		Snapshot: tasks.SnapshotStatus{Held: true}, Stages: []tasks.StageStatus{{Stage: tasks.StageCopy}},
		Busy: map[string]tasks.Busy{tasks.SideSource: {}}, Crew: &tasks.Crew{},
	})
	p.Worker.Watch(func() tasks.WorkerStatus { return tasks.WorkerStatus{Slots: map[tasks.Stage]int{tasks.StageCopy: 1}} })
	p.Worker.Ended(tasks.Ending{Kind: tasks.KindCopy, Outcome: tasks.Succeeded})
	return p
}

// TestReferenceIsComplete compares docs/metrics.md with what there is, by name, type
// and labels, and what there is with the rules that Prometheus has for names.
func TestReferenceIsComplete(t *testing.T) {
	t.Parallel()
	registry, err := everything().registry()
	require.NoError(t, err)
	families, err := registry.Gather()
	require.NoError(t, err)
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	require.NoError(t, err)
	require.Empty(t, problems)
	real := map[string]string{}
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "pgconvoy_") {
			real[f.GetName()] = strings.ToLower(f.GetType().String()) + ": " + strings.Join(labels(f), ", ")
		}
	}
	text, err := os.ReadFile("../../docs/metrics.md")
	require.NoError(t, err)
	documented := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(pgconvoy_[a-z_]+)` \\| ([a-z]+) \\|([a-z, ]*)\\| .+ \\|$").FindAllStringSubmatch(string(text), -1) {
		names := strings.FieldsFunc(row[3], func(r rune) bool { return r == ' ' || r == ',' })
		slices.Sort(names)
		documented[row[1]] = row[2] + ": " + strings.Join(names, ", ")
	}
	require.Equal(t, real, documented)
}

// labels returns the names of a metric's labels but that of the run, which all have.
func labels(f *dto.MetricFamily) []string {
	names := map[string]bool{}
	for _, l := range f.GetMetric()[0].GetLabel() {
		names[l.GetName()] = true
	}
	if !names["run"] {
		return []string{"no run"}
	}
	delete(names, "run")
	return slices.Sorted(maps.Keys(names))
}

// TestFilesNameWhatThereIs: dashboard and alerts are about metrics that exist.
func TestFilesNameWhatThereIs(t *testing.T) {
	t.Parallel()
	registry, err := everything().registry()
	require.NoError(t, err)
	families, err := registry.Gather()
	require.NoError(t, err)
	real := map[string]bool{}
	for _, f := range families {
		real[f.GetName()] = true
		if f.GetType() == dto.MetricType_HISTOGRAM {
			real[f.GetName()+"_bucket"], real[f.GetName()+"_count"], real[f.GetName()+"_sum"] = true, true, true
		}
	}
	for _, file := range []string{"grafana/pgconvoy.json", "prometheus/pgconvoy.rules.yml", "prometheus/pgconvoy.test.yml"} {
		text, err := os.ReadFile("../../deployments/" + file)
		require.NoError(t, err)
		names := regexp.MustCompile(`\bpgconvoy_[a-z_]+\b`).FindAllString(string(text), -1)
		require.NotEmpty(t, names, file)
		for _, name := range names {
			require.True(t, real[name], "%s: there is no %s", file, name)
		}
	}
}

func TestHealthOfAPlanner(t *testing.T) {
	t.Parallel()
	p := NewPlanner()
	now := time.Now()
	require.Empty(t, p.alive(now), "it plans, which takes as long as it takes")
	require.Equal(t, "the run is planned, or another planner watches over it", p.ready())
	p.Beat(true)
	require.NotEmpty(t, p.ready(), "nothing was seen of the run yet")
	p.Look(tasks.RunStatus{State: tasks.RunRunning, Crew: &tasks.Crew{Desired: 3}})
	require.Empty(t, p.ready())
	require.Equal(t, 3, p.desired())
	require.Empty(t, p.alive(now.Add(plannerStill-time.Minute)))
	require.Equal(t, "the planner has not looked at its run for 6m0s", p.alive(now.Add(plannerStill+time.Minute)))
	p.Beat(false)
	require.Empty(t, p.alive(now.Add(time.Hour)), "it ends the run")
	require.Equal(t, "the run ends", p.ready())
	p.Look(tasks.RunStatus{State: tasks.RunComplete})
	require.Equal(t, "the run is complete", p.ready())
	require.Zero(t, p.desired())
}

func TestHealthOfAWorker(t *testing.T) {
	t.Parallel()
	up := true
	m := NewWorker(func() bool { return up })
	now := time.Now()
	later := now.Add(time.Hour)
	require.Empty(t, m.alive(later), "it waits for a run")
	require.Empty(t, m.ready(now))
	up = false
	require.Equal(t, "the queue is not connected", m.ready(now))
	up = true
	m.Away()
	require.Equal(t, "a database of the run cannot be reached", m.ready(time.Now()))
	require.Empty(t, m.ready(later))
	s := tasks.WorkerStatus{Started: now}
	done := m.Watch(func() tasks.WorkerStatus { return s })
	require.Empty(t, m.ready(now), "they are there now")
	require.Empty(t, m.alive(now.Add(time.Minute)))
	require.Equal(t, "the worker has not said what it has in hand for 3m0s", m.alive(now.Add(3*time.Minute)))
	s.Beat = now.Add(59 * time.Minute)
	require.Empty(t, m.alive(later))
	s.Trouble = "why"
	require.Equal(t, "why", m.ready(later))
	s.Draining = true
	require.Equal(t, "the worker drains", m.ready(later))
	done()
	require.Empty(t, m.ready(later))
}

// TestBytesNeverGoBack: a counter that does would count as many bytes once more.
func TestBytesNeverGoBack(t *testing.T) {
	t.Parallel()
	m := NewWorker(nil)
	work := func(bytes int64) (done func()) {
		return m.Watch(func() tasks.WorkerStatus { return tasks.WorkerStatus{Bytes: bytes} })
	}
	var seen []int64
	see := func() {
		_, _, moved := m.look()
		seen = append(seen, moved)
	}
	see()
	done := work(10)
	see()
	done()
	see()
	done = work(0) // the next run
	see()
	done()
	work(5)
	see()
	work(3)
	see()
	require.Equal(t, []int64{0, 10, 10, 10, 15, 15}, seen)
}

// TestNothingIsMeasured: a process that serves nothing has no measures.
func TestNothingIsMeasured(t *testing.T) {
	t.Parallel()
	var m *Worker
	m.Ended(tasks.Ending{})
	m.Away()
	m.Watch(nil)()
}
