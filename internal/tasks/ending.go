package tasks

import "time"

// Outcome is how one delivery of a task ended at the worker that had it.
type Outcome string

// The outcomes.
const (
	Succeeded  Outcome = "done"     // its effect is committed
	Retried    Outcome = "retried"  // an attempt failed, and others follow
	GivenUp    Outcome = "failed"   // the last attempt failed
	HandedBack Outcome = "returned" // no attempt is counted: the worker ends, the snapshot is looked for, or nobody knows whether the commit came through
	Split      Outcome = "split"    // a bundle has become a task for each of its tables
)

// Ending says what a worker has done for one delivery of a task.
type Ending struct {
	Kind    Kind
	Outcome Outcome
	Took    time.Duration // from the delivery to its answer
	Rows    int64         // copied or compared, 0 unless it succeeded
}
