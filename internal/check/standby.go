package check

import "context"

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
			"the %s is on a standby, which cannot read %s: %s", p.source.place(), plural(unlogged.total, "unlogged table"), unlogged))
	}
	var feedback, streaming, archive string
	err = queryRow(ctx, p.Source, `SELECT pg_catalog.current_setting('hot_standby_feedback'),
		pg_catalog.current_setting('max_standby_streaming_delay'), pg_catalog.current_setting('max_standby_archive_delay')`, &feedback, &streaming, &archive)
	if err != nil {
		return nil, err
	}
	if feedback == "off" && (streaming != "-1" || archive != "-1") {
		found = append(found, warning("source-standby",
			"on the standby, for the time of the run: ALTER SYSTEM SET max_standby_streaming_delay = -1; ALTER SYSTEM SET max_standby_archive_delay = -1; SELECT pg_reload_conf(); or ALTER SYSTEM SET hot_standby_feedback = on",
			"the %s is on a standby that cancels queries in the way of replay after %s (hot_standby_feedback is off): the snapshot may be lost in mid-run",
			p.source.place(), streaming))
	}
	return found, nil
}
