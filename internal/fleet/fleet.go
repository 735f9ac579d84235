// Package fleet puts one worker process together: the worker with its
// connections, the queue and the ledger. The planner uses it for the workers
// in its own process, the worker binary for the others; both run the same
// code, and the in-process connection is only another connection.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/keeper"
	"github.com/pgconvoy/pgconvoy/internal/ledger"
	"github.com/pgconvoy/pgconvoy/internal/metrics"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/queue"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
	"github.com/pgconvoy/pgconvoy/internal/tracing"
	"github.com/pgconvoy/pgconvoy/internal/worker"
)

// Options are the settings of one worker process.
type Options struct {
	Run     string
	Version string     // of this build
	Source  pg.Options // their side and name are set for each connection
	Target  pg.Options
	Clones  []pg.Options // of the source, which share the reading with it
	Slots   map[tasks.Stage]int
	Grace   time.Duration
	Idle    time.Duration // ends the process if no task came for so long; 0 means never
	Linger  bool          // with Idle: not before the run has ended
	WaitRun time.Duration // with Idle: how long to wait for a run
	Log     *slog.Logger
	Meter   *metrics.Worker // measures what the process does; nil if nobody does
	Tracer  trace.Tracer    // nil if nobody wants a trace

	// Keeper is the one of this process, if it has one already.
	Keeper *keeper.Keeper

	// Wrap, if not nil, puts something between the worker and its queue and
	// ledger, so that a test can break a process at a named step.
	Wrap func(worker.Queue, worker.Ledger) (worker.Queue, worker.Ledger)
}

// FromConfig turns the configuration of a process into its options.
func FromConfig(c config.Config, version string, log *slog.Logger) Options {
	return Options{
		Run: c.Run, Version: version, Source: Database(c, pg.Source, ""), Target: Database(c, pg.Target, ""), Clones: Clones(c, ""),
		Slots: StageNumbers(c.Slots), Grace: c.Grace, Idle: c.ExitWhenIdle, Linger: c.Linger, WaitRun: waitRun, Log: log,
	}
}

// waitRun is how long a worker that ends when idle waits for a run to begin.
const waitRun = 5 * time.Minute

// Database turns the settings of one side into what [pg.Connect] and pg_dump
// need; name is the sessions' application_name. It is the one way there, so that
// every connection of planner and worker has its password from the same place.
func Database(c config.Config, side pg.Side, name string) pg.Options {
	d := c.Target
	if side == pg.Source {
		d = c.Source
	}
	return pg.Options{Side: side, URI: string(d.URI), Name: name, Password: d.Password(string(side))}
}

// Clones is [Database] for the clones of the source. They are copies of its
// cluster, so its role and password are theirs.
func Clones(c config.Config, name string) []pg.Options {
	var list []pg.Options
	for _, uri := range c.SourceClones {
		o := Database(c, pg.Source, name)
		o.URI = string(uri)
		list = append(list, o)
	}
	return list
}

// StageNumbers turns configured numbers into a map by stage.
func StageNumbers(s config.Stages) map[tasks.Stage]int {
	numbers := map[tasks.Stage]int{}
	for stage, n := range s.All() {
		numbers[tasks.Stage(stage)] = n
	}
	return numbers
}

// LimitNumbers turns configured limits into a map by name, of those that are set.
func LimitNumbers(l config.Limits) tasks.Limits {
	numbers := tasks.Limits{}
	for name, n := range l.All() {
		if n != 0 {
			numbers[tasks.Limit(name)] = n
		}
	}
	return numbers
}

// QueueOptions turns the settings of the queue into its options, for a client
// with the given role, for example planner.
func QueueOptions(c config.Config, role string, log *slog.Logger) queue.Options {
	return queue.Options{
		URL: string(c.NATS.URL), Creds: c.NATS.Creds, NKey: c.NATS.NKey, User: c.NATS.User, Password: string(c.NATS.Password),
		Token: string(c.NATS.Token), CA: c.NATS.CA, Cert: c.NATS.Cert, Key: c.NATS.Key, Replicas: c.NATS.Replicas,
		Name: fmt.Sprintf("pgconvoy-%s/%s/%s", role, c.Run, Name()), InboxPrefix: "_INBOX." + role, Log: log,
	}
}

// processName is made once: a process has one name.
var processName = sync.OnceValue(func() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	// Containers may share the name of their host and all have the process id 1.
	return fmt.Sprintf("%s-%d-%04x", tasks.Token(host), os.Getpid(), rand.N(1<<16))
})

// Name returns the name of this process in ledgers, queues and logs: host, pid
// and four digits, one token of a subject.
func Name() string { return processName() }

// openLedger reads the run from the target and makes sure that this process
// has the two databases that the run is about.
func openLedger(ctx context.Context, q *queue.Queue, o Options) (*ledger.Ledger, error) {
	target, err := o.connect(ctx, pg.Target)
	if err != nil {
		return nil, err
	}
	defer target.Discard()
	l, err := ledger.OpenUID(ctx, target, q.RunUID())
	if errors.Is(err, ledger.ErrNoRun) {
		if _, gone := q.Outstanding(ctx); errors.Is(gone, queue.ErrGone) {
			return nil, gone // the run has ended meanwhile
		}
		return nil, tasks.WithHint(fmt.Errorf("run %s (%s): %w", o.Run, q.RunUID(), err),
			"PGCONVOY_TARGET_URI must name the database that the planner copies to")
	}
	if err != nil {
		return nil, err
	}
	source, err := o.connect(ctx, pg.Source)
	if err != nil {
		return nil, err
	}
	defer source.Discard()
	for _, side := range []struct {
		conn *pg.Conn
		want string
	}{{source, l.Run().FP.Source}, {target, l.Run().FP.Target}} {
		fp, err := pg.Fingerprint(ctx, side.conn)
		if err != nil {
			return nil, err
		}
		if fp != side.want {
			return nil, tasks.WithHint(fmt.Errorf("%s is %s, and run %s is about %s", side.conn.Side(), fp, o.Run, side.want),
				"give this worker the databases that the planner has")
		}
	}
	return l, nil
}

// Work does the tasks of one run until ctx is cancelled or the queue is gone.
func Work(ctx context.Context, q *queue.Queue, l *ledger.Ledger, o Options) error {
	ctx, drain := context.WithCancel(tracing.Join(ctx, l.Run().UID))
	defer drain()
	k := o.Keeper
	if k == nil {
		k = NewKeeper(q, l, o)
		defer k.Release(context.WithoutCancel(ctx))
	}
	var asQueue worker.Queue = runQueue{q}
	var asLedger worker.Ledger = runLedger{l}
	if o.Wrap != nil {
		asQueue, asLedger = o.Wrap(asQueue, asLedger)
	}
	clones := make([]func(context.Context) (*pg.Conn, error), len(o.Clones))
	for i, clone := range o.Clones {
		clone.Name = "pgconvoy worker " + Name()
		clones[i] = func(ctx context.Context) (*pg.Conn, error) { return pg.Connect(ctx, clone) }
	}
	w := worker.New(worker.Options{
		Name: Name(), Version: o.Version, Slots: o.Slots, Grace: o.Grace, Log: o.Log, Clones: clones, Ended: o.Meter.Ended, Tracer: o.Tracer,
		Source: func(ctx context.Context) (*pg.Conn, error) { return o.connect(ctx, pg.Source) },
		Target: func(ctx context.Context) (*pg.Conn, error) { return o.connect(ctx, pg.Target) },
	}, asQueue, asLedger, k)
	defer o.Meter.Watch(w.Status)()
	stop, err := q.ServeWorker(queue.WorkerService{
		ID: Name(), Version: o.Version, Metadata: map[string]string{"run": o.Run, "run_uid": l.Run().UID}, Status: w.Status, Drain: drain,
	})
	if err != nil { // nobody can ask this worker how it is then; it works all the same
		o.Log.Warn("worker is not a service of the queue", "err", err)
	} else {
		defer func() { _ = stop() }() // fails when the connection is gone, and the service with it
	}
	return w.Run(ctx, o.Idle)
}

// NewKeeper makes the keeper of this process for the run.
func NewKeeper(q *queue.Queue, l *ledger.Ledger, o Options) *keeper.Keeper {
	return keeper.New(keeper.Options{
		ID: Name(), RunUID: l.Run().UID, Log: o.Log,
		Connect: func(ctx context.Context) (*pg.Conn, error) {
			return o.connectAs(ctx, pg.Source, "keeper")
		},
	}, q)
}

func (o Options) connect(ctx context.Context, side pg.Side) (*pg.Conn, error) {
	return o.connectAs(ctx, side, "worker")
}

// connectAs opens a session with a name that tells what it is for.
func (o Options) connectAs(ctx context.Context, side pg.Side, role string) (*pg.Conn, error) {
	database := o.Target
	if side == pg.Source {
		database = o.Source
	}
	database.Side, database.Name = side, "pgconvoy "+role+" "+Name()
	return pg.Connect(ctx, database)
}

// runLedger is the ledger as the worker sees it.
type runLedger struct{ *ledger.Ledger }

func (l runLedger) Take(ctx context.Context, c *pg.Conn, id tasks.ID) (tasks.Task, tasks.State, error) {
	t, state, err := l.Ledger.Take(ctx, c, id)
	if errors.Is(err, ledger.ErrNoTask) {
		return t, worker.NotPlanned, nil
	}
	return t, state, err
}

// runQueue is the queue as the worker sees it.
type runQueue struct{ *queue.Queue }

func (q runQueue) Fetch(ctx context.Context, stage tasks.Stage, wait time.Duration) (worker.Delivery, error) {
	d, err := q.Queue.Fetch(ctx, stage, wait)
	if d == nil || err != nil { // a nil *queue.Delivery is not a nil Delivery
		return nil, err
	}
	return d, nil
}

// Notify drops the error: an event may be lost.
func (q runQueue) Notify(e tasks.Event) { _ = q.Queue.Notify(e) }
