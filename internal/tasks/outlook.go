package tasks

import (
	"slices"
	"time"
)

// Expected is what a run is expected to write to the target's disks, in bytes.
type Expected struct {
	Tables       int64 `json:"table_bytes"` // heap and TOAST, materialized views with their indexes included
	Indexes      int64 `json:"index_bytes"`
	LargeObjects int64 `json:"large_object_bytes"`
	Catalog      int64 `json:"catalog_bytes"` // what the definitions take
	WAL          int64 `json:"wal_bytes"`
	MostWAL      int64 `json:"most_wal_bytes"` // if a checkpoint comes between the rows of each table and their comparison
}

// Total is the size of all of it but the WAL.
func (e Expected) Total() int64 { return e.Tables + e.Indexes + e.LargeObjects + e.Catalog }

// Outlook is what a run would need and how long it would take, as far as that can
// be known before.
type Outlook struct {
	Sessions []Sessions `json:"connections"` // of source and target; none if nobody has counted
	Estimate Estimate   `json:"estimate"`
}

// Room is how many worker processes may be there with all their sessions at the
// same time, and 0 if nobody has counted.
func (o Outlook) Room() int {
	var planner, process, room int
	for _, s := range o.Sessions {
		planner, process = planner+s.Planner, process+s.Process
	}
	first := true
	for _, s := range o.Sessions {
		for _, l := range s.Limits {
			n := (l.Free() - s.Planner) / max(s.Process, 1)
			if l.Needed > s.Needed() { // for both sides
				n = (l.Free() - planner) / max(process, 1)
			}
			if first || n < room {
				room, first = n, false
			}
		}
	}
	return max(room, 0)
}

// Sessions is how many sessions a run needs on one side, and how many its server
// lets it have.
type Sessions struct {
	Side    string         `json:"side"`
	Planner int            `json:"planner"`    // its own, pg_dump's included
	Tasks   int            `json:"tasks"`      // of all workers together, at the same time
	Process int            `json:"per_worker"` // that one worker process keeps at most
	Limits  []SessionLimit `json:"limits"`
}

// Needed is how many sessions the run has at the same time.
func (s Sessions) Needed() int { return s.Planner + s.Tasks }

// SessionLimit is one of the limits on sessions.
type SessionLimit struct {
	Of       string `json:"of"` // server, database or role
	Max      int    `json:"max"`
	Reserved int    `json:"reserved"` // not for this role
	Used     int    `json:"used"`     // by others
	Needed   int    `json:"needed"`   // by the run, on both sides if they are one server
}

// Free is how many sessions are left for the run.
func (l SessionLimit) Free() int { return max(l.Max-l.Reserved-l.Used, 0) }

// Estimate is how long a run takes, for several numbers of workers.
type Estimate struct {
	Rates    Rates         `json:"rates"`
	Planning time.Duration `json:"planning_ns"` // what the plan took, which a run does again; in all figures below
	Crews    []CrewTime    `json:"workers"`
}

// After returns the estimate with the planning that comes before.
func (e Estimate) After(planning time.Duration) Estimate {
	e.Planning += planning
	e.Crews = slices.Clone(e.Crews)
	for i := range e.Crews {
		e.Crews[i].Shortest += planning
		e.Crews[i].Longest += planning
	}
	return e
}

// Seconds is a time of so many seconds.
func Seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// CrewTime is the estimate for one number of workers.
type CrewTime struct {
	Workers  int           `json:"workers,omitempty"` // each with one slot of every stage, and caps as many; 0 for the caps as they are set
	Shortest time.Duration `json:"shortest_ns"`
	Longest  time.Duration `json:"longest_ns"`
	Bound    string        `json:"bound"` // what the shortest time is the time of: the critical path, a stage of the queue, or the servers
}

// Rates are how fast tasks go, and what is known of that.
type Rates struct {
	Measured bool `json:"measured"` // by a short copy, and not assumed

	Copy    Rate `json:"copy_bytes_per_s"`  // of one COPY
	Index   Rate `json:"index_bytes_per_s"` // of one build
	Scan    Rate `json:"scan_bytes_per_s"`  // of one comparison's reading
	Carried Rate `json:"carried"`           // how many tasks at once go as fast as one alone
}

// Rate is a figure of which only the range is known.
type Rate struct {
	Slow float64 `json:"slow"`
	Fast float64 `json:"fast"`
}
