package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pgconvoy/pgconvoy/internal/fleet"
	"github.com/pgconvoy/pgconvoy/internal/ledger"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/queue"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
	"github.com/pgconvoy/pgconvoy/internal/throttle"
)

// How often the planner looks how the servers are, how long it waits for an answer,
// how often it divides the rate among workers, and how often it records a figure that
// has changed and nothing else.
const (
	healthEvery = 2 * time.Second
	healthFor   = 2 * time.Second
	divideEvery = time.Second
	figureEvery = 10 * time.Second
)

// throttling is what the planner knows of the limits of a run.
type throttling struct {
	limits   tasks.Limits // those that are set
	governed bool         // limits are set, or were: the queue's caps are not left to others
	governor *throttle.Governor
	verdict  throttle.Verdict
	unknown  []string                      // limits that nobody can look after, and why
	todo     map[tasks.Stage]throttle.Work // as it was at the last look at all tasks; nil before
	lowered  []tasks.Lowered               // by the verdict

	looked      time.Time // when the last look at the servers began
	pending     chan health
	source      *pg.Conn // for looks; nil while there is none, or one is under way
	checkpoints throttle.Window

	told    tasks.Throttle // as the ledger has it
	toldAt  time.Time
	divided time.Time
}

// govern makes a queue that was just opened what people and limits want it to be.
func (r *running) govern(ctx context.Context, q *queue.Queue) error {
	control, err := r.ledger.Control(ctx, r.prepared.target)
	if err != nil {
		return err
	}
	told, err := r.ledger.Throttle(ctx, r.prepared.target) // by a planner before, of which the queue still has the caps
	if err != nil {
		return err
	}
	r.told, r.governed = told, r.governed || len(told.Limits) > 0
	wanted := r.limited(control)
	if err := wanted.apply(ctx, q, regime{paused: except(tasks.Stages(), wanted.paused)}); err != nil {
		return err
	}
	r.applied = wanted
	return r.tell(ctx)
}

// limited returns what people want, and limits allow.
func (r *running) limited(c ledger.Control) regime {
	limits := fleet.LimitNumbers(r.Config.Limits)
	maps.Copy(limits, c.Limits)
	maps.DeleteFunc(limits, func(_ tasks.Limit, n int64) bool { return n == 0 })
	if !maps.Equal(limits, r.limits) {
		r.divided = time.Time{}
	}
	r.limits, r.governed = limits, r.governed || len(limits) > 0
	if r.governor == nil || len(throttle.Bounds(limits)) == 0 {
		r.governor, r.verdict, r.unknown = throttle.NewGovernor(), throttle.Verdict{Level: throttle.Free}, nil
	}
	g := regimeOf(c)
	if !r.governed {
		return g
	}
	g.caps = throttle.Fit(r.asked(c), limits, r.todo)
	r.lowered = nil
	for _, s := range r.verdict.Stages {
		if r.verdict.Level >= g.caps[s] {
			continue
		}
		if w, known := r.todo[s]; !known || w.Open > 0 { // or nobody misses it
			r.lowered = append(r.lowered, tasks.Lowered{Stage: s, From: g.caps[s], To: r.verdict.Level})
		}
		g.caps[s] = max(r.verdict.Level, 1)
		if r.verdict.Level == 0 && !slices.Contains(g.paused, s) {
			g.paused = append(g.paused, s)
		}
	}
	return g
}

// asked returns the caps as people want them.
func (r *running) asked(c ledger.Control) map[tasks.Stage]int {
	caps := fleet.StageNumbers(r.Config.Caps)
	maps.Copy(caps, c.Caps)
	return caps
}

// tell records what the limits do, which workers and whoever asks for the status
// read, and divides the rate.
func (r *running) tell(ctx context.Context) error {
	if !r.governed {
		return nil
	}
	now := tasks.Throttle{Limits: r.limits, Held: r.verdict.Level == 0, Over: r.verdict.Over, Silent: r.verdict.Silent, Lowered: r.lowered, Unknown: r.unknown}
	now.Text = now.Describe()
	same := now.Same(r.told)
	if !same || now.Text != r.told.Text && time.Since(r.toldAt) > figureEvery {
		if err := r.ledger.SetThrottle(ctx, r.prepared.target, now); err != nil {
			return err
		}
		switch {
		case same:
		case now.Text != "":
			r.Log.Warn("limits hold the run back", "why", now.Text)
		case r.told.Text != "":
			r.Log.Info("limits do not hold the run back any more")
		}
		r.told, r.toldAt = now, time.Now()
	}
	if r.limits[tasks.SourceRate] == 0 || time.Since(r.divided) < divideEvery {
		return nil
	}
	workers, err := r.ledger.Workers(ctx, r.prepared.target)
	if err != nil {
		return err
	}
	movers := make([]throttle.Mover, len(workers))
	for i, w := range workers {
		movers[i] = throttle.Mover{BytesPerSecond: w.BytesPerSecond, Slowed: w.Slowed}
	}
	r.divided = time.Now()
	return r.ledger.SetShares(ctx, r.prepared.target, workers, throttle.Shares(r.limits[tasks.SourceRate], movers))
}

// note remembers how much of each stage is to be done.
func (r *running) note(s tasks.RunStatus) {
	r.todo = map[tasks.Stage]throttle.Work{}
	for _, stage := range tasks.Stages() {
		r.todo[stage] = throttle.Work{}
	}
	for _, k := range s.Kinds {
		w := r.todo[k.Kind.Stage()]
		w.Ready += k.Tasks[tasks.Ready]
		w.Open += k.Tasks[tasks.Ready] + k.Tasks[tasks.Pending]
		r.todo[k.Kind.Stage()] = w
	}
}

// health is what a look at the source has found.
type health struct {
	throttle.Look
	unknown map[tasks.Limit]error
	conn    *pg.Conn // that it was done on, nil if that is lost
}

// looking begins a look at the servers if it is time for one, and returns where its
// answer will come. The source is asked beside all else: one that has too much to do
// may be slow to answer.
func (r *running) looking(ctx context.Context) <-chan health {
	bounds := throttle.Bounds(r.limits)
	if r.pending != nil || len(bounds) == 0 || time.Since(r.looked) < healthEvery {
		return r.pending
	}
	r.looked, r.pending = time.Now(), make(chan health, 1)
	answer, conn := r.pending, r.source
	r.source = nil
	go func() {
		ctx, cancel := context.WithTimeout(ctx, healthFor)
		defer cancel()
		answer <- r.lookAtSource(ctx, conn, bounds)
	}()
	return r.pending
}

// endLooking waits for a look that is under way, whose context has ended, and closes
// the session of looks.
func (r *running) endLooking() {
	if r.pending != nil {
		r.source = (<-r.pending).conn
		r.pending = nil
	}
	if r.source != nil {
		r.source.Discard()
		r.source = nil
	}
}

// lookAtSource reads what the bounds on the source are about.
func (r *running) lookAtSource(ctx context.Context, conn *pg.Conn, bounds []throttle.Bound) (h health) {
	h = health{Look: throttle.Look{Values: map[tasks.Limit]int64{}, Soft: map[tasks.Limit]bool{}}, unknown: map[tasks.Limit]error{}, conn: conn}
	for _, b := range bounds {
		if b.Limit.OnTarget() {
			continue
		}
		var err error
		if h.conn == nil {
			h.conn, err = connectSide(ctx, r.Options, pg.Source)
		}
		var value int64
		if err == nil {
			value, h.Soft[b.Limit], err = measureSource(ctx, h.conn, b.Limit)
		}
		if pg.Classify(err) == pg.Transient || ctx.Err() != nil {
			h.Silent = true
			if h.conn != nil {
				h.conn.Discard()
				h.conn = nil
			}
			return h
		}
		if err != nil {
			h.unknown[b.Limit] = err
			continue
		}
		h.Values[b.Limit] = value
	}
	return h
}

// measureSource reads what a limit on the source is about, and whether it may be the
// run's own doing: the replay of a standby waits for the run's snapshot.
func measureSource(ctx context.Context, c *pg.Conn, l tasks.Limit) (value int64, own bool, err error) {
	switch l {
	case tasks.SourceLockWaits:
		value, err = pg.LockWaits(ctx, c)
		return value, false, err
	case tasks.SourceActiveSessions:
		value, err = pg.ActiveSessions(ctx, c)
		return value, false, err
	}
	replay, err := pg.StandbyLag(ctx, c)
	if err != nil {
		return 0, false, err
	}
	value, err = pg.ReplicaLag(ctx, c)
	if errors.Is(err, pg.ErrHidden) && replay > 0 {
		return replay, true, nil
	}
	return max(value, replay), replay > value, err
}

// judge looks at the target, too, and decides how much of the run may go on.
func (r *running) judge(ctx context.Context, h health) error {
	r.source, r.pending = h.conn, nil
	bounds := throttle.Bounds(r.limits)
	for _, b := range bounds {
		if !b.Limit.OnTarget() {
			continue
		}
		value, err := r.measureTarget(ctx, b.Limit)
		if pg.Classify(err) == pg.Transient {
			return err
		}
		if err != nil {
			h.unknown[b.Limit] = err
			continue
		}
		h.Values[b.Limit] = value
	}
	r.unknown = nil
	for _, b := range bounds {
		if err := h.unknown[b.Limit]; err != nil && b.Firm {
			text := fmt.Sprintf("%s: %s", b.Limit, err)
			if errors.Is(err, pg.ErrHidden) {
				text += "; GRANT pg_read_all_stats to it"
			}
			r.unknown = append(r.unknown, text)
		}
	}
	control, err := r.ledger.Control(ctx, r.prepared.target)
	if err != nil {
		return err
	}
	r.verdict = r.governor.Decide(bounds, h.Look, r.asked(control))
	return r.obey(ctx)
}

// measureTarget reads what a limit on the target is about.
func (r *running) measureTarget(ctx context.Context, l tasks.Limit) (int64, error) {
	c := r.prepared.target
	switch l {
	case tasks.TargetReplicaLag:
		return pg.ReplicaLag(ctx, c)
	case tasks.TargetArchiveBacklog:
		return pg.ArchiveBacklog(ctx, c)
	case tasks.TargetLockWaits:
		return pg.LockWaits(ctx, c)
	case tasks.TargetActiveSessions:
		return pg.ActiveSessions(ctx, c)
	case tasks.TargetCheckpoints:
		n, err := pg.ForcedCheckpoints(ctx, c)
		return r.checkpoints.Add(time.Now(), n), err
	}
	return 0, fmt.Errorf("nobody knows how to look at %s", l)
}
