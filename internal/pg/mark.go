package pg

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Mark is what tells later whether the source still shows what a snapshot of
// it showed, when nobody holds the snapshot any more.
type Mark struct {
	Text     string // pg_current_snapshot() of the snapshot
	Timeline string // of the WAL; "" if the source does not tell
	LSN      string // a position in the WAL, written after everything that the snapshot shows
	Durable  bool   // the WAL up to LSN is on disk, so that no crash takes back what the snapshot shows
	Replayed bool   // the source is a standby, and the snapshot shows what it had replayed up to LSN
}

// sqlTimeline is the timeline that a standby replays.
const sqlTimeline = `SELECT pg_catalog.lpad(pg_catalog.to_hex(greatest(c.timeline_id, r.min_recovery_end_timeline)), 8, '0'),
	pg_catalog.pg_last_wal_replay_lsn()::text FROM pg_catalog.pg_control_checkpoint() c, pg_catalog.pg_control_recovery() r`

// Position is where the replay of a standby stands, and of which database. Two
// standbys at the same position show the same rows, in the same places.
type Position struct {
	Fingerprint string // as [Fingerprint] has it: system identifier and database
	Timeline    string
	LSN         string
}

// String is for messages.
func (p Position) String() string {
	return fmt.Sprintf("database %s, timeline %s, position %s", p.Fingerprint, p.Timeline, p.LSN)
}

// ErrNoPosition is returned for a server that is no standby, or that does not tell
// this role what identifies it.
var ErrNoPosition = errors.New("the server is no standby, or does not tell its position in the WAL")

// ReadPosition returns where the standby that c is connected to stands.
func ReadPosition(ctx context.Context, c *Conn) (Position, error) {
	var p Position
	err := c.QueryRow(ctx, `SELECT s.system_identifier::text || '/' || pg_catalog.current_database(), x.* FROM pg_catalog.pg_control_system() s,
		(`+sqlTimeline+`) x WHERE pg_catalog.pg_is_in_recovery()`).Scan(&p.Fingerprint, &p.Timeline, &p.LSN)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return p, ErrNoPosition
	case IsCode(err, "42501"), IsCode(err, "42883"), IsCode(err, "0A000"):
		return p, fmt.Errorf("%w: %w", ErrNoPosition, err)
	case err != nil:
		return p, fmt.Errorf("read the position of a clone of the source: %w", err)
	}
	return p, nil
}

// ReadMark returns the mark of the snapshot. c is not the session that holds
// it: a source that refuses to tell would end its transaction. A source that does
// not tell is no error; its mark proves nothing. Neither does that of a standby
// that goes on replaying.
func ReadMark(ctx context.Context, c *Conn, s Snapshot) (Mark, error) {
	m := Mark{Text: s.Text}
	var err error
	if s.Replayed == "" {
		err = c.QueryRow(ctx, `SELECT pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 8),
			pg_catalog.pg_current_wal_insert_lsn()::text`).Scan(&m.Timeline, &m.LSN)
		if err == nil {
			m.Durable, err = Flushed(ctx, c, m.LSN)
		}
	} else {
		// The snapshot was taken between two looks at the same position.
		m.Replayed, m.Durable = true, true
		err = c.QueryRow(ctx, sqlTimeline).Scan(&m.Timeline, &m.LSN)
	}
	switch {
	case IsCode(err, "55000"), IsCode(err, "42501"), IsCode(err, "0A000"), IsCode(err, "42883"):
		return Mark{Text: s.Text}, nil // promoted meanwhile, or not for everybody here
	case err != nil:
		return m, fmt.Errorf("read WAL position of the %s: %w", c.Side(), err)
	case m.Replayed && m.LSN != s.Replayed:
		return Mark{Text: s.Text}, nil
	}
	return m, nil
}

// Flushed reports whether the WAL of the server is on disk up to the position.
func Flushed(ctx context.Context, c *Conn, lsn string) (bool, error) {
	var flushed bool
	err := c.QueryRow(ctx, "SELECT pg_catalog.pg_current_wal_flush_lsn() >= $1::text::pg_lsn", lsn).Scan(&flushed)
	return flushed, err
}

// Unchanged reports whether a snapshot with the mark now shows exactly what one
// with the mark m showed, and if not, why that cannot be proven.
//
// A snapshot shows what the transactions have committed that it does not list as
// running. If none was running (its xmin is its xmax), and no transaction id has
// been assigned and finished since (the xmax now is the same), then both show
// the commits of the same transactions. A crash could give lost ids out again,
// and so could a standby that was promoted: therefore the WAL must have been on
// disk, and its timeline be the same.
//
// What a standby shows is what it has replayed. If that ends at the same position
// of the same timeline, be it after a restart or on another clone of the same
// server, then it is the same.
func (m Mark) Unchanged(now Mark) (proven bool, why string) {
	xmin, xmax, ok := bounds(m.Text)
	nowXmin, nowXmax, nowOK := bounds(now.Text)
	switch {
	case !ok || !nowOK:
		return false, "the text of a snapshot cannot be read"
	case m.Timeline == "" || now.Timeline == "":
		return false, "the source does not tell its position in the WAL, or is a standby that goes on replaying"
	case m.Timeline != now.Timeline:
		return false, fmt.Sprintf("the source has changed from timeline %s to %s", m.Timeline, now.Timeline)
	case m.Replayed != now.Replayed:
		return false, "the source was a standby and is a primary, or the other way round"
	case m.Replayed && m.LSN != now.LSN:
		return false, fmt.Sprintf("the standby has replayed its primary's WAL from %s up to %s since", m.LSN, now.LSN)
	case m.Replayed:
		return true, ""
	case !m.Durable:
		return false, "what the snapshot showed was not known to be on the source's disk"
	case xmin != xmax:
		return false, "transactions were running when the snapshot was taken"
	case xmax != nowXmax:
		return false, "transactions have begun to write since"
	case nowXmin != nowXmax:
		return false, "transactions are running that may write"
	}
	return true, ""
}

// bounds returns xmin and xmax of a snapshot's text, xmin:xmax:xip,…
func bounds(text string) (xmin, xmax string, ok bool) {
	xmin, rest, found := strings.Cut(text, ":")
	xmax, _, more := strings.Cut(rest, ":")
	return xmin, xmax, found && more && xmin != "" && xmax != ""
}
