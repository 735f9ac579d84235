package pg

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// dumpQuick is how long pg_dump may take before anybody looks what it waits for.
	dumpQuick = 10 * time.Second
	// dumpPatience is how long it may wait for one lock: as long as for those that
	// it takes itself, which is what its own setting is about.
	dumpPatience = 60 * time.Second
	// dumpLook is how often somebody looks.
	dumpLook = time.Second
)

// LockedError says that pg_dump has waited too long for a lock that somebody else
// holds. Printing a view, a rule or a policy needs a lock on every table that it
// reads.
type LockedError struct {
	On      string   // the relation, "" if it is no relation
	Holders []string // sessions: process, name and state
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("it waits on the source for a lock on %s that is held by %s", e.On, strings.Join(e.Holders, "; "))
}

// Hint says what to do.
func (e *LockedError) Hint() string {
	return "wait for that session, or end it on the source: SELECT pg_terminate_backend(process); where the table is left out, leave out by name what reads it, too"
}

// watchDump looks what the session with the name waits for, and returns a
// [*LockedError] when that has been one lock for too long. It returns nil when
// ctx ends, or if it cannot look.
func watchDump(ctx context.Context, o Options, name string, quick, look, patience time.Duration) error {
	if !Pause(ctx, quick) {
		return nil
	}
	o.Name = "pgconvoy watch"
	c, err := Connect(ctx, o)
	if err != nil {
		return nil //nolint:nilerr // pg_dump itself may have taken the last session
	}
	defer c.Discard()
	waits, since := "", time.Now()
	for Pause(ctx, look) {
		var locked LockedError
		err := c.QueryRow(ctx, `SELECT coalesce(l.relation::regclass::text, l.locktype), (SELECT coalesce(pg_catalog.array_agg(
				pg_catalog.format('process %s (%s, %s)', b.pid, coalesce(o.application_name, ''), coalesce(o.state, '')) ORDER BY b.pid), '{}')
				FROM (SELECT DISTINCT unnest(pg_catalog.pg_blocking_pids(a.pid)) AS pid) b LEFT JOIN pg_catalog.pg_stat_activity o ON o.pid = b.pid)
			FROM pg_catalog.pg_stat_activity a JOIN pg_catalog.pg_locks l ON l.pid = a.pid AND NOT l.granted
			WHERE a.application_name = $1 LIMIT 1`, name).Scan(&locked.On, &locked.Holders)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			waits = ""
		case err != nil:
			return nil //nolint:nilerr // ctx has ended, or this session was
		case waits != locked.On:
			waits, since = locked.On, time.Now()
		case time.Since(since) > patience:
			return &locked
		}
	}
	return nil
}

// Pause waits before a server is asked again, and returns false if ctx ends meanwhile.
func Pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
