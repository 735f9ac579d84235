package worker

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// How often a worker process says that it is alive, at least, and how long a
// task is in hand before the ledger is told of it.
const (
	beatEvery = 5 * time.Second
	beatPaced = 2 * time.Second // while there is a pace to keep, which changes with what others do
	beatLook  = time.Second
	beatBound = 15 * time.Second
)

// stallAfter is how long a task moves no bytes before its sessions are looked
// at.
const stallAfter = time.Minute

// errSessionGone is the cause that a task sees whose session has vanished
// without the connection telling: the other host lost its power, or the network
// drops packets.
var errSessionGone = errors.New("the session is gone, and the connection does not tell")

// pulse tells the ledger now and then what this process has in hand, keeps the
// run's snapshot alive, and looks after tasks that do not get on. It has a
// connection to the target of its own.
type pulse struct {
	w     *Worker
	conn  *pg.Conn
	last  time.Time         // of the last beat
	told  map[*hand]bool    // hands that the ledger knows of
	bytes int64             // at the last beat
	rate  atomic.Int64      // bytes per second between the last two beats
	pace  tasks.Pace        // as it was ordered last
	lost  bool              // the snapshot was not to be had at the last beat
	run   tasks.SnapshotRef // the snapshot at the last beat

	turned  atomic.Int64           // when the loop last went on, in nanoseconds of the epoch
	trouble atomic.Pointer[string] // why a database was of no use at the last beat; nil or "" if both were
}

// Why a worker is of no use for the moment.
const (
	noLedger   = "the target does not answer, or the ledger of the run does not"
	noSnapshot = "the snapshot of the run cannot be had from the source"
)

// beatOn beats until ctx is cancelled.
func (p *pulse) beatOn(ctx context.Context) {
	tick := time.NewTicker(beatLook)
	defer tick.Stop()
	defer func() {
		if p.conn != nil {
			p.conn.Discard()
		}
	}()
	for {
		now := time.Now()
		p.turned.Store(now.UnixNano())
		every := min(beatEvery, p.w.queue.AckWait()/4)
		if p.pace != (tasks.Pace{}) {
			every = min(every, beatPaced)
		}
		if now.Sub(p.last) >= every || p.untold(now) {
			p.beat(ctx, now)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// untold reports whether the ledger does not know of a task that has been in
// hand for a while.
func (p *pulse) untold(now time.Time) bool {
	for _, h := range p.w.hands.list() {
		if !p.told[h] && now.Sub(h.since) >= beatLook {
			return true
		}
	}
	return false
}

func (p *pulse) beat(ctx context.Context, now time.Time) {
	ctx, cancel := context.WithTimeout(ctx, beatBound)
	defer cancel()
	orders, err := p.tell(ctx, now)
	trouble := ""
	defer func() { p.trouble.Store(&trouble) }()
	switch {
	case ctx.Err() != nil && err != nil:
		trouble = noLedger
		return
	case err != nil:
		trouble = noLedger
		p.w.o.Log.Warn("ledger does not hear what is in hand", "err", err)
		if p.conn != nil {
			p.conn.Discard()
			p.conn = nil
		}
		p.w.keeper.Beat(ctx) // the source may be well
		return
	}
	if orders.Pace != p.pace {
		p.w.o.Log.Debug("pace is ordered", "bytes_per_second", orders.Pace.BytesPerSecond, "held", orders.Pace.Held)
	}
	p.pace = orders.Pace
	p.w.pacer.set(orders.Pace)
	p.w.keepIdle(!orders.Lean)
	p.keep(ctx, orders.Snapshot)
	if p.lost && orders.Snapshot.ID != 0 {
		trouble = noSnapshot
	}
	p.look(ctx, now)
}

// tell records what is in hand.
func (p *pulse) tell(ctx context.Context, now time.Time) (tasks.Orders, error) {
	if p.conn == nil {
		c, err := p.w.o.Target(ctx)
		if err != nil {
			return tasks.Orders{}, err
		}
		p.conn = c
	}
	told := map[*hand]bool{}
	var leases []tasks.Lease
	for _, h := range p.w.hands.list() {
		if l, ok := h.lease(now); ok && now.Sub(h.since) >= beatLook {
			leases, told[h] = append(leases, l), true
		}
	}
	if total := p.w.hands.bytes(); !p.last.IsZero() {
		p.rate.Store(int64(float64(total-p.bytes) / max(now.Sub(p.last).Seconds(), 0.001)))
		p.bytes = total
	}
	p.last, p.told = now, told
	return p.w.ledger.Beat(ctx, p.conn, tasks.Pulse{
		Worker: p.w.o.Name, Hand: leases, BytesPerSecond: p.rate.Load(), Slowed: p.w.pacer.slowed(),
	})
}

// keep makes this process one of those that keep the snapshot alive, or lets go
// of it when no row will be read any more.
func (p *pulse) keep(ctx context.Context, s tasks.SnapshotRef) {
	if s.ID == 0 {
		p.w.keeper.Release(ctx)
		return
	}
	p.w.keeper.Beat(ctx)
	_, err := p.w.keeper.Hold(ctx, s)
	if lost := err != nil; lost != p.lost || s.ID != p.run.ID {
		p.lost, p.run = lost, s
		if lost {
			p.w.o.Log.Warn("snapshot of the run is not held here", "err", err)
		}
	}
}

// look cancels the tasks whose sessions are gone without their connections
// telling.
func (p *pulse) look(ctx context.Context, now time.Time) {
	for _, h := range p.w.hands.list() {
		l, ok := h.lease(now)
		if !ok || l.Still < stallAfter {
			continue
		}
		gone, err := p.gone(ctx, l)
		if err != nil {
			p.w.o.Log.Debug("sessions of a task cannot be looked at", "task", string(h.task), "err", err)
			continue
		}
		if gone != "" {
			p.w.o.Log.Warn("task is cut off", "task", string(h.task), "err", gone)
			h.cancel(fmt.Errorf("%s: %w", gone, errSessionGone))
		}
	}
}

// gone returns which session of the task is gone, or can never be heard of
// again: both servers wait for this process, which waits for them.
func (p *pulse) gone(ctx context.Context, l tasks.Lease) (string, error) {
	onTarget, there, err := pg.Watch(ctx, p.conn, pg.Backend(l.Target))
	if err != nil {
		return "", err
	}
	if !there {
		return "target", nil
	}
	if l.Source.PID == 0 {
		return "", nil
	}
	c, err := p.w.source.get(ctx)
	if err != nil {
		return "", err
	}
	onSource, there, err := pg.Watch(ctx, c, pg.Backend(l.Source))
	if err != nil {
		c.Discard()
		return "", err
	}
	p.w.source.put(c)
	switch {
	case !there:
		return "source", nil
	case onTarget.Wait == "ClientRead" && onSource.Wait == "ClientWrite":
		return "network to the target", nil
	}
	return "", nil
}

// Status says what the process does at the moment. It is safe for concurrent use.
func (w *Worker) Status() tasks.WorkerStatus {
	s := tasks.WorkerStatus{
		ID: w.o.Name, Name: w.o.Name, Version: w.o.Version, RunUID: w.run.UID, Started: w.started, Slots: w.o.Slots,
		Bytes: w.hands.bytes(), BytesPerSecond: w.pulse.rate.Load(), Draining: w.draining.Load(), Running: []tasks.RunningTask{},
	}
	if turned := w.pulse.turned.Load(); turned != 0 {
		s.Beat = time.Unix(0, turned)
	}
	if trouble := w.pulse.trouble.Load(); trouble != nil {
		s.Trouble = *trouble
	}
	for _, h := range w.hands.list() {
		s.Running = append(s.Running, tasks.RunningTask{Task: h.task, Kind: h.kind, Worker: w.o.Name, Since: h.since, Bytes: h.bytes()})
	}
	return s
}
