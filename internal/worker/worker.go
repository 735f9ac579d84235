// Package worker runs tasks: it pulls them from the queue, reads what they are
// from the ledger, does them on the two databases and hands on what has become
// ready. worker.go has the slots, delivery.go the steps of one delivery,
// failure.go what follows when they fail, pulse.go what a process says of
// itself meanwhile, and every kind of task has a handler in a file of its own. The queue and the
// ledger are reached through the small interfaces declared here.
package worker

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"golang.org/x/sync/errgroup"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Delivery is one delivery of a message. Any holder of an old one can still
// act on the message, so none of these methods proves that the task is ours.
type Delivery interface {
	Envelope() (tasks.Envelope, error)
	Attempt() int // how many deliveries there were, at least
	Heartbeat(ctx context.Context) error
	Ack(ctx context.Context) error
	Nak(delay time.Duration) error
	Term(reason string) error
}

// Queue is the queue of one run.
type Queue interface {
	// Fetch waits for one task of the stage; it returns nil if none came. An error that will pass has a method
	// Temporary that says so.
	Fetch(ctx context.Context, stage tasks.Stage, wait time.Duration) (Delivery, error)
	// Publish returns when every task is stored, or was already there.
	Publish(ctx context.Context, envelopes []tasks.Envelope) error
	// Notify tells whoever listens what became of a task; it may be lost.
	Notify(e tasks.Event)
	// Bury keeps a task that failed for good where people find it.
	Bury(ctx context.Context, d tasks.DeadLetter) error
	AckWait() time.Duration
}

// Keeper holds the run's snapshot for this process.
type Keeper interface {
	// Hold returns the name to import it under, after looking for another keeper that has it if need be;
	// [tasks.ErrSnapshotLost] if there is none.
	Hold(ctx context.Context, s tasks.SnapshotRef) (name string, err error)
	Doubt(name string)
	Beat(ctx context.Context) bool
	Release(ctx context.Context)
}

// NotPlanned is the state of a task that the ledger does not know.
const NotPlanned tasks.State = ""

// Ledger is the ledger of one run.
type Ledger interface {
	Run() tasks.RunID
	Deliveries
	Facts
	Leases
}

// Deliveries are the steps of one delivery in the ledger.
type Deliveries interface {
	// Take begins the task's transaction on c, locks the task and reads it and its state; [tasks.ErrBusy] if another
	// worker has it.
	Take(ctx context.Context, c *pg.Conn, id tasks.ID) (tasks.Task, tasks.State, error)
	Done(ctx context.Context, c *pg.Conn, t tasks.Task, r tasks.Result, worker string) error
	Unblocked(ctx context.Context, c *pg.Conn, t tasks.Task) ([]tasks.Task, error)
	// Attempt and Fail record how a try ended; [tasks.ErrBusy] if another worker has the task by now.
	Attempt(ctx context.Context, c *pg.Conn, id tasks.ID, reason string) (int, error)
	Fail(ctx context.Context, c *pg.Conn, id tasks.ID, reason, worker string) error
}

// Facts are what tasks need to know of the run.
type Facts interface {
	Snapshot(ctx context.Context, c *pg.Conn) (tasks.SnapshotRef, error)
	Counts
}

// Leases are who has what in hand.
type Leases interface {
	Beat(ctx context.Context, c *pg.Conn, p tasks.Pulse) (tasks.Orders, error)
	Holder(ctx context.Context, c *pg.Conn, id tasks.ID) (h tasks.Holder, ok bool, err error)
	Vanished(ctx context.Context, c *pg.Conn, id tasks.ID, silent time.Duration) (int, error)
}

// Options are the settings of a worker.
type Options struct {
	Name    string              // of this process, for the ledger and the logs
	Version string              // of this build
	Slots   map[tasks.Stage]int // concurrent tasks of each stage in this process
	Grace   time.Duration       // how long running tasks may go on when the worker drains
	Source  func(ctx context.Context) (*pg.Conn, error)
	Target  func(ctx context.Context) (*pg.Conn, error)
	Log     *slog.Logger

	// Ended is told of every delivery for which something was done; nil if nobody
	// listens. It is called by many slots at once, and must not block.
	Ended func(tasks.Ending)

	// Clones connect to clones of the source, which share the reading with it.
	Clones []func(ctx context.Context) (*pg.Conn, error)

	// Tracer makes a span of every task, and of what it asks of the servers; nil if
	// nobody wants them.
	Tracer trace.Tracer
}

// Worker runs the tasks of one run in this process.
type Worker struct {
	o        Options
	queue    Queue
	ledger   Ledger
	run      tasks.RunID
	keeper   Keeper
	source   *pool
	clones   []*pool // of the source
	turn     atomic.Uint32
	target   *pool
	handlers map[tasks.Kind]Handler
	activity chan struct{} // gets a value when a task is taken and when it has ended, if anybody waits
	running  atomic.Int32  // tasks
	hands    hands
	pulse    *pulse
	pacer    *pacer
	started  time.Time
	draining atomic.Bool
}

// Handler does one kind of task. The job's target connection is in the task's
// transaction, which the worker commits together with the done mark; a handler
// must be idempotent, as the transaction may be rolled back after it.
type Handler interface {
	Do(ctx context.Context, j *Job) (tasks.Result, error)
}

// New makes a worker for the run that the queue, the ledger and the keeper are of.
func New(o Options, q Queue, l Ledger, k Keeper) *Worker {
	if o.Tracer == nil {
		o.Tracer = noop.Tracer{}
	}
	statements := runStatements{}
	w := &Worker{
		o: o, queue: q, ledger: l, run: l.Run(), keeper: k, started: time.Now(),
		target:   &pool{open: o.Target},
		pacer:    newPacer(),
		activity: make(chan struct{}, 1),
		handlers: map[tasks.Kind]Handler{
			tasks.KindSchema:        statements,
			tasks.KindIndex:         statements,
			tasks.KindAttach:        statements,
			tasks.KindAnalyze:       analyzeTable{},
			tasks.KindFKeyAdd:       statements,
			tasks.KindFKeyValidate:  statements,
			tasks.KindRefresh:       statements,
			tasks.KindCopy:          copyTable{},
			tasks.KindBundle:        copyBundle{},
			tasks.KindExtensionData: copyBundle{},
			tasks.KindLargeObjects:  copyLargeObjects{},
			tasks.KindSequences:     copySequences{},
			tasks.KindMeasure:       measureTables{},
			tasks.KindVerify:        verifyTables{},
		},
	}
	w.source = &pool{open: w.paced(o.Source)}
	for _, open := range o.Clones {
		w.clones = append(w.clones, &pool{open: w.paced(open)})
	}
	w.turn.Store(rand.Uint32()) // or every process would begin with the same one
	w.pulse = &pulse{w: w}
	return w
}

// ErrIdle is returned by [Worker.Run] if no task came for the idle time.
var ErrIdle = errors.New("no task for a while")

// errDrain is the cause that running tasks see when the grace is over.
var errDrain = errors.New("worker stops and its grace is over")

// fetchWait bounds one pull; the server answers earlier if there is a task.
const fetchWait = 30 * time.Second

// Run takes tasks until ctx is cancelled, then finishes what runs within the
// grace, hands the rest back, and returns nil. It returns an error when the
// queue is gone, and [ErrIdle] if idle is not zero and no task ran for so long.
func (w *Worker) Run(ctx context.Context, idle time.Duration) error {
	work, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	fetching, stopFetching := context.WithCancelCause(ctx)
	defer stopFetching(nil)
	unwatch := context.AfterFunc(fetching, func() {
		w.draining.Store(true)
		timer := time.AfterFunc(w.o.Grace, func() { stop(errDrain) })
		context.AfterFunc(work, func() { timer.Stop() })
	})
	defer unwatch()
	defer w.source.close()
	for _, clone := range w.clones {
		defer clone.close()
	}
	defer w.target.close()

	defer w.startPulse(ctx)()

	var group errgroup.Group
	for _, stage := range tasks.Stages() {
		for slot := range w.o.Slots[stage] {
			log := w.o.Log.With("stage", string(stage), "slot", slot)
			group.Go(func() error {
				err := w.slot(fetching, work, stage, log)
				stopFetching(err) // one slot that cannot go on stops all
				return err
			})
		}
	}
	if idle > 0 {
		group.Go(func() error {
			err := w.watchIdle(fetching, idle)
			if err != nil {
				stopFetching(err)
			}
			return err
		})
	}
	return group.Wait()
}

// keepIdle says whether sessions that no task uses are kept.
func (w *Worker) keepIdle(keep bool) {
	for _, p := range append([]*pool{w.source, w.target}, w.clones...) {
		p.keep(keep)
	}
}

// startPulse begins to tell the ledger of this process; the returned function
// ends that, and waits for it.
func (w *Worker) startPulse(ctx context.Context) (stop func()) {
	beating, cancel := context.WithCancel(context.WithoutCancel(ctx)) // also while the worker drains
	var wg sync.WaitGroup
	wg.Go(func() { w.pulse.beatOn(beating) })
	return func() {
		cancel()
		wg.Wait()
	}
}

// watchIdle returns [ErrIdle] when no task ran for the time.
func (w *Worker) watchIdle(ctx context.Context, idle time.Duration) error {
	timer := time.NewTimer(idle)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.activity:
			timer.Reset(idle)
		case <-timer.C:
			if w.running.Load() == 0 {
				return ErrIdle
			}
			timer.Reset(idle)
		}
	}
}

// slot takes one task of the stage after the other.
func (w *Worker) slot(fetching, work context.Context, stage tasks.Stage, log *slog.Logger) error {
	for fetching.Err() == nil {
		d, err := w.queue.Fetch(fetching, stage, fetchWait)
		switch {
		case fetching.Err() != nil && d == nil:
			return nil
		case isTemporary(err):
			log.Warn("queue cannot be reached", "err", err)
			if !pg.Pause(fetching, queuePause) {
				return nil
			}
			continue
		case err != nil:
			return err
		case d == nil:
			continue
		}
		w.running.Add(1)
		w.signalActivity()
		w.handle(work, d, log)
		w.running.Add(-1)
		w.signalActivity()
	}
	return nil
}

func (w *Worker) signalActivity() {
	select {
	case w.activity <- struct{}{}:
	default:
	}
}

// queuePause is how long a slot waits when the queue cannot be reached.
const queuePause = time.Second

// isTemporary reports whether the error says of itself that it will pass.
func isTemporary(err error) bool {
	var e interface{ Temporary() bool }
	return errors.As(err, &e) && e.Temporary()
}
