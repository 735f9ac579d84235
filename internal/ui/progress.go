package ui

import (
	"cmp"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// rateOver is how far back the present rate looks: workers tell of bytes every few
// seconds.
const rateOver = 30 * time.Second

// Progress makes what a person looks at out of what is known of a run from moment
// to moment. Give it one status after the other.
type Progress struct {
	Color bool

	run   string // whose moments these are
	seen  []moment
	tasks map[string]moment // of running tasks, when they were first seen
}

type moment struct {
	at          time.Time
	bytes, work int64
}

// Outlook is what can be said of a run's way so far.
type Outlook struct {
	Fraction       float64 // 0 to 1, of all work by its estimated cost
	Bytes          int64   // of rows copied, running tasks included
	BytesPerSecond int64   // lately; so far, at the first look
	// Left is how long the rest may take, from the faster to the slower one of the
	// rate so far and lately; both are 0 while that cannot be told.
	Left [2]time.Duration
}

// Add takes the next status.
func (p *Progress) Add(s tasks.RunStatus) Outlook {
	if s.RunUID != p.run { // about the next one of several databases
		p.run, p.seen, p.tasks = s.RunUID, nil, nil
	}
	done, all := s.Work()
	now := moment{at: s.At, bytes: s.Bytes, work: done}
	for _, r := range s.Running {
		if moves(r.Kind) {
			now.bytes += r.Bytes
		}
	}
	p.seen = append(p.seen, now)
	for len(p.seen) > 2 && now.at.Sub(p.seen[1].at) >= rateOver {
		p.seen = p.seen[1:]
	}
	o := Outlook{Bytes: now.bytes}
	if all > 0 {
		o.Fraction = min(float64(done)/float64(all), 1)
	}
	first := p.seen[0]
	lately := now.at.Sub(first.at).Seconds()
	if lately <= 0 { // the first look
		o.BytesPerSecond = int64(float64(now.bytes) / max(now.at.Sub(s.Started).Seconds(), 1))
		return o
	}
	o.BytesPerSecond = int64(max(float64(now.bytes-first.bytes), 0) / lately)
	so, late := float64(done)/max(now.at.Sub(s.Started).Seconds(), 1), float64(now.work-first.work)/lately
	if o.Fraction < 0.01 || lately < 5 || so <= 0 || late <= 0 || s.Paused {
		return o
	}
	left := float64(all - done)
	o.Left = [2]time.Duration{inSeconds(left / max(so, late)), inSeconds(left / min(so, late))}
	return o
}

// moves reports whether the bytes of a running task are of rows that are copied.
func moves(k tasks.Kind) bool { return k == tasks.KindCopy || k == tasks.KindBundle }

func inSeconds(s float64) time.Duration {
	return time.Duration(min(s, math.MaxInt32) * float64(time.Second))
}

// Frame draws the status for a terminal of so many columns and rows, one line each,
// what matters most first.
func (p *Progress) Frame(s tasks.RunStatus, columns, rows int) []string {
	o := p.Add(s)
	lines := []string{p.bar(s, o, columns), stageLine(s)}
	var below []string
	if n := s.Tasks[tasks.Failed]; n > 0 {
		below = append(below, p.paint(red, fmt.Sprintf("! %d failed: planner status says why", n)))
	}
	warnings := slices.Concat(s.Throttle.Warnings(), s.Warnings)
	for _, w := range warnings[:min(len(warnings), 3)] {
		below = append(below, p.paint(yellow, "! "+oneLine(w)))
	}
	room := max(min(rows-len(lines)-len(below)-3, shownRunning), 1)
	return slices.Concat(lines, p.running(s, room), below)
}

// bar draws the line of the whole run: what it lacks room for is left out.
func (p *Progress) bar(s tasks.RunStatus, o Outlook, columns int) string {
	state := s.Run
	if s.Database != "" {
		state += ", " + oneLine(s.Database)
	}
	if s.Paused {
		state += " (paused)"
	}
	parts := []string{
		state, Duration(s.At.Sub(s.Started).Round(time.Second)), fmt.Sprintf("%d %%", int(o.Fraction*100)),
		Bytes(o.Bytes), Bytes(o.BytesPerSecond) + "/s", // of COPY data, which is no part of what tables have on disk
	}
	if left := leftText(o.Left); left != "" {
		parts = append(parts, left)
	}
	text := strings.Join(parts, "  ")
	size := min(columns-len([]rune(text))-6, 40)
	if size < 5 {
		return text
	}
	full := int(o.Fraction * float64(size))
	return "[" + p.paint(green, strings.Repeat("#", full)) + strings.Repeat("-", size-full) + "]  " + text
}

// leftText shows how long the rest may take, coarsely.
func leftText(left [2]time.Duration) string {
	low, high := coarse(left[0]), coarse(left[1])
	switch {
	case left[1] == 0:
		return ""
	case low == high:
		return low + " left"
	}
	return low + " … " + high + " left"
}

// LeftText shows [Outlook.Left] coarsely, "" while it cannot be told.
func (o Outlook) LeftText() string { return leftText(o.Left) }

// coarse rounds to what is worth saying.
func coarse(d time.Duration) string {
	step := 5 * time.Second
	switch {
	case d > 10*time.Hour:
		step = time.Hour
	case d > time.Hour:
		step = 10 * time.Minute
	case d > 10*time.Minute:
		step = time.Minute
	case d > time.Minute:
		step = 10 * time.Second
	}
	text := max(d.Round(step), step).String()
	if rest, ok := strings.CutSuffix(text, "m0s"); ok {
		text = rest + "m"
	}
	if rest, ok := strings.CutSuffix(text, "h0m"); ok {
		text = rest + "h"
	}
	return text
}

// StageCount says how many tasks of a stage there are.
type StageCount struct {
	Stage   tasks.Stage `json:"stage"`
	Tasks   int         `json:"tasks"`
	Done    int         `json:"done"`
	Running int         `json:"running"`
	Failed  int         `json:"failed"`
}

// StageCounts counts the tasks of each stage that has any, in the order of a run.
func StageCounts(s tasks.RunStatus) []StageCount {
	counts := map[tasks.Stage]*StageCount{}
	for _, stage := range tasks.Stages() {
		counts[stage] = &StageCount{Stage: stage}
	}
	for _, k := range s.Kinds {
		if c := counts[k.Kind.Stage()]; c != nil {
			c.Done += k.Tasks[tasks.Done]
			c.Failed += k.Tasks[tasks.Failed]
			for _, n := range k.Tasks {
				c.Tasks += n
			}
		}
	}
	for _, r := range s.Running {
		if c := counts[r.Kind.Stage()]; c != nil {
			c.Running++
		}
	}
	list := []StageCount{}
	for _, stage := range tasks.Stages() {
		if counts[stage].Tasks > 0 {
			list = append(list, *counts[stage])
		}
	}
	return list
}

// stageLine tells of each stage how many tasks are done of how many, and how many
// run.
func stageLine(s tasks.RunStatus) string {
	var parts []string
	for _, c := range StageCounts(s) {
		text := fmt.Sprintf("%s %d/%d", c.Stage, c.Done, c.Tasks)
		if c.Running > 0 {
			text += fmt.Sprintf(" (%d)", c.Running)
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "  ")
}

// running draws the tasks that run, the largest first, in so many lines.
func (p *Progress) running(s tasks.RunStatus, room int) []string {
	list := slices.Clone(s.Running)
	slices.SortStableFunc(list, func(x, y tasks.RunningTask) int { return cmp.Compare(y.Weight, x.Weight) })
	before := p.tasks
	p.tasks = map[string]moment{}
	var t table
	t.head = []string{"", "", " ", " ", ""}
	for _, r := range list {
		key := string(r.Task) + " " + r.Worker
		first, known := before[key]
		if !known {
			first = moment{at: r.Since}
		}
		p.tasks[key] = first
		t.add(string(r.Task), phase(r), percent(r), speed(r, s.At.Sub(first.at)), r.Worker)
	}
	more := 0
	if len(t.rows) > room {
		more = len(t.rows) - room + 1
		t.rows = t.rows[:room-1]
	}
	var text strings.Builder
	_ = t.write(&text) // memory does not fail
	lines := strings.Split(strings.TrimRight(text.String(), "\n"), "\n")[1:]
	for i := range lines {
		lines[i] = "  " + lines[i]
	}
	if more > 0 {
		lines = append(lines, fmt.Sprintf("  … and %d more", more))
	}
	return lines
}

// phase is what the server says that it does, without what the kind says already.
func phase(r tasks.RunningTask) string {
	return strings.TrimPrefix(r.Phase, "building index: ")
}

func percent(r tasks.RunningTask) string {
	switch {
	case r.Total > 0:
		return fmt.Sprintf("%d %%", min(100*r.Done/r.Total, 100))
	case moves(r.Kind) && r.Weight > 0:
		return fmt.Sprintf("~%d %%", int(100*r.Fraction()))
	}
	return ""
}

func speed(r tasks.RunningTask, took time.Duration) string {
	if r.Bytes == 0 || took < time.Second {
		return ""
	}
	return Bytes(int64(float64(r.Bytes)/took.Seconds())) + "/s"
}

// The colours, as a terminal knows them.
const (
	red    = 31
	green  = 32
	yellow = 33
)

func (p *Progress) paint(color int, text string) string {
	if !p.Color || text == "" {
		return text
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", color, text)
}

// Log tells a logger how far the run is, for those who do not look at a terminal.
func (p *Progress) Log(log *slog.Logger, s tasks.RunStatus) {
	o := p.Add(s)
	total := 0
	for _, n := range s.Tasks {
		total += n
	}
	args := []any{
		"percent", int(o.Fraction * 100), "tasks_done", s.Tasks[tasks.Done], "tasks", total, "bytes", o.Bytes, "bytes_per_second", o.BytesPerSecond,
		"running", len(s.Running),
	}
	if o.Left[1] > 0 {
		args = append(args, "left", leftText(o.Left))
	}
	log.Info("progress", args...)
}
