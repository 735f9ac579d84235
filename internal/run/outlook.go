package run

import (
	"github.com/pgconvoy/pgconvoy/internal/check"
	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/fleet"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
	"github.com/pgconvoy/pgconvoy/internal/throttle"
)

// plannerSessions is how many sessions the planner has on each side: on the source
// the one with the snapshot, beside pg_dump or the one that checks; on the target
// the one of the ledger, beside the one that says what its workers have in hand.
const plannerSessions = 2

// sessions returns what the run needs on each side, without the limits: a task has
// one session on the target, those that read rows or values have one on the source.
// A worker process keeps those that it has opened, at most one for each slot, and
// one more on each side: its keeper of the snapshot, and the one that says what it
// has in hand. One more on the target holds a run of several databases together.
func sessions(o Options) []tasks.Sessions {
	c := o.Config
	onTarget := plannerSessions
	if o.member != nil {
		onTarget++
	}
	onSource, limits := plannerSessions, fleet.LimitNumbers(c.Limits)
	if len(throttle.Bounds(limits)) > 0 {
		onSource++ // to look how the server is
	}
	reading := func(s config.Stages) int { return s.Copy + s.Blob + s.Misc }
	within := func(n int, l tasks.Limit) int {
		if most := limits[l]; most > 0 {
			return min(n, int(most))
		}
		return n
	}
	most := atOnce(c)
	return []tasks.Sessions{
		{Side: tasks.SideSource, Planner: onSource, Tasks: within(reading(c.Caps), tasks.SourceConnections), Process: within(reading(most), tasks.SourceConnections) + 1},
		{Side: tasks.SideTarget, Planner: onTarget, Tasks: within(c.Caps.Total(), tasks.TargetConnections), Process: within(most.Total(), tasks.TargetConnections) + 1},
	}
}

// neededSessions returns how many sessions the run has at most on each side.
func neededSessions(o Options) check.Connections {
	needs := sessions(o)
	return check.Connections{Source: needs[0].Needed(), Target: needs[1].Needed()}
}

// atOnce returns how many tasks of each stage one worker process does at once.
func atOnce(c config.Config) config.Stages {
	return config.Stages{
		Copy: min(c.Slots.Copy, c.Caps.Copy), Index: min(c.Slots.Index, c.Caps.Index), Attach: min(c.Slots.Attach, c.Caps.Attach),
		Analyze: min(c.Slots.Analyze, c.Caps.Analyze), FKey: min(c.Slots.FKey, c.Caps.FKey), Blob: min(c.Slots.Blob, c.Caps.Blob),
		Misc: min(c.Slots.Misc, c.Caps.Misc),
	}
}
