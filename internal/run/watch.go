package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pgconvoy/pgconvoy/internal/fleet"
	"github.com/pgconvoy/pgconvoy/internal/ledger"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/queue"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// When the planner warns.
const (
	stalledAfter  = time.Minute // without a byte, in a task that moves bytes
	askWorkersFor = 500 * time.Millisecond
)

// fleetAnswer is what the workers say of themselves.
type fleetAnswer struct {
	workers []tasks.WorkerStatus
	err     error
}

// askWorkers asks all workers at once. The answer is there when the time for it
// is over; the run does not wait for it.
func (r *running) askWorkers(ctx context.Context) <-chan fleetAnswer {
	answer := make(chan fleetAnswer, 1)
	go func() {
		workers, err := r.conn.Workers(ctx, r.Config.Run, askWorkersFor)
		answer <- fleetAnswer{workers, err}
	}()
	return answer
}

// watcher is what the planner remembers in order to warn once, and not too early.
type watcher struct {
	workersSeen time.Time       // when a worker last answered
	seen        tasks.RunStatus // at the last look at queue and servers
	unattended  string          // that nobody works, at the last look
	warned      map[string]bool
	room        int // for worker processes, at the last look; -1 if nobody has counted
}

// watch says how far the run is to those who look at the queue, and warns of what
// does not get on. It changes nothing; what it cannot find out it leaves out.
func (r *running) watch(ctx context.Context, workers fleetAnswer) error {
	s, err := r.status(ctx, workers)
	if err != nil {
		return err
	}
	r.seen = s
	r.note(s)
	r.warn(append(s.Stalls(), s.Warnings...))
	r.announceStalls(s.Running)
	q, _ := r.current()
	if s.Stages == nil && ctx.Err() == nil {
		if _, err := q.Stages(ctx); errors.Is(err, queue.ErrGone) {
			return r.renew(ctx, q) // nobody publishes for now, so nobody else notices that a consumer is gone
		}
	}
	err = q.PutStatus(ctx, s)
	if errors.Is(err, queue.ErrGone) { // without the bucket nobody finds who holds the snapshot
		err = r.conn.Share(ctx)
	}
	if err != nil && ctx.Err() == nil {
		r.Log.Debug("status is not published", "err", err)
	}
	return nil
}

// show tells who looks how far the run is, as the target knows it now, and what
// queue and servers have told last.
func (r *running) show(ctx context.Context) error {
	s, err := r.ledger.Status(ctx, r.prepared.target)
	if err != nil {
		return err
	}
	if err := lookInto(ctx, &s, r.prepared.target); err != nil {
		return err
	}
	s.Planner, s.Database = fleet.Name(), r.member.database()
	s.Workers, s.Stages, s.Warnings = r.seen.Workers, r.seen.Stages, append(r.seen.Stalls(), r.seen.Warnings...)
	s.Bottleneck, s.Stalled, s.Busy = r.seen.Bottleneck, r.seen.Stalled, r.seen.Busy
	if s.Snapshot.Held && s.Snapshot.ID == r.seen.Snapshot.ID {
		s.Snapshot.Keepers, s.Snapshot.XminAge = r.seen.Snapshot.Keepers, r.seen.Snapshot.XminAge
	}
	s.Crew = r.crew(s)
	r.Progress(s)
	return nil
}

// lookInto adds what the target tells of running tasks, which is newer than what
// their workers told last.
func lookInto(ctx context.Context, s *tasks.RunStatus, target *pg.Conn) error {
	if len(s.Running) == 0 {
		return nil
	}
	works, err := pg.Works(ctx, target)
	if err != nil {
		return err
	}
	for i := range s.Running {
		t := &s.Running[i]
		if w, there := works[s.Leases[i].Target.PID]; there {
			t.Phase, t.Done, t.Total, t.Bytes = w.Phase, w.Done, w.Total, max(t.Bytes, w.Bytes)
		}
	}
	return nil
}

// warn logs what was not logged before.
func (r *running) warn(warnings []string) {
	seen := map[string]bool{}
	for _, w := range warnings {
		key := w[:min(len(w), warnKey)]
		seen[key] = true
		if !r.warned[key] {
			r.Log.Warn(w)
		}
	}
	r.warned = seen
}

// warnKey is how much of a warning tells it from others: the rest may change
// from look to look.
const warnKey = 60

// status puts together what the ledger, the queue and the servers say.
func (r *running) status(ctx context.Context, workers fleetAnswer) (tasks.RunStatus, error) {
	target := r.prepared.target
	s, err := r.ledger.Status(ctx, target)
	if err != nil {
		return s, err
	}
	s.Planner, s.Database = fleet.Name(), r.member.database()
	if err := lookInto(ctx, &s, target); err != nil {
		return s, err
	}
	source, err := r.lookingSource(ctx)
	if err == nil {
		defer source.Discard()
	} else if ctx.Err() == nil {
		s.Warnings = append(s.Warnings, "the source cannot be reached: "+err.Error())
	}
	if err := explainStalls(ctx, &s, source, target); err != nil {
		return s, err
	}
	if err := lookBusy(ctx, &s, source, target); err != nil {
		return s, err
	}
	if source != nil {
		r.countRoom(ctx, source, target)
	}
	q, _ := r.current()
	r.askQueue(ctx, q, workers, &s)
	s.Crew = r.crew(s)
	return s, nil
}

// lookingSource opens a session on the source for a look.
func (r *running) lookingSource(ctx context.Context) (*pg.Conn, error) {
	limited, cancel := context.WithTimeout(ctx, roundEvery)
	defer cancel()
	return connectSide(limited, r.Options, pg.Source)
}

// askQueue adds what the queue says, and what the workers have said.
func (r *running) askQueue(ctx context.Context, q *queue.Queue, workers fleetAnswer, s *tasks.RunStatus) {
	var err error
	if s.Stages, err = q.Stages(ctx); err != nil {
		if ctx.Err() == nil {
			s.Warnings = append(s.Warnings, "the queue cannot be reached: "+err.Error())
		}
		return
	}
	if workers.err != nil {
		return
	}
	s.Workers = workers.workers
	if keepers, err := q.Keepers(ctx); err == nil {
		s.Snapshot.Keepers = len(keepers)
	}
	if len(s.Workers) > 0 || r.workersSeen.IsZero() {
		r.workersSeen = time.Now()
	}
	n := outstanding(s.Stages)
	r.unattended = ""
	// By then the leases of those that are gone have ended, too, so that tasks wait for nothing else.
	if since := time.Since(r.workersSeen); n > 0 && since > q.AckWait()*3/2 {
		r.unattended = fmt.Sprintf("no workers: %d tasks wait, and no worker was heard of for %s; start workers for run %s",
			n, since.Round(time.Second), r.Config.Run)
		s.Warnings = append(s.Warnings, r.unattended)
	}
	if s.Paused {
		s.Warnings = append(s.Warnings, "the run is paused: planner unpause goes on")
	}
}

// outstanding counts the tasks that are in the queue.
func outstanding(stages []tasks.StageStatus) int {
	n := 0
	for _, stage := range stages {
		n += stage.Queued + stage.Leased
	}
	return n
}

// explainStalls says why running tasks do not get on, and what the snapshot costs
// the source, which may be nil.
func explainStalls(ctx context.Context, s *tasks.RunStatus, source, target *pg.Conn) error {
	if source != nil && s.Snapshot.Held {
		var err error
		if s.Snapshot.XminAge, err = pg.HeldBack(ctx, source); err != nil {
			return err
		}
	}
	for i := range s.Running {
		task := &s.Running[i]
		var err error
		if task.Stall, task.SQL, err = stall(ctx, s.Leases[i], source, target); err != nil {
			return err
		}
		if task.Stall != "" {
			s.Stalled++
		}
	}
	return nil
}

// lookBusy says what the sessions of workers do at this moment, and what most tasks
// wait for by that. Source may be nil.
func lookBusy(ctx context.Context, s *tasks.RunStatus, source, target *pg.Conn) error {
	if s.State != tasks.RunRunning {
		return nil
	}
	there, err := pg.WatchBusy(ctx, target)
	if err != nil {
		return err
	}
	s.Busy = map[string]tasks.Busy{tasks.SideTarget: tasks.Busy(there)}
	here := pg.Busy{}
	if source != nil {
		if here, err = pg.WatchBusy(ctx, source); err != nil {
			return err
		}
		s.Busy[tasks.SideSource] = tasks.Busy(here)
	}
	if !s.Paused {
		s.Bottleneck = bottleneckOf(s.Tasks[tasks.Ready], here, there)
	}
	if t := s.Throttle; t != nil && (t.Held || s.Bottleneck == tasks.ByNetwork && t.Limits[tasks.SourceRate] > 0) {
		s.Bottleneck = tasks.ByLimits
	}
	return nil
}

// bottleneckOf decides by what most sessions do; with a source of which nothing is
// known, a target that waits for rows is waiting for that.
func bottleneckOf(ready int, source, target pg.Busy) tasks.Bottleneck {
	switch most := target.Total() / 2; {
	case target.Total() == 0 && source.Total() == 0 && ready > 0:
		return tasks.ByNobody
	case target.Total() == 0 && source.Total() == 0:
		return ""
	case target.Locked > most:
		return tasks.ByLocks
	case target.ClientRead > most && source.Sending > source.Total()/2:
		return tasks.ByNetwork
	case target.ClientRead > most || target.Total() == 0:
		return tasks.BySource
	}
	return tasks.ByTarget
}

// stall returns why a task does not get on, "" if it does, and what is executed
// meanwhile.
func stall(ctx context.Context, l tasks.Lease, source, target *pg.Conn) (reason, sql string, err error) {
	if l.Silent > stalledAfter {
		return fmt.Sprintf("its worker was not heard of for %s: it is frozen, cut off or gone", l.Silent.Round(time.Second)), "", nil
	}
	if l.Still < stalledAfter {
		return "", "", nil
	}
	a, there, err := pg.Watch(ctx, target, pg.Backend(l.Target))
	if err != nil || !there {
		return "", "", err
	}
	reason = a.Reason(pg.Target)
	if reason == "" {
		return "", "", nil // the target works: an index is being built, or a key validated
	}
	if a.Wait == "ClientRead" && l.Source.PID != 0 && source != nil {
		b, there, err := pg.Watch(ctx, source, pg.Backend(l.Source))
		if err != nil {
			return "", "", err
		}
		switch why := b.Reason(pg.Source); {
		case !there:
			reason = "the session on the source is gone"
		case why != "":
			reason = why
			a = b
		default:
			reason = "the source works, and sends nothing"
			a = b
		}
	}
	return fmt.Sprintf("nothing moved for %s: %s", l.Still.Round(time.Second), reason), a.SQL(), nil
}

// Status says how far a run is, from the ledger if the target can be reached,
// with what the queue says beside it; or from the queue alone, as the planner
// last told it. It changes nothing.
func Status(ctx context.Context, o Options) (tasks.RunStatus, error) {
	var conn *queue.Conn
	var queueErr error
	if !o.Config.Embedded() {
		if conn, queueErr = queue.Connect(ctx, fleet.QueueOptions(o.Config, "observer", o.Log)); queueErr == nil {
			defer func() { _ = conn.Close() }()
		}
	}
	if o.Config.Target.URI == "" {
		if conn == nil {
			return tasks.RunStatus{}, queueErr
		}
		return conn.Status(ctx, o.Config.Run)
	}
	s, err := ledgerStatus(ctx, o)
	if err != nil && conn != nil {
		if told, told2 := conn.Status(ctx, o.Config.Run); told2 == nil {
			told.Warnings = append(told.Warnings, "the ledger cannot be read: "+err.Error())
			return told, nil
		}
	}
	if err != nil {
		return s, err
	}
	if queueErr != nil {
		s.Warnings = append(s.Warnings, "the queue cannot be reached: "+queueErr.Error())
	}
	if conn != nil {
		askQueueFor(ctx, conn, o, &s)
	}
	return s, nil
}

func askQueueFor(ctx context.Context, conn *queue.Conn, o Options, s *tasks.RunStatus) {
	limited, cancel := context.WithTimeout(ctx, openQueueFor)
	defer cancel()
	q, err := conn.Open(limited, o.Config.Run)
	if err == nil {
		s.Stages, err = q.Stages(limited)
	}
	if err == nil {
		s.Workers, err = conn.Workers(limited, o.Config.Run, askWorkersFor)
	}
	if n := outstanding(s.Stages); err == nil && len(s.Workers) == 0 && n > 0 {
		s.Warnings = append(s.Warnings, fmt.Sprintf("no worker answers, and %d tasks wait: start workers for run %s", n, o.Config.Run))
	}
	if err == nil {
		var keepers []tasks.Keeper
		keepers, err = q.Keepers(limited)
		s.Snapshot.Keepers = len(keepers)
	}
	if err != nil {
		s.Warnings = append(s.Warnings, "the queue does not tell all: "+err.Error())
	}
}

// ledgerStatus reads the status from the target alone, and looks at the source if
// that is known.
func ledgerStatus(ctx context.Context, o Options) (tasks.RunStatus, error) {
	target, err := connectTarget(ctx, o)
	if err != nil {
		return tasks.RunStatus{}, err
	}
	defer target.Discard()
	l, err := openLedger(ctx, target, o.Config.Run)
	if err != nil {
		return tasks.RunStatus{}, err
	}
	s, err := l.Status(ctx, target)
	if err != nil {
		return s, err
	}
	s.Database = o.member.database()
	if err := lookInto(ctx, &s, target); err != nil {
		return s, err
	}
	owned, err := ledger.Owned(ctx, target)
	if err != nil {
		return s, err
	}
	if !owned && s.State != tasks.RunComplete {
		s.Planner = ""
		s.Warnings = append(s.Warnings, "no planner owns the run: planner resume goes on with it")
	}
	var source *pg.Conn
	if o.Config.Source.URI != "" {
		if source, err = connectSide(ctx, o, pg.Source); err == nil {
			defer source.Discard()
		}
	}
	if err := explainStalls(ctx, &s, source, target); err != nil {
		return s, err
	}
	err = lookBusy(ctx, &s, source, target)
	return s, err
}

// watchEvery is how often somebody who watches from elsewhere asks.
const watchEvery = 2 * time.Second

// ErrEnded says that a run that was there is there no more: its planner has taken
// ledger and queue away because it is complete, or somebody has cleaned up.
var ErrEnded = errors.New("the run has ended: it is complete, or it was cancelled or cleaned up")

// Watch shows how far a run is, over and over, until it ends or ctx does, as a
// [Follower] sees it. A run that is complete and keeps its ledger ends it, and so
// does one that has failed or was cancelled, without an error; a run that is gone is
// [ErrEnded].
func Watch(ctx context.Context, o Options, show func(tasks.RunStatus)) error {
	o.Config.Source.URI = "" // nothing that is shown comes from there
	follower := Follow(o)
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for seen := false; ; seen = true {
		s, err := follower.Status(ctx)
		if err != nil && seen && !isGone(err) && ctx.Err() == nil {
			s, err = follower.Status(ctx) // it may have gone while it was read
		}
		switch {
		case seen && isGone(err):
			return ErrEnded
		case err != nil:
			return err
		}
		show(s)
		if s.State != tasks.RunRunning && s.State != tasks.RunPlanning {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// isGone reports whether neither ledger nor queue know of the run.
func isGone(err error) bool {
	return errors.Is(err, ledger.ErrNoRun) || errors.Is(err, errNothingBegun) || errors.Is(err, queue.ErrNoStatus) || errors.Is(err, queue.ErrGone)
}

// Runs lists the runs that the target's ledger and the queue know of, each as far
// as it can be told.
func Runs(ctx context.Context, o Options) ([]tasks.RunStatus, error) {
	var list []tasks.RunStatus
	var errs []error
	if o.Config.Target.URI != "" {
		look := ledgerRuns
		if o.Config.Several() {
			look = instanceRuns
		}
		found, err := look(ctx, o)
		list, errs = append(list, found...), append(errs, err)
	}
	if !o.Config.Embedded() {
		conn, err := queue.Connect(ctx, fleet.QueueOptions(o.Config, "observer", o.Log))
		if err == nil {
			var told []tasks.RunStatus
			if told, err = conn.Statuses(ctx); errors.Is(err, queue.ErrGone) { // no planner has ever come to this server
				err = nil
			}
			for _, s := range told {
				if !slices.ContainsFunc(list, func(k tasks.RunStatus) bool { return k.RunUID == s.RunUID }) {
					list = append(list, s)
				}
			}
			err = errors.Join(err, conn.Close())
		}
		errs = append(errs, err)
	}
	return list, errors.Join(errs...)
}

func ledgerRuns(ctx context.Context, o Options) ([]tasks.RunStatus, error) {
	target, err := connectTarget(ctx, o)
	if err != nil {
		return nil, err
	}
	defer target.Discard()
	names, err := ledger.Runs(ctx, target)
	if err != nil {
		return nil, err
	}
	owned, err := ledger.Owned(ctx, target)
	if err != nil {
		return nil, err
	}
	var list []tasks.RunStatus
	for _, name := range names {
		l, err := ledger.Open(ctx, target, name)
		if err != nil {
			return list, err
		}
		s, err := l.Status(ctx, target)
		if err != nil {
			return list, err
		}
		if !owned { // the ledger has the name of the last one
			s.Planner = ""
		}
		list = append(list, s)
	}
	return list, nil
}
