// Package keeper lets a snapshot of the source outlive the session that took
// it. An exported snapshot dies with its session; but a session that imported
// it may export it again, under a name of its own, which works on after the
// first one has died. So every process of a run, planner or worker, has one
// session that does nothing else, and tells the others its name through a
// registry. As long as one of them lives, any process can join, and any planner
// can go on with the run in the same snapshot.
package keeper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Registry is where keepers find each other. What is registered is forgotten
// after some time unless it is registered again.
type Registry interface {
	Keepers(ctx context.Context) ([]tasks.Keeper, error)
	RegisterKeeper(ctx context.Context, k tasks.Keeper) error
	RemoveKeeper(ctx context.Context, id string) error
}

// Options are the settings of a keeper.
type Options struct {
	ID      string // of the process, a subject token
	RunUID  string
	Connect func(ctx context.Context) (*pg.Conn, error) // to the source
	Log     *slog.Logger
}

// Keeper holds at most one snapshot. It is safe for concurrent use.
type Keeper struct {
	o Options

	mu       sync.Mutex
	registry Registry
	conn     *pg.Conn // nil if nothing is held
	held     tasks.SnapshotRef
}

// New makes a keeper that holds nothing yet.
func New(o Options, r Registry) *Keeper { return &Keeper{o: o, registry: r} }

// Give hands over the session that took the snapshot, with the name that it
// exported it under; the keeper closes it in the end.
func (k *Keeper) Give(c *pg.Conn, s tasks.SnapshotRef) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.drop()
	k.conn, k.held = c, s
}

// Join changes the registry, for one of a queue that was made anew.
func (k *Keeper) Join(r Registry) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.registry = r
}

// acquireTimeout bounds the search for somebody who holds the snapshot.
const acquireTimeout = 30 * time.Second

// Hold makes sure that this process holds the snapshot, and returns the name
// that its sessions import it under. If it does not hold it yet it looks for
// another keeper that does. It returns [tasks.ErrSnapshotLost] if nobody is
// found; any other error says nothing about the snapshot.
func (k *Keeper) Hold(ctx context.Context, s tasks.SnapshotRef) (name string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.conn != nil && k.held.ID == s.ID && !k.conn.IsClosed() {
		return k.held.Name, nil
	}
	k.drop()
	ctx, cancel := context.WithTimeout(ctx, acquireTimeout)
	defer cancel()
	names, listErr := k.candidates(ctx, s)
	if err := k.acquire(ctx, s, names); err != nil {
		if errors.Is(err, tasks.ErrSnapshotLost) && listErr != nil {
			return "", fmt.Errorf("look for keepers of the snapshot: %w", listErr)
		}
		return "", err
	}
	k.register(ctx)
	return k.held.Name, nil
}

// candidates returns the names that the snapshot may be alive under.
func (k *Keeper) candidates(ctx context.Context, s tasks.SnapshotRef) ([]string, error) {
	names := []string{s.Name}
	others, err := k.registry.Keepers(ctx)
	for _, o := range others {
		if o.RunUID == k.o.RunUID && o.Snapshot == s.ID && !slices.Contains(names, o.Name) {
			names = append(names, o.Name)
		}
	}
	return names, err
}

// acquire imports the snapshot under the first of the names that works.
func (k *Keeper) acquire(ctx context.Context, s tasks.SnapshotRef, names []string) error {
	c, err := k.o.Connect(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		got, err := pg.ReexportSnapshot(ctx, c, name)
		switch {
		case err == nil && got.Text == s.Text:
			k.conn, k.held = c, tasks.SnapshotRef{ID: s.ID, Name: got.Name, Text: got.Text}
			k.o.Log.Debug("snapshot is held", "snapshot", s.Text, "name", got.Name)
			return nil
		case err == nil: // the name is of another server's, or another run's, snapshot
		case !pg.IsSnapshotLost(err):
			c.Discard()
			return err
		}
		if _, err := c.Exec(ctx, "ROLLBACK"); err != nil {
			c.Discard()
			return fmt.Errorf("end a transaction on the source: %w", err)
		}
	}
	c.Discard()
	return tasks.ErrSnapshotLost
}

// Doubt tells the keeper that its name did not work, so that the next Hold
// looks again.
func (k *Keeper) Doubt(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.conn != nil && k.held.Name == name {
		k.drop()
	}
}

// Beat makes sure that the session is alive, and registers it again. It reports
// whether the snapshot is held; a dead session is dropped.
func (k *Keeper) Beat(ctx context.Context) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.conn == nil {
		return false
	}
	if _, err := k.conn.Exec(ctx, "SELECT"); err != nil && ctx.Err() == nil {
		k.o.Log.Warn("session that keeps the snapshot is lost", "err", err)
		k.drop()
		return false
	}
	k.register(ctx)
	return true
}

// register tells the others; a registry that cannot be reached is tried again
// at the next beat.
func (k *Keeper) register(ctx context.Context) {
	err := k.registry.RegisterKeeper(ctx, tasks.Keeper{
		ID: k.o.ID, RunUID: k.o.RunUID, Snapshot: k.held.ID, Name: k.held.Name, Holder: k.o.ID,
	})
	if err != nil && ctx.Err() == nil {
		k.o.Log.Debug("keeper is not registered", "err", err)
	}
}

// Held returns what the keeper holds; ok is false if it is nothing.
func (k *Keeper) Held() (s tasks.SnapshotRef, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.held, k.conn != nil
}

// Release ends the session, and tells the others. It does nothing if nothing is
// held.
func (k *Keeper) Release(ctx context.Context) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.conn == nil {
		return
	}
	k.drop()
	if err := k.registry.RemoveKeeper(ctx, k.o.ID); err != nil && ctx.Err() == nil {
		k.o.Log.Debug("keeper is still registered", "err", err)
	}
}

func (k *Keeper) drop() {
	if k.conn != nil {
		k.conn.Discard()
	}
	k.conn, k.held = nil, tasks.SnapshotRef{}
}
