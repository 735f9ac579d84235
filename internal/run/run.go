// Package run orchestrates one run on the planner's side: prepare.go looks at
// both databases and makes the plan, run.go writes it to the ledger, publishes
// it and ends the run, supervise.go watches over it meanwhile, snapshot.go over
// the snapshot, standby.go over what a standby as source takes away, and watch.go
// says what stalls. existing.go looks at tables that
// the target has already. around.go has what the planner itself does to the
// cluster and the database, create.go makes the latter. events.go tells others what
// becomes of the run, and trace.go makes it a span. resume.go goes on with a
// run that a planner left, and recopy.go makes its tables ready to be copied
// again. Each of the other verbs that need a database has a file of its own.
package run

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/embedded"
	"github.com/pgconvoy/pgconvoy/internal/fleet"
	"github.com/pgconvoy/pgconvoy/internal/keeper"
	"github.com/pgconvoy/pgconvoy/internal/ledger"
	"github.com/pgconvoy/pgconvoy/internal/metrics"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/queue"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Options are the settings of a run.
type Options struct {
	Config  config.Config
	Version string // of this build
	Log     *slog.Logger

	// AckWait is the lease of a task whose worker is not heard of; 0 means the
	// queue's default.
	AckWait time.Duration

	// Progress is told about every second how far the run is, one call after the
	// other; nil if nobody looks.
	Progress func(tasks.RunStatus)

	// Beat is called with true at every turn of the loop that watches over the run, also
	// while the target cannot be reached, and with false when that loop ends; nil if
	// nobody listens.
	Beat func(watching bool)

	// Meter measures the tasks that this process does itself; nil if nobody measures.
	Meter *metrics.Worker

	// KeepReport is given what a run that began has done, before its ledger is
	// dropped. If it fails, the ledger stays. It may be nil.
	KeepReport func(tasks.Report) error

	// Alert is told how the run, or the comparison, has ended, and what stalls, beside the queue. It must
	// not wait; nil if nobody is to be told.
	Alert func(tasks.Event)

	// Tracer makes spans of the run and its tasks; nil if nobody wants a trace.
	Tracer trace.Tracer

	Shaped bool      // plan with the shape of the source, which [Prepared.Save] needs
	Follow *PlanFile // the plan that the run follows, nil for one of its own

	made   bool    // the target database was made for this run, or will be
	absent string  // name of the target database if it is not made yet, see [asItWillBe]
	stand  string  // name of the database that is looked at in its place
	member *member // of a run of several databases; nil if this is all of it
}

// database returns how the planner connects to one side.
func (o Options) database(side pg.Side) pg.Options {
	d := fleet.Database(o.Config, side, "pgconvoy planner")
	d.Database = o.member.database()
	if side == pg.Target && o.absent != "" {
		d.Database = o.stand
	}
	return d
}

// fleetOptions returns how the workers of this process work.
func (o Options) fleetOptions() fleet.Options {
	f := fleet.FromConfig(o.Config, o.Version, o.Log)
	f.Tracer = o.Tracer
	f.Source.Database, f.Target.Database = o.member.database(), o.member.database()
	f.Meter = o.Meter
	return f
}

// Run copies the source into the target and returns what it did. If the run
// began and did not complete, the report says what is missing and the error is
// an [*IncompleteError]; the ledger then stays in the target.
func Run(ctx context.Context, o Options) (report tasks.Report, err error) {
	began := time.Now()
	if o.made, err = makeDatabase(ctx, o); err != nil {
		return report, err
	}
	p, err := Prepare(ctx, o)
	if err != nil {
		return report, o.unmake(ctx, err)
	}
	defer p.Close()
	conn, stop, err := openQueue(ctx, o)
	if err != nil {
		return report, o.unmake(ctx, err)
	}
	defer stop()

	planned := time.Now()
	l, err := p.writeLedger(ctx)
	if err != nil {
		return report, err
	}
	r := &running{Options: o, prepared: p, ledger: l, conn: conn, began: true}
	ctx, span := r.trace(ctx, "run", began)
	r.traceUntil(ctx, "check and plan", began, planned)
	r.traceUntil(ctx, "write the plan", planned, time.Now())
	return r.carryOut(ctx, span)
}

// carryOut does the work of a run, ends the run and says so.
func (r *running) carryOut(ctx context.Context, span trace.Span) (tasks.Report, error) {
	runErr := r.work(ctx)
	// The report is read, and the run is ended, also when ctx is cancelled.
	report, err := r.end(context.WithoutCancel(ctx), runErr)
	r.announceEnd(context.WithoutCancel(ctx), report)
	endTrace(span, report, err)
	return report, err
}

// openQueue connects to the queue, or starts an embedded one.
func openQueue(ctx context.Context, o Options) (*queue.Conn, func(), error) {
	if o.member != nil {
		conn, err := o.member.shared.queue(ctx, o)
		return conn, func() {}, err
	}
	qo := fleet.QueueOptions(o.Config, "planner", o.Log)
	qo.Version, qo.AckWait = o.Version, o.AckWait
	stopServer := func() {}
	if o.Config.Embedded() {
		server, err := embedded.Start(ctx, embedded.Options{
			Listen: o.Config.NATS.Listen, User: o.Config.NATS.User, Password: string(o.Config.NATS.Password), Log: o.Log,
		})
		if err != nil {
			return nil, nil, err
		}
		stopServer = func() {
			if err := server.Stop(); err != nil {
				o.Log.Warn("embedded queue did not stop cleanly", "err", err)
			}
		}
		qo.InProcess, qo.Memory, qo.AckWait = server.InProcess(), true, cmp.Or(o.AckWait, embedded.AckWait)
		qo.User, qo.Password = server.Credentials()
		if o.Config.NATS.Listen != "" {
			o.Log.Info("embedded queue listens", "addr", server.URL(), "user", qo.User)
		}
	}
	conn, err := queue.Connect(ctx, qo)
	if err != nil {
		stopServer()
		return nil, nil, err
	}
	return conn, func() {
		if err := conn.Close(); err != nil {
			o.Log.Warn("connection to the queue did not close cleanly", "err", err)
		}
		stopServer()
	}, nil
}

// writeLedger takes the target and writes the plan to it: the first thing that
// a run changes.
func (p *Prepared) writeLedger(ctx context.Context) (*ledger.Ledger, error) {
	mark, err := p.mark(ctx)
	if err != nil {
		return nil, err
	}
	if len(p.Config.SourceClones) > 0 && (!mark.Replayed || mark.LSN == "") {
		return nil, tasks.WithHint(errors.New("the source did not stand still while its snapshot was taken, so its clones cannot share the reading"),
			"SELECT pg_wal_replay_pause() on the source and on each clone, at the same position; or take source_clones out")
	}
	if err := own(ctx, p.Options, p.target, ledger.Own); err != nil {
		return nil, err
	}
	if err := p.takeSteps(ctx); err != nil {
		return nil, err
	}
	archive, err := os.Open(p.archive)
	if err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	defer func() { _ = archive.Close() }()
	uid, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("make the run's identifier: %w", err)
	}
	l, err := ledger.Create(ctx, p.target, ledger.New{
		Run:     tasks.RunID{Name: p.Config.Run, UID: uid.String(), FP: p.fingerprint},
		Version: p.Version, ConfigDigest: configDigest(p.Config), Without: p.without, Sections: p.only, Planner: fleet.Name(), Snapshot: p.snapshot, Mark: mark, Archive: archive,
		Instance: p.member.instance(),
	}, p.Plan)
	if err != nil {
		return nil, err
	}
	if err := p.member.inherit(ctx, l, p.target); err != nil {
		return nil, err
	}
	p.Log.Info("plan written to the ledger", "run", p.Config.Run, "tasks", len(p.Plan.Tasks), "tables", len(p.Plan.Tables))
	return l, nil
}

func configDigest(c config.Config) string {
	h := sha256.New()
	if err := c.Print(h); err != nil {
		return ""
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:8])
}

// running is a run under way.
type running struct {
	Options
	prepared *Prepared
	ledger   *ledger.Ledger
	conn     *queue.Conn
	how      Resumption
	compares bool // source and target, and copies nothing: its snapshots are the planner's
	began    bool // by this process, so that nothing is lost if it never gets to work
	lost     int  // rounds in which nobody was found that holds the snapshot
	keeper   *keeper.Keeper
	guard    guard
	released bool // the snapshot: every row is read
	hard     bool // what the snapshot shows is known to be on the source's disk
	applied  regime
	throttling
	failed int // tasks, at the last look
	open   int // tasks that are neither done nor failed, at the last look
	watcher
	announced

	mu      sync.Mutex
	queue   *queue.Queue
	renewed chan struct{} // closed when the queue is made anew
}

// work publishes what is ready and watches over the run until nothing is left
// that can be done. It returns nil if everything is done.
func (r *running) work(ctx context.Context) error {
	r.room = -1
	if err := r.openStream(ctx); err != nil {
		return err
	}
	r.announceStart(ctx)
	if err := r.startKeeper(ctx); err != nil {
		return err
	}
	if err := r.begin(ctx); err != nil {
		return err
	}
	if err := r.takeBack(ctx); err != nil {
		return err
	}
	if err := r.reconcile(ctx); err != nil {
		return err
	}
	group, running := errgroup.WithContext(ctx)
	working, stop := context.WithCancelCause(running)
	if r.Config.RunsWorkers() {
		group.Go(func() error {
			err := r.runWorkers(working)
			if err != nil && working.Err() == nil {
				return fmt.Errorf("workers of the planner: %w", err)
			}
			return nil
		})
	} else {
		r.Log.Info("waiting for workers", "run", r.Config.Run, "queue", queue.StreamName(r.Config.Run))
	}
	group.Go(func() error {
		err := r.supervise(running)
		stop(err)
		return err
	})
	err := group.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx) // rather than what it made of the statements that it interrupted
	}
	return err
}

// openStream makes the queue of the run, or finds it, as people want it to be.
func (r *running) openStream(ctx context.Context) error {
	q, err := r.conn.Create(ctx, r.member.identify(r.ledger.Run()), fleet.StageNumbers(r.Config.Caps))
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.queue = q
	if r.renewed != nil {
		close(r.renewed)
	}
	r.renewed = make(chan struct{})
	r.mu.Unlock()
	if r.keeper != nil {
		r.keeper.Join(q)
	}
	return r.govern(ctx, q)
}

// current returns the queue, and a channel that is closed when another one
// takes its place.
func (r *running) current() (*queue.Queue, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.queue, r.renewed
}

// startKeeper makes the session that took the snapshot this process's keeper.
func (r *running) startKeeper(ctx context.Context) error {
	q, _ := r.current()
	if r.keeper == nil {
		r.keeper = fleet.NewKeeper(q, r.ledger, r.fleetOptions())
	}
	if s := r.prepared.snapshot; s.Name != "" && !r.compares {
		return r.adopt(ctx, r.prepared.source, tasks.SnapshotRef{ID: 1, Name: s.Name, Text: s.Text})
	}
	return nil
}

// runWorkers runs the workers of this process, also when the queue is made anew.
func (r *running) runWorkers(ctx context.Context) error {
	o := r.fleetOptions()
	o.Idle = 0 // the planner decides when nothing is left to do
	o.Keeper = r.keeper
	for {
		q, renewed := r.current()
		err := fleet.Work(ctx, q, r.ledger, o)
		if !errors.Is(err, queue.ErrGone) {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-renewed:
		}
	}
}

// endTimeout bounds what is done to end a run.
const endTimeout = time.Minute

// end declares the run complete or says what is missing, and clears away what
// is not needed any more.
func (r *running) end(ctx context.Context, runErr error) (tasks.Report, error) {
	ctx, cancel := context.WithTimeout(ctx, endTimeout+r.Config.Grace)
	defer cancel()
	defer r.guard.release()
	if r.keeper != nil {
		defer r.keeper.Release(ctx)
	}
	target, err := r.prepared.liveTarget(ctx)
	if err != nil {
		return tasks.Report{Run: r.Config.Run, State: tasks.RunFailed}, errors.Join(runErr, err)
	}
	q, _ := r.current()
	if q == nil && r.began { // nothing was published, so there is nothing to go on with, or to clean up
		return tasks.Report{}, errors.Join(runErr, ledger.Drop(ctx, target))
	}
	if runErr == nil {
		runErr = r.complete(ctx)
		target = r.prepared.target
	}
	if r.told.Held {
		if err := r.ledger.LetGo(ctx, target); err != nil {
			r.Log.Warn("copies may stand still until the run is resumed", "err", err)
		}
	}
	if q != nil {
		r.leaveQueue(ctx, target, q, runErr)
	}
	if runErr != nil {
		r.recordEnd(ctx, target, runErr)
	}
	report, err := r.ledger.Report(ctx, target)
	if err == nil {
		err = r.member.bequeath(ctx, r.ledger, target)
	}
	if err != nil {
		return report, errors.Join(runErr, err)
	}
	report.Database = r.member.database()
	if r.Progress != nil {
		if err := r.show(ctx); err != nil {
			r.Log.Debug("the end of the run is not shown", "err", err)
		}
	}
	kept := r.keepReport(report)
	if runErr == nil && kept {
		if err := r.dropLedger(ctx, target); err != nil {
			return report, err
		}
	}
	var stuck *stuckError
	if errors.As(runErr, &stuck) || errors.Is(runErr, ledger.ErrUnfinished) {
		runErr = &IncompleteError{Report: report}
	}
	if pg.IsInterrupt(runErr) {
		runErr = tasks.WithHint(runErr, "planner resume goes on with this run; planner cleanup drops what it made")
	}
	return report, runErr
}

// keepReport reports whether the ledger is not needed for that any more.
func (r *running) keepReport(report tasks.Report) bool {
	if r.KeepReport == nil {
		return true
	}
	if err := r.KeepReport(report); err != nil {
		r.Log.Warn("report is not written, and the ledger stays", "err", err, "hint", "planner report writes it, planner cleanup drops the ledger")
		return false
	}
	return true
}

// Report reads what a run has done, as far as it is, from its ledger, which it
// leaves alone.
func Report(ctx context.Context, o Options) (tasks.Report, error) {
	target, err := connectTarget(ctx, o)
	if err != nil {
		return tasks.Report{}, err
	}
	defer target.Discard()
	l, err := openLedger(ctx, target, o.Config.Run)
	if err != nil {
		return tasks.Report{}, err
	}
	report, err := l.Report(ctx, target)
	report.Database = o.member.database()
	return report, err
}

// dropLedger drops the ledger of a complete run, unless it is to be kept.
func (r *running) dropLedger(ctx context.Context, target *pg.Conn) error {
	if r.Config.KeepLedger {
		return nil
	}
	if err := ledger.Drop(ctx, target); err != nil {
		return tasks.WithHint(fmt.Errorf("the copy is complete, but its ledger is still there: %w", err), "DROP SCHEMA pgconvoy CASCADE")
	}
	return nil
}

// leaveQueue deletes the queue of a complete run. Otherwise it stays, so that
// workers elsewhere stay with the run and keep its snapshot; nothing new is
// given out, and what they have in hand is waited for. If another database comes
// next, the workers are needed there.
func (r *running) leaveQueue(ctx context.Context, target *pg.Conn, q *queue.Queue, runErr error) {
	if runErr == nil {
		r.deleteQueue(ctx, q)
		return
	}
	if err := q.Pause(ctx); err != nil {
		r.Log.Warn("queue could not be paused", "err", err)
	}
	r.drain(ctx, target)
	if r.member == nil || endsAll(runErr) {
		return
	}
	if err := errors.Join(q.Delete(ctx), q.Forget(ctx)); err != nil {
		r.Log.Warn("stream of the run could not be deleted", "err", err)
	}
}

// deleteFor is how long the planner of a run that has ended waits for a server
// that is away, to take the run's queue with it: workers would stay with the run.
const deleteFor = endTimeout / 2

// deleteQueue deletes the stream and what the bucket has of the run. Letters of
// tasks that failed go, too: all are done by now, those that failed only because
// the target had lost rows in a crash included.
func (r *running) deleteQueue(ctx context.Context, q *queue.Queue) {
	began := time.Now()
	for {
		err := errors.Join(q.Delete(ctx), q.Forget(ctx), q.Exhume(ctx, nil))
		var away *queue.TransientError
		if err == nil || ctx.Err() != nil || !errors.As(err, &away) || time.Since(began) > deleteFor {
			if err != nil {
				r.Log.Warn("stream of the run could not be deleted", "err", err, "hint", "its workers stay with it: planner cleanup, once the server can be reached")
			}
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(lookEvery):
		}
	}
}

// drain waits, for the grace at most, until the workers have finished what they
// have in hand. The planner's own have finished already.
func (r *running) drain(ctx context.Context, target *pg.Conn) {
	ctx, cancel := context.WithTimeout(ctx, r.Config.Grace)
	defer cancel()
	if err := awaitHands(ctx, r.ledger, target); err != nil {
		r.Log.Warn("workers still have tasks in hand", "err", err)
	}
}

// awaitHands waits until no worker has a task in hand.
func awaitHands(ctx context.Context, l *ledger.Ledger, target *pg.Conn) error {
	tick := time.NewTicker(lookEvery / 10)
	defer tick.Stop()
	for {
		n, err := l.Running(ctx, target)
		if err != nil || n == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d tasks are still in hand: %w", n, ctx.Err())
		case <-tick.C:
		}
	}
}

// complete declares the run complete if it is, on a new connection if one is lost
// meanwhile. What the target lost in a restart is noticed here at the latest.
func (r *running) complete(ctx context.Context) error {
	for {
		err := r.sound(ctx, r.prepared.target)
		if err == nil {
			err = r.ledger.Complete(ctx, r.prepared.target)
		}
		if pg.Classify(err) != pg.Transient || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(lookEvery):
		}
		if err := r.reconnect(ctx, err); err != nil {
			return err
		}
		// Only the answer to the commit may be lost.
		if state, err := r.ledger.State(ctx, r.prepared.target); err == nil && state == tasks.RunComplete {
			return nil
		}
	}
}

func (r *running) recordEnd(ctx context.Context, target *pg.Conn, cause error) {
	state := tasks.RunFailed
	if pg.IsInterrupt(cause) || errors.Is(cause, errCancelled) {
		state = tasks.RunCancelled
	}
	if err := r.ledger.End(ctx, target, state); err != nil {
		r.Log.Warn("end of the run could not be recorded", "err", err)
	}
}
