package chaos_test

import (
	"context"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
	"github.com/pgconvoy/pgconvoy/internal/worker"
)

// step is where in a delivery a worker dies.
type step string

// The steps, in their order.
const (
	stepTaken     step = "task taken, nothing done"
	stepWorking   step = "in the middle of the work"
	stepUnmarked  step = "before the commit"
	stepCommitted step = "after the commit, before its followers are published"
	stepPublished step = "after its followers are published, before the ack"
	stepAcked     step = "after the ack"
)

var steps = []step{stepTaken, stepWorking, stepUnmarked, stepCommitted, stepPublished, stepAcked}

// crashKinds are the kinds of tasks that a crash may wait for; "" is any.
var crashKinds = []tasks.Kind{
	"", tasks.KindSchema, tasks.KindCopy, tasks.KindBundle, tasks.KindIndex, tasks.KindAttach, tasks.KindAnalyze, tasks.KindFKeyAdd,
	tasks.KindFKeyValidate, tasks.KindLargeObjects, tasks.KindSequences, tasks.KindRefresh, tasks.KindMeasure, tasks.KindVerify,
}

// crash makes a worker process kill itself at a step of a task.
type crash struct {
	Step step
	Kind tasks.Kind
	Skip int           // so many times it gets away with it
	Into time.Duration // the work, at stepWorking

	mu sync.Mutex
}

// newCrash draws a crash from the seed.
func newCrash(rng *rand.Rand) *crash {
	return &crash{
		Step: steps[rng.IntN(len(steps))], Kind: crashKinds[rng.IntN(len(crashKinds))],
		Skip: rng.IntN(3), Into: time.Duration(rng.IntN(80)) * time.Millisecond,
	}
}

// reach dies if it is time to.
func (c *crash) reach(at step, kind tasks.Kind) {
	if c.Step != at || c.Kind != "" && c.Kind != kind {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.Skip--; c.Skip < 0 {
		die()
	}
}

// die ends this process as kill -9 does.
func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

func (c *crash) wrap(q worker.Queue, l worker.Ledger) (worker.Queue, worker.Ledger) {
	return crashQueue{q, c}, crashLedger{l, c}
}

type crashLedger struct {
	worker.Ledger
	crash *crash
}

func (l crashLedger) Take(ctx context.Context, c *pg.Conn, id tasks.ID) (tasks.Task, tasks.State, error) {
	t, state, err := l.Ledger.Take(ctx, c, id)
	if err == nil && state == tasks.Ready {
		l.crash.reach(stepTaken, t.Kind)
		time.AfterFunc(l.crash.Into, func() { l.crash.reach(stepWorking, t.Kind) })
	}
	return t, state, err
}

func (l crashLedger) Done(ctx context.Context, c *pg.Conn, t tasks.Task, r tasks.Result, name string) error {
	l.crash.reach(stepUnmarked, t.Kind)
	err := l.Ledger.Done(ctx, c, t, r, name)
	if err == nil {
		l.crash.reach(stepCommitted, t.Kind)
	}
	return err
}

type crashQueue struct {
	worker.Queue
	crash *crash
}

func (q crashQueue) Fetch(ctx context.Context, stage tasks.Stage, wait time.Duration) (worker.Delivery, error) {
	d, err := q.Queue.Fetch(ctx, stage, wait)
	if d == nil || err != nil {
		return nil, err
	}
	return crashDelivery{d, q.crash}, nil
}

type crashDelivery struct {
	worker.Delivery
	crash *crash
}

func (d crashDelivery) Ack(ctx context.Context) error {
	e, _ := d.Envelope() // it was read before
	d.crash.reach(stepPublished, e.Kind)
	err := d.Delivery.Ack(ctx)
	d.crash.reach(stepAcked, e.Kind)
	return err
}
