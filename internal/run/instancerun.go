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
	"github.com/pgconvoy/pgconvoy/internal/ledger"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/queue"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// CopyInstance copies the databases that the setting databases chooses, one after
// the other, largest first, each in a snapshot of its own, after the preflight of
// all. Those that the target lacks are made. One that fails does not keep the others
// from being copied; the error is an [*InstanceError] then.
func CopyInstance(ctx context.Context, o Options) (report tasks.InstanceReport, err error) {
	i, err := newInstance(o)
	if err != nil {
		return report, err
	}
	defer i.close()
	if err := i.own(ctx); err != nil {
		return report, err
	}
	names, left, err := i.choose(ctx)
	if err != nil {
		return report, err
	}
	i.tell(names, left)
	if err := i.check(ctx, names); err != nil {
		return report, err
	}
	uid, err := uuid.NewV7()
	if err != nil {
		return report, fmt.Errorf("make the run's identifier: %w", err)
	}
	report.LeftOut = left
	return i.copy(ctx, report, tasks.Instance{UID: uid.String(), Databases: names}, nil, Resumption{})
}

// tell says what will be copied, and what not.
func (i *instance) tell(names []string, left []tasks.LeftOut) {
	i.Log.Info("databases are chosen", "databases", len(names), "first", names[0])
	for _, l := range left {
		i.Log.Info("database is left out", "database", l.Database, "reason", l.Reason)
	}
}

// ResumeInstance goes on with a run of several databases: those that are complete
// stay as they are, one that was begun goes on as [Resume] does it, and the others
// are begun.
func ResumeInstance(ctx context.Context, o Options, how Resumption) (report tasks.InstanceReport, err error) {
	if how.Standby {
		return report, tasks.WithHint(errors.New("a planner cannot stand by for a run of several databases"), "leave --standby out; planner resume goes on when the other planner has ended")
	}
	i, err := newInstance(o)
	if err != nil {
		return report, err
	}
	defer i.close()
	if err := i.own(ctx); err != nil {
		return report, err
	}
	parts, err := i.begun(ctx)
	if err != nil {
		return report, err
	}
	if complete(parts) {
		i.Log.Info("run is complete already", "run", o.Config.Run)
	}
	return i.copy(ctx, report, parts[0].instance, parts, how)
}

// copy does the databases of the run, as far as they are not done, and then ends
// the run. It says so to others.
func (i *instance) copy(ctx context.Context, report tasks.InstanceReport, in tasks.Instance, parts []part, how Resumption) (tasks.InstanceReport, error) {
	report.Run, report.UID, report.State = i.Config.Run, in.UID, tasks.RunFailed
	for _, name := range in.Databases {
		report.Databases = append(report.Databases, tasks.DatabaseReport{Database: name})
	}
	conn, err := i.shared.queue(ctx, i.Options)
	if err != nil {
		return report, err
	}
	i.announceStart(ctx, conn, in, parts != nil)
	report, err = i.copyEach(ctx, report, in, parts, how)
	i.announceEnd(context.WithoutCancel(ctx), conn, report)
	return report, err
}

// copyEach does one database after the other.
func (i *instance) copyEach(ctx context.Context, report tasks.InstanceReport, in tasks.Instance, parts []part, how Resumption) (tasks.InstanceReport, error) {
	began := time.Now()
	all := complete(parts)
	failed := &InstanceError{Run: i.Config.Run}
	var ended error
	for n, name := range in.Databases {
		o := i.about(name)
		o.member.of, o.member.follow = &in, n < len(in.Databases)-1
		d := &report.Databases[n]
		at := slices.IndexFunc(parts, func(p part) bool { return p.name == name })
		one, err := tasks.Report{}, error(nil)
		switch {
		case at < 0 && all: // its ledger was dropped already
			d.State = tasks.RunComplete
			continue
		case at < 0:
			one, err = Run(ctx, o)
		case parts[at].state == tasks.RunComplete:
			one, err = Report(ctx, o)
		default:
			one, err = Resume(ctx, o, how)
		}
		if one.RunUID != "" {
			d.Report, d.State = &one, one.State
			report.Rows, report.Bytes = report.Rows+one.Rows, report.Bytes+one.Bytes
		}
		if err == nil {
			o.Log.Info("database is complete", "rows", one.Rows, "bytes", one.Bytes, "duration", one.Elapsed, "left", len(in.Databases)-n-1)
			continue
		}
		d.Error = firstOf(err)
		if endsAll(err) || ctx.Err() != nil {
			ended = err
			break
		}
		failed.add(name, err)
		o.Log.Warn("database is not complete; the others go on", "err", d.Error)
	}
	if ended == nil && !all {
		ended = i.findEmptied(ctx, &report, failed)
	}
	report.Elapsed = time.Since(began)
	if ended != nil || len(failed.Databases) > 0 {
		for _, d := range report.Databases {
			if d.State != tasks.RunComplete {
				failed.Left++
			}
		}
		if ended != nil {
			if pg.IsInterrupt(ended) && ctx.Err() != nil {
				report.State = tasks.RunCancelled
			}
			return report, errors.Join(ended, failed.orNil())
		}
		return report, failed
	}
	report.State = tasks.RunComplete
	return report, i.finish(context.WithoutCancel(ctx), in.Databases)
}

// findEmptied looks for databases that are not complete any more, as the target has
// crashed since. The error is that of the looking.
func (i *instance) findEmptied(ctx context.Context, report *tasks.InstanceReport, failed *InstanceError) error {
	for n := range report.Databases {
		d := &report.Databases[n]
		if d.State != tasks.RunComplete {
			continue
		}
		err := onLedger(ctx, i.about(d.Database), func(ctx context.Context, l *ledger.Ledger, c *pg.Conn) error {
			emptied, err := l.Emptied(ctx, c)
			if err == nil && len(emptied) > 0 {
				err = &EmptiedError{emptied}
			}
			return err
		})
		var emptied *EmptiedError
		switch {
		case errors.As(err, &emptied):
			d.State, d.Error = tasks.RunFailed, err.Error()
			failed.add(d.Database, err)
		case err != nil:
			return fmt.Errorf("database %s: %w", tasks.QuoteIdent(d.Database), err)
		}
	}
	return nil
}

// EmptiedError is returned when a crash of the target has emptied unlogged tables of
// a database that was complete, while others of the run were not.
type EmptiedError struct{ Tables []tasks.Name }

func (e *EmptiedError) Error() string {
	return "the target has crashed since the database was complete, and its unlogged tables are empty: " + listNames(e.Tables)
}

// Hint says how to go on.
func (e *EmptiedError) Hint() string {
	return "planner resume --recopy copies the database's rows again, in a new snapshot"
}

// endsAll reports whether after the error of one database the others cannot go on:
// somebody wants the run to end, or owns it, or the queue cannot be had.
func endsAll(err error) bool {
	var busy *queue.BusyError
	return pg.IsInterrupt(err) || errors.Is(err, errCancelled) || errors.Is(err, errOwned) || errors.As(err, &busy) || isPassing(err)
}

// finish drops the ledgers of a run that is complete, unless they are to be kept, or
// a report could not be written of what is in them.
// All of them say before that it is: one that is interrupted here goes on with those
// that are left.
func (i *instance) finish(ctx context.Context, names []string) error {
	onEach := func(do func(context.Context, *ledger.Ledger, *pg.Conn) error) error {
		for _, name := range names {
			if err := onLedger(ctx, i.about(name), do); err != nil {
				return tasks.WithHint(fmt.Errorf("all databases are complete, but the ledger of database %s is still there: %w", tasks.QuoteIdent(name), err),
					"planner resume drops it; or in every database of the run: DROP SCHEMA pgconvoy CASCADE")
			}
		}
		return nil
	}
	err := onEach(func(ctx context.Context, l *ledger.Ledger, c *pg.Conn) error { return l.InstanceComplete(ctx, c) })
	if err != nil || i.Config.KeepLedger || i.shared.unreported {
		return err
	}
	return onEach(func(ctx context.Context, _ *ledger.Ledger, c *pg.Conn) error { return ledger.Drop(ctx, c) })
}

// onLedger calls do with the ledger of one database; it does nothing if there is
// none any more.
func onLedger(ctx context.Context, o Options, do func(context.Context, *ledger.Ledger, *pg.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	c, err := connectTarget(ctx, o)
	if err != nil {
		return err
	}
	defer c.Discard()
	l, err := ledger.Open(ctx, c, o.Config.Run)
	if errors.Is(err, ledger.ErrNoRun) {
		return nil
	}
	if err != nil {
		return err
	}
	return do(ctx, l, c)
}

// DatabaseError is why one of several databases is not complete, or could not be
// looked at.
type DatabaseError struct {
	Database string
	Err      error
}

func (e *DatabaseError) Error() string {
	return fmt.Sprintf("database %s: %v", tasks.QuoteIdent(e.Database), e.Err)
}

// Unwrap returns the error beneath.
func (e *DatabaseError) Unwrap() error { return e.Err }

// lines yields the messages of the error beneath, with its hints.
func (e *DatabaseError) lines(yield func(message, hint string) bool) bool {
	prefix := fmt.Sprintf("database %s: ", tasks.QuoteIdent(e.Database))
	var several interface {
		Lines() iter.Seq2[string, string]
	}
	var hinted interface{ Hint() string }
	switch {
	case errors.As(e.Err, &several):
		for message, hint := range several.Lines() {
			if !yield(prefix+message, hint) {
				return false
			}
		}
		return true
	case errors.As(e.Err, &hinted):
		return yield(e.Error(), hinted.Hint())
	}
	return yield(e.Error(), "")
}

// InstanceError is returned when not all databases of a run are complete.
type InstanceError struct {
	Run       string
	Databases []*DatabaseError // that failed
	Left      int              // that are not complete
}

func (e *InstanceError) add(database string, err error) {
	e.Databases = append(e.Databases, &DatabaseError{database, err})
}

// orNil returns nil if no database has failed.
func (e *InstanceError) orNil() error {
	if len(e.Databases) == 0 {
		return nil
	}
	return e
}

func (e *InstanceError) Error() string {
	return fmt.Sprintf("run %s is not complete: it lacks %s", e.Run, tasks.Plural(e.Left, "database"))
}

// Lines says what failed in each database, then what to do.
func (e *InstanceError) Lines() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, d := range e.Databases {
			if !d.lines(yield) {
				return
			}
		}
		yield(e.Error(), "mend what failed, then planner resume, which goes on with these databases; planner cleanup drops what it made of them")
	}
}

// ExitCode is that of an incomplete run, or of a difference if nothing else is
// wrong.
func (e *InstanceError) ExitCode() int {
	for _, d := range e.Databases {
		var coded interface{ ExitCode() int }
		if !errors.As(d.Err, &coded) || coded.ExitCode() != exitDiffers {
			return exitIncomplete
		}
	}
	return exitDiffers
}

// The exit statuses that an error of several databases can have.
const (
	exitIncomplete = 3
	exitDiffers    = 4
)

// ComparedError is returned when databases differ, or could not be compared.
type ComparedError struct{ Databases []*DatabaseError }

func (e *ComparedError) Error() string {
	return "not equal, or not compared: " + tasks.Plural(len(e.Databases), "database")
}

// Lines says what is wrong with each.
func (e *ComparedError) Lines() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, d := range e.Databases {
			if !d.lines(yield) {
				return
			}
		}
	}
}

// ExitCode is that of a difference if all of them could be compared.
func (e *ComparedError) ExitCode() int {
	for _, d := range e.Databases {
		var coded interface{ ExitCode() int }
		if !errors.As(d.Err, &coded) || coded.ExitCode() != exitDiffers {
			return 1
		}
	}
	return exitDiffers
}

// firstOf returns the text of an error, of one with many findings the first.
func firstOf(err error) string {
	var failed *check.FailedError
	if errors.As(err, &failed) && len(failed.Findings.Blockers()) > 0 {
		return failed.Findings.Blockers()[0].What
	}
	return err.Error()
}
