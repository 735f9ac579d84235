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
	"os"
	"strconv"
	"time"

	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/ledger"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/queue"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
	"github.com/pgconvoy/pgconvoy/internal/worker"
)

// Options are the settings of one worker process.
type Options struct {
	Run    string
	Source pg.Options // their side and name are set for each connection
	Target pg.Options
	Slots  map[tasks.Stage]int
	Grace  time.Duration
	Idle   time.Duration // ends the process if no task came for so long; 0 means never
	Log    *slog.Logger
}

// FromConfig turns the configuration of a process into its options.
func FromConfig(c config.Config, log *slog.Logger) Options {
	return Options{
		Run: c.Run, Source: Database(c, pg.Source, ""), Target: Database(c, pg.Target, ""),
		Slots: StageNumbers(c.Slots), Grace: c.Grace, Idle: c.ExitWhenIdle, Log: log,
	}
}

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

// StageNumbers turns configured numbers into a map by stage.
func StageNumbers(s config.Stages) map[tasks.Stage]int {
	numbers := map[tasks.Stage]int{}
	for stage, n := range s.All() {
		numbers[tasks.Stage(stage)] = n
	}
	return numbers
}

// QueueOptions turns the settings of the queue into its options, for a client
// with the given role, for example planner.
func QueueOptions(c config.Config, role string, log *slog.Logger) queue.Options {
	return queue.Options{
		URL: string(c.NATS.URL), Creds: c.NATS.Creds, NKey: c.NATS.NKey, User: c.NATS.User, Password: string(c.NATS.Password),
		Token: string(c.NATS.Token), CA: c.NATS.CA, Cert: c.NATS.Cert, Key: c.NATS.Key, Replicas: c.NATS.Replicas,
		Name: fmt.Sprintf("pgconvoy-%s/%s/%s", role, c.Run, Name()), Log: log,
	}
}

// Name returns the name of this process in ledgers and logs: host and pid.
func Name() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return host + "/" + strconv.Itoa(os.Getpid())
}

// Serve works for one run after the other: it waits for the run's stream, does
// its tasks until the stream is gone, and waits again. It returns nil when ctx
// is cancelled and what ran is finished, or when it was idle for so long.
func Serve(ctx context.Context, conn *queue.Conn, o Options) error {
	stopped := func() bool { return ctx.Err() != nil }
	for !stopped() {
		err := serveOne(ctx, conn, o)
		switch {
		case stopped(): // whatever err is, it comes from that
		case errors.Is(err, worker.ErrIdle):
			o.Log.Info("idle", "run", o.Run)
			return nil
		case errors.Is(err, queue.ErrGone):
			o.Log.Info("run ended", "run", o.Run)
		case err != nil:
			return err
		}
	}
	return nil
}

// serveOne waits for the run and does its tasks until its queue is gone.
func serveOne(ctx context.Context, conn *queue.Conn, o Options) error {
	o.Log.Info("waiting for run", "run", o.Run)
	q, err := open(ctx, conn, o)
	if errors.Is(err, context.DeadlineExceeded) {
		return worker.ErrIdle
	}
	if err != nil {
		return err
	}
	l, err := openLedger(ctx, q, o)
	if err != nil {
		return err
	}
	o.Log.Info("working", "run", o.Run, "uid", l.Run().UID)
	return Work(ctx, q, l, o)
}

func open(ctx context.Context, conn *queue.Conn, o Options) (*queue.Queue, error) {
	if o.Idle > 0 {
		limited, cancel := context.WithTimeout(ctx, o.Idle)
		defer cancel()
		return conn.Open(limited, o.Run)
	}
	return conn.Open(ctx, o.Run)
}

// openLedger reads the run from the target and makes sure that this process
// has the two databases that the run is about.
func openLedger(ctx context.Context, q *queue.Queue, o Options) (*ledger.Ledger, error) {
	target, err := o.connect(ctx, pg.Target)
	if err != nil {
		return nil, err
	}
	defer target.Discard()
	l, err := ledger.Open(ctx, target, o.Run)
	if errors.Is(err, ledger.ErrNoRun) {
		return nil, tasks.WithHint(fmt.Errorf("run %s: %w", o.Run, err),
			"PGCONVOY_TARGET_URI must name the database that the planner copies to")
	}
	if err != nil {
		return nil, err
	}
	if l.Run().UID != q.RunUID() {
		return nil, tasks.WithHint(fmt.Errorf("run %s in the queue (%s) is not the one in the target's ledger (%s)", o.Run, q.RunUID(), l.Run().UID),
			"PGCONVOY_TARGET_URI must name the database that the planner copies to")
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
	w := worker.New(worker.Options{
		Name: Name(), Slots: o.Slots, Grace: o.Grace, Log: o.Log,
		Source: func(ctx context.Context) (*pg.Conn, error) { return o.connect(ctx, pg.Source) },
		Target: func(ctx context.Context) (*pg.Conn, error) { return o.connect(ctx, pg.Target) },
	}, runQueue{q}, runLedger{l})
	return w.Run(ctx, o.Idle)
}

func (o Options) connect(ctx context.Context, side pg.Side) (*pg.Conn, error) {
	database := o.Target
	if side == pg.Source {
		database = o.Source
	}
	database.Side, database.Name = side, "pgconvoy worker "+Name()
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
