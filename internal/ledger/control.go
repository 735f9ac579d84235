package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Wish is what somebody wants the planner that owns the run to do.
type Wish string

// The wishes.
const (
	WishNone   Wish = ""
	WishDrain  Wish = "drain"  // cancel the run when what is in hand is finished
	WishCancel Wish = "cancel" // cancel the run at once
)

// Control is how people want a run to go on. Whoever owns the run applies it to
// the queue: the planner, or the command itself where no planner is alive.
type Control struct {
	Paused bool
	Caps   map[tasks.Stage]int // those that were set by planner scale
	Limits tasks.Limits        // those that were set by planner limit
	Wish   Wish
}

// Control reads how people want the run to go on.
func (l *Ledger) Control(ctx context.Context, c *pg.Conn) (Control, error) {
	var k Control
	var caps, limits []byte
	err := c.QueryRow(ctx, "SELECT paused, caps::text, limits::text, wish FROM pgconvoy.run WHERE run = $1", l.run.Name).Scan(&k.Paused, &caps, &limits, &k.Wish)
	if err == nil {
		err = errors.Join(json.Unmarshal(caps, &k.Caps), json.Unmarshal(limits, &k.Limits))
	}
	if err != nil {
		return k, fmt.Errorf("read what people want of the run: %w", err)
	}
	return k, nil
}

// SetPaused records that nothing new is to be dispatched, or that it is again.
func (l *Ledger) SetPaused(ctx context.Context, c *pg.Conn, paused bool) error {
	return l.set(ctx, c, "paused = $2", paused)
}

// SetCaps records caps of stages, beside those that were recorded before.
func (l *Ledger) SetCaps(ctx context.Context, c *pg.Conn, caps map[tasks.Stage]int) error {
	text, err := json.Marshal(caps)
	if err != nil {
		return fmt.Errorf("encode caps: %w", err)
	}
	return l.set(ctx, c, "caps = caps || $2::text::jsonb", string(text))
}

// SetWish records a wish.
func (l *Ledger) SetWish(ctx context.Context, c *pg.Conn, w Wish) error {
	return l.set(ctx, c, "wish = $2", string(w))
}

// Inconsistent records that rows may be of different snapshots, and why.
func (l *Ledger) Inconsistent(ctx context.Context, c *pg.Conn, why string) error {
	return l.set(ctx, c, "inconsistent = $2", why)
}

// Consistent reports whether all rows have to be of one snapshot.
func (l *Ledger) Consistent(ctx context.Context, c *pg.Conn) (bool, error) {
	var consistent bool
	err := c.QueryRow(ctx, "SELECT inconsistent IS NULL FROM pgconvoy.run WHERE run = $1", l.run.Name).Scan(&consistent)
	if err != nil {
		return false, fmt.Errorf("ask whether the run is consistent: %w", err)
	}
	return consistent, nil
}

// Resume records that the planner of the name goes on with the run.
func (l *Ledger) Resume(ctx context.Context, c *pg.Conn, planner string) error {
	return l.set(ctx, c, "state = 'running', finished_at = NULL, wish = '', planner = $2", planner)
}

// Cancelled records that the run was cancelled, whatever its state is.
func (l *Ledger) Cancelled(ctx context.Context, c *pg.Conn) error {
	return l.set(ctx, c, "finished_at = pg_catalog.clock_timestamp(), state = $2", string(tasks.RunCancelled))
}

func (l *Ledger) set(ctx context.Context, c *pg.Conn, what string, value any) error {
	_, err := c.Conn.Exec(ctx, "UPDATE pgconvoy.run SET "+what+" WHERE run = $1", l.run.Name, value)
	if err != nil {
		return fmt.Errorf("change the run: %w", err)
	}
	return nil
}
