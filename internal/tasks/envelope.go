package tasks

// EnvelopeVersion is the version of [Envelope] that this build writes and
// understands.
const EnvelopeVersion = 1

// Envelope is the body of a queue message. It names a task of the ledger and
// nothing else: no SQL, no rows, no credentials.
type Envelope struct {
	Version int         `json:"v"`       // of this form
	Kind    Kind        `json:"kind"`    // what the task does
	Run     string      `json:"run"`     // name of the run
	RunUID  string      `json:"run_uid"` // tells it from others of that name
	Task    ID          `json:"task"`    // its name in the ledger
	FP      Fingerprint `json:"fp"`      // the databases that it is about
}

// Fingerprint identifies the pair of databases of a run, so that a worker that
// is connected to another pair refuses its tasks.
type Fingerprint struct {
	Source string `json:"source"` // system identifier and database name
	Target string `json:"target"`
}

// RunID identifies a run: the name that people use and a unique identifier
// that keeps a reused name from being mixed up.
type RunID struct {
	Name string
	UID  string
	FP   Fingerprint

	Database string // to connect to in place of those that the URIs name; "" unless the run is of several
	Follow   bool   // other databases come after it
}

// Envelope returns the message for a task of the run.
func (r RunID) Envelope(k Kind, id ID) Envelope {
	return Envelope{Version: EnvelopeVersion, Kind: k, Run: r.Name, RunUID: r.UID, Task: id, FP: r.FP}
}
