package ui

import (
	"fmt"
	"io"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// shownTables is how many tables the summary lists one by one.
const shownTables = 40

// Report prints the summary of a run.
func Report(w io.Writer, form string, r tasks.Report) error {
	if form == JSON {
		return writeJSON(w, r)
	}
	t := table{head: []string{"table", " rows", " bytes", " parts", " copy", " indexes", " index time"}}
	for i, row := range r.Tables {
		if i == shownTables {
			break
		}
		copied := Duration(row.CopyTime)
		if row.Bundle != "" {
			copied = "bundle"
		}
		t.add(row.Name.String(), Count(row.Rows), Bytes(row.Bytes), fmt.Sprint(row.Parts), copied, fmt.Sprint(row.Indexes), Duration(row.IndexTime))
	}
	if err := t.write(w); err != nil {
		return err
	}
	if more := len(r.Tables) - shownTables; more > 0 {
		fmt.Fprintf(w, "… and %d smaller tables (-o json lists all)\n", more)
	}
	fmt.Fprintln(w)
	t = table{head: []string{"kind of task", "stage", " tasks", " wall", " cumulative"}}
	for _, s := range r.Stages {
		t.add(string(s.Kind), string(s.Stage), fmt.Sprint(s.Tasks), Duration(s.Wall), Duration(s.Cumulative))
	}
	if err := t.write(w); err != nil {
		return err
	}
	return writeEnd(w, r)
}

func writeEnd(w io.Writer, r tasks.Report) error {
	writeRemarks(w, r)
	_, err := fmt.Fprintf(w, "\nrun %s is %s: %s rows, %s of %s in %s; %s\n",
		r.Run, r.State, Count(r.Rows), Bytes(r.Bytes), tasks.Plural(len(r.Tables), "table"), Duration(r.Elapsed), verified(r))
	if err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	return nil
}

// verified says how the copy was compared with the source.
func verified(r tasks.Report) string {
	if r.Verified == "" {
		return "not compared"
	}
	return r.Verified + " compared: equal"
}

// remarkable reports whether there are remarks on the run.
func remarkable(r tasks.Report) bool {
	return len(r.Skipped)+len(r.Failures)+len(r.Notes) > 0 || len(r.Snapshots) > 1 || r.Inconsistent != ""
}

// writeRemarks prints what a person should know of a run, each after an empty line.
func writeRemarks(w io.Writer, r tasks.Report) {
	if len(r.Skipped) > 0 {
		fmt.Fprintln(w, "\nskipped:")
		for _, s := range r.Skipped {
			fmt.Fprintf(w, "  %s: %s\n", oneLine(s.Object), oneLine(s.Reason))
		}
	}
	if len(r.Failures) > 0 {
		fmt.Fprintln(w, "\nfailed:")
		for _, f := range r.Failures {
			fmt.Fprintf(w, "  %s (attempts: %d): %s\n", f.Task, f.Attempts, oneLine(f.Reason))
		}
	}
	if len(r.Notes) > 0 {
		fmt.Fprintln(w, "\nnotes:")
		for _, n := range r.Notes {
			fmt.Fprintf(w, "  %s: %s\n", n.Task, oneLine(n.Text))
		}
	}
	for _, n := range r.Snapshots[min(1, len(r.Snapshots)):] {
		if n.SameAs > 0 {
			fmt.Fprintf(w, "\nnote: the snapshot was lost; snapshot %d is proven to show the same as snapshot %d\n", n.ID, n.SameAs)
		} else {
			fmt.Fprintf(w, "\nnote: the snapshot was lost; snapshot %d (%s) was taken in its place\n", n.ID, n.Text)
		}
	}
	if r.Inconsistent != "" {
		fmt.Fprintf(w, "\nNOT CONSISTENT: tables may be of different moments: %s\n", r.Inconsistent)
	}
}
