package throttle

import (
	"maps"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// onSource are the stages whose tasks have a session on the source; each task has
// one on the target.
func onSource() []tasks.Stage {
	return []tasks.Stage{tasks.StageCopy, tasks.StageBlob, tasks.StageMisc}
}

// Work is how many tasks of a stage there are still to do: that can be done now,
// those in hand included, and all.
type Work struct{ Ready, Open int }

// Fit lowers caps so that the sessions of all tasks together are within the limits
// on connections. A stage that has nothing left to do needs none, one that has
// nothing ready gets one, so that it can begin; where there is room, caps are what
// they were. A stage is never lowered below 1: validation has seen to it that every
// stage can have one.
func Fit(caps map[tasks.Stage]int, l tasks.Limits, work map[tasks.Stage]Work) map[tasks.Stage]int {
	fitted := maps.Clone(caps)
	if n := l[tasks.SourceConnections]; n > 0 {
		fit(fitted, onSource(), int(n), work)
	}
	if n := l[tasks.TargetConnections]; n > 0 {
		fit(fitted, tasks.Stages(), int(n), work)
	}
	return fitted
}

// fit lowers the caps of the stages to a sum.
func fit(caps map[tasks.Stage]int, stages []tasks.Stage, most int, work map[tasks.Stage]Work) {
	wanted := map[tasks.Stage]int{}
	sum := 0
	for _, s := range stages {
		wanted[s] = caps[s]
		if w, known := work[s]; known {
			wanted[s] = min(caps[s], max(w.Ready, min(w.Open, 1)))
		}
		sum += wanted[s]
	}
	for ; sum > most; sum-- {
		largest := stages[0]
		for _, s := range stages {
			if wanted[s] > wanted[largest] {
				largest = s
			}
		}
		if wanted[largest] <= 1 {
			break
		}
		wanted[largest]--
	}
	for raised := true; raised && sum < most; { // what is ready may be more by the next look
		raised = false
		for _, s := range stages {
			if sum < most && wanted[s] < caps[s] && (work == nil || work[s].Open > 0) {
				wanted[s], sum, raised = wanted[s]+1, sum+1, true
			}
		}
	}
	for _, s := range stages {
		caps[s] = max(wanted[s], 1)
	}
}
