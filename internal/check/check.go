package check

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
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
	Around         tasks.Around
	Roles          bool   // the run makes the roles that the target lacks
	RolePasswords  bool   // with their passwords
	Choice         Choice // what is copied of the source
	Only           tasks.Sections
	Truncate       bool // the run empties the tables that it finds
	Limits         tasks.Limits

	// Clones of the source share the reading with it. They are idle connections, too.
	Clones []*pg.Conn

	// Absent is the name of the target database if the run will make it; "" if it
	// is there. Target is then on another database of its server, and what is asked
	// of the database itself is left out: it will be empty, and like the source's.
	Absent string
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
	sameServer     bool                    // both databases are in one cluster
	ongoing        bool                    // the run goes on: only its sessions are counted
	limits         [2][]tasks.SessionLimit // on the sessions of source and target
	ledger         ledgerState
	named          NamedRoles // once checkRoles has been carried out

	sourceShapes, targetShapes []pg.Shape // once they are read
}

// checkFunc is one check. An error means that it could not be carried out.
type checkFunc func(context.Context, *probe) (Findings, error)

type check struct {
	name string
	run  checkFunc
	of   tasks.Sections // that it is about; none means every run
}

// Sections that some checks are about.
const (
	schema  = tasks.SectionSchema
	data    = tasks.SectionData
	late    = tasks.SectionPostData
	indexes = tasks.SectionIndexes
)

// there is a check that asks the target database itself, if there is one.
func there(run checkFunc) checkFunc {
	return func(ctx context.Context, p *probe) (Findings, error) {
		if p.Absent != "" {
			return nil, nil
		}
		return run(ctx, p)
	}
}

// gates must pass before the others make sense: their queries may not even
// work on a server that these refuse.
func gates() []check {
	return []check{
		{"version", checkVersions, nil},
		{"same-database", there(checkSameDatabase), nil},
		{"target-standby", checkTargetStandby, nil},
	}
}

// counts must be taken before the run opens more sessions and locks tables, and
// that depends on a choice that is right.
func counts() []check {
	return []check{
		{"choice", checkChoice, nil},
		{"connections", checkConnections, nil},
		{"locks", checkLocks, nil},
	}
}

// checks lists every other check, in the order in which findings are shown.
func checks() []check {
	return []check{
		{"tools", checkTools, nil},
		{"create-database", checkCreateDatabase, nil},
		{"ledger", checkLedger, nil},
		{"target-empty", there(checkTargetEmpty), tasks.Sections{schema}},
		{"target-tables", there(checkTargetTables), tasks.Sections{data}},
		{"target-sections", there(checkTargetSections), tasks.Sections{indexes, tasks.SectionConstraints, late}},
		{"target-keys", there(checkTargetKeys), tasks.Sections{tasks.SectionConstraints}},
		{"target-sequences", there(checkTargetSequences), tasks.Sections{tasks.SectionSequences}},
		{"target-large-objects", there(checkTargetLargeObjects), tasks.Sections{tasks.SectionLargeObjects}},
		{"schemas", there(checkSchemas), tasks.Sections{schema}},
		{"default-privileges", there(checkDefaultPrivileges), tasks.Sections{schema}},
		{"source-privileges", checkSourcePrivileges, nil},
		{"large-objects", checkLargeObjects, tasks.Sections{tasks.SectionLargeObjects}},
		{"row-security", checkRowSecurity, tasks.Sections{data}},
		{"closed-tables", checkClosedTables, tasks.Sections{data}},
		{"target-privileges", there(checkTargetPrivileges), nil},
		{"roles", checkRoles, tasks.Sections{schema, late}},
		{"role-passwords", checkRolePasswords, tasks.Sections{schema, late}},
		{"superuser", checkSuperuserObjects, tasks.Sections{schema, late}},
		{"extensions", checkExtensions, tasks.Sections{schema}},
		{"extension-tables", checkExtensionTables, tasks.Sections{data, tasks.SectionSequences}},
		{"wrappers", checkWrappers, tasks.Sections{schema}},
		{"access-methods", checkAccessMethods, tasks.Sections{schema}},
		{"tablespaces", checkTablespaces, tasks.Sections{schema, indexes}},
		{"encoding", there(checkEncoding), nil},
		{"locale", there(checkLocale), nil},
		{"collations", there(checkCollations), tasks.Sections{schema}},
		{"removed-features", checkRemovedFeatures, tasks.Sections{schema, late}},
		{"open-public", checkOpenPublic, tasks.Sections{schema}},
		{"partition-exclusions", checkPartitionExclusions, tasks.Sections{schema, indexes, tasks.SectionConstraints}},
		{"snapshot-age", checkSnapshotAge, nil},
		{"source-standby", checkSourceStandby, nil},
		{"limits", checkLimits, nil},
		{"clones", checkClones, nil},
		{"source-activity", checkSourceActivity, nil},
		{"target-sessions", there(checkTargetSessions), nil},
		{"not-copied", checkNotCopied, nil},
	}
}

// Run carries out every check and returns what they found, blockers and
// warnings, in a stable order. Nothing is written on either side. If the
// databases cannot be a pair at all (too old, one and the same, a standby as
// target) only that is reported.
//
// The error says which checks could not be carried out; the findings of the
// others come with it.
func Run(ctx context.Context, in Input) (Findings, error) {
	p, err := Begin(ctx, in)
	if err != nil {
		return nil, err
	}
	return p.Finish(ctx)
}

// Preflight is [Run] in two steps: after [Begin], the run may open sessions and
// lock tables while [Preflight.Finish] goes on.
type Preflight struct {
	probe   *probe
	found   Findings
	err     error
	refused bool // the databases cannot be a pair
}

// Begin carries out those checks that the others depend on, and those that count
// sessions and locks.
func Begin(ctx context.Context, in Input) (*Preflight, error) {
	f := &Preflight{probe: &probe{Input: in}}
	if err := f.probe.readServers(ctx); err != nil {
		return nil, fmt.Errorf("check servers: %w", err)
	}
	f.found, f.err = runAll(ctx, f.probe, gates())
	f.refused = f.err != nil || len(f.found.Blockers()) > 0
	if f.refused {
		return f, nil
	}
	var more Findings
	more, f.err = runAll(ctx, f.probe, counts())
	f.found = append(f.found, more...)
	return f, nil
}

// Passing reports whether no check has failed so far.
func (f *Preflight) Passing() bool { return f.err == nil && len(f.found.Blockers()) == 0 }

// SessionLimits returns the limits on the sessions of source and target, with what
// the run needs of each. They are known after [Begin], if the databases can be a pair.
func (f *Preflight) SessionLimits() (source, target []tasks.SessionLimit) {
	return f.probe.limits[0], f.probe.limits[1]
}

// Finish carries out the other checks and returns the findings of all.
func (f *Preflight) Finish(ctx context.Context) (Findings, error) {
	if f.refused {
		return f.found, f.err
	}
	more, err := runAll(ctx, f.probe, checks())
	return append(f.found, more...), errors.Join(f.err, err)
}

// Roles returns the roles that what is copied names, once [Preflight.Finish] has
// returned without an error.
func (f *Preflight) Roles() NamedRoles { return f.probe.named }

// runAll runs checks in one read-only transaction on each side, and in another
// one after a query has failed, so that it does not take the next ones with it.
func runAll(ctx context.Context, p *probe, list []check) (Findings, error) {
	var all Findings
	var errs []error
	for _, c := range list {
		if len(c.of) > 0 && !p.Only.Has(c.of...) {
			continue
		}
		if err := beginAll(ctx, p); err != nil {
			errs = append(errs, fmt.Errorf("check %s: %w", c.name, err))
			break
		}
		found, err := c.run(ctx, p)
		all = append(all, found...)
		if err != nil {
			errs = append(errs, fmt.Errorf("check %s: %w", c.name, err))
		}
		if p.Source.IsClosed() || p.Target.IsClosed() {
			break // the others would only say the same
		}
	}
	return all, errors.Join(append(errs, endAll(ctx, p))...)
}

// beginAll begins a transaction where there is none that works. In READ COMMITTED,
// as counting sessions and locks must not depend on what the role's default is.
func beginAll(ctx context.Context, p *probe) error {
	for _, c := range []*pg.Conn{p.Source, p.Target} {
		sql := "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY"
		switch c.PgConn().TxStatus() {
		case 'T':
			continue
		case 'E':
			sql = "ROLLBACK; " + sql
		}
		if _, err := c.Exec(ctx, sql); err != nil {
			return fmt.Errorf("begin on %s: %w", c.Side(), err)
		}
	}
	return nil
}

func endAll(ctx context.Context, p *probe) error {
	var errs []error
	for _, c := range []*pg.Conn{p.Source, p.Target} {
		if c.IsClosed() || c.PgConn().TxStatus() == 'I' {
			continue
		}
		if _, err := c.Exec(ctx, "ROLLBACK"); err != nil {
			errs = append(errs, fmt.Errorf("end on %s: %w", c.Side(), err))
		}
	}
	return errors.Join(errs...)
}
