// Package throttle decides how much of a run may go on at once under the limits
// that people have set, as pure functions: governor.go gives way when a server is
// not well and comes back slowly, connections.go divides sessions among stages, and
// pace.go bytes per second among worker processes. The planner asks it and
// carries out what it says.
package throttle

import (
	"math"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Bound is a limit on how a server is.
type Bound struct {
	Limit tasks.Limit
	Max   int64
	// Firm says that a person has set it: copies stand still while it is exceeded. Others only slow them.
	Firm bool
}

// automatic are the bounds that hold in automatic mode where a person has set none.
// How many sessions may be active has none: no server tells how many processors it
// has.
func automatic() tasks.Limits {
	const gigabyte = 1 << 30
	return tasks.Limits{
		tasks.SourceReplicaLag: gigabyte, tasks.TargetReplicaLag: gigabyte, tasks.TargetArchiveBacklog: gigabyte,
		tasks.TargetCheckpoints: 4, tasks.SourceLockWaits: 5, tasks.TargetLockWaits: 5,
	}
}

// watched are the limits on how the servers are, in the order in which they are told.
func watched() []tasks.Limit {
	return []tasks.Limit{
		tasks.SourceReplicaLag, tasks.SourceLockWaits, tasks.SourceActiveSessions,
		tasks.TargetReplicaLag, tasks.TargetArchiveBacklog, tasks.TargetCheckpoints, tasks.TargetLockWaits, tasks.TargetActiveSessions,
	}
}

// Bounds returns what the limits say of how the servers are to be.
func Bounds(l tasks.Limits) []Bound {
	var list []Bound
	for _, name := range watched() {
		switch {
		case l[name] > 0:
			list = append(list, Bound{Limit: name, Max: l[name], Firm: true})
		case l[tasks.Automatic] != 0 && automatic()[name] > 0:
			list = append(list, Bound{Limit: name, Max: automatic()[name]})
		}
	}
	return list
}

// Look is what was found of the servers.
type Look struct {
	Values map[tasks.Limit]int64
	// Soft are those that copies must not stand still for, although a person has set the limit: what they are
	// may be the run's own doing, and would not pass without it.
	Soft map[tasks.Limit]bool
	// Silent says that a server did not answer in time: it has more to do than it can.
	Silent bool
}

// Free is the level of a run that nothing holds back.
const Free = math.MaxInt

// riseAfter is how many good looks in a row let one more task run at once.
const riseAfter = 3

// Governor remembers how far the run has given way. The zero value is of no use, see
// [NewGovernor].
type Governor struct {
	level int  // most tasks of each of the stages that give way
	good  int  // looks in a row without anything near its bound
	wide  bool // the target was not well: what writes there gives way, too
}

// NewGovernor returns the governor of a run that nothing holds back yet.
func NewGovernor() *Governor { return &Governor{level: Free} }

// Verdict is what a governor has decided.
type Verdict struct {
	Level int            // most tasks at once of each of Stages; 0: copies stand still; [Free]: as many as there are caps for
	Over  []tasks.Excess // why it is not more
	// Silent says that it is also because a server did not answer.
	Silent bool
	// Stages are those that give way: what moves rows, and what writes much WAL if it is about the target.
	Stages []tasks.Stage
}

// Decide takes a look into account. Beyond a bound, the level is halved, look by
// look, from the cap of copies down to 1, or to 0 for a firm bound. Copies that
// stand still go on, one of them, once every firm bound has a fifth to spare. While
// everything has, every few looks one more task may run, until caps are reached;
// short of that the level stays. most are the caps of the stages as people have set
// them.
func (g *Governor) Decide(bounds []Bound, look Look, most map[tasks.Stage]int) Verdict {
	j := judge(bounds, look)
	g.wide = g.wide || j.target
	switch {
	case len(bounds) == 0:
		*g = Governor{level: Free}
	case g.level == 0:
		if !j.holds && !look.Silent {
			g.level, g.good = 1, 0
		}
	case len(j.over) > 0 || look.Silent:
		g.level, g.good = min(g.level, max(most[tasks.StageCopy], 1))/2, 0
		if !j.firm {
			g.level = max(g.level, 1)
		}
	case j.near:
		g.good = 0
	case g.level < Free:
		if g.good++; g.good >= riseAfter {
			g.level, g.good = g.level+1, 0
		}
		if g.level >= max(most[tasks.StageCopy], most[tasks.StageIndex], most[tasks.StageBlob]) {
			*g = Governor{level: Free}
		}
	}
	v := Verdict{Level: g.level, Over: j.over, Silent: look.Silent, Stages: []tasks.Stage{tasks.StageCopy, tasks.StageBlob}}
	if g.wide {
		v.Stages = append(v.Stages, tasks.StageIndex)
	}
	return v
}

// judgement is what a look says of the bounds.
type judgement struct {
	over   []tasks.Excess
	firm   bool // a firm bound is among those
	holds  bool // a firm bound is near or exceeded
	near   bool // something is near its bound
	target bool // something is over that is about the target
}

func judge(bounds []Bound, look Look) (j judgement) {
	for _, b := range bounds {
		value, known := look.Values[b.Limit]
		if !known || value <= b.Max-b.Max/5 {
			continue
		}
		firm := b.Firm && !look.Soft[b.Limit]
		j.near, j.holds = true, j.holds || firm
		if value > b.Max {
			j.over = append(j.over, tasks.Excess{Limit: b.Limit, Value: value, Bound: b.Max})
			j.firm, j.target = j.firm || firm, j.target || b.Limit.OnTarget()
		}
	}
	return j
}
