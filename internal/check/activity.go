package check

import (
	"context"
	"fmt"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// sqlExclusive lists tables that somebody holds so that nobody can read them.
const sqlExclusive = `SELECT DISTINCT pg_catalog.format('%I.%I (process %s)', n.nspname, c.relname, coalesce(l.pid::text, 'none: a prepared transaction'))
	FROM pg_catalog.pg_locks l
	JOIN pg_catalog.pg_database d ON d.oid = l.database AND d.datname = pg_catalog.current_database()
	JOIN pg_catalog.pg_class c ON c.oid = l.relation AND c.relkind IN ('r', 'p')
	JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname !~ '^pg_'
	WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND l.granted`

const sqlPrepared = `SELECT x.gid FROM pg_catalog.pg_prepared_xacts x WHERE x.database = pg_catalog.current_database()`

// checkSourceActivity warns of what would make the run wait, or miss changes.
func checkSourceActivity(ctx context.Context, p *probe) (Findings, error) {
	var found Findings
	locked, err := queryList(ctx, p.Source, sqlExclusive)
	if err != nil {
		return nil, err
	}
	if !locked.empty() {
		found = append(found, warning("source-locks", "wait for these sessions (VACUUM FULL, ALTER TABLE, …), or end them: SELECT pg_terminate_backend(process)",
			"%s on the source cannot be read now, as somebody holds an ACCESS EXCLUSIVE lock: %s", tasks.Plural(locked.total, "table"), locked))
	}
	prepared, err := queryList(ctx, p.Source, sqlPrepared)
	if err != nil {
		return nil, err
	}
	if !prepared.empty() {
		found = append(found, warning("source-prepared", "on the source: COMMIT PREPARED or ROLLBACK PREPARED each of them",
			"%s on the source: what they changed will not be in the copy: %s", tasks.Plural(prepared.total, "prepared transaction"), prepared))
	}
	return found, nil
}

const sqlSessions = `SELECT pg_catalog.format('%s (%s)', coalesce(a.usename, '?'), coalesce(nullif(a.application_name, ''), 'process ' || a.pid))
	FROM pg_catalog.pg_stat_activity a
	WHERE a.datname = pg_catalog.current_database() AND a.pid <> pg_catalog.pg_backend_pid()
		AND coalesce(a.backend_type, 'client backend') = 'client backend'
		AND coalesce(a.application_name, '') !~ '^pgconvoy'`

// checkTargetSessions warns of others who use the target: an application that
// writes there already makes the copy differ.
func checkTargetSessions(ctx context.Context, p *probe) (Findings, error) {
	sessions, err := queryList(ctx, p.Target, sqlSessions)
	if err != nil || sessions.empty() {
		return nil, err
	}
	return Findings{warning("target-sessions", fmt.Sprintf("stop what is connected there; until the switch-over, keep it out: ALTER ROLE … NOLOGIN, or REVOKE CONNECT ON DATABASE %s FROM PUBLIC",
		quoteIdent(p.target.Facts.Database)),
		"%s to the %s: %s", tasks.Plural(sessions.total, "other session")+" connected", p.target.place(), sessions)}, nil
}
