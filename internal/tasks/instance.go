package tasks

import "time"

// Instance is what the ledger of each database of a run of several knows of the
// others.
type Instance struct {
	UID       string   // of the run of all of them
	Databases []string // in the order of the run
	Complete  bool     // all of them are, and the ledgers are being dropped
}

// LeftOut is a database that is not copied.
type LeftOut struct {
	Database string `json:"database"`
	Reason   string `json:"reason"`
}

// InstanceReport is what a run of several databases did.
type InstanceReport struct {
	Run       string           `json:"run"`
	UID       string           `json:"instance_uid"`
	State     RunState         `json:"state"`
	Elapsed   time.Duration    `json:"elapsed_ns"` // of this command
	Rows      int64            `json:"rows"`
	Bytes     int64            `json:"bytes"`
	Databases []DatabaseReport `json:"databases"` // in the order of the run
	LeftOut   []LeftOut        `json:"left_out"`
}

// DatabaseReport is what was done for one database.
type DatabaseReport struct {
	Database string   `json:"database"`
	State    RunState `json:"state"`            // "" if it was not begun
	Error    string   `json:"error,omitempty"`  // why it is not complete
	Report   *Report  `json:"report,omitempty"` // nil if it was not begun
}

// DatabasePlan is what a run would do for one of several databases.
type DatabasePlan struct {
	Database string
	Plan     Plan
	Outlook  Outlook
}

// InstanceStatus is how far a run of several databases is.
type InstanceStatus struct {
	Run       string           `json:"run"`
	UID       string           `json:"instance_uid"`
	State     RunState         `json:"state"`
	Owned     bool             `json:"owned"`     // a planner is at work
	Databases []DatabaseStatus `json:"databases"` // in the order of the run
}

// DatabaseStatus is how far one of several databases is.
type DatabaseStatus struct {
	Database string     `json:"database"`
	Status   *RunStatus `json:"status,omitempty"` // nil if it was not begun
}
