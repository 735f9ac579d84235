package plan

import (
	"slices"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// critical returns the chain of tasks, each of which needs a group of the one
// before, that has the most work by weight. However many workers there are, a run
// takes as long as that.
func critical(all []tasks.Task) []tasks.CriticalTask {
	longest, _ := longestChain(all, func(t tasks.Task) float64 { return float64(t.Weight) })
	chain := make([]tasks.CriticalTask, len(longest))
	for i, n := range longest {
		chain[i] = tasks.CriticalTask{ID: all[n].ID, Weight: all[n].Weight}
	}
	return chain
}

// longestChain returns the numbers of the tasks of the chain that costs most, first
// to last, and what it costs.
func longestChain(all []tasks.Task, cost func(tasks.Task) float64) (chain []int, total float64) {
	p := paths{all: all, cost: cost, groups: map[tasks.Group][]int{}, last: map[tasks.Group]int{}, work: make([]float64, len(all)), before: make([]int, len(all))}
	for i, t := range all {
		p.before[i] = unknown
		p.groups[t.Group] = append(p.groups[t.Group], i)
		if t.Wave != t.Group {
			p.groups[t.Wave] = append(p.groups[t.Wave], i)
		}
	}
	end := none
	for i := range all {
		if p.until(i); end == none || p.work[i] > p.work[end] {
			end = i
		}
	}
	for i := end; i != none; i = p.before[i] {
		chain = append(chain, i)
	}
	if end != none {
		total = p.work[end]
	}
	slices.Reverse(chain)
	return chain, total
}

// What stands in place of the number of a task.
const (
	none    = -1 // it needs nothing
	unknown = -2 // it was not looked at yet
)

// paths are the longest chains that lead to each task.
type paths struct {
	all    []tasks.Task
	cost   func(tasks.Task) float64
	groups map[tasks.Group][]int
	last   map[tasks.Group]int // the task of a group that has the longest chain
	work   []float64           // of the chain that ends with the task
	before []int               // the task before it in that chain
}

// until finds the longest chain that ends with the task, and returns its work.
func (p *paths) until(i int) float64 {
	if p.before[i] != unknown {
		return p.work[i]
	}
	p.before[i] = none
	var most float64
	for _, g := range p.all[i].Needs {
		if last := p.end(g); last != none && (p.before[i] == none || p.work[last] > most) {
			most, p.before[i] = p.work[last], last
		}
	}
	p.work[i] = most + p.cost(p.all[i])
	return p.work[i]
}

// end returns the task of the group that has the longest chain, none if the group
// is empty.
func (p *paths) end(g tasks.Group) int {
	if last, known := p.last[g]; known {
		return last
	}
	last := none
	for _, i := range p.groups[g] {
		if work := p.until(i); last == none || work > p.work[last] {
			last = i
		}
	}
	p.last[g] = last
	return last
}
