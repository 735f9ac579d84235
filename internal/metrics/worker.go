package metrics

import (
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Worker measures what a process does that does tasks, whichever runs they are of,
// one after the other. It is safe for concurrent use; nil measures nothing.
type Worker struct {
	up       func() bool // whether the queue is connected; nil in a planner, whose readiness is another
	gauges   []described[tasks.WorkerStatus]
	moved    *prometheus.Desc
	rows     *prometheus.CounterVec
	duration *prometheus.HistogramVec

	mu     sync.Mutex
	status func() tasks.WorkerStatus // of the run that it works for; nil while it waits for one
	before int64                     // bytes of earlier runs
	shown  int64                     // bytes that were told last: a counter does not go back
	away   time.Time                 // the last time that a run could not be begun, as a database was away
}

// NewWorker makes the measures of a process that waits for a run. up says whether
// its queue is connected.
func NewWorker(up func() bool) *Worker {
	return &Worker{
		up:     up,
		gauges: describe(prometheus.GaugeValue, workerGauges()),
		moved: prometheus.NewDesc("pgconvoy_worker_moved_bytes_total",
			"COPY data and large objects that went through this process, for comparisons, too.", nil, nil),
		rows: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pgconvoy_worker_rows_total", Help: "Rows of tasks that this process has done.",
		}, []string{"kind"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pgconvoy_worker_task_duration_seconds", Help: "How long this process had tasks in hand.",
			Buckets: prometheus.ExponentialBuckets(0.01, 4, 11), // to three hours
		}, []string{"kind", "outcome"}),
	}
}

func workerGauges() []measure[tasks.WorkerStatus] {
	return []measure[tasks.WorkerStatus]{
		{"pgconvoy_worker_slots", "Tasks of the stage that this process does at once.", []string{"stage"}, func(s tasks.WorkerStatus, set setter) {
			for stage, n := range s.Slots {
				set(float64(n), string(stage))
			}
		}},
		{"pgconvoy_worker_busy_slots", "Tasks of the stage that this process has in hand.", []string{"stage"}, func(s tasks.WorkerStatus, set setter) {
			busy := map[tasks.Stage]int{}
			for _, r := range s.Running {
				busy[r.Kind.Stage()]++
			}
			for stage := range s.Slots {
				set(float64(busy[stage]), string(stage))
			}
		}},
		{"pgconvoy_worker_draining", "1 while this process ends and takes nothing new.", nil, func(s tasks.WorkerStatus, set setter) { set(one(s.Draining)) }},
	}
}

// Watch notes that the process works for a run, of which status tells, until done is
// called.
func (m *Worker) Watch(status func() tasks.WorkerStatus) (done func()) {
	if m == nil {
		return func() {}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.status, m.away = status, time.Time{}
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.before += status().Bytes
		m.status = nil
	}
}

// Away notes that there is a run, and that a database of it cannot be reached.
func (m *Worker) Away() {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away = time.Now()
}

// Ended notes how a task ended.
func (m *Worker) Ended(e tasks.Ending) {
	if m == nil {
		return
	}
	m.duration.WithLabelValues(string(e.Kind), string(e.Outcome)).Observe(e.Took.Seconds())
	if e.Outcome == tasks.Succeeded {
		m.rows.WithLabelValues(string(e.Kind)).Add(float64(e.Rows))
	}
}

// look returns what the process says of itself, and how many bytes it has moved.
func (m *Worker) look() (s tasks.WorkerStatus, works bool, moved int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	moved = m.before
	if works = m.status != nil; works {
		s = m.status()
		moved += s.Bytes
	}
	m.shown = max(m.shown, moved)
	return s, works, m.shown
}

const (
	// workerStill is how long the process may not have said what it has in hand: it
	// tries every few seconds, also while the target is away.
	workerStill = 2 * time.Minute
	// awayFor is how long a database that could not be reached is taken to be away:
	// the process tries again at once.
	awayFor = time.Minute
)

// alive returns why the process is not alive, "" if it is.
func (m *Worker) alive(now time.Time) string {
	s, works, _ := m.look()
	if !works {
		return "" // it waits for a run
	}
	last := s.Started
	if s.Beat.After(last) {
		last = s.Beat
	}
	if still := now.Sub(last); still > workerStill {
		return fmt.Sprintf("the worker has not said what it has in hand for %s", still.Round(time.Second))
	}
	return ""
}

// ready returns why the process would not do a task, "" if nothing is known to be in
// the way. While it waits for a run, it has no sessions that could tell.
func (m *Worker) ready(now time.Time) string {
	s, _, _ := m.look()
	m.mu.Lock()
	away := m.away
	m.mu.Unlock()
	switch {
	case s.Draining:
		return "the worker drains"
	case !m.up():
		return "the queue is not connected"
	case now.Sub(away) < awayFor:
		return "a database of the run cannot be reached"
	}
	return s.Trouble
}

// Describe sends what is measured.
func (m *Worker) Describe(ch chan<- *prometheus.Desc) {
	for _, g := range m.gauges {
		ch <- g.desc
	}
	ch <- m.moved
	m.rows.Describe(ch)
	m.duration.Describe(ch)
}

// Collect sends the values. What is of a run is there while the process works for one.
func (m *Worker) Collect(ch chan<- prometheus.Metric) {
	s, works, moved := m.look()
	if works {
		collect(ch, m.gauges, s)
	}
	ch <- prometheus.MustNewConstMetric(m.moved, prometheus.CounterValue, float64(moved))
	m.rows.Collect(ch)
	m.duration.Collect(ch)
}
