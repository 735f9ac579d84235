package run

import (
	"context"
	"fmt"
	"time"

	"github.com/pgconvoy/pgconvoy/internal/ledger"
	"github.com/pgconvoy/pgconvoy/internal/queue"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// announced is what the planner remembers in order to announce everything once.
type announced struct {
	started bool                 // that the run begins
	done    map[tasks.Stage]bool // stages, at the last look; nil before the first
	stalled map[string]bool      // what does not get on, at the last look
}

// event returns an event of the run.
func (r *running) event(t tasks.EventType) tasks.Event {
	return r.member.identify(r.ledger.Run()).Event(t, time.Now())
}

// announce tells whoever listens. What cannot be told is in the ledger all the same.
func (o Options) announce(conn *queue.Conn, e tasks.Event) {
	if err := conn.Notify(e); err != nil {
		o.Log.Debug("event is not announced", "err", err)
	}
}

// alert is announce for what somebody may have to do something about, or waits for.
func (o Options) alert(conn *queue.Conn, e tasks.Event) {
	o.announce(conn, e)
	if o.Alert != nil {
		o.Alert(e)
	}
}

// keep keeps the beginning or the end of a run for workers that come too late to find its
// queue, unless it is of one of several databases.
func (o Options) keep(ctx context.Context, conn *queue.Conn, e tasks.Event) {
	if e.Database != "" {
		return
	}
	if err := conn.PutLast(ctx, e); err != nil {
		o.Log.Debug("event is not kept", "err", err)
	}
}

// announceStart says that the run begins, or goes on.
func (r *running) announceStart(ctx context.Context) {
	e := r.event(tasks.EventRunStarted)
	switch {
	case r.compares:
		e.Type = tasks.EventVerifyStarted
	case r.member != nil:
		e.Type = tasks.EventDatabaseStarted
	}
	e.Resumed = !r.began
	r.announce(r.conn, e)
	r.keep(ctx, r.conn, e)
	r.started = true
}

// announceEnd says how the run has ended, if it was said that it begins.
func (r *running) announceEnd(ctx context.Context, report tasks.Report) {
	if !r.started {
		return
	}
	e := r.event(endOf(report.State, r.member != nil))
	if report.RunUID != "" { // or the ledger could not be read
		e.Tasks = map[string]int{"done": len(report.Timeline), "failed": len(report.Failures), "pending": report.Pending}
		e.Rows, e.Bytes, e.Took = report.Rows, report.Bytes, report.Elapsed
	}
	r.alert(r.conn, e)
	r.keep(ctx, r.conn, e)
}

// announceCompared says what has come of a comparison that took so long, if it was said
// that it begins.
func (r *running) announceCompared(ctx context.Context, result tasks.Comparison, took time.Duration, err error) {
	if !r.started {
		return
	}
	e := r.event(tasks.EventVerifyFailed)
	if err == nil {
		e.Type = tasks.EventVerifyDone
		if len(result.Differences) > 0 {
			e.Type = tasks.EventVerifyDiffers
		}
		e.Level, e.Rows, e.Took = result.Level, result.Rows, took
		e.Tables = map[string]int{"compared": result.Tables, "different": len(result.Differences)}
	}
	r.alert(r.conn, e)
	r.keep(ctx, r.conn, e)
}

// endOf returns the type of the event of the end of a run, or of one of its databases.
func endOf(state tasks.RunState, database bool) tasks.EventType {
	switch {
	case state == tasks.RunComplete && database:
		return tasks.EventDatabaseDone
	case state == tasks.RunComplete:
		return tasks.EventRunDone
	case state == tasks.RunCancelled && database:
		return tasks.EventDatabaseCancelled
	case state == tasks.RunCancelled:
		return tasks.EventRunCancelled
	case database:
		return tasks.EventDatabaseFailed
	}
	return tasks.EventRunFailed
}

// announceStages says of each stage when all of its tasks are done. Those that were so
// when the run was resumed are no news.
func (r *running) announceStages(stages ledger.StageCounts) {
	old := r.done == nil && !r.began
	if r.done == nil {
		r.done = map[tasks.Stage]bool{}
	}
	for _, stage := range tasks.Stages() {
		n := stages[stage].Total()
		done := n > 0 && stages[stage][tasks.Done] == n
		if done && !old && !r.done[stage] {
			e := r.event(tasks.EventStageDone)
			e.Stage, e.Tasks = stage, map[string]int{"done": n}
			r.announce(r.conn, e)
		}
		r.done[stage] = done // not any more, if a crash of the target has undone some
	}
}

// announceStalls says of each task when it is found that it does not get on, and of the
// run when nobody works on it.
func (r *running) announceStalls(running []tasks.RunningTask) {
	stalled := map[string]bool{}
	say := func(key string, e tasks.Event) {
		stalled[key] = true
		if !r.stalled[key] {
			r.alert(r.conn, e)
		}
	}
	for _, t := range running {
		if t.Stall == "" {
			continue
		}
		e := r.event(tasks.EventRunStalled)
		e.Task, e.Kind, e.Stage, e.Worker, e.Reason = t.Task, t.Kind, t.Kind.Stage(), t.Worker, t.Stall
		say(fmt.Sprintf("%s on %s", t.Task, t.Worker), e)
	}
	if r.unattended != "" {
		e := r.event(tasks.EventRunStalled)
		e.Reason = r.unattended
		say("", e)
	}
	r.stalled = stalled
}

// announceStart says that a run of several databases begins, or goes on.
func (i *instance) announceStart(ctx context.Context, conn *queue.Conn, in tasks.Instance, resumed bool) {
	e := tasks.RunID{Name: i.Config.Run, UID: in.UID}.Event(tasks.EventRunStarted, time.Now())
	e.Resumed = resumed
	i.announce(conn, e)
	i.keep(ctx, conn, e)
}

// announceEnd says how it has ended.
func (i *instance) announceEnd(ctx context.Context, conn *queue.Conn, report tasks.InstanceReport) {
	e := tasks.RunID{Name: report.Run, UID: report.UID}.Event(endOf(report.State, false), time.Now())
	e.Databases = map[string]int{"done": 0, "open": 0}
	for _, d := range report.Databases {
		if d.State == tasks.RunComplete {
			e.Databases["done"]++
		} else {
			e.Databases["open"]++
		}
	}
	e.Rows, e.Bytes, e.Took = report.Rows, report.Bytes, report.Elapsed
	i.alert(conn, e)
	i.keep(ctx, conn, e)
}
