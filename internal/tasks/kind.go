package tasks

import "slices"

// Kind says what a task does. The zero value is not a kind.
type Kind string

// The kinds of tasks. Each is dispatched on one [Stage].
const (
	KindSchema        Kind = "schema"         // a chunk of archive entries, run on the target
	KindCopy          Kind = "copy"           // one table, or one part of a large table
	KindBundle        Kind = "bundle"         // small tables with their indexes and constraints, in one transaction
	KindIndex         Kind = "index"          // one index
	KindAttach        Kind = "attach"         // all constraints and index attachments of one table
	KindAnalyze       Kind = "analyze"        // statistics of one table
	KindFKeyAdd       Kind = "fkey-add"       // one foreign key, not validated where that is possible
	KindFKeyValidate  Kind = "fkey-validate"  // the validation of one foreign key
	KindLargeObjects  Kind = "large-objects"  // a range of large objects
	KindExtensionData Kind = "extension-data" // rows of the configuration tables of extensions
	KindSequences     Kind = "sequences"      // values of a list of sequences
	KindRefresh       Kind = "refresh"        // one materialized view
	KindMeasure       Kind = "measure"        // number of rows, or digest, of tables or of a part of one, on one side
	KindVerify        Kind = "verify"         // source against target, for a list of tables that are measured
)

// Stage is one consumer of the queue, with its own cap on concurrent tasks.
type Stage string

// The stages of a run.
const (
	StageCopy    Stage = "copy"
	StageIndex   Stage = "index"
	StageAttach  Stage = "attach"
	StageAnalyze Stage = "analyze"
	StageFKey    Stage = "fkey"
	StageBlob    Stage = "blob"
	StageMisc    Stage = "misc"
)

// Stages returns every stage, in the order in which a run mostly reaches them.
func Stages() []Stage {
	return []Stage{StageCopy, StageIndex, StageAttach, StageAnalyze, StageFKey, StageBlob, StageMisc}
}

// Stage returns the stage that tasks of the kind are dispatched on, "" for an
// unknown kind.
func (k Kind) Stage() Stage {
	switch k {
	case KindCopy, KindBundle, KindMeasure:
		return StageCopy
	case KindIndex:
		return StageIndex
	case KindAttach:
		return StageAttach
	case KindAnalyze:
		return StageAnalyze
	case KindFKeyAdd, KindFKeyValidate:
		return StageFKey
	case KindLargeObjects:
		return StageBlob
	case KindSchema, KindExtensionData, KindSequences, KindRefresh, KindVerify:
		return StageMisc
	}
	return ""
}

// Valid reports whether the stage is one of [Stages].
func (s Stage) Valid() bool { return slices.Contains(Stages(), s) }

// State is what the ledger stores of a task. Running is derived, never stored:
// a task runs while a worker holds its lease and its advisory lock.
type State string

// The states of a task.
const (
	Pending State = "pending" // something that it needs is not done
	Ready   State = "ready"   // everything that it needs is done
	Done    State = "done"    // its effect is committed
	Failed  State = "failed"  // it will not be tried again in this run
)

// RunState is what the ledger stores of a run.
type RunState string

// The states of a run.
const (
	RunPlanning  RunState = "planning"
	RunRunning   RunState = "running"
	RunComplete  RunState = "complete"
	RunFailed    RunState = "failed"
	RunCancelled RunState = "cancelled"
)
