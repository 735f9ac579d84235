package check

import (
	"context"
	"strings"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// checkTargetStandby refuses a target that cannot be written.
func checkTargetStandby(_ context.Context, p *probe) (Findings, error) {
	if !p.target.Facts.InRecovery {
		return nil, nil
	}
	return Findings{blocker("target-standby", "give target.uri the address of the primary (target_session_attrs=read-write finds it among several hosts), or promote this server with SELECT pg_promote()",
		"the %s is on a standby: it is in recovery and cannot be written", p.target.place())}, nil
}

const sqlUnlogged = `SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
	FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	WHERE c.relkind = 'r' AND c.relpersistence = 'u' AND n.nspname !~ '^pg_' AND n.nspname <> 'pgconvoy' AND` + sqlChosen

// checkSourceStandby says what a standby as source cannot do: show unlogged
// tables, and promise that it will not cancel a long query.
func checkSourceStandby(ctx context.Context, p *probe) (Findings, error) {
	if !p.source.Facts.InRecovery {
		return nil, nil
	}
	var found Findings
	unlogged, err := queryList(ctx, p.Source, sqlUnlogged, p.Choice.args()...)
	if err != nil {
		return nil, err
	}
	if !unlogged.empty() {
		found = append(found, blocker("source-standby", "copy from the primary, or there: "+unlogged.each("ALTER TABLE %s SET LOGGED;"),
			"the %s is on a standby, which cannot read %s: %s", p.source.place(), tasks.Plural(unlogged.total, "unlogged table"), unlogged))
	}
	var feedback bool
	var replay replay
	err = queryRow(ctx, p.Source, sqlReplay, &feedback, &replay.streaming, &replay.archive, &replay.receives, &replay.moves)
	if err != nil {
		return nil, err
	}
	return append(found, replay.findings(p.source, feedback)...), nil
}

// sqlReplay yields whether the standby tells its primary what it still needs, how
// long its replay waits for queries, whether it receives WAL, and whether it may
// replay any. The role may not see where it would receive from; then it may.
const sqlReplay = `SELECT pg_catalog.current_setting('hot_standby_feedback')::bool,
	pg_catalog.current_setting('max_standby_streaming_delay'), pg_catalog.current_setting('max_standby_archive_delay'),
	EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver),
	NOT pg_catalog.pg_is_wal_replay_paused() AND (EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver) OR pg_catalog.current_setting('restore_command') <> ''
		OR coalesce((SELECT s.setting FROM pg_catalog.pg_settings s WHERE s.name = 'primary_conninfo'), 'hidden') <> '')`

// replay is what a standby does with its primary's WAL.
type replay struct {
	streaming, archive string // how long it waits for queries
	receives, moves    bool
}

// waits says for how long replay waits, and is empty if that is for ever.
func (r replay) waits() string {
	var delays []string
	for _, d := range []struct{ name, value string }{{"max_standby_streaming_delay", r.streaming}, {"max_standby_archive_delay", r.archive}} {
		if d.value != "-1" {
			delays = append(delays, d.name+" "+d.value)
		}
	}
	return strings.Join(delays, ", ")
}

func (r replay) findings(s *server, feedback bool) Findings {
	waits := r.waits()
	if !r.moves || waits == "" {
		return nil
	}
	const forEver = "on the standby, for the time of the run: ALTER SYSTEM SET max_standby_streaming_delay = -1; ALTER SYSTEM SET max_standby_archive_delay = -1; SELECT pg_reload_conf();"
	switch {
	case !feedback:
		return Findings{warning("source-standby", forEver+" or, if it streams: ALTER SYSTEM SET hot_standby_feedback = on; SELECT pg_reload_conf();",
			"the %s is on a standby that cancels queries in the way of replay (%s), and does not tell its primary what they need (hot_standby_feedback is off): the snapshot may be lost in mid-run",
			s.place(), waits)}
	case !r.receives:
		return Findings{warning("source-standby", forEver,
			"the %s is on a standby that cancels queries in the way of replay (%s), and has no connection to its primary to tell it what they need: the snapshot may be lost in mid-run",
			s.place(), waits)}
	}
	return nil
}
