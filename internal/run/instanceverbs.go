package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgconvoy/pgconvoy/internal/check"
	"github.com/pgconvoy/pgconvoy/internal/ledger"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// CheckInstance runs the preflight for every database that is chosen. Its error, if
// a check fails, is a [*check.FailedError] with every finding of all of them;
// warnings are logged.
func CheckInstance(ctx context.Context, o Options) error {
	i, names, err := look(ctx, o)
	if err != nil {
		return err
	}
	return i.check(ctx, names)
}

// look chooses the databases for a verb that changes nothing.
func look(ctx context.Context, o Options) (*instance, []string, error) {
	i, err := newInstance(o)
	if err != nil {
		return nil, nil, err
	}
	names, left, err := i.choose(ctx)
	if err != nil {
		return nil, nil, err
	}
	i.tell(names, left)
	return i, names, nil
}

// check runs the preflight for the databases.
func (i *instance) check(ctx context.Context, names []string) error {
	var all namedFindings
	for _, name := range names {
		err := Check(ctx, i.about(name))
		var failed *check.FailedError
		switch {
		case errors.As(err, &failed):
			all.add(name, failed.Findings.Blockers())
		case err != nil:
			return fmt.Errorf("database %s: %w", tasks.QuoteIdent(name), err)
		}
	}
	return all.merged().Err()
}

// namedFindings are what preflights of several databases have found.
type namedFindings struct {
	found check.Findings
	names [][]string // of the databases, for each finding
}

// add notes findings. One that reads the same for several databases is one.
func (n *namedFindings) add(database string, found check.Findings) {
	for _, f := range found {
		at := slices.Index(n.found, f)
		if at < 0 {
			n.found, n.names = append(n.found, f), append(n.names, nil)
			at = len(n.found) - 1
		}
		n.names[at] = append(n.names[at], tasks.QuoteIdent(database))
	}
}

// shownNames is how many databases a finding lists.
const shownNames = 10

// merged returns the findings, each with the databases that it is about.
func (n *namedFindings) merged() check.Findings {
	merged := slices.Clone(n.found)
	for i, names := range n.names {
		of := "database " + names[0]
		if len(names) > 1 {
			of = fmt.Sprintf("%d databases (%s", len(names), strings.Join(names[:min(len(names), shownNames)], ", "))
			if len(names) > shownNames {
				of += ", …"
			}
			of += ")"
		}
		merged[i].What = of + ": " + merged[i].What
	}
	return merged
}

// PlanInstance makes the plan of every database that is chosen, after the preflight
// of all, and calls each with it. It changes nothing. What the planner does for
// several databases, such as making a role, is in the plan of the first.
func PlanInstance(ctx context.Context, o Options, each func(tasks.DatabasePlan) error) error {
	i, names, err := look(ctx, o)
	if err != nil {
		return err
	}
	if err := i.check(ctx, names); err != nil {
		return err
	}
	before := map[string]bool{}
	for _, name := range names {
		p, err := Plan(ctx, i.about(name))
		if err != nil {
			return fmt.Errorf("database %s: %w", tasks.QuoteIdent(name), err)
		}
		err = p.Estimate(ctx, false)
		p.Close()
		if err != nil {
			return fmt.Errorf("database %s: %w", tasks.QuoteIdent(name), err)
		}
		p.Plan.Steps = slices.DeleteFunc(p.Plan.Steps, func(s tasks.Step) bool { return before[s.Label] })
		for _, s := range p.Plan.Steps {
			before[s.Label] = true
		}
		if err := each(tasks.DatabasePlan{Database: name, Plan: p.Plan, Outlook: p.Outlook}); err != nil {
			return err
		}
	}
	return nil
}

// ListInstance is [List] for every database that is chosen, with its name in the
// first column.
func ListInstance(ctx context.Context, o Options, what string) (tasks.Listing, error) {
	var all tasks.Listing
	if what == "databases" { // of the server, whatever is chosen
		return List(ctx, o, what)
	}
	i, names, err := look(ctx, o)
	if err != nil {
		return all, err
	}
	for _, name := range names {
		one, err := List(ctx, i.about(name), what)
		if err != nil {
			return all, fmt.Errorf("database %s: %w", tasks.QuoteIdent(name), err)
		}
		all.Columns = append([]tasks.ListColumn{textColumn("database")}, one.Columns...)
		for _, row := range one.Rows {
			all.Rows = append(all.Rows, append([]any{tasks.QuoteIdent(name)}, row...))
		}
	}
	return all, nil
}

// StatusInstance says how far a run of several databases is, from their ledgers,
// with what the queue says of the one that is under way. It changes nothing.
func StatusInstance(ctx context.Context, o Options) (s tasks.InstanceStatus, err error) {
	i, parts, err := openBegun(ctx, o)
	if err != nil {
		return s, err
	}
	defer i.close()
	s.Run, s.UID, s.State = o.Config.Run, parts[0].instance.UID, tasks.RunFailed
	if s.Owned, err = ledger.InstanceOwned(ctx, i.target); err != nil {
		return s, err
	}
	switch {
	case complete(parts):
		s.State = tasks.RunComplete
	case s.Owned:
		s.State = tasks.RunRunning
	}
	for _, name := range parts[0].instance.Databases {
		d := tasks.DatabaseStatus{Database: name}
		if at := slices.IndexFunc(parts, func(p part) bool { return p.name == name }); at >= 0 {
			one, err := i.statusOf(ctx, parts[at])
			if err != nil {
				return s, fmt.Errorf("database %s: %w", tasks.QuoteIdent(name), err)
			}
			d.Status = &one
		}
		s.Databases = append(s.Databases, d)
	}
	return s, nil
}

// statusOf looks at one database: closely if it is under way.
func (i *instance) statusOf(ctx context.Context, p part) (s tasks.RunStatus, err error) {
	if p.state == tasks.RunRunning {
		return Status(ctx, i.about(p.name))
	}
	err = onLedger(ctx, i.about(p.name), func(ctx context.Context, l *ledger.Ledger, c *pg.Conn) error {
		s, err = l.Status(ctx, c)
		return err
	})
	s.Database = p.name
	return s, err
}

// ReportInstance reads what a run of several databases has done, as far as it is, from
// their ledgers, which it leaves alone.
func ReportInstance(ctx context.Context, o Options) (report tasks.InstanceReport, err error) {
	s, err := StatusInstance(ctx, o)
	if err != nil {
		return report, err
	}
	i, err := newInstance(o)
	if err != nil {
		return report, err
	}
	report.Run, report.UID, report.State = s.Run, s.UID, s.State
	for _, d := range s.Databases {
		one := tasks.DatabaseReport{Database: d.Database}
		if d.Status != nil {
			r, err := Report(ctx, i.about(d.Database))
			if err != nil {
				return report, fmt.Errorf("database %s: %w", tasks.QuoteIdent(d.Database), err)
			}
			one.State, one.Report = r.State, &r
			report.Rows, report.Bytes, report.Elapsed = report.Rows+r.Rows, report.Bytes+r.Bytes, report.Elapsed+r.Elapsed
		}
		report.Databases = append(report.Databases, one)
	}
	return report, nil
}

// instanceRuns lists what the target knows of a run of several databases.
func instanceRuns(ctx context.Context, o Options) (list []tasks.RunStatus, err error) {
	i, err := newInstance(o)
	if err != nil {
		return nil, err
	}
	defer i.close()
	if err := i.connectTarget(ctx); err != nil {
		return nil, err
	}
	parts, err := i.find(ctx)
	for _, p := range parts {
		s, err := i.statusOf(ctx, p)
		if err != nil {
			return list, fmt.Errorf("database %s: %w", tasks.QuoteIdent(p.name), err)
		}
		list = append(list, s)
	}
	return list, err
}

// current returns the options of the run about the database that is under way.
func current(ctx context.Context, o Options) (Options, error) {
	i, parts, err := openBegun(ctx, o)
	if err != nil {
		return o, err
	}
	defer i.close()
	for _, p := range parts {
		if p.state == tasks.RunRunning {
			return i.about(p.name), nil
		}
	}
	owned, err := ledger.InstanceOwned(ctx, i.target)
	if err == nil && owned {
		err = errBetween
	}
	if err == nil {
		err = tasks.WithHint(errNoneRunning, "planner status says how far the run is; planner resume goes on with it")
	}
	return o, fmt.Errorf("run %s: %w", o.Config.Run, err)
}

// awaitCurrent is current that waits while the planner is between two databases.
func awaitCurrent(ctx context.Context, o Options) (Options, error) {
	for said := false; ; said = true {
		one, err := current(ctx, o)
		if !errors.Is(err, errBetween) {
			return one, err
		}
		if !said {
			o.Log.Info("waiting until the planner has come to the next database")
		}
		select {
		case <-ctx.Done():
			return o, context.Cause(ctx)
		case <-time.After(lookEvery):
		}
	}
}

var (
	// errNoneRunning is returned when no database of a run is under way.
	errNoneRunning = errors.New("no database is being copied at the moment")
	// errBetween is returned when that is so because the planner makes the plan of the
	// next one, or ends the run.
	errBetween = errors.New("the planner is between two databases")
)

// onUnfinished calls do with the options of the run about every database that is
// not complete.
func onUnfinished(ctx context.Context, o Options, do func(context.Context, Options) error) error {
	i, parts, err := openBegun(ctx, o)
	if err != nil {
		return err
	}
	defer i.close()
	var errs []error
	for _, p := range parts {
		if p.state == tasks.RunComplete {
			continue
		}
		if err := do(ctx, i.about(p.name)); err != nil {
			errs = append(errs, &DatabaseError{p.name, err})
		}
	}
	return errors.Join(errs...)
}

// cancelInstance ends a run of several databases: the one that is under way as
// [Cancel] does it, and with it the planner.
func cancelInstance(ctx context.Context, o Options, how Cancellation) error {
	one, err := awaitCurrent(ctx, o)
	if errors.Is(err, errNoneRunning) && !how.Keep {
		return cleanupInstance(ctx, o, false)
	}
	if err != nil {
		return err
	}
	kept := how
	kept.Keep = true
	if err := Cancel(ctx, one, kept); err != nil || how.Keep {
		return err
	}
	return cleanupInstance(ctx, o, true)
}

// cleanupInstance does for every database of the run what [Cleanup] does: what was
// copied of those that are not complete is dropped. wait says to wait until the
// planner of the run has ended.
func cleanupInstance(ctx context.Context, o Options, wait bool) error {
	i, err := newInstance(o)
	if err != nil {
		return err
	}
	defer i.close()
	if wait {
		err = i.awaitOwn(ctx)
	} else {
		err = i.own(ctx)
	}
	if err != nil {
		return err
	}
	parts, err := i.begun(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range parts {
		if err := Cleanup(ctx, i.about(p.name)); err != nil {
			errs = append(errs, &DatabaseError{p.name, err})
		}
	}
	return errors.Join(errs...)
}

// awaitOwn is own that waits for another planner to end.
func (i *instance) awaitOwn(ctx context.Context) error {
	if err := i.connectTarget(ctx); err != nil {
		return err
	}
	return awaitOwn(ctx, i.Options, i.target, ledger.OwnInstance, nil)
}

// VerifyInstance compares every database that is chosen with the one of the same
// name on the target, as compare does it. The error says which of them differ, or
// could not be compared.
func VerifyInstance(ctx context.Context, o Options, compare func(ctx context.Context, database string, o Options) error) error {
	i, names, err := look(ctx, o)
	if err != nil {
		return err
	}
	defer i.close()
	failed := &ComparedError{}
	for n, name := range names {
		one := i.about(name)
		one.member.follow = n < len(names)-1
		err := compare(ctx, name, one)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			failed.Databases = append(failed.Databases, &DatabaseError{name, err})
		}
	}
	if len(failed.Databases) > 0 {
		return failed
	}
	return nil
}
