package queue

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Queue is the queue of one run. All methods may be called concurrently.
type Queue struct {
	conn    *Conn
	run     string
	uid     string
	stream  string
	ackWait time.Duration

	database string // in place of those that the URIs name, "" for these
	follow   bool   // other databases come after it
}

// Create makes the stream of the run and one consumer per stage, what all runs
// share if it is missing, and returns the queue. caps holds, for every stage,
// how many of its tasks may be leased at once over all workers.
//
// It is idempotent: a stream of the same run is used as it is, with the caps
// that an operator may have edited. A stream that another run left empty is
// made anew; one with tasks left in it is a [BusyError].
func (c *Conn) Create(ctx context.Context, run tasks.RunID, caps map[tasks.Stage]int) (*Queue, error) {
	if err := checkRun(run.Name); err != nil {
		return nil, err
	}
	if run.UID == "" {
		return nil, fmt.Errorf("create queue of run %s: the run has no uid", run.Name)
	}
	if err := checkCaps(caps); err != nil {
		return nil, fmt.Errorf("create queue of run %s: %w", run.Name, err)
	}
	q, err := c.create(ctx, run, caps)
	if err != nil {
		return nil, fmt.Errorf("create queue of run %s: %w", run.Name, explainCreate(c.opts, run.Name, c.explainSilence(classify(ctx, err))))
	}
	return q, nil
}

// checkCaps reports whether every stage, and nothing else, has a cap.
func checkCaps(caps map[tasks.Stage]int) error {
	if err := checkSome(caps, tasks.Stages()); err != nil {
		return err
	}
	return checkSome(caps, slices.Sorted(maps.Keys(caps)))
}

// checkSome reports whether these are stages that have a cap.
func checkSome(caps map[tasks.Stage]int, stages []tasks.Stage) error {
	for _, s := range stages {
		if !s.Valid() {
			return fmt.Errorf("stage %q is unknown", clip(string(s)))
		}
		if caps[s] < 1 {
			return fmt.Errorf("stage %s has the cap %d, at least 1 is needed", s, caps[s])
		}
	}
	return nil
}

func (c *Conn) create(ctx context.Context, run tasks.RunID, caps map[tasks.Stage]int) (*Queue, error) {
	if err := c.ensureStream(ctx, run); err != nil {
		return nil, err
	}
	// The consumers come last: whoever waits for them in Open finds all.
	if err := c.ensureShared(ctx); err != nil {
		return nil, err
	}
	q := &Queue{conn: c, run: run.Name, uid: run.UID, stream: StreamName(run.Name), database: run.Database, follow: run.Follow}
	for _, stage := range tasks.Stages() {
		config, err := c.ensureConsumer(ctx, q.stream, c.consumerConfig(run.Name, stage, caps[stage]))
		if err != nil {
			return nil, fmt.Errorf("consumer %s: %w", stage, err)
		}
		q.lease(config)
	}
	return q, nil
}

// lease keeps the shortest AckWait of the consumers.
func (q *Queue) lease(config jetstream.ConsumerConfig) {
	if q.ackWait == 0 || config.AckWait < q.ackWait {
		q.ackWait = config.AckWait
	}
}

// ensureStream makes the stream or finds it made for the same run. It looks
// again when somebody else makes or removes the stream in between.
func (c *Conn) ensureStream(ctx context.Context, run tasks.RunID) error {
	name := StreamName(run.Name)
	for range 5 {
		err := c.createStream(ctx, c.streamConfig(run))
		if err == nil {
			return nil
		}
		if !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return err
		}
		info, err := c.streamInfo(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if info.Config.Metadata[MetaRunUID] == run.UID {
			return nil
		}
		if info.State.Msgs > 0 {
			return &BusyError{Run: run.Name, UID: info.Config.Metadata[MetaRunUID], Messages: info.State.Msgs}
		}
		if err := c.deleteStream(ctx, name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return err
		}
	}
	return &TransientError{Err: fmt.Errorf("stream %s keeps changing; another planner may be starting the same run", name)}
}

// ensureConsumer makes the consumer or finds it, and returns how it is
// configured. An existing one is left alone: its cap may have been edited.
func (c *Conn) ensureConsumer(ctx context.Context, stream string, config jetstream.ConsumerConfig) (jetstream.ConsumerConfig, error) {
	err := c.createConsumer(ctx, stream, config)
	if !errors.Is(err, jetstream.ErrConsumerExists) {
		return config, err
	}
	info, err := c.consumerInfo(ctx, stream, tasks.Stage(config.Durable))
	if err != nil {
		return config, err
	}
	return info.Config, nil
}

// streamConfig: a message lives until it is acked, and its subject is the key
// that keeps a task from being queued twice, with no time limit and over
// restarts. Nothing expires by age: that would drop tasks in flight.
func (c *Conn) streamConfig(run tasks.RunID) jetstream.StreamConfig {
	meta := map[string]string{
		MetaRunUID: run.UID, MetaVersion: c.opts.Version, MetaSource: run.FP.Source, MetaTarget: run.FP.Target, MetaDatabase: run.Database,
	}
	if run.Follow {
		meta[MetaFollow] = "true"
	}
	maps.DeleteFunc(meta, func(_, value string) bool { return value == "" })
	return jetstream.StreamConfig{
		Name:                 StreamName(run.Name),
		Description:          "Tasks of run " + run.Name + " that are ready and not done",
		Subjects:             []string{taskPrefix(run.Name) + ">"},
		Retention:            jetstream.WorkQueuePolicy,
		Discard:              jetstream.DiscardNew,
		DiscardNewPerSubject: true,
		MaxMsgsPerSubject:    1,
		MaxMsgSize:           MaxTaskBytes,
		MaxBytes:             c.opts.MaxBytes,
		Duplicates:           duplicateWindow,
		AllowDirect:          true,
		Storage:              c.storage(),
		Replicas:             c.opts.Replicas,
		Metadata:             meta,
	}
}

// consumerConfig: redelivery has no limit, because a message that reaches
// MaxDeliver stays in the stream where nobody sees it; the ledger counts
// attempts. BackOff would replace AckWait.
func (c *Conn) consumerConfig(run string, stage tasks.Stage, most int) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable:       string(stage),
		Description:   "Tasks of stage " + string(stage) + "; max pending caps how many run at once",
		FilterSubject: stageFilter(run, stage),
		DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       c.opts.AckWait,
		MaxDeliver:    -1,
		MaxWaiting:    maxWaiting,
		MaxAckPending: most,
	}
}

// Open returns the queue of a run that a planner makes, or has made. It waits
// until the stream and all consumers exist, or ctx is done. It changes nothing
// on the server.
func (c *Conn) Open(ctx context.Context, run string) (*Queue, error) {
	if err := checkRun(run); err != nil {
		return nil, err
	}
	pause, told := openPollMin, false
	for {
		q, err := c.open(ctx, run)
		if err == nil {
			return q, nil
		}
		last := classify(context.WithoutCancel(ctx), err)
		if ctx.Err() == nil && !errors.Is(last, ErrGone) && !isTransient(last) {
			return nil, fmt.Errorf("open queue of run %s: %w", run, explainCreate(c.opts, run, last))
		}
		if !told {
			c.log.Info("waiting for the queue of the run", "run", run, "err", last)
			told = true
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, tasks.WithHint(fmt.Errorf("wait for the queue of run %s: %w (%w)", run, ctx.Err(), last),
				"start the planner of this run, or check the name of the run")
		case <-c.closing:
			timer.Stop()
			return nil, ErrClosed
		case <-timer.C:
			pause = min(2*pause, openPollMax)
		}
	}
}

func (c *Conn) open(ctx context.Context, run string) (*Queue, error) {
	q := &Queue{conn: c, run: run, stream: StreamName(run)}
	info, err := c.streamInfo(ctx, q.stream)
	if err != nil {
		return nil, err
	}
	if q.uid, err = uidOf(info); err != nil {
		return nil, err
	}
	q.database, q.follow = info.Config.Metadata[MetaDatabase], info.Config.Metadata[MetaFollow] == "true"
	for _, stage := range tasks.Stages() {
		info, err := c.consumerInfo(ctx, q.stream, stage)
		if err != nil {
			return nil, err
		}
		q.lease(info.Config)
	}
	return q, nil
}

// RunUID returns the unique identifier of the run that the queue belongs to.
func (q *Queue) RunUID() string { return q.uid }

// Database returns the name of the database, on both sides, that the tasks are
// about, "" if it is the one that the connection strings name.
func (q *Queue) Database() string { return q.database }

// Follow reports whether other databases of the same run come after this one.
func (q *Queue) Follow() bool { return q.follow }

// AckWait returns how long a delivery stays leased without a heartbeat. A
// holder beats four times in it.
func (q *Queue) AckWait() time.Duration { return q.ackWait }

// Outstanding returns how many tasks are queued or in flight. Once the planner
// has published all that is ready, 0 means that nothing is left to do.
func (q *Queue) Outstanding(ctx context.Context) (uint64, error) {
	info, err := q.info(ctx)
	if err != nil {
		return 0, fmt.Errorf("count queued tasks of run %s: %w", q.run, err)
	}
	return info.State.Msgs, nil
}

// info returns what the server knows about the stream; ErrGone if it is of
// another run by now.
func (q *Queue) info(ctx context.Context) (*jetstream.StreamInfo, error) {
	info, err := q.conn.streamInfo(ctx, q.stream)
	if err != nil {
		return nil, classify(ctx, err)
	}
	if uid := info.Config.Metadata[MetaRunUID]; uid != q.uid {
		return nil, fmt.Errorf("%w (stream %s belongs to the run with uid %s)", ErrGone, q.stream, uid)
	}
	return info, nil
}

// Purge drops every task of the queue, those in flight included. Their holders
// are not told; acking them later does nothing. It is idempotent, and does
// nothing when the queue is gone.
func (q *Queue) Purge(ctx context.Context) error {
	return q.unlessGone(ctx, "purge", func() error { return q.conn.purgeStream(ctx, q.stream) })
}

// Delete removes the stream and its consumers. Whoever waits for a task gets
// [ErrGone]. It is idempotent, and leaves a stream alone that another run has
// made under the same name.
func (q *Queue) Delete(ctx context.Context) error {
	return q.unlessGone(ctx, "delete", func() error { return q.conn.deleteStream(ctx, q.stream) })
}

// Drop deletes the stream of the run, whatever its uid is, with what the bucket
// has of it and its letters, and returns whether there was one. It refuses a
// stream that is not a queue.
func (c *Conn) Drop(ctx context.Context, run string) (dropped bool, err error) {
	if err := checkRun(run); err != nil {
		return false, err
	}
	q := &Queue{conn: c, run: run, stream: StreamName(run)}
	info, err := c.streamInfo(ctx, q.stream)
	if err == nil {
		q.uid, err = uidOf(info)
	}
	if err = classify(ctx, err); errors.Is(err, ErrGone) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("find queue of run %s: %w", run, err)
	}
	return true, errors.Join(q.Delete(ctx), q.Forget(ctx), q.Exhume(ctx, nil))
}

// uidOf returns the run that a stream is of.
func uidOf(info *jetstream.StreamInfo) (string, error) {
	if uid := info.Config.Metadata[MetaRunUID]; uid != "" {
		return uid, nil
	}
	return "", tasks.WithHint(fmt.Errorf("stream %s was not made by pgconvoy", info.Config.Name), "remove the stream, or choose another name for the run")
}

func (q *Queue) unlessGone(ctx context.Context, verb string, do func() error) error {
	_, err := q.info(ctx)
	if err == nil {
		err = classify(ctx, do())
	}
	if err == nil || errors.Is(err, ErrGone) {
		return nil
	}
	return fmt.Errorf("%s queue of run %s: %w", verb, q.run, err)
}
