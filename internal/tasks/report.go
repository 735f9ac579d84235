package tasks

import (
	"fmt"
	"time"
)

// Report is what a run did, for the summary at its end.
type Report struct {
	Run      string        `json:"run"`
	RunUID   string        `json:"run_uid"`
	Database string        `json:"database,omitempty"` // which one, if the run is of several
	State    RunState      `json:"state"`
	Snapshot string        `json:"snapshot"` // pg_current_snapshot() of the source
	Version  string        `json:"version"`  // of the planner
	Source   string        `json:"source"`   // what tells the databases from others
	Target   string        `json:"target"`
	Started  time.Time     `json:"started"`
	Elapsed  time.Duration `json:"elapsed_ns"`
	Rows     int64         `json:"rows"`
	Bytes    int64         `json:"bytes"`
	Tables   []TableReport `json:"tables"` // largest first
	Stages   []StageReport `json:"stages"`
	Skipped  []Skipped     `json:"skipped"`
	Failures []Failure     `json:"failures"`
	Notes    []Note        `json:"notes"`
	Verified string        `json:"verified"` // the level that passed, "" if none was asked for or it did not pass
	Pending  int           `json:"pending"`  // tasks that are not done, failed ones left out

	Timeline     []Span           `json:"timeline"`               // of the tasks that are done
	Snapshots    []SnapshotStatus `json:"snapshots"`              // that rows were read in, oldest first
	Inconsistent string           `json:"inconsistent,omitempty"` // why rows may be of different snapshots, by a person's explicit word
}

// Span is a task that is done: when, by whom, and how much it was.
type Span struct {
	Task    ID            `json:"task"`
	Kind    Kind          `json:"kind"`
	Worker  string        `json:"worker"`
	Start   time.Duration `json:"start_ns"` // since the run began
	Took    time.Duration `json:"took_ns"`
	Rows    int64         `json:"rows"`
	Bytes   int64         `json:"bytes"`
	Retries int           `json:"retries"` // after how many tries that failed
}

// TableReport is what was done for one table.
type TableReport struct {
	Name      Name          `json:"table"`
	Rows      int64         `json:"rows"`
	Bytes     int64         `json:"bytes"` // of COPY data
	Parts     int           `json:"parts"`
	Bundle    string        `json:"bundle,omitempty"`
	CopyTime  time.Duration `json:"copy_ns"` // sum over its parts; 0 if it travelled in a bundle, which has one time for all
	Indexes   int           `json:"indexes"`
	IndexTime time.Duration `json:"index_ns"` // sum over its indexes and constraints
}

// StageReport is how long a kind of task took.
type StageReport struct {
	Kind       Kind          `json:"kind"`
	Stage      Stage         `json:"stage"`
	Tasks      int           `json:"tasks"`
	Wall       time.Duration `json:"wall_ns"`       // from the first start to the last end
	Cumulative time.Duration `json:"cumulative_ns"` // sum over the tasks
}

// Failure is a task that failed.
type Failure struct {
	Task     ID     `json:"task"`
	Kind     Kind   `json:"kind"`
	Attempts int    `json:"attempts"`
	Reason   string `json:"reason"`
}

// Note is what a person should know of a task that is done.
type Note struct {
	Task ID     `json:"task"`
	Text string `json:"text"`
}

// Difference is a table whose rows are not the same on both sides.
type Difference struct {
	Table  Name   `json:"table"`
	Source string `json:"source"` // what was found there
	Target string `json:"target"`

	// Of a comparison of contents, some rows that differ.
	Key  []string        `json:"key,omitempty"` // columns of the key that tells rows apart, none if the table has none
	Rows []RowDifference `json:"rows,omitempty"`
	More bool            `json:"more,omitempty"` // there are, or may be, others
}

// RowFinding says what is wrong with a row.
type RowFinding string

// The findings.
const (
	RowMissing   RowFinding = "missing"   // only the source has it
	RowExtra     RowFinding = "extra"     // only the target has it
	RowDifferent RowFinding = "different" // both have a row of that key, with other contents
)

// RowDifference is a row that is not the same on both sides: its key, or where
// the table has none, its place on the side that has it.
type RowDifference struct {
	Finding RowFinding `json:"finding"`
	Key     []string   `json:"key,omitempty"`
	CTID    string     `json:"ctid,omitempty"`
}

func (d Difference) String() string {
	return fmt.Sprintf("%s: source has %s, target has %s", d.Table, d.Source, d.Target)
}

// Comparison is the result of comparing the rows of source and target.
type Comparison struct {
	Level       string       `json:"level"` // rows or digest
	Tables      int          `json:"tables"`
	Rows        int64        `json:"rows"`
	Differences []Difference `json:"differences"`
}
