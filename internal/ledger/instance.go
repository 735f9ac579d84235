package ledger

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// instanceLock is the first key of the lock of a run of several databases. It
// differs from that of a run of one: the database where it is taken may be one of
// those that are copied.
const instanceLock = lockClass + 2

// OwnInstance takes the right to plan and to end runs of several databases on the
// target's server, for as long as the session of c lives. All that do so must be in
// the same database. It reports false if another planner has it.
func OwnInstance(ctx context.Context, c *pg.Conn) (bool, error) {
	var owned bool
	err := c.QueryRow(ctx, "SELECT pg_catalog.pg_try_advisory_lock($1, 0)", instanceLock).Scan(&owned)
	if err != nil {
		return false, fmt.Errorf("own the target's server: %w", err)
	}
	return owned, nil
}

// InstanceOwned reports whether a planner has that right at the moment.
func InstanceOwned(ctx context.Context, c *pg.Conn) (bool, error) {
	return lockHeld(ctx, c, instanceLock)
}

// Instance returns which databases the run is of, nil if it is of this one alone.
func (l *Ledger) Instance(ctx context.Context, c *pg.Conn) (*tasks.Instance, error) {
	var in tasks.Instance
	err := c.QueryRow(ctx, "SELECT uid, databases, complete FROM pgconvoy.instance WHERE run = $1", l.run.Name).Scan(&in.UID, &in.Databases, &in.Complete)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the databases of the run: %w", err)
	}
	return &in, nil
}

// InstanceComplete records, durably, that all databases of the run are complete:
// where a ledger says so, one that is not there any more was dropped.
func (l *Ledger) InstanceComplete(ctx context.Context, c *pg.Conn) error {
	return l.durably(ctx, c, "record that all databases are complete", "UPDATE pgconvoy.instance SET complete = true WHERE run = $1", l.run.Name)
}

// Emptied returns the unlogged tables that a crash of the target has emptied since
// they were copied.
func (l *Ledger) Emptied(ctx context.Context, c *pg.Conn) ([]tasks.Name, error) {
	var intact bool
	err := c.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pgconvoy.intact WHERE run = $1)", l.run.Name).Scan(&intact)
	if err != nil {
		return nil, fmt.Errorf("ask whether the target has crashed: %w", err)
	}
	if intact {
		return nil, nil
	}
	return l.Unlogged(ctx, c)
}
