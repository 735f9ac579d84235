package metrics

import (
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Planner tells what the planner knows of its run: a scrape reads what the planner
// has looked at last, about once a second, and asks no server. It is safe for
// concurrent use.
type Planner struct {
	gauges []described[tasks.RunStatus]

	mu       sync.Mutex
	status   tasks.RunStatus
	watching bool      // over the run; not while it is planned, nor when it has ended
	beat     time.Time // when the loop that watches last went on
}

// NewPlanner makes the measures of a planner that plans.
func NewPlanner() *Planner {
	return &Planner{
		gauges: describe(prometheus.GaugeValue, plannerGauges()),
		status: tasks.RunStatus{State: tasks.RunPlanning, Snapshot: tasks.SnapshotStatus{XminAge: -1}},
	}
}

// Look notes how far the run is.
func (p *Planner) Look(s tasks.RunStatus) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status = s
}

// Beat notes that the planner watches over the run, or that it does so no more.
func (p *Planner) Beat(watching bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watching, p.beat = watching, time.Now()
}

// plannerStill is how long the planner may be busy with one thing while it watches
// over a run. It may well undo what was made of many tables, or wait for a server.
const plannerStill = 5 * time.Minute

// alive returns why the planner is not alive, "" if it is.
func (p *Planner) alive(now time.Time) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if still := now.Sub(p.beat); p.watching && still > plannerStill {
		return fmt.Sprintf("the planner has not looked at its run for %s", still.Round(time.Second))
	}
	return ""
}

// ready returns why the planner is not ready, "" if its run is planned and it is the
// one that watches over it.
func (p *Planner) ready() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.watching && p.status.State == tasks.RunRunning:
		return ""
	case p.status.State == tasks.RunPlanning:
		return "the run is planned, or another planner watches over it"
	case p.status.State == tasks.RunRunning:
		return "the run ends"
	}
	return "the run is " + string(p.status.State)
}

// desired returns how many workers are of use.
func (p *Planner) desired() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.status.Crew == nil {
		return 0
	}
	return p.status.Crew.Desired
}

// Describe sends what is measured.
func (p *Planner) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range p.gauges {
		ch <- m.desc
	}
}

// Collect sends what was seen last.
func (p *Planner) Collect(ch chan<- prometheus.Metric) {
	p.mu.Lock()
	s := p.status // what it points to does not change
	p.mu.Unlock()
	collect(ch, p.gauges, s)
}

func plannerGauges() []measure[tasks.RunStatus] {
	var list []measure[tasks.RunStatus]
	list = append(list, runGauges()...)
	list = append(list, workGauges()...)
	list = append(list, snapshotGauges()...)
	return append(list, fleetGauges()...)
}

// runGauges are about the run as a whole.
func runGauges() []measure[tasks.RunStatus] {
	return []measure[tasks.RunStatus]{
		{"pgconvoy_run_state", "1 for the state that the run is in, 0 for the others.", []string{"state"}, func(s tasks.RunStatus, set setter) {
			for _, state := range []tasks.RunState{tasks.RunPlanning, tasks.RunRunning, tasks.RunComplete, tasks.RunFailed, tasks.RunCancelled} {
				set(one(s.State == state), string(state))
			}
		}},
		{"pgconvoy_run_paused", "1 while the run is paused.", nil, func(s tasks.RunStatus, set setter) { set(one(s.Paused)) }},
		{"pgconvoy_run_started_timestamp_seconds", "When the run was planned, in seconds of the epoch.", nil, func(s tasks.RunStatus, set setter) {
			if !s.Started.IsZero() {
				set(epoch(s.Started))
			}
		}},
		{"pgconvoy_run_status_timestamp_seconds", "When the planner last read the ledger, in seconds of the epoch.", nil, func(s tasks.RunStatus, set setter) {
			if !s.At.IsZero() {
				set(epoch(s.At))
			}
		}},
		{"pgconvoy_run_bottleneck", "1 for what most tasks in hand wait for, 0 for the others.", []string{"of"}, func(s tasks.RunStatus, set setter) {
			for _, b := range []tasks.Bottleneck{tasks.ByNobody, tasks.ByLocks, tasks.BySource, tasks.ByNetwork, tasks.ByTarget, tasks.ByLimits} {
				set(one(s.Bottleneck == b), string(b))
			}
		}},
	}
}

func epoch(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// workGauges are about what there is to do, and what of it is done.
func workGauges() []measure[tasks.RunStatus] {
	return []measure[tasks.RunStatus]{
		{"pgconvoy_run_tasks", "Tasks in the ledger. One that is in hand is ready until it is done.", []string{"kind", "state"}, func(s tasks.RunStatus, set setter) {
			for _, k := range s.Kinds {
				for _, state := range []tasks.State{tasks.Pending, tasks.Ready, tasks.Done, tasks.Failed} {
					set(float64(k.Tasks[state]), string(k.Kind), string(state))
				}
			}
		}},
		{"pgconvoy_run_running_tasks", "Tasks that workers have in hand, for a second or longer.", []string{"kind"}, func(s tasks.RunStatus, set setter) {
			running := map[tasks.Kind]int{}
			for _, r := range s.Running {
				running[r.Kind]++
			}
			for _, k := range s.Kinds {
				set(float64(running[k.Kind]), string(k.Kind))
			}
		}},
		{"pgconvoy_run_stalled_tasks", "Tasks in hand that do not get on.", nil, func(s tasks.RunStatus, set setter) { set(float64(s.Stalled)) }},
		{"pgconvoy_run_failed_attempts", "Attempts that failed, of tasks that were not reopened since.", []string{"kind"}, func(s tasks.RunStatus, set setter) {
			for _, k := range s.Kinds {
				set(float64(k.Attempts), string(k.Kind))
			}
		}},
		{"pgconvoy_run_work_bytes", "Estimated cost of all tasks.", nil, func(s tasks.RunStatus, set setter) {
			_, all := s.Work()
			set(float64(all))
		}},
		{"pgconvoy_run_work_done_bytes", "Estimated cost of what is done, tasks in hand included.", nil, func(s tasks.RunStatus, set setter) {
			done, _ := s.Work()
			set(float64(done))
		}},
		{"pgconvoy_run_table_bytes", "Size of the run's tables on the source.", nil, func(s tasks.RunStatus, set setter) { set(float64(s.TableBytes)) }},
		{"pgconvoy_run_copied_bytes", "COPY data of the copies that are done.", nil, func(s tasks.RunStatus, set setter) { set(float64(s.Bytes)) }},
		{"pgconvoy_run_copied_rows", "Rows of the copies that are done.", nil, func(s tasks.RunStatus, set setter) { set(float64(s.Rows)) }},
	}
}

// snapshotGauges are about the snapshot and what it costs the source.
func snapshotGauges() []measure[tasks.RunStatus] {
	return []measure[tasks.RunStatus]{
		{"pgconvoy_snapshot_held", "1 while the snapshot is held: rows are still to be read.", nil, func(s tasks.RunStatus, set setter) { set(one(s.Snapshot.Held)) }},
		{"pgconvoy_snapshot_age_seconds", "How old the snapshot is, while it is held.", nil, func(s tasks.RunStatus, set setter) {
			if s.Snapshot.Held {
				set(s.Snapshot.Age.Seconds())
			}
		}},
		{"pgconvoy_snapshot_held_back_transactions", "Transactions that the source cannot clean up after because of the run, if it is known.", nil, func(s tasks.RunStatus, set setter) {
			if s.Snapshot.Held && s.Snapshot.XminAge >= 0 {
				set(float64(s.Snapshot.XminAge))
			}
		}},
		{"pgconvoy_snapshot_keepers", "Processes that hold the snapshot.", nil, func(s tasks.RunStatus, set setter) { set(float64(s.Snapshot.Keepers)) }},
	}
}

// fleetGauges are about the queue, the workers, and their sessions.
func fleetGauges() []measure[tasks.RunStatus] {
	stage := func(name, help string, of func(tasks.StageStatus) int) measure[tasks.RunStatus] {
		return measure[tasks.RunStatus]{name, help, []string{"stage"}, func(s tasks.RunStatus, set setter) {
			for _, g := range s.Stages {
				set(float64(of(g)), string(g.Stage))
			}
		}}
	}
	return []measure[tasks.RunStatus]{
		stage("pgconvoy_stage_cap_tasks", "Tasks of the stage that the fleet may run at once.", func(g tasks.StageStatus) int { return g.Cap }),
		stage("pgconvoy_stage_queued_tasks", "Tasks in the queue that nobody has.", func(g tasks.StageStatus) int { return g.Queued }),
		stage("pgconvoy_stage_leased_tasks", "Tasks that were handed to a worker and not answered.", func(g tasks.StageStatus) int { return g.Leased }),
		stage("pgconvoy_stage_idle_slots", "Slots of workers that wait for a task.", func(g tasks.StageStatus) int { return g.Waiting }),
		{"pgconvoy_sessions", "What the workers' sessions with something in hand do.", []string{"side", "doing"}, func(s tasks.RunStatus, set setter) {
			for side, b := range s.Busy {
				set(float64(b.Working), side, "work")
				set(float64(b.Locked), side, "wait_lock")
				set(float64(b.ClientRead), side, "wait_for_worker_to_send")
				set(float64(b.Sending), side, "wait_for_worker_to_take")
			}
		}},
		{"pgconvoy_workers", "Worker processes that answered, the planner's own included if it does tasks.", nil, func(s tasks.RunStatus, set setter) { set(float64(len(s.Workers))) }},
		{"pgconvoy_desired_workers", "Worker processes that are of use, beside the planner's own.", nil, func(s tasks.RunStatus, set setter) {
			if s.Crew != nil {
				set(float64(s.Crew.Desired))
			}
		}},
		{"pgconvoy_allowed_workers", "Worker processes that source and target have sessions for, beside the planner's own.", nil, func(s tasks.RunStatus, set setter) {
			if s.Crew != nil && s.Crew.Room >= 0 {
				set(float64(s.Crew.Room))
			}
		}},
	}
}
