package tasks

// Plan is the immutable list of what a run does, printable before it runs.
type Plan struct {
	Tasks   []Task
	Tables  []PlannedTable // every table whose rows are copied, largest first
	Skipped []Skipped
	Steps   []Step // what the planner does before all tasks

	Critical []CriticalTask // the chain of tasks with the most work, first to last: no number of workers is faster
	Expected Expected
}

// CriticalTask is a task of the chain that decides how long a run takes at least.
type CriticalTask struct {
	ID     ID    `json:"task"`
	Weight int64 `json:"weight"`
}

// PlannedTable is what the plan decided for one table.
type PlannedTable struct {
	Name    Name  `json:"table"`
	Bytes   int64 `json:"bytes"` // heap and TOAST on the source
	Rows    int64 `json:"rows"`  // the source's estimate, -1 if unknown
	Parts   int   `json:"parts"`
	Indexes int   `json:"indexes"`

	SplitBy string   `json:"split_by,omitempty"` // what its parts are ranges of: ctid, or a key, quoted
	Bounds  []string `json:"bounds,omitempty"`   // ascending, where one part ends and the next begins: block numbers, or values of the key

	HeapBytes  int64  `json:"heap_bytes"`         // of Bytes; the rest is TOAST
	IndexBytes int64  `json:"index_bytes"`        // on the source
	WhyText    string `json:"why_text,omitempty"` // why its rows travel as text
	Bundle     ID     `json:"bundle,omitempty"`   // the bundle that it travels in, if any
	Binary     bool   `json:"binary"`             // its rows travel in COPY's binary format, otherwise as text

	Into *Name `json:"into,omitempty"` // the target's table that its rows go into, if it has another name

	Unlogged bool `json:"unlogged,omitempty"` // a crash of the target empties it
}

// Skipped is an object of the source that is not copied, and why.
type Skipped struct {
	Object string `json:"object"`
	Reason string `json:"reason"`
}
