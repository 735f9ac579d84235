package run

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/pgconvoy/pgconvoy/internal/check"
	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/ledger"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/plan"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// DifferenceError is returned when source and target are not equal.
type DifferenceError struct{ Tables int }

func (e *DifferenceError) Error() string {
	return "source and target differ in " + tasks.Plural(e.Tables, "table")
}

// ExitCode is that of a difference.
func (e *DifferenceError) ExitCode() int { return 4 }

// ComparisonError is returned when a comparison could not be carried out whole.
type ComparisonError struct{ Failures []tasks.Failure }

func (e *ComparisonError) Error() string {
	return fmt.Sprintf("comparison is not complete: %s failed", tasks.Plural(len(e.Failures), "task"))
}

// Lines lists the failures, then what they mean.
func (e *ComparisonError) Lines() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, f := range e.Failures {
			if !yield(fmt.Sprintf("task %s failed: %s", f.Task, f.Reason), "") {
				return
			}
		}
		yield(e.Error(), "")
	}
}

// Verify compares all tables of source and target as they are now, each side in
// one snapshot. It is a run of its own, done by the same workers as a copy of
// that name: they measure both sides, in parts, and look for the rows that
// differ. Its ledger stands in the target meanwhile, beside that of a complete
// run if there is one; nothing else is changed, and nothing is left of it,
// whatever the outcome. Its error, if the sides differ, is a [*DifferenceError].
func Verify(ctx context.Context, o Options) (result tasks.Comparison, err error) {
	if o.Config.Verify == config.VerifyNone {
		o.Config.Verify = config.VerifyRows
	}
	result.Level = string(o.Config.Verify)
	rules, err := rulesOf(o.Config)
	if err != nil {
		return result, err
	}
	p, err := connectBoth(ctx, o)
	if err != nil {
		return result, err
	}
	defer p.Close()
	p.rules = rules
	if err := own(ctx, o, p.target, ledger.Own); err != nil {
		return result, err
	}
	if _, err := dropComparison(ctx, o, p.target); err != nil {
		return result, err
	}
	if err := p.fingerprints(ctx); err != nil {
		return result, err
	}
	// The target's snapshot has a session of its own: the planner's is for the ledger.
	keeper, err := connectSide(ctx, o, pg.Target)
	if err != nil {
		return result, err
	}
	defer keeper.Discard()
	if err := p.planComparison(ctx, keeper, &result); err != nil {
		return result, err
	}
	if err := p.runComparison(ctx, &result); err != nil {
		return result, err
	}
	if len(result.Differences) > 0 {
		return result, &DifferenceError{Tables: len(result.Differences)}
	}
	return result, nil
}

// connectSide opens a session of the planner.
func connectSide(ctx context.Context, o Options, side pg.Side) (*pg.Conn, error) {
	return pg.Connect(ctx, o.database(side))
}

// connectBoth connects to both databases and reports what is wrong with either.
func connectBoth(ctx context.Context, o Options) (*Prepared, error) {
	p := &Prepared{Options: o}
	var targetErr error
	connecting := make(chan struct{})
	go func() {
		defer close(connecting)
		p.target, targetErr = connectSide(ctx, o, pg.Target)
	}()
	var sourceErr error
	p.source, sourceErr = connectSide(ctx, o, pg.Source)
	<-connecting
	var findings check.Findings
	if sourceErr != nil {
		findings = append(findings, check.ConnectFinding(pg.Source, sourceErr))
	}
	if targetErr != nil {
		findings = append(findings, check.ConnectFinding(pg.Target, targetErr))
	}
	if len(findings) == 0 {
		err := p.source.QueryRow(ctx, "SELECT pg_catalog.pg_is_in_recovery()").Scan(&p.standby)
		if err == nil {
			return p, nil
		}
		p.Close()
		return nil, fmt.Errorf("ask whether the source is a standby: %w", err)
	}
	p.Close()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return nil, findings.Err()
}

// planComparison takes the snapshots of both sides, the target's with keeper,
// and makes the plan. The differences that show without a look at the rows are
// in the result.
func (p *Prepared) planComparison(ctx context.Context, keeper *pg.Conn, result *tasks.Comparison) (err error) {
	in := plan.CompareInput{Options: planOptions(p.Config), Bounds: map[uint32][]string{}}
	if p.snapshot, err = pg.ExportSnapshot(ctx, p.source); err != nil {
		return fmt.Errorf("source: %w", err)
	}
	ours, err := pg.ExportSnapshot(ctx, keeper)
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	in.Snapshots = [2]string{p.snapshot.Name, ours.Name}
	found, err := p.choose(ctx, p.source)
	if err == nil {
		err = found.Err()
	}
	if err != nil {
		return err
	}
	if in.Source, err = pg.ReadCatalog(ctx, p.source, p.without); err != nil {
		return err
	}
	if in.Target, err = pg.ReadCatalog(ctx, keeper, pg.Without{Schemas: []string{ledger.Schema}}); err != nil {
		return err
	}
	in.Source, in.Scope = p.scope.Narrow(in.Source), p.scope
	for _, s := range plan.KeySplits(in.Options, in.Source, p.scope) {
		if in.Bounds[s.Table], err = pg.KeyBounds(ctx, p.source, s.Name.String(), s.Key, s.Blocks, s.NumParts); err != nil {
			return err
		}
	}
	if in.SameText, err = p.sameText(ctx); err != nil {
		return err
	}
	if in.Places, err = p.otherPlaces(ctx, keeper, in.Source, in.Target); err != nil {
		return err
	}
	p.Plan, result.Differences, result.Tables, err = plan.Compare(in)
	for _, s := range p.Plan.Skipped {
		p.Log.Warn("not compared: "+s.Object, "hint", s.Reason)
	}
	return err
}

// runComparison has the plan done and adds what was found to the result.
func (p *Prepared) runComparison(ctx context.Context, result *tasks.Comparison) (err error) {
	conn, stop, err := openQueue(ctx, p.Options)
	if err != nil {
		return err
	}
	defer stop()
	uid, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("make the comparison's identifier: %w", err)
	}
	l, err := ledger.CreateComparison(ctx, p.target, ledger.New{
		Run:     tasks.RunID{Name: p.Config.Run, UID: uid.String(), FP: p.fingerprint},
		Version: p.Version, ConfigDigest: configDigest(p.Config), Snapshot: p.snapshot,
	}, p.Plan)
	if err != nil {
		// It may be there all the same: an interrupt can come after the commit.
		return errors.Join(explainLedger(err), p.undoComparison(context.WithoutCancel(ctx)))
	}
	p.Log.Info("comparison begins", "run", p.Config.Run, "tables", result.Tables, "tasks", len(p.Plan.Tasks))
	r := &running{Options: p.Options, prepared: p, ledger: l, conn: conn, compares: true, began: true, released: true}
	began := time.Now()
	ctx, span := r.trace(ctx, "verify", began)
	defer span.End()
	runErr := r.work(ctx)
	err = r.endComparison(context.WithoutCancel(ctx), result, runErr)
	r.announceCompared(context.WithoutCancel(ctx), *result, time.Since(began), err)
	return err
}

// undoComparison drops what there is of the comparison's ledger.
func (p *Prepared) undoComparison(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	target, err := p.liveTarget(ctx)
	if err != nil {
		return err
	}
	if _, err := ledger.DropComparisons(ctx, target); err != nil {
		return tasks.WithHint(err, "planner cleanup drops it")
	}
	return nil
}

// explainLedger says what to do if the ledger of a comparison cannot be made.
func explainLedger(err error) error {
	switch {
	case errors.Is(err, ledger.ErrOccupied):
		return tasks.WithHint(err, "planner resume finishes the run that is there, planner cleanup drops what it made")
	case pg.IsCode(err, "42501"):
		return tasks.WithHint(err, "the comparison keeps its ledger in the target: GRANT CREATE ON DATABASE … to the role that pgconvoy connects as")
	case pg.IsCode(err, "25006"):
		return tasks.WithHint(err, "the comparison keeps its ledger in the target, which is read-only: compare with its primary")
	}
	return err
}

// endComparison reads what was found and clears everything away.
func (r *running) endComparison(ctx context.Context, result *tasks.Comparison, runErr error) error {
	ctx, cancel := context.WithTimeout(ctx, endTimeout+r.Config.Grace)
	defer cancel()
	target, err := r.prepared.liveTarget(ctx)
	if err != nil {
		return errors.Join(runErr, err)
	}
	if q, _ := r.current(); q != nil {
		r.deleteQueue(ctx, q)
	}
	if runErr != nil {
		r.drain(ctx, target)
	}
	if _, stuck := errors.AsType[*stuckError](runErr); stuck {
		report, err := r.ledger.Report(ctx, target)
		if err != nil {
			return errors.Join(runErr, err)
		}
		runErr = &ComparisonError{Failures: report.Failures}
	}
	if runErr == nil {
		var found []tasks.Difference
		found, result.Rows, runErr = r.ledger.Differences(ctx, target)
		result.Differences = append(result.Differences, found...)
		slices.SortFunc(result.Differences, func(x, y tasks.Difference) int { return tasks.CompareNames(x.Table, y.Table) })
	}
	return errors.Join(runErr, r.prepared.undoComparison(ctx))
}
