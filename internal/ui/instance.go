package ui

import (
	"fmt"
	"io"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// InstanceReport prints the summary of a run of several databases: for people a line
// for each, and what a person should know of it; for programs everything.
func InstanceReport(w io.Writer, form string, r tasks.InstanceReport) error {
	if form == JSON {
		r.Databases = append([]tasks.DatabaseReport{}, r.Databases...) // empty lists, not null
		r.LeftOut = append([]tasks.LeftOut{}, r.LeftOut...)
		return writeJSON(w, r)
	}
	t := table{head: []string{"database", "state", " tables", " rows", " bytes", " in", "compared"}}
	done := 0
	for _, d := range r.Databases {
		if d.State == tasks.RunComplete {
			done++
		}
		if d.Report == nil {
			t.add(d.Database, begunState(d.State), "", "", "", "", "")
			continue
		}
		t.add(d.Database, string(d.State), fmt.Sprint(len(d.Report.Tables)), Count(d.Report.Rows), Bytes(d.Report.Bytes), Duration(d.Report.Elapsed), verified(*d.Report))
	}
	if err := t.write(w); err != nil {
		return err
	}
	for _, d := range r.Databases {
		if d.Error != "" && (d.Report == nil || len(d.Report.Failures) == 0) {
			fmt.Fprintf(w, "\ndatabase %s: %s\n", oneLine(tasks.QuoteIdent(d.Database)), oneLine(d.Error))
		}
		if d.Report != nil && remarkable(*d.Report) {
			fmt.Fprintf(w, "\ndatabase %s", oneLine(tasks.QuoteIdent(d.Database)))
			writeRemarks(w, *d.Report)
		}
	}
	if len(r.LeftOut) > 0 {
		fmt.Fprintln(w, "\nleft out:")
		for _, l := range r.LeftOut {
			fmt.Fprintf(w, "  %s: %s\n", oneLine(tasks.QuoteIdent(l.Database)), oneLine(l.Reason))
		}
	}
	_, err := fmt.Fprintf(w, "\nrun %s is %s: %d of %d databases complete, %s rows, %s in %s\n",
		r.Run, r.State, done, len(r.Databases), Count(r.Rows), Bytes(r.Bytes), Duration(r.Elapsed))
	if err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	return nil
}

func begunState(s tasks.RunState) string {
	if s == "" {
		return "not begun"
	}
	return string(s)
}

// InstanceStatus prints how far a run of several databases is: a line for each, and
// all that there is to say of those that are under way.
func InstanceStatus(w io.Writer, form string, s tasks.InstanceStatus) error {
	if form == JSON {
		s.Databases = append([]tasks.DatabaseStatus{}, s.Databases...)
		return writeJSON(w, s)
	}
	t := table{head: []string{"database", "state", " tasks", " done", " failed", " rows", " bytes"}}
	done := 0
	for _, d := range s.Databases {
		if d.Status == nil {
			state := begunState("")
			if s.State == tasks.RunComplete {
				state = string(s.State)
			}
			t.add(d.Database, state, "", "", "", "", "")
			continue
		}
		total := 0
		for _, n := range d.Status.Tasks {
			total += n
		}
		if d.Status.State == tasks.RunComplete {
			done++
		}
		t.add(d.Database, string(d.Status.State), fmt.Sprint(total), fmt.Sprint(d.Status.Tasks[tasks.Done]), fmt.Sprint(d.Status.Tasks[tasks.Failed]),
			Count(d.Status.Rows), Bytes(d.Status.Bytes))
	}
	if err := t.write(w); err != nil {
		return err
	}
	for _, d := range s.Databases {
		if d.Status == nil || d.Status.State != tasks.RunRunning {
			continue
		}
		fmt.Fprintf(w, "\ndatabase %s:\n", oneLine(tasks.QuoteIdent(d.Database)))
		if err := Status(w, form, *d.Status); err != nil {
			return err
		}
	}
	if !s.Owned && s.State != tasks.RunComplete {
		fmt.Fprintln(w, "\nwarning: no planner owns the run: planner resume goes on with it")
	}
	_, err := fmt.Fprintf(w, "\nrun %s is %s; %d of %d databases complete\n", s.Run, s.State, done, len(s.Databases))
	if err != nil {
		return fmt.Errorf("write status: %w", err)
	}
	return nil
}

// InstancePlan prints plans one by one, and as a whole at its end.
type InstancePlan struct {
	w     io.Writer
	form  string
	plans []namedPlan
}

// namedPlan is the plan of one database, for programs.
type namedPlan struct {
	Database string   `json:"database"`
	Plan     planJSON `json:"plan"`
}

// NewInstancePlan prints to w.
func NewInstancePlan(w io.Writer, form string) *InstancePlan {
	return &InstancePlan{w: w, form: form, plans: []namedPlan{}}
}

// Add prints the plan of one database.
func (p *InstancePlan) Add(d tasks.DatabasePlan) error {
	if p.form == JSON {
		p.plans = append(p.plans, namedPlan{d.Database, planForPrograms(d.Plan, d.Outlook)})
		return nil
	}
	fmt.Fprintf(p.w, "database %s:\n", oneLine(tasks.QuoteIdent(d.Database)))
	if err := Plan(p.w, p.form, d.Plan, d.Outlook); err != nil {
		return err
	}
	_, err := fmt.Fprintln(p.w)
	return err
}

// End prints what needs all of them.
func (p *InstancePlan) End() error {
	if p.form == JSON {
		return writeJSON(p.w, p.plans)
	}
	return nil
}

// DatabaseCompared is what a comparison of one of several databases found.
type DatabaseCompared struct {
	Database string `json:"database"`
	Compared
}

// InstanceComparison prints the results of comparing several databases.
func InstanceComparison(w io.Writer, form string, list []DatabaseCompared) error {
	if form == JSON {
		for i, c := range list {
			if c.Comparison != nil {
				list[i].Differences = append([]tasks.Difference{}, c.Differences...)
			}
		}
		return writeJSON(w, append([]DatabaseCompared{}, list...))
	}
	for _, c := range list {
		fmt.Fprintf(w, "database %s:\n", oneLine(tasks.QuoteIdent(c.Database)))
		if err := Comparison(w, form, c.Compared); err != nil {
			return err
		}
	}
	return nil
}
