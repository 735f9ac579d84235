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
	Expected tasks.Expected       `json:"expected"`
	tasks.Outlook
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
func planForPrograms(p tasks.Plan, o tasks.Outlook) planJSON {
	out := planJSON{
		Steps:  append([]tasks.Step{}, p.Steps...),
		Tables: append([]tasks.PlannedTable{}, p.Tables...), Tasks: make([]taskJSON, 0, len(p.Tasks)), Skipped: append([]tasks.Skipped{}, p.Skipped...),
		Critical: append([]tasks.CriticalTask{}, p.Critical...), Expected: p.Expected, Outlook: o,
	}
	out.Sessions = append([]tasks.Sessions{}, o.Sessions...)
	out.Estimate.Crews = append([]tasks.CrewTime{}, o.Estimate.Crews...)
	for _, t := range p.Tasks {
		out.Tasks = append(out.Tasks, taskJSON{t.ID, t.Kind, t.Kind.Stage(), t.Group, t.Wave, t.Needs, t.Weight, t.Spec})
	}
	return out
}

// Plan prints a plan and what can be known of its run: for people the tables and
// the number of tasks of each kind, for programs everything.
func Plan(w io.Writer, form string, p tasks.Plan, o tasks.Outlook) error {
	if form == JSON {
		return writeJSON(w, planForPrograms(p, o))
	}
	for _, s := range p.Steps {
		fmt.Fprintf(w, "first: %s\n", oneLine(s.Label))
	}
	if err := plannedTables(w, p); err != nil {
		return err
	}
	if err := plannedTasks(w, p); err != nil {
		return err
	}
	if err := sessions(w, o); err != nil {
		return err
	}
	if err := estimate(w, o.Estimate); err != nil {
		return err
	}
	return expected(w, p)
}

// plannedTables prints the tables, and where those that are copied in parts are cut.
func plannedTables(w io.Writer, p tasks.Plan) error {
	t := table{head: []string{"table", " heap", " TOAST", " rows (estimate)", " parts", " indexes", " their size", "format", "travels in"}}
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
	}
	if err := t.write(w); err != nil {
		return err
	}
	for _, row := range p.Tables {
		if row.SplitBy != "" {
			fmt.Fprintf(w, "parts of %s by %s: %s\n", oneLine(row.Name.String()), oneLine(row.SplitBy), bounds(row.Bounds))
		}
	}
	fmt.Fprintln(w)
	return nil
}

// shownBounds is how many bounds of a table are shown to people.
const shownBounds = 15

// bounds shows where the parts of a table begin and end.
func bounds(list []string) string {
	more := ""
	if n := len(list) - shownBounds; n > 0 {
		more = fmt.Sprintf(" … and %d more (-o json lists all)", n)
		list = list[:shownBounds]
	}
	return "… " + strings.Join(list, " … ") + " …" + more
}

// plannedTasks prints what is done, and what is left out.
func plannedTasks(w io.Writer, p tasks.Plan) error {
	kinds := map[tasks.Kind]int{}
	var order []tasks.Kind
	for _, task := range p.Tasks {
		if kinds[task.Kind] == 0 {
			order = append(order, task.Kind)
		}
		kinds[task.Kind]++
	}
	t := table{head: []string{"kind of task", "stage", " tasks"}}
	for _, k := range order {
		t.add(string(k), string(k.Stage()), fmt.Sprint(kinds[k]))
	}
	if err := t.write(w); err != nil {
		return err
	}
	for _, s := range p.Skipped {
		fmt.Fprintf(w, "skipped: %s: %s\n", oneLine(s.Object), oneLine(s.Reason))
	}
	why, into := map[string]int{}, map[string]int{}
	for _, row := range p.Tables {
		if row.WhyText != "" {
			why[row.WhyText]++
		}
		if row.Into != nil {
			into[row.Into.String()]++
		}
	}
	for _, name := range slices.Sorted(maps.Keys(into)) {
		fmt.Fprintf(w, "into %s: the rows of %s\n", oneLine(name), tasks.Plural(into[name], "table"))
	}
	for _, reason := range slices.Sorted(maps.Keys(why)) {
		fmt.Fprintf(w, "as text: %s: %s\n", tasks.Plural(why[reason], "table"), reason)
	}
	if len(p.Critical) > 0 {
		fmt.Fprintf(w, "critical path: %s\n", oneLine(path(p.Critical)))
	}
	return nil
}

// sessions prints what the run needs of each limit on connections.
func sessions(w io.Writer, o tasks.Outlook) error {
	if len(o.Sessions) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t := table{head: []string{"connections to", "limit of", " needed", " limit", " reserved", " used", " free"}}
	keeps := make([]string, len(o.Sessions))
	for i, s := range o.Sessions {
		for _, l := range s.Limits {
			t.add(s.Side, l.Of, fmt.Sprint(l.Needed), fmt.Sprint(l.Max), fmt.Sprint(l.Reserved), fmt.Sprint(l.Used), fmt.Sprint(l.Free()))
		}
		keeps[i] = fmt.Sprintf("%d on the %s", s.Process, s.Side)
	}
	if err := t.write(w); err != nil {
		return err
	}
	fmt.Fprintf(w, "a worker process keeps at most %s; there is room for %d\n", strings.Join(keeps, " and "), o.Room())
	return nil
}

// estimate prints how long the run takes.
func estimate(w io.Writer, e tasks.Estimate) error {
	if len(e.Crews) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t := table{head: []string{"workers", " at least", " at most", "no faster because of"}}
	for _, c := range e.Crews {
		workers := "caps as set"
		if c.Workers > 0 {
			workers = fmt.Sprint(c.Workers)
		}
		t.add(workers, Duration(c.Shortest), Duration(c.Longest), c.Bound)
	}
	if err := t.write(w); err != nil {
		return err
	}
	how, hint := "assumed", "; --calibrate measures"
	if e.Rates.Measured {
		how, hint = "measured", ""
	}
	fmt.Fprintf(w, "with %s of planning; %s: a COPY takes %s/s, an index %s/s, reading %s/s, %.1f to %.1f tasks at once are as fast as one%s\n",
		Duration(e.Planning), how, span(e.Rates.Copy), span(e.Rates.Index), span(e.Rates.Scan), e.Rates.Carried.Slow, e.Rates.Carried.Fast, hint)
	return nil
}

// span shows a range of rates.
func span(r tasks.Rate) string { return Bytes(int64(r.Slow)) + " to " + Bytes(int64(r.Fast)) }

// expected prints what the copy will take on the target.
func expected(w io.Writer, p tasks.Plan) error {
	var bytes int64
	for _, row := range p.Tables {
		bytes += row.Bytes
	}
	e := p.Expected
	_, err := fmt.Fprintf(w, "\n%s for %s, %s\nexpected on the target: at most %s (tables %s, indexes %s, large objects %s, catalog %s), and WAL of %s, at most %s\n",
		tasks.Plural(len(p.Tasks), "task"), tasks.Plural(len(p.Tables), "table"), Bytes(bytes), Bytes(e.Total()), Bytes(e.Tables), Bytes(e.Indexes), Bytes(e.LargeObjects), Bytes(e.Catalog), Bytes(e.WAL), Bytes(e.MostWAL))
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
