package ui

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// planJSON is the form of a plan for programs.
type planJSON struct {
	Steps   []tasks.Step         `json:"steps"` // before all tasks
	Tables  []tasks.PlannedTable `json:"tables"`
	Tasks   []taskJSON           `json:"tasks"`
	Skipped []tasks.Skipped      `json:"skipped"`
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

// Plan prints a plan: for people the tables and the number of tasks of each
// kind, for programs everything.
func Plan(w io.Writer, form string, p tasks.Plan) error {
	if form == JSON {
		// Empty lists, not null, for who reads them.
		out := planJSON{
			Steps:  append([]tasks.Step{}, p.Steps...),
			Tables: append([]tasks.PlannedTable{}, p.Tables...), Tasks: make([]taskJSON, 0, len(p.Tasks)), Skipped: append([]tasks.Skipped{}, p.Skipped...),
		}
		for _, t := range p.Tasks {
			out.Tasks = append(out.Tasks, taskJSON{t.ID, t.Kind, t.Kind.Stage(), t.Group, t.Wave, t.Needs, t.Weight, t.Spec})
		}
		return writeJSON(w, out)
	}
	for _, s := range p.Steps {
		fmt.Fprintf(w, "first: %s\n", oneLine(s.Label))
	}
	t := table{head: []string{"table", " size", " rows (estimate)", " parts", " indexes", "format", "travels in"}}
	var bytes int64
	for _, row := range p.Tables {
		rows := "?"
		if row.Rows >= 0 {
			rows = Count(row.Rows)
		}
		format := "text"
		if row.Binary {
			format = "binary"
		}
		t.add(row.Name.String(), Bytes(row.Bytes), rows, fmt.Sprint(row.Parts), fmt.Sprint(row.Indexes), format,
			strings.TrimPrefix(string(row.Bundle), "copy.bundle."))
		bytes += row.Bytes
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
	_, err := fmt.Fprintf(w, "\n%d tasks for %d tables, %s\n", len(p.Tasks), len(p.Tables), Bytes(bytes))
	if err != nil {
		return fmt.Errorf("write plan: %w", err)
	}
	return nil
}
