package check

import (
	"context"
	"fmt"
	"strings"

	"github.com/pgconvoy/pgconvoy/internal/ledger"
)

// ledgerState says what a schema of our ledger's name is on the target.
type ledgerState int

const (
	ledgerNone ledgerState = iota
	ledgerUnfinished
	ledgerComplete // kept on purpose
	ledgerForeign
)

// sqlLedger yields the comment of the schema, "" if it has none.
const sqlLedger = `SELECT coalesce(pg_catalog.obj_description(n.oid, 'pg_namespace'), '')
	FROM pg_catalog.pg_namespace n WHERE n.nspname = 'pgconvoy'`

// sqlReadableRuns says whether the ledger has a table of runs that we may read.
const sqlReadableRuns = `SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	WHERE n.nspname = 'pgconvoy' AND c.relname = 'run'
	AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT'))`

const sqlComplete = `SELECT EXISTS (SELECT FROM pgconvoy.run) AND NOT EXISTS (SELECT FROM pgconvoy.run r WHERE r.state <> 'complete')`

// checkLedger looks for a schema of our ledger's name on both sides. Others
// rely on what it finds out about the target.
func checkLedger(ctx context.Context, p *probe) (Findings, error) {
	var found Findings
	theirs, err := ledgerOn(ctx, p.source)
	if err != nil {
		return nil, err
	}
	if p.Absent == "" {
		if p.ledger, err = ledgerOn(ctx, p.target); err != nil {
			return nil, err
		}
	}
	drop := fmt.Sprintf("DROP SCHEMA %s CASCADE;", ledger.Schema)
	switch p.ledger {
	case ledgerComplete:
		found = append(found, blocker("target-ledger", "if nobody needs it: "+drop, "the %s holds the ledger of a complete run", p.target.place()))
	case ledgerUnfinished:
		found = append(found, blocker(UnfinishedLedger,
			fmt.Sprintf("planner status says how far it is, and planner resume goes on with it; to begin anew, planner cleanup drops what it made, or drop the target database and create it again: DROP DATABASE %[1]s; CREATE DATABASE %[1]s TEMPLATE template0",
				quoteIdent(p.target.Facts.Database)),
			"the %s holds the ledger of a run that is not complete", p.target.place()))
	case ledgerForeign:
		found = append(found, blocker("target-ledger", "rename it, or if nobody needs it: "+drop,
			"the %s has a schema %q that is no ledger of ours; the run keeps its ledger under that name", p.target.place(), ledger.Schema))
	}
	switch theirs {
	case ledgerUnfinished, ledgerComplete:
		found = append(found, warning("source-ledger", "if no run into that database is under way: "+drop,
			"the %s holds the ledger of an earlier run; it is not copied", p.source.place()))
	case ledgerForeign:
		found = append(found, blocker("source-ledger", fmt.Sprintf("rename it on the source: ALTER SCHEMA %s RENAME TO …;", ledger.Schema),
			"the %s has a schema %q that is no ledger of ours; it cannot be copied, as the run keeps its ledger under that name", p.source.place(), ledger.Schema))
	}
	return found, nil
}

func ledgerOn(ctx context.Context, s *server) (ledgerState, error) {
	comments, err := queryTexts(ctx, s.Conn, sqlLedger)
	switch {
	case err != nil || len(comments) == 0:
		return ledgerNone, err
	case !strings.HasPrefix(comments[0], ledger.Marker):
		return ledgerForeign, nil
	}
	var readable, complete bool
	if err := queryRow(ctx, s.Conn, sqlReadableRuns, &readable); err != nil || !readable {
		return ledgerUnfinished, err
	}
	if err := queryRow(ctx, s.Conn, sqlComplete, &complete); err != nil || !complete {
		return ledgerUnfinished, err
	}
	return ledgerComplete, nil
}
