package plan

import (
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// AssumedRates are those of servers of which nothing is known: between a small
// virtual machine with network storage, and a current one with local disks. The level
// of the comparison decides what a table is read for.
func AssumedRates(verify string) tasks.Rates {
	const mb = 1 << 20
	r := tasks.Rates{
		Copy: tasks.Rate{Slow: 25 * mb, Fast: 120 * mb}, Index: tasks.Rate{Slow: 12 * mb, Fast: 60 * mb}, Scan: tasks.Rate{Slow: 150 * mb, Fast: 1500 * mb},
		Carried: tasks.Rate{Slow: 2, Fast: 16},
	}
	if verify == tasks.LevelDigest {
		r.Scan = r.Copy
	}
	return r
}

// What a task costs beside its bytes, in seconds: its own transaction, its message and
// its mark in the ledger; in a bundle what each table and each index cost; and the
// statements of the archive by the length of their text.
const (
	perTask   = 0.005
	perTable  = 0.002
	perIndex  = 0.002
	perLetter = 0.000_002
)

// Crew is a number of workers, as how many tasks of each stage run at once.
type Crew struct {
	Workers int // as in [tasks.CrewTime]
	Caps    map[tasks.Stage]int
}

// Estimate returns how long the plan takes the crews, once it is made.
//
// Every task has a cost, and a run takes at least as long as the chain of tasks that
// costs most, as the work of a stage by as many as it runs at once, and as all work by
// as many tasks as the servers carry at full speed. At every moment of a run, if
// nobody idles who could work, either that chain goes on, or a stage or the servers
// are full; so it takes at most the chain and, of each stage, its work by the lower of
// both, after one another.
func Estimate(p tasks.Plan, r tasks.Rates, crews []Crew) tasks.Estimate {
	e := tasks.Estimate{Rates: r}
	inBundle := bundled(p)
	slow := priced(p, inBundle, r.Copy.Slow, r.Index.Slow, r.Scan.Slow)
	fast := priced(p, inBundle, r.Copy.Fast, r.Index.Fast, r.Scan.Fast)
	for _, c := range crews {
		shortest, bound := fast.shortest(c.Caps, r.Carried.Fast)
		longest := slow.chain
		for _, stage := range tasks.Stages() {
			longest += shared(slow.stages[stage], min(float64(c.Caps[stage]), r.Carried.Slow))
		}
		e.Crews = append(e.Crews, tasks.CrewTime{Workers: c.Workers, Shortest: tasks.Seconds(shortest), Longest: tasks.Seconds(longest), Bound: bound})
	}
	return e
}

// What the shortest time may be that of, beside a stage.
const (
	boundByChain   = "critical path"
	boundByServers = "servers"
)

// work is what the tasks of a plan cost, in seconds.
type work struct {
	chain  float64
	stages map[tasks.Stage]float64
	all    float64
}

func (w work) shortest(caps map[tasks.Stage]int, carried float64) (seconds float64, bound string) {
	seconds, bound = w.chain, boundByChain
	for _, stage := range tasks.Stages() {
		if by := shared(w.stages[stage], float64(caps[stage])); by > seconds {
			seconds, bound = by, "stage "+string(stage)
		}
	}
	if by := shared(w.all, carried); by > seconds {
		seconds, bound = by, boundByServers
	}
	return seconds, bound
}

// shared is how long the work takes so many at once.
func shared(work, atOnce float64) float64 { return work / max(atOnce, 1) }

// contents is what a bundle holds.
type contents struct{ tables, indexes int }

func bundled(p tasks.Plan) map[tasks.ID]contents {
	in := map[tasks.ID]contents{}
	for _, t := range p.Tables {
		if t.Bundle != "" {
			c := in[t.Bundle]
			in[t.Bundle] = contents{c.tables + 1, c.indexes + t.Indexes}
		}
	}
	return in
}

// priced returns the cost of the plan at the rates, in bytes per second.
func priced(p tasks.Plan, inBundle map[tasks.ID]contents, copying, index, scan float64) work {
	cost := func(t tasks.Task) float64 {
		rate := copying
		switch t.Kind {
		case tasks.KindIndex:
			rate = index
		case tasks.KindMeasure:
			rate = scan
		}
		seconds := perTask + float64(t.Weight)/rate
		switch t.Kind {
		case tasks.KindBundle:
			c := inBundle[t.ID]
			seconds += float64(c.tables)*perTable + float64(c.indexes)*perIndex
		case tasks.KindSchema:
			seconds += float64(len(t.Spec)) * perLetter
		}
		return seconds
	}
	w := work{stages: map[tasks.Stage]float64{}}
	for _, t := range p.Tasks {
		seconds := cost(t)
		w.stages[t.Kind.Stage()] += seconds
		w.all += seconds
	}
	_, w.chain = longestChain(p.Tasks, cost)
	return w
}
