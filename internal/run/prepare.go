package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pgconvoy/pgconvoy/internal/check"
	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/filter"
	"github.com/pgconvoy/pgconvoy/internal/fleet"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/plan"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Prepared is a run that is planned and has changed nothing yet. Its source
// connection holds the snapshot.
type Prepared struct {
	Options
	Plan    tasks.Plan
	Outlook tasks.Outlook

	only    tasks.Sections // that are made
	took    time.Duration  // to plan
	shape   plan.Shape     // if it was asked for
	rules   filter.Rules
	scope   filter.Scope
	without pg.Without // what is left out of the source, our ledger included

	source, target *pg.Conn
	checking       *pg.Conn   // on the source, beside the session with the snapshot; nil if there is none
	standby        bool       // the source is one
	clones         []*pg.Conn // of the source, while they are checked
	fingerprint    tasks.Fingerprint
	snapshot       pg.Snapshot
	catalog        pg.Catalog
	deps           []pg.Dependency // of the source's objects; none if all are copied
	toc            pg.Archive
	tools          pg.Tools
	dir            string // of temporary files
	around         tasks.Around
	named          check.NamedRoles // by what is copied
	steps          []tasks.Step
	late           []tasks.Statement
	lodgers        []tasks.Lodger
	foreign        map[string]bool // extensions of the target that its role may not change; see plan.Input
	noLabels       []string        // providers of security labels that the target does not have
	archive        string          // file
}

// errChanged says that the source's definitions changed while they were read.
var errChanged = errors.New("definitions on the source changed while they were read")

// planTries is how often a plan is made anew when definitions change meanwhile.
const planTries = 3

// Prepare checks both databases and makes the plan. It changes nothing. The
// plan is made while the preflight goes on, in a session of its own, and is of no
// interest if that finds something.
func Prepare(ctx context.Context, o Options) (_ *Prepared, err error) {
	began := time.Now()
	p, preflight, err := begin(ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	if !preflight.Passing() {
		return nil, p.finish(ctx, preflight)
	}
	p.checking = p.source
	if p.source, err = connectSide(ctx, o, pg.Source); err != nil {
		return nil, err
	}
	planning, stop := context.WithCancel(ctx)
	defer stop()
	planned := make(chan error, 1)
	go func() { planned <- p.read(planning) }()
	checkErr := p.finish(ctx, preflight)
	if checkErr != nil {
		stop()
	}
	planErr := <-planned
	if err := cmp.Or(checkErr, planErr); err != nil {
		return nil, err
	}
	if err := p.planSteps(ctx); err != nil {
		return nil, err
	}
	needs := sessions(o)
	needs[0].Limits, needs[1].Limits = preflight.SessionLimits()
	p.Outlook.Sessions = needs
	if err := p.build(ctx); err != nil {
		return nil, err
	}
	if err := p.rehearse(ctx); err != nil {
		return nil, err
	}
	p.took = time.Since(began)
	return p, nil
}

// read takes the snapshot and reads what it shows, again if definitions change
// meanwhile, or if a standby ends the snapshot for the sake of its replay.
func (p *Prepared) read(ctx context.Context) error {
	if err := p.tempDir(); err != nil {
		return err
	}
	for try := 1; ; try++ {
		err := p.readOnce(ctx)
		if err == nil && p.standby { // it may have ended the session, and the snapshot with it, after the last query
			err = p.source.Ping(ctx)
		}
		if err == nil || try == planTries || !errors.Is(err, errChanged) && !p.interrupted(ctx, err) {
			return err
		}
		p.Log.Warn("source is read anew", "err", err, "attempt", try)
		if err := p.letGo(ctx); err != nil {
			return err
		}
	}
}

// letGo ends the snapshot. A session that a standby has ended is replaced.
func (p *Prepared) letGo(ctx context.Context) error {
	if !p.source.IsClosed() {
		_, err := p.source.Exec(ctx, "ROLLBACK")
		if err == nil {
			return nil
		}
		if !p.interrupted(ctx, err) {
			return fmt.Errorf("end the snapshot: %w", err)
		}
		p.source.Discard()
	}
	c, err := connectSide(ctx, p.Options, pg.Source)
	if err == nil {
		p.source = c
	}
	return err
}

// Plan is [Prepare] for a plan that is only looked at: the target database need not
// be there if a run would make it.
func Plan(ctx context.Context, o Options) (*Prepared, error) {
	return Prepare(ctx, asItWillBe(ctx, o))
}

// Check connects to both databases and runs the preflight, as [Plan] does. Its
// error, if a check fails, is a [*check.FailedError] with every finding; warnings
// are logged.
func Check(ctx context.Context, o Options) error {
	p, preflight, err := begin(ctx, asItWillBe(ctx, o))
	if err != nil {
		return err
	}
	defer p.Close()
	return p.finish(ctx, preflight)
}

// begin connects to both databases and begins the preflight.
func begin(ctx context.Context, o Options) (*Prepared, *check.Preflight, error) {
	around, err := aroundTables(o.Config)
	if err != nil {
		return nil, nil, err
	}
	rules, err := rulesOf(o.Config)
	if err != nil {
		return nil, nil, err
	}
	p, err := connectBoth(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	p.around = around
	p.only = sectionsOf(o.Config)
	p.rules = rules
	if err := p.connectClones(ctx); err != nil {
		p.Close()
		return nil, nil, err
	}
	preflight, err := p.beginPreflight(ctx)
	if err != nil {
		p.Close()
		return nil, nil, err
	}
	return p, preflight, nil
}

func (p *Prepared) beginPreflight(ctx context.Context) (*check.Preflight, error) {
	found, err := p.choose(ctx, p.source)
	if err != nil {
		return nil, err
	}
	var toolsErr error
	p.tools, toolsErr = pg.FindTools(ctx, p.Config.PGBindir, p.source.Major(), p.target.Major())
	return check.Begin(ctx, check.Input{
		Source: p.source, Target: p.target, Connections: neededSessions(p.Options), Tools: p.tools, ToolsErr: toolsErr,
		Around: p.around, Roles: p.Config.Roles != config.RolesNone, RolePasswords: p.Config.RolePasswords,
		Choice: check.Choice{Scope: p.scope, Without: p.without, Found: found}, Only: p.only, Truncate: p.Config.Truncate, Clones: p.clones,
		Absent: p.absent, Limits: fleet.LimitNumbers(p.Config.Limits),
	})
}

// connectClones connects to the clones of the source, to check them.
func (p *Prepared) connectClones(ctx context.Context) error {
	var findings check.Findings
	for _, o := range fleet.Clones(p.Config, "pgconvoy planner") {
		c, err := pg.Connect(ctx, o)
		if err != nil {
			findings = append(findings, check.ConnectFinding(pg.Source, err))
			continue
		}
		p.clones = append(p.clones, c)
	}
	return findings.Err()
}

// finish ends the preflight and logs its warnings.
func (p *Prepared) finish(ctx context.Context, preflight *check.Preflight) error {
	findings, err := preflight.Finish(ctx)
	for _, c := range p.clones {
		c.Discard()
	}
	p.clones = nil
	if err != nil {
		return err
	}
	for _, f := range findings.Warnings() {
		p.warn(f.What, "check", f.Check, "hint", f.Hint)
	}
	if err := findings.Err(); err != nil {
		return err
	}
	p.named = preflight.Roles()
	return p.fingerprints(ctx)
}

func (p *Prepared) fingerprints(ctx context.Context) (err error) {
	source := p.checking
	if source == nil { // the other one may be replaced meanwhile
		source = p.source
	}
	if p.fingerprint.Source, err = pg.Fingerprint(ctx, source); err != nil {
		return err
	}
	p.fingerprint.Target, err = pg.Fingerprint(ctx, p.target)
	if p.absent != "" {
		p.fingerprint.Target = strings.TrimSuffix(p.fingerprint.Target, p.target.Config().Database) + p.absent
	}
	return err
}

// tempDir makes the folder of temporary files, once.
func (p *Prepared) tempDir() (err error) {
	if p.dir != "" {
		return nil
	}
	if p.dir, err = os.MkdirTemp("", "pgconvoy-"); err != nil {
		return fmt.Errorf("make a folder for temporary files: %w", err)
	}
	return nil
}

// Close ends the snapshot and both connections and removes temporary files.
func (p *Prepared) Close() {
	if p.target != nil && !p.target.IsClosed() {
		disown(p.target)
	}
	for _, c := range append(p.clones, p.checking, p.source, p.target) {
		if c != nil && !c.IsClosed() {
			c.Discard()
		}
	}
	if p.dir != "" {
		if err := os.RemoveAll(p.dir); err != nil {
			p.Log.Warn("temporary files could not be removed", "err", err)
		}
	}
}

// liveTarget returns the planner's connection to the target, a new one if an
// interrupted statement has closed it.
func (p *Prepared) liveTarget(ctx context.Context) (*pg.Conn, error) {
	if !p.target.IsClosed() && p.target.Ping(ctx) == nil {
		return p.target, nil
	}
	p.target.Discard()
	c, err := connectSide(ctx, p.Options, pg.Target)
	if err != nil {
		return nil, err
	}
	p.target = c
	return c, nil
}

// readOnce locks the tables, takes a snapshot, and reads catalog and archive in it.
func (p *Prepared) readOnce(ctx context.Context) error {
	if err := p.lock(ctx); err != nil {
		if pg.IsCode(err, "42P01") || pg.IsCode(err, "3F000") {
			return fmt.Errorf("%w: %w", errChanged, err)
		}
		return err
	}
	p.Log.Info("snapshot exported", "snapshot", p.snapshot.Text)
	p.archive = filepath.Join(p.dir, "schema.dump")
	group, reading := errgroup.WithContext(ctx)
	group.Go(func() error {
		var err error
		if err = p.tools.DumpSchema(reading, p.database(pg.Source), p.snapshot.Name, p.archive, p.without); err == nil {
			p.toc, err = p.tools.ReadArchive(reading, p.archive)
		}
		return err
	})
	group.Go(func() error {
		var err error
		if p.catalog, err = pg.ReadCatalog(reading, p.source, p.without); errors.Is(err, pg.ErrRewritten) {
			return fmt.Errorf("%w: %w", errChanged, err)
		}
		if err == nil && !p.scope.All() {
			p.deps, err = pg.ReadDependencies(reading, p.source)
		}
		if err != nil {
			return err
		}
		return unchanged(p.catalog)
	})
	return group.Wait()
}

// lockWait bounds how long the planner waits for a session that is changing
// tables.
const lockWait = "60s"

// lock locks the tables and then takes the snapshot, so that it shows them as
// they stay. Tables that appeared in between are locked in the end.
func (p *Prepared) lock(ctx context.Context) error {
	known, err := pg.TableNames(ctx, p.source, p.without)
	if err != nil {
		return err
	}
	if p.snapshot, err = pg.ExportLocked(ctx, p.source, known, lockWait); err != nil {
		return err
	}
	found, err := p.choose(ctx, p.source) // in the snapshot
	if err == nil {
		err = found.Err()
	}
	if err != nil {
		return err
	}
	names, err := pg.TableNames(ctx, p.source, p.without)
	if err != nil {
		return err
	}
	locked := make(map[string]bool, len(known))
	for _, name := range known {
		locked[name] = true
	}
	return pg.LockTables(ctx, p.source, slices.DeleteFunc(names, func(name string) bool { return locked[name] }), lockWait)
}

// unchanged makes sure that what the snapshot shows is what the newest catalog
// shows: definitions are read from the latter.
func unchanged(cat pg.Catalog) error {
	var changed []string
	for _, r := range cat.Tables {
		if r.Kind == "r" && r.SnapFilenode != 0 && r.Filenode != r.SnapFilenode {
			changed = append(changed, r.Schema+"."+r.Name+" was rewritten or truncated")
		}
	}
	for _, x := range cat.Indexes {
		if x.Definition == "" || x.Constraint != nil && x.Constraint.Definition == "" {
			changed = append(changed, "index "+x.Name+" was dropped")
		}
	}
	for _, f := range cat.ForeignKeys {
		if f.Definition == "" {
			changed = append(changed, "foreign key "+f.Name+" was dropped")
		}
	}
	if len(changed) > 0 {
		return fmt.Errorf("%w: %s", errChanged, strings.Join(changed, ", "))
	}
	return nil
}

// build makes the plan, and lets go of what was read for it.
func (p *Prepared) build(ctx context.Context) error {
	cat, archive, deps := p.catalog, p.toc, p.deps
	p.catalog, p.toc, p.deps = pg.Catalog{}, pg.Archive{}, nil
	entries := archive.Entries
	var skipped []tasks.Skipped
	if !p.scope.All() {
		choice, names, err := p.follow(ctx, deps, entries)
		if err != nil {
			return err
		}
		cat, entries, skipped = choice.Prune(cat), choice.Entries, choice.Skipped(names)
	}
	selection, err := plan.Select(cat, entries)
	if err != nil {
		return err
	}
	sql, err := archive.SQL(ctx, selection.Kept())
	if err != nil {
		return err
	}
	options := planOptions(p.Config)
	options.Around, options.Only = p.around, p.only
	cuts := p.Follow.cuts(cat)
	bounds := map[uint32][]string{}
	for _, s := range plan.KeySplits(options, cat, p.scope) {
		if _, given := cuts[s.Table]; given {
			continue
		}
		bounds[s.Table], err = pg.KeyBounds(ctx, p.source, s.Name.String(), s.Key, s.Blocks, s.NumParts)
		if err != nil {
			return err
		}
	}
	same, err := p.sameText(ctx)
	if err != nil {
		return err
	}
	existing, err := p.existing(ctx, cat)
	if err != nil {
		return err
	}
	wal, err := pg.ReadWALSettings(ctx, p.target)
	if err != nil {
		return err
	}
	in := plan.Input{
		Options: options, Catalog: cat, Selection: selection, SQL: sql, Cuts: cuts, Bounds: bounds, Late: p.late, Lodgers: p.lodgers, Foreign: p.foreign, NoLabels: p.noLabels,
		TargetMajor: p.target.Major(), TargetWAL: wal, SameText: same, Scope: p.scope, Skipped: skipped, Existing: existing,
	}
	if err := p.knowShape(ctx, in); err != nil {
		return err
	}
	if p.Plan, err = plan.Build(in); err != nil {
		return err
	}
	p.Plan.Steps = p.steps
	return nil
}

func planOptions(c config.Config) plan.Options {
	return plan.Options{
		SplitLargerThan: int64(c.Split.LargerThan), MaxParts: c.Split.MaxParts,
		BundleMaxTable: int64(c.Bundle.MaxTable), BundleMaxBytes: int64(c.Bundle.MaxBytes), BundleMaxTables: c.Bundle.MaxTables,
		IndexCap: c.Caps.Index, Verify: string(c.Verify),
	}
}

// sameText reports whether text hashes alike on both sides.
func (p *Prepared) sameText(ctx context.Context) (bool, error) {
	if p.absent != "" {
		return true, nil // it will be made like the source's
	}
	var text [2]string
	for i, c := range []*pg.Conn{p.source, p.target} {
		err := c.QueryRow(ctx, `SELECT pg_catalog.pg_encoding_to_char(encoding) || ' ' || datcollate || ' ' || datctype
			FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()`).Scan(&text[i])
		if err != nil {
			return false, fmt.Errorf("read encoding of the %s: %w", c.Side(), err)
		}
	}
	return text[0] == text[1], nil
}
