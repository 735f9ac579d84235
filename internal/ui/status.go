package ui

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// shownRunning is how many running tasks the status lists one by one.
const shownRunning = 40

// Status prints how far a run is.
func Status(w io.Writer, form string, s tasks.RunStatus) error {
	if form == JSON {
		return writeJSON(w, s)
	}
	state := string(s.State)
	if s.Paused {
		state += ", paused"
	}
	total := 0
	for _, n := range s.Tasks {
		total += n
	}
	fmt.Fprintf(w, "run %s (%s) is %s; %d of %d tasks done, %d failed; %s rows, %s copied of tables with %s\n",
		s.Run, s.RunUID, state, s.Tasks[tasks.Done], total, s.Tasks[tasks.Failed], Count(s.Rows), Bytes(s.Bytes), Bytes(s.TableBytes))
	fmt.Fprintf(w, "began %s ago; planner %s\n", Duration(s.At.Sub(s.Started)), orNone(s.Planner))
	fmt.Fprintln(w, snapshotLine(s))
	if s.Throttle != nil {
		fmt.Fprintf(w, "limits: %s\n", orNone(s.Throttle.Limits.String()))
	}
	fmt.Fprintln(w)
	t := table{head: []string{"kind of task", " pending", " ready", " done", " failed"}}
	for _, k := range s.Kinds {
		t.add(string(k.Kind), fmt.Sprint(k.Tasks[tasks.Pending]), fmt.Sprint(k.Tasks[tasks.Ready]), fmt.Sprint(k.Tasks[tasks.Done]), fmt.Sprint(k.Tasks[tasks.Failed]))
	}
	if err := t.write(w); err != nil {
		return err
	}
	if err := writeFleet(w, s); err != nil {
		return err
	}
	if err := writeRunning(w, s); err != nil {
		return err
	}
	for _, f := range s.Failures {
		fmt.Fprintf(w, "failed: %s (attempts: %d): %s\n", f.Task, f.Attempts, oneLine(f.Reason))
	}
	for _, warning := range slices.Concat(s.Throttle.Warnings(), s.Stalls(), s.Warnings) {
		if _, err := fmt.Fprintf(w, "warning: %s\n", oneLine(warning)); err != nil {
			return fmt.Errorf("write status: %w", err)
		}
	}
	return nil
}

func snapshotLine(run tasks.RunStatus) string {
	s := run.Snapshot
	switch {
	case s.ID == 0:
		return "no snapshot"
	case s.Held && run.Planner == "" && s.Keepers == 0: // what the ledger has was true when a planner was there
		return fmt.Sprintf("snapshot %d (%s) was taken %s ago; nobody is known to hold it", s.ID, s.Text, Duration(s.Age.Round(time.Second)))
	case s.Held:
		line := fmt.Sprintf("snapshot %d (%s) is held for %s", s.ID, s.Text, Duration(s.Age.Round(time.Second)))
		if s.Keepers > 0 {
			line += fmt.Sprintf(" by %d processes", s.Keepers)
		}
		if s.XminAge >= 0 {
			line += fmt.Sprintf("; the source keeps row versions of %s transactions for it", Count(s.XminAge))
		}
		return line
	case s.Released != nil:
		return fmt.Sprintf("snapshot %d (%s) is released: every row is read", s.ID, s.Text)
	}
	return fmt.Sprintf("snapshot %d (%s) is lost", s.ID, s.Text)
}

func writeFleet(w io.Writer, s tasks.RunStatus) error {
	if len(s.Stages) > 0 {
		fmt.Fprintln(w)
		t := table{head: []string{"stage", " cap", " in hand", " queued", " idle slots"}}
		for _, g := range s.Stages {
			name := string(g.Stage)
			if g.Paused {
				name += " (paused)"
			}
			t.add(name, fmt.Sprint(g.Cap), fmt.Sprint(g.Leased), fmt.Sprint(g.Queued), fmt.Sprint(g.Waiting))
		}
		if err := t.write(w); err != nil {
			return err
		}
	}
	if len(s.Workers) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t := table{head: []string{"worker", "version", " tasks", " bytes", " per second"}}
	for _, k := range s.Workers {
		name := k.Name
		if k.Draining {
			name += " (drains)"
		}
		t.add(name, k.Version, fmt.Sprint(len(k.Running)), Bytes(k.Bytes), Bytes(k.BytesPerSecond))
	}
	return t.write(w)
}

func writeRunning(w io.Writer, s tasks.RunStatus) error {
	if len(s.Running) == 0 {
		_, err := fmt.Fprintln(w)
		return err
	}
	fmt.Fprintln(w)
	t := table{head: []string{"running task", "worker", " for", " bytes"}}
	for i, r := range s.Running {
		if i == shownRunning {
			break
		}
		t.add(string(r.Task), r.Worker, Duration(s.At.Sub(r.Since).Round(time.Second)), Bytes(r.Bytes))
	}
	if err := t.write(w); err != nil {
		return err
	}
	if more := len(s.Running) - shownRunning; more > 0 {
		fmt.Fprintf(w, "… and %d more\n", more)
	}
	_, err := fmt.Fprintln(w)
	return err
}

// Runs prints a line for every run.
func Runs(w io.Writer, form string, list []tasks.RunStatus) error {
	if form == JSON {
		if list == nil {
			list = []tasks.RunStatus{}
		}
		return writeJSON(w, list)
	}
	t := table{head: []string{"run", "state", "began", " tasks", " done", " failed", " rows", "planner"}}
	for _, s := range list {
		total := 0
		for _, n := range s.Tasks {
			total += n
		}
		name := s.Run
		if s.Database != "" {
			name += " (" + s.Database + ")"
		}
		t.add(name, string(s.State), s.Started.UTC().Format(time.RFC3339), fmt.Sprint(total), fmt.Sprint(s.Tasks[tasks.Done]),
			fmt.Sprint(s.Tasks[tasks.Failed]), Count(s.Rows), orNone(s.Planner))
	}
	return t.write(w)
}

func orNone(s string) string {
	if strings.TrimSpace(s) == "" {
		return "none"
	}
	return s
}
