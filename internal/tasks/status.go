package tasks

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Keeper is a session that keeps a snapshot of the source alive: it imported
// the snapshot and exported it again under a name of its own.
type Keeper struct {
	ID       string `json:"id"` // of the process, a subject token
	RunUID   string `json:"run_uid"`
	Snapshot int    `json:"snapshot"` // its number in the ledger
	Name     string `json:"name"`     // what SET TRANSACTION SNAPSHOT takes
	Holder   string `json:"holder"`   // host/pid
}

// WorkerStatus is what a worker process says of itself.
type WorkerStatus struct {
	ID             string        `json:"id"` // a subject token
	Name           string        `json:"name"`
	Version        string        `json:"version"`
	RunUID         string        `json:"run_uid"`
	Started        time.Time     `json:"started"`
	Slots          map[Stage]int `json:"slots"`
	Running        []RunningTask `json:"running"`
	Bytes          int64         `json:"bytes"`            // of COPY data since it started
	BytesPerSecond int64         `json:"bytes_per_second"` // over the last seconds
	Draining       bool          `json:"draining,omitempty"`

	// Beat is when the process last began to tell the ledger what it has in hand, and
	// Trouble why its databases are of no use to it at the moment, "" if they are. Both
	// are for those who ask the process itself.
	Beat    time.Time `json:"-"`
	Trouble string    `json:"-"`
}

// RunningTask is a task that a worker has in hand.
type RunningTask struct {
	Task   ID        `json:"task"`
	Kind   Kind      `json:"kind"`
	Worker string    `json:"worker,omitempty"`
	Since  time.Time `json:"since"`
	Bytes  int64     `json:"bytes"`
	Weight int64     `json:"weight,omitempty"`      // the task's estimated cost in bytes, 0 if it is not known
	Phase  string    `json:"phase,omitempty"`       // of an index or of statistics, in the server's words
	Done   int64     `json:"phase_done,omitempty"`  // blocks or rows of the phase
	Total  int64     `json:"phase_total,omitempty"` // 0 if the server does not tell
	Stall  string    `json:"stall,omitempty"`       // why it does not get on, "" if it does; without SQL
	SQL    string    `json:"stall_sql,omitempty"`   // what is executed there, and by those that are in the way
}

// Fraction returns how much of the task is done, 0 to 1, as far as it can be told:
// rows by their bytes against what the table has on disk, and an index by its
// phases, of which scanning the table is taken to be the first half.
func (r RunningTask) Fraction() float64 {
	share := func(done, total int64) float64 {
		if total <= 0 {
			return 0
		}
		return min(max(float64(done)/float64(total), 0), 1)
	}
	switch r.Kind.Stage() {
	case StageCopy:
		return min(share(r.Bytes, r.Weight), 0.99) // what a row takes on disk and on its way differs
	case StageIndex:
		switch {
		case strings.Contains(r.Phase, "scanning table"):
			return share(r.Done, r.Total) / 2
		case strings.Contains(r.Phase, "loading tuples"):
			return 0.5 + share(r.Done, r.Total)/2
		case strings.Contains(r.Phase, "sorting"):
			return 0.5
		}
	case StageAnalyze:
		return share(r.Done, r.Total)
	}
	return 0
}

// StageStatus is a stage as the queue sees it.
type StageStatus struct {
	Stage   Stage `json:"stage"`
	Cap     int   `json:"cap"`
	Queued  int   `json:"queued"`
	Leased  int   `json:"leased"`  // handed to a worker and not answered
	Waiting int   `json:"waiting"` // idle slots
	Paused  bool  `json:"paused,omitempty"`
}

// DeadLetter is a task that failed for good, as the queue keeps it.
type DeadLetter struct {
	Envelope Envelope  `json:"envelope"`
	Reason   string    `json:"reason"`
	Attempts int       `json:"attempts"`
	Worker   string    `json:"worker"`
	At       time.Time `json:"at"`
}

// RunStatus is how far a run is.
type RunStatus struct {
	Run        string         `json:"run"`
	RunUID     string         `json:"run_uid"`
	Database   string         `json:"database,omitempty"` // which one, if the run is of several
	State      RunState       `json:"state"`
	Paused     bool           `json:"paused,omitempty"`
	Planner    string         `json:"planner,omitempty"` // host/pid of the planner that owns the run, "" if none does
	At         time.Time      `json:"at"`                // when this was true
	Started    time.Time      `json:"started"`
	Tasks      map[State]int  `json:"tasks"`
	Kinds      []KindStatus   `json:"kinds"`
	Rows       int64          `json:"rows"`        // copied
	Bytes      int64          `json:"bytes"`       // of COPY data
	TableBytes int64          `json:"table_bytes"` // size of all tables on the source
	Snapshot   SnapshotStatus `json:"snapshot"`
	Stages     []StageStatus  `json:"stages,omitempty"`
	Workers    []WorkerStatus `json:"workers,omitempty"`
	Running    []RunningTask  `json:"running"`
	Failures   []Failure      `json:"failures"`
	Warnings   []string       `json:"warnings,omitempty"`
	Bottleneck Bottleneck     `json:"bottleneck,omitempty"`
	Throttle   *Throttle      `json:"throttle,omitempty"` // nil without limits
	Stalled    int            `json:"stalled,omitempty"`  // running tasks that do not get on

	Busy map[string]Busy `json:"busy,omitempty"` // what the sessions of workers do, by side; none of a side that nobody has looked at
	Crew *Crew           `json:"crew,omitempty"` // nil if nobody has reckoned

	// Leases belong to Running, one to one.
	Leases []Lease `json:"-"`
}

// Work returns the estimated cost of all tasks in bytes, and how much of that is
// done, what runs included.
func (s RunStatus) Work() (done, all int64) {
	for _, k := range s.Kinds {
		done += k.Weight[Done]
		for _, weight := range k.Weight {
			all += weight
		}
	}
	for _, r := range s.Running {
		done += int64(r.Fraction() * float64(r.Weight))
	}
	return done, all
}

// Bottleneck is what most of the tasks in hand wait for, "" if nobody has looked.
type Bottleneck string

// The bottlenecks.
const (
	ByNobody  Bottleneck = "queue"   // tasks are ready, and none is in hand
	ByLocks   Bottleneck = "locks"   // of other sessions on the target
	BySource  Bottleneck = "source"  // the target waits for rows that the source has not sent
	ByNetwork Bottleneck = "network" // both wait: the way between them, or the workers
	ByTarget  Bottleneck = "target"  // it works: rows, indexes, constraints
	ByLimits  Bottleneck = "limits"  // rows are not to be moved faster
)

// Public returns what those may see of the status who reach the queue and not the
// databases: it quotes neither SQL nor rows.
func (s RunStatus) Public() RunStatus {
	s.Running, s.Failures = slices.Clone(s.Running), slices.Clone(s.Failures)
	for i := range s.Running {
		s.Running[i].SQL = ""
	}
	for i := range s.Failures {
		s.Failures[i].Reason = "the ledger says why: planner status with target.uri"
	}
	return s
}

// Stalls returns a warning for each task that does not get on.
func (s RunStatus) Stalls() []string {
	var list []string
	for _, r := range s.Running {
		if r.Stall == "" {
			continue
		}
		text := fmt.Sprintf("stalled: %s on %s: %s", r.Task, r.Worker, r.Stall)
		if r.SQL != "" {
			text += "; in: " + r.SQL
		}
		list = append(list, text)
	}
	return list
}

// Busy counts what the sessions of workers do on one side at a moment.
type Busy struct {
	Working    int `json:"working"`     // on a CPU, or with the disk
	Locked     int `json:"locked"`      // waits for a lock
	ClientRead int `json:"client_read"` // waits until the worker sends something
	Sending    int `json:"sending"`     // waits until the worker takes something
}

// KindStatus counts the tasks of one kind.
type KindStatus struct {
	Kind     Kind            `json:"kind"`
	Tasks    map[State]int   `json:"tasks"`
	Weight   map[State]int64 `json:"weight"`             // the sum of their estimated cost in bytes
	Attempts int             `json:"attempts,omitempty"` // that failed, of tasks that were not reopened since
}

// SnapshotStatus is the snapshot that rows are read in.
type SnapshotStatus struct {
	ID       int           `json:"id"`
	Text     string        `json:"text"` // pg_current_snapshot()
	Held     bool          `json:"held"` // false once it is released or lost
	Age      time.Duration `json:"age_ns"`
	XminAge  int64         `json:"xmin_age"`          // transactions that the source cannot clean up after, -1 if unknown
	Keepers  int           `json:"keepers"`           // processes that hold it
	SameAs   int           `json:"same_as,omitempty"` // an older one that is proven to show the same
	TakenAt  time.Time     `json:"taken_at"`
	Released *time.Time    `json:"released,omitempty"`
}
