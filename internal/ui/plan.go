package ui

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// planJSON is the form of a plan for programs.
type planJSON struct {
	Steps    []tasks.Step         `json:"steps"` // before all tasks
	Tables   []tasks.PlannedTable `json:"tables"`
	Tasks    []taskJSON           `json:"tasks"`
	Skipped  []tasks.Skipped      `json:"skipped"`
	Critical []tasks.CriticalTask `json:"critical_path"`
}

type taskJSON struct {
	ID     tasks.ID        `json:"task"`
	Kind   tasks.Kind      `json:"kind"`
	Stage  tasks.Stage     `json:"stage"`
	Group  tasks.Group     `json:"group,omitempty"`
	Wave   tasks.Group     `json:"wave"`
	Needs  []tasks.Group   `json:"needs,omitempty"`
	Weight int64           `json:"weight"`
	Spec   json.RawMessage `json:"spec"`
}

// planForPrograms has empty lists, not null, for who reads them.
func planForPrograms(p tasks.Plan) planJSON {
	out := planJSON{
		Steps:  append([]tasks.Step{}, p.Steps...),
		Tables: append([]tasks.PlannedTable{}, p.Tables...), Tasks: make([]taskJSON, 0, len(p.Tasks)), Skipped: append([]tasks.Skipped{}, p.Skipped...),
		Critical: append([]tasks.CriticalTask{}, p.Critical...),
	}
	for _, t := range p.Tasks {
		out.Tasks = append(out.Tasks, taskJSON{t.ID, t.Kind, t.Kind.Stage(), t.Group, t.Wave, t.Needs, t.Weight, t.Spec})
	}
	return out
}

// Plan prints a plan: for people the tables and the number of tasks of each
// kind, for programs everything.
func Plan(w io.Writer, form string, p tasks.Plan) error {
	if form == JSON {
		return writeJSON(w, planForPrograms(p))
	}
	for _, s := range p.Steps {
		fmt.Fprintf(w, "first: %s\n", oneLine(s.Label))
	}
	t := table{head: []string{"table", " heap", " TOAST", " rows (estimate)", " parts", " indexes", " their size", "format", "travels in"}}
	var bytes, indexBytes int64
	why, into := map[string]int{}, map[string]int{}
	for _, row := range p.Tables {
		rows := "?"
		if row.Rows >= 0 {
			rows = Count(row.Rows)
		}
		format := "text"
		if row.Binary {
			format = "binary"
		}
		t.add(row.Name.String(), Bytes(row.HeapBytes), Bytes(row.Bytes-row.HeapBytes), rows, fmt.Sprint(row.Parts), fmt.Sprint(row.Indexes), Bytes(row.IndexBytes), format,
			strings.TrimPrefix(string(row.Bundle), "copy.bundle."))
		bytes += row.Bytes
		indexBytes += row.IndexBytes
		if row.WhyText != "" {
			why[row.WhyText]++
		}
		if row.Into != nil {
			into[row.Into.String()]++
		}
	}
	if err := t.write(w); err != nil {
		return err
	}
	fmt.Fprintln(w)
	kinds := map[tasks.Kind]int{}
	var order []tasks.Kind
	for _, task := range p.Tasks {
		if kinds[task.Kind] == 0 {
			order = append(order, task.Kind)
		}
		kinds[task.Kind]++
	}
	t = table{head: []string{"kind of task", "stage", " tasks"}}
	for _, k := range order {
		t.add(string(k), string(k.Stage()), fmt.Sprint(kinds[k]))
	}
	if err := t.write(w); err != nil {
		return err
	}
	for _, s := range p.Skipped {
		fmt.Fprintf(w, "skipped: %s: %s\n", oneLine(s.Object), oneLine(s.Reason))
	}
	for _, name := range slices.Sorted(maps.Keys(into)) {
		fmt.Fprintf(w, "into %s: the rows of %d tables\n", oneLine(name), into[name])
	}
	for _, reason := range slices.Sorted(maps.Keys(why)) {
		fmt.Fprintf(w, "as text: %d tables: %s\n", why[reason], reason)
	}
	if len(p.Critical) > 0 {
		fmt.Fprintf(w, "critical path: %s\n", oneLine(path(p.Critical)))
	}
	_, err := fmt.Fprintf(w, "\n%d tasks for %d tables, %s; expected on the target: at most %s with indexes, and about as much WAL\n",
		len(p.Tasks), len(p.Tables), Bytes(bytes), Bytes(bytes+indexBytes))
	if err != nil {
		return fmt.Errorf("write plan: %w", err)
	}
	return nil
}

// path shows the tasks of a chain in their order.
func path(chain []tasks.CriticalTask) string {
	names := make([]string, len(chain))
	for i, t := range chain {
		names[i] = string(t.ID)
	}
	return strings.Join(names, " → ")
}
