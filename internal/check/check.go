package check

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/pgconvoy/pgconvoy/internal/pg"
)

// DefaultTargetLocks is a generous estimate of the relations that one
// transaction of a run locks on the target: a few hundred archive entries, or
// a bundle of small tables with their indexes.
const DefaultTargetLocks = 1500

// Input is what a preflight looks at. Source and Target are idle connections,
// not in a transaction; Run uses both at once and leaves them as they were.
type Input struct {
	Source, Target *pg.Conn
	Connections    Connections
	TargetLocks    int      // relations that the run's largest transaction locks on the target, 0 for DefaultTargetLocks
	Tools          pg.Tools // the zero value means that none were found
	ToolsErr       error    // why not, from pg.FindTools
}

// Connections says how many sessions a run opens at most on each side, pg_dump
// included. A side that is 0 is not checked.
type Connections struct {
	Source, Target int
}

// probe is what every check gets: the input and the facts that several need.
type probe struct {
	Input
	source, target *server
	sameServer     bool // both databases are in one cluster
	ledger         ledgerState
}

// checkFunc is one check. An error means that it could not be carried out.
type checkFunc func(context.Context, *probe) (Findings, error)

type check struct {
	name string
	run  checkFunc
}

// gates must pass before the others make sense: their queries may not even
// work on a server that these refuse.
func gates() []check {
	return []check{
		{"proxy", checkProxy},
		{"version", checkVersions},
		{"same-database", checkSameDatabase},
		{"target-standby", checkTargetStandby},
	}
}

// checks lists every other check, in the order in which findings are shown.
func checks() []check {
	return []check{
		{"tools", checkTools},
		{"ledger", checkLedger},
		{"target-empty", checkTargetEmpty},
		{"schemas", checkSchemas},
		{"default-privileges", checkDefaultPrivileges},
		{"source-privileges", checkSourcePrivileges},
		{"large-objects", checkLargeObjects},
		{"row-security", checkRowSecurity},
		{"target-privileges", checkTargetPrivileges},
		{"roles", checkRoles},
		{"superuser", checkSuperuserObjects},
		{"extensions", checkExtensions},
		{"access-methods", checkAccessMethods},
		{"tablespaces", checkTablespaces},
		{"encoding", checkEncoding},
		{"locale", checkLocale},
		{"collations", checkCollations},
		{"removed-features", checkRemovedFeatures},
		{"connections", checkConnections},
		{"locks", checkLocks},
		{"snapshot-age", checkSnapshotAge},
		{"source-standby", checkSourceStandby},
		{"source-activity", checkSourceActivity},
		{"target-sessions", checkTargetSessions},
		{"not-copied", checkNotCopied},
	}
}

// Run carries out every check and returns what they found, blockers and
// warnings, in a stable order. Nothing is written on either side. If the
// databases cannot be a pair at all (too old, behind a pooler, one and the
// same, a standby as target) only that is reported.
//
// The error says which checks could not be carried out; the findings of the
// others come with it.
func Run(ctx context.Context, in Input) (Findings, error) {
	p := &probe{Input: in}
	if err := p.readServers(ctx); err != nil {
		return nil, fmt.Errorf("check servers: %w", err)
	}
	found, err := runAll(ctx, p, gates())
	if err != nil || len(found.Blockers()) > 0 {
		return found, err
	}
	more, err := runAll(ctx, p, checks())
	return append(found, more...), err
}

func runAll(ctx context.Context, p *probe, list []check) (Findings, error) {
	var all Findings
	var errs []error
	for _, c := range list {
		found, err := inReadOnly(ctx, p, c)
		all = append(all, found...)
		if err != nil {
			errs = append(errs, fmt.Errorf("check %s: %w", c.name, err))
		}
		if p.Source.IsClosed() || p.Target.IsClosed() {
			break // the others would only say the same
		}
	}
	return all, errors.Join(errs...)
}

// inReadOnly runs a check in a transaction of its own on both sides, so that
// one whose query fails does not take the next ones with it.
func inReadOnly(ctx context.Context, p *probe, c check) (found Findings, err error) {
	for _, conn := range []*pg.Conn{p.Source, p.Target} {
		// READ COMMITTED: counting sessions and locks must not depend on what the role's default is.
		tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadOnly})
		if err != nil {
			return nil, fmt.Errorf("begin on %s: %w", conn.Side(), err)
		}
		defer func() { err = errors.Join(err, tx.Rollback(ctx)) }()
	}
	return c.run(ctx, p)
}
