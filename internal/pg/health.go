package pg

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// ErrHidden is returned when the role may not see what it is asked to look at.
var ErrHidden = errors.New("the role may not see it")

// whereNow is how far a server's WAL is: what a primary has written, or what a
// standby has received.
const whereNow = `CASE WHEN pg_catalog.pg_is_in_recovery() THEN coalesce(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn())
	ELSE pg_catalog.pg_current_wal_lsn() END`

// ReplicaLag returns how many bytes of the server's WAL that replica has not
// replayed which has replayed least, of those that are connected, logical ones
// included. It returns [ErrHidden] if the role is not a member of pg_read_all_stats.
func ReplicaLag(ctx context.Context, c *Conn) (int64, error) {
	var visible bool
	var lag int64
	err := c.QueryRow(ctx, `SELECT pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE'),
		coalesce((SELECT pg_catalog.max(pg_catalog.pg_wal_lsn_diff(`+whereNow+`, replay_lsn)) FROM pg_catalog.pg_stat_replication), 0)::int8`).Scan(&visible, &lag)
	if err == nil && !visible {
		err = ErrHidden
	}
	if err != nil {
		return 0, fmt.Errorf("read the lag of the replicas of the %s: %w", c.side, err)
	}
	return max(lag, 0), nil
}

// StandbyLag returns how many bytes of WAL the server, a standby, has received and
// not replayed; 0 of a primary, and of a standby that was told not to replay.
func StandbyLag(ctx context.Context, c *Conn) (int64, error) {
	var lag int64
	err := c.QueryRow(ctx, `SELECT CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN 0 WHEN pg_catalog.pg_is_wal_replay_paused() THEN 0
		ELSE coalesce(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn()), 0) END::int8`).Scan(&lag)
	if err != nil {
		return 0, fmt.Errorf("read the lag of the %s: %w", c.side, err)
	}
	return max(lag, 0), nil
}

// ArchiveBacklog returns how many bytes of complete WAL segments the server has yet
// to archive, 0 if it archives none. It goes by the name of the segment that was
// archived last, which every role may see, and of a server that has archived none
// so far by the one that it could not archive.
func ArchiveBacklog(ctx context.Context, c *Conn) (int64, error) {
	var mode, last, failed string
	var now, segment int64
	err := c.QueryRow(ctx, `SELECT pg_catalog.current_setting('archive_mode'), coalesce(a.last_archived_wal, ''), coalesce(a.last_failed_wal, ''),
		(`+whereNow+` - '0/0')::int8, pg_catalog.pg_size_bytes(pg_catalog.current_setting('wal_segment_size'))
		FROM pg_catalog.pg_stat_archiver a`).Scan(&mode, &last, &failed, &now, &segment)
	if err != nil {
		return 0, fmt.Errorf("read what the %s has archived: %w", c.side, err)
	}
	if mode == "off" {
		return 0, nil
	}
	return backlog(last, failed, now, segment), nil
}

// backlog is the arithmetic of [ArchiveBacklog], of names of segments and of the
// position that WAL is written at.
func backlog(last, failed string, now, segment int64) int64 {
	done, ok := segmentStart(last, segment)
	if ok {
		done += segment
	} else if done, ok = segmentStart(failed, segment); !ok {
		return 0 // none was complete yet
	}
	return max(now-now%segment-done, 0)
}

// segmentStart returns where the WAL segment of the name begins, of which what a
// backup is called after is one.
func segmentStart(name string, segment int64) (int64, bool) {
	const digits = 8 // of the timeline, of the high half of the position, and of the segment within 4 GB
	if len(name) < 3*digits {
		return 0, false
	}
	high, err := strconv.ParseUint(name[digits:2*digits], 16, 31)
	if err != nil {
		return 0, false
	}
	low, err := strconv.ParseUint(name[2*digits:3*digits], 16, 32)
	if err != nil {
		return 0, false
	}
	return int64(high)<<32 + int64(low)*segment, true
}

// LockWaits returns how many sessions of others wait for a row that somebody has
// changed, or for room in a table. Those that wait for a whole table are left out:
// ALTER TABLE waits for the run's own locks, and whoever stands behind it with it.
func LockWaits(ctx context.Context, c *Conn) (int64, error) {
	var n int64
	err := c.QueryRow(ctx, `SELECT pg_catalog.count(DISTINCT l.pid) FROM pg_catalog.pg_locks l WHERE NOT l.granted AND l.locktype IN ('transactionid', 'tuple', 'extend')
		AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.pid = l.pid AND pg_catalog.starts_with(a.application_name, 'pgconvoy'))`).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count sessions that wait on the %s: %w", c.side, err)
	}
	return n, nil
}

// ActiveSessions returns how many sessions of others execute something. It returns
// [ErrHidden] if the role is not a member of pg_read_all_stats.
func ActiveSessions(ctx context.Context, c *Conn) (int64, error) {
	var visible bool
	var n int64
	err := c.QueryRow(ctx, `SELECT pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE'), (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity
		WHERE state = 'active' AND backend_type = 'client backend' AND NOT pg_catalog.starts_with(application_name, 'pgconvoy'))`).Scan(&visible, &n)
	if err == nil && !visible {
		err = ErrHidden
	}
	if err != nil {
		return 0, fmt.Errorf("count active sessions on the %s: %w", c.side, err)
	}
	return n, nil
}

// ForcedCheckpoints returns how many checkpoints the server has begun so far other
// than because it was time: mostly because there was much WAL.
func ForcedCheckpoints(ctx context.Context, c *Conn) (int64, error) {
	sql := "SELECT checkpoints_req FROM pg_catalog.pg_stat_bgwriter"
	if c.Major() >= 17 {
		sql = "SELECT num_requested FROM pg_catalog.pg_stat_checkpointer"
	}
	var n int64
	if err := c.QueryRow(ctx, sql).Scan(&n); err != nil {
		return 0, fmt.Errorf("read the checkpoints of the %s: %w", c.side, err)
	}
	return n, nil
}
