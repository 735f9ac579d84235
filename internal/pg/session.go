package pg

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Terminate ends the session of the server process, if that is still the same,
// and reports whether it was. A role may do that to its own sessions.
func Terminate(ctx context.Context, c *Conn, b Backend) (bool, error) {
	var ended bool
	err := c.QueryRow(ctx, `SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
		WHERE pid = $1 AND backend_start::text = $2`, b.PID, b.Start).Scan(&ended)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("end session %d on the %s: %w", b.PID, c.side, err)
	}
	return ended, nil
}

// Activity is what a session does at the moment.
type Activity struct {
	State    string // pg_stat_activity.state
	WaitType string // "" if it does not wait
	Wait     string
	Query    string
	Blockers []string // sessions that it waits for: process, name and state
	Blocking []string // the queries of Blockers
}

// SQL says what the session executes, and those that it waits for. It may quote
// rows and secrets of other people.
func (a Activity) SQL() string {
	if len(a.Blocking) == 0 {
		return a.Query
	}
	return a.Query + "; the lock is held by: " + strings.Join(a.Blocking, "; ")
}

// Watch returns what the session of the server process does; ok is false if it
// is gone.
func Watch(ctx context.Context, c *Conn, b Backend) (a Activity, ok bool, err error) {
	err = c.QueryRow(ctx, `SELECT coalesce(a.state, ''), coalesce(a.wait_event_type, ''), coalesce(a.wait_event, ''), pg_catalog.left(coalesce(a.query, ''), 200),
		coalesce(w.blockers, '{}'), coalesce(w.blocking, '{}') FROM pg_catalog.pg_stat_activity a LEFT JOIN LATERAL (
			SELECT pg_catalog.array_agg(pg_catalog.format('process %s (%s, %s)', b.pid, coalesce(o.application_name, ''), coalesce(o.state, '')) ORDER BY b.pid) AS blockers,
				pg_catalog.array_agg(pg_catalog.left(coalesce(o.query, ''), 100) ORDER BY b.pid) AS blocking
			FROM (SELECT DISTINCT unnest(pg_catalog.pg_blocking_pids(a.pid)) AS pid) b LEFT JOIN pg_catalog.pg_stat_activity o ON o.pid = b.pid) w ON true
		WHERE a.pid = $1 AND a.backend_start::text = $2`, b.PID, b.Start).
		Scan(&a.State, &a.WaitType, &a.Wait, &a.Query, &a.Blockers, &a.Blocking)
	if errors.Is(err, pgx.ErrNoRows) {
		return a, false, nil
	}
	if err != nil {
		return a, false, fmt.Errorf("look at session %d on the %s: %w", b.PID, c.side, err)
	}
	return a, true, nil
}

// Reason says in a person's words what the session waits for, without SQL, and
// "" if it works: on a CPU, or with the disk.
func (a Activity) Reason(side Side) string {
	switch {
	case a.WaitType == "Lock" && len(a.Blockers) > 0:
		return fmt.Sprintf("waits on the %s for a lock (%s) that is held by %s", side, a.Wait, strings.Join(a.Blockers, "; "))
	case a.WaitType == "Lock":
		return fmt.Sprintf("waits on the %s for a lock (%s)", side, a.Wait)
	case a.WaitType == "Client" && a.Wait == "ClientRead":
		return fmt.Sprintf("the %s waits for data from the worker", side)
	case a.WaitType == "Client":
		return fmt.Sprintf("the %s waits until the worker takes its data (%s)", side, a.Wait)
	case strings.HasPrefix(a.State, "idle"):
		return fmt.Sprintf("the session on the %s is %s: the worker is frozen, or cut off", side, a.State)
	case a.WaitType == "IO":
		return fmt.Sprintf("the %s waits for its disk (%s)", side, a.Wait)
	case a.WaitType != "":
		return fmt.Sprintf("the %s waits for %s %s", side, a.WaitType, a.Wait)
	}
	return ""
}

// HeldBack returns how many transactions old the oldest row versions are that the
// sessions of pgconvoy keep the server from cleaning up, -1 if they keep none.
func HeldBack(ctx context.Context, c *Conn) (int64, error) {
	var age int64
	err := c.QueryRow(ctx, `SELECT coalesce(pg_catalog.max(pg_catalog.age(backend_xmin)), -1)::int8
		FROM pg_catalog.pg_stat_activity WHERE pg_catalog.starts_with(application_name, 'pgconvoy') AND pid <> pg_catalog.pg_backend_pid()
		AND datname = pg_catalog.current_database()`).Scan(&age)
	if err != nil {
		return -1, fmt.Errorf("read the horizon of the %s: %w", c.side, err)
	}
	return age, nil
}
