package run

import (
	"fmt"
	"iter"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// stuckError says that nothing can be done any more and something is missing.
type stuckError struct{ failed, pending int }

func (e *stuckError) Error() string {
	return fmt.Sprintf("%s failed, %d wait for that", tasks.Plural(e.failed, "task"), e.pending)
}

// IncompleteError is returned when a run ends with tasks that are not done.
type IncompleteError struct{ Report tasks.Report }

func (e *IncompleteError) Error() string {
	return fmt.Sprintf("run %s is not complete: %s failed, %d not done", e.Report.Run, tasks.Plural(len(e.Report.Failures), "task"), e.Report.Pending)
}

// Hint says how to go on.
func (e *IncompleteError) Hint() string {
	return "mend what failed, then planner resume, which goes on with this run; planner cleanup drops what it made"
}

// Lines lists the failures, then what to do.
func (e *IncompleteError) Lines() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, f := range e.Report.Failures {
			if !yield(fmt.Sprintf("task %s failed: %s", f.Task, f.Reason), "") {
				return
			}
		}
		yield(e.Error(), e.Hint())
	}
}

// ExitCode tells a difference that verify found from other failures.
func (e *IncompleteError) ExitCode() int {
	for _, f := range e.Report.Failures {
		if f.Kind != tasks.KindVerify {
			return 3
		}
	}
	if len(e.Report.Failures) > 0 {
		return 4
	}
	return 3
}
