package tasks

// Plan is the immutable list of what a run does, printable before it runs.
type Plan struct {
	Tasks   []Task
	Tables  []PlannedTable // every table whose rows are copied, largest first
	Skipped []Skipped
	Steps   []Step // what the planner does before all tasks
}

// PlannedTable is what the plan decided for one table.
type PlannedTable struct {
	Name    Name  `json:"table"`
	Bytes   int64 `json:"bytes"` // heap and TOAST on the source
	Rows    int64 `json:"rows"`  // the source's estimate, -1 if unknown
	Parts   int   `json:"parts"`
	Indexes int   `json:"indexes"`
	Bundle  ID    `json:"bundle,omitempty"` // the bundle that it travels in, if any
	Binary  bool  `json:"binary"`           // its rows travel in COPY's binary format, otherwise as text

	Unlogged bool `json:"unlogged,omitempty"` // a crash of the target empties it
}

// Skipped is an object of the source that is not copied, and why.
type Skipped struct {
	Object string `json:"object"`
	Reason string `json:"reason"`
}
