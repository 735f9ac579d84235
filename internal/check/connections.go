package check

import (
	"context"
	"fmt"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// slots is how many sessions a server, a database and a role may have, and how
// many they have now, ours not counted. A limit below 0 is none.
type slots struct {
	Max, Reserved        int
	Used                 int
	DatabaseLimit, InUse int
	RoleLimit, RoleInUse int
}

// Rows of other people's sessions are visible to everybody, with their names, their
// backend_type is not; the few parallel workers among them are counted as sessions.
// Those of pgconvoy in the databases $1 are the run's own.
const sqlSlots = `WITH session AS (
		SELECT a.datname, a.usename FROM pg_catalog.pg_stat_activity a
		WHERE a.datname IS NOT NULL AND a.pid <> pg_catalog.pg_backend_pid() AND coalesce(a.backend_type, 'client backend') = 'client backend'
		AND NOT (pg_catalog.starts_with(a.application_name, 'pgconvoy') AND a.datname = ANY ($1::text[])))
	SELECT pg_catalog.current_setting('max_connections')::int,
	CASE WHEN r.rolsuper THEN 0 ELSE pg_catalog.current_setting('superuser_reserved_connections')::int
		+ coalesce(pg_catalog.current_setting('reserved_connections', true)::int, 0) END,
	(SELECT pg_catalog.count(*) FROM session)::int,
	CASE WHEN r.rolsuper THEN -1 ELSE d.datconnlimit END, (SELECT pg_catalog.count(*) FROM session s WHERE s.datname = d.datname)::int,
	CASE WHEN r.rolsuper THEN -1 ELSE r.rolconnlimit END, (SELECT pg_catalog.count(*) FROM session s WHERE s.usename = r.rolname)::int
	FROM pg_catalog.pg_roles r, pg_catalog.pg_database d
	WHERE r.rolname = session_user AND d.datname = pg_catalog.current_database()`

// checkConnections compares the sessions that the run opens with what the
// servers let it open.
func checkConnections(ctx context.Context, p *probe) (Findings, error) {
	var found Findings
	sides := []*server{p.source, p.target}
	needs := []int{p.Connections.Source, p.Connections.Target}
	if needs[0] > 0 && p.source.Facts.InRecovery {
		needs[0]++ // the snapshot has a session beside that with the locks
	}
	for i, s := range sides {
		if needs[i] == 0 {
			continue
		}
		rows, err := query[slots](ctx, s.Conn, sqlSlots, p.ownDatabases(s))
		if err != nil {
			return nil, err
		}
		if len(rows) != 1 {
			return nil, fmt.Errorf("%s: the session's user is not in pg_roles", s.Side())
		}
		other := slotUse{}
		if p.sameServer {
			other.server = needs[1-i]
			counted := 1 // the preflight's own session on the other side
			if p.ongoing {
				counted = 0
			}
			rows[0].Used -= counted
			if sides[1-i].Facts.Role == s.Facts.Role {
				other.role = needs[1-i]
				rows[0].RoleInUse -= counted
			}
		}
		p.limits[i] = rows[0].limits(needs[i], other)
		found = append(found, limitFindings(s, p.limits[i])...)
	}
	return found, nil
}

// ownDatabases returns the databases of the server in which sessions of pgconvoy are
// the run's: none while it does not run.
func (p *probe) ownDatabases(s *server) []string {
	switch {
	case !p.ongoing:
		return []string{}
	case p.sameServer:
		return []string{p.source.Facts.Database, p.target.Facts.Database}
	}
	return []string{s.Facts.Database}
}

// SessionLimits counts again what [Preflight.SessionLimits] has told, while the run
// goes on: what it uses itself is not used by others.
func SessionLimits(ctx context.Context, source, target *pg.Conn, needs Connections, fp tasks.Fingerprint) (onSource, onTarget []tasks.SessionLimit, err error) {
	p := &probe{Input: Input{Source: source, Target: target, Connections: needs}, ongoing: true}
	if p.source, err = readServer(ctx, source, fp.Source); err != nil {
		return nil, nil, err
	}
	if p.target, err = readServer(ctx, target, fp.Target); err != nil {
		return nil, nil, err
	}
	p.sameServer = p.source.cluster() == p.target.cluster()
	_, err = checkConnections(ctx, p)
	return p.limits[0], p.limits[1], err
}

// slotUse is what the run's other side takes of the same server.
type slotUse struct{ server, role int }

// The limits on sessions, as [tasks.SessionLimit] names them.
const (
	ofServer   = "server"
	ofDatabase = "database"
	ofRole     = "role"
)

// limits returns the limits that there are, with what the run needs of each.
func (have slots) limits(need int, other slotUse) []tasks.SessionLimit {
	list := []tasks.SessionLimit{{Of: ofServer, Max: have.Max, Reserved: have.Reserved, Used: have.Used, Needed: need + other.server}}
	if have.DatabaseLimit >= 0 {
		list = append(list, tasks.SessionLimit{Of: ofDatabase, Max: have.DatabaseLimit, Used: have.InUse, Needed: need})
	}
	if have.RoleLimit >= 0 {
		list = append(list, tasks.SessionLimit{Of: ofRole, Max: have.RoleLimit, Used: have.RoleInUse, Needed: need + other.role})
	}
	return list
}

// limitFindings returns a blocker for each limit that the run would exceed.
func limitFindings(s *server, limits []tasks.SessionLimit) Findings {
	var found Findings
	caps := "or lower slots and caps in the configuration"
	for _, l := range limits {
		if l.Needed <= l.Free() {
			continue
		}
		wanted := tasks.Plural(l.Needed, "connection")
		switch l.Of {
		case ofServer:
			found = append(found, blocker("connections",
				fmt.Sprintf("close sessions there, or on the %s: ALTER SYSTEM SET max_connections = %d; and restart it; %s", s.Side(), l.Needed+l.Reserved+l.Used, caps),
				"the run needs %s to the server of the %s, which has %d free (max_connections %d, reserved %d, used %d)",
				wanted, s.place(), l.Free(), l.Max, l.Reserved, l.Used))
		case ofDatabase:
			found = append(found, blocker("connections",
				fmt.Sprintf("on the %s: ALTER DATABASE %s CONNECTION LIMIT %d; %s", s.Side(), quoteIdent(s.Facts.Database), l.Needed+l.Used, caps),
				"the run needs %s to the %s, whose limit of %d leaves %d", wanted, s.place(), l.Max, l.Free()))
		case ofRole:
			found = append(found, blocker("connections",
				fmt.Sprintf("on the %s: ALTER ROLE %s CONNECTION LIMIT %d; %s", s.Side(), s.role(), l.Needed+l.Used, caps),
				"the run needs %s as role %s of the %s, whose limit of %d leaves %d", wanted, s.role(), s.Side(), l.Max, l.Free()))
		}
	}
	return found
}
