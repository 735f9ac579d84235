package run

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Follower looks at a run as those do who watch: of several databases it sees the
// one that is being copied, and then the next one. It may be used by several at once.
type Follower struct {
	o Options

	mu  sync.Mutex
	one *Options // about the database that was last seen being copied, nil if there is none
}

// Follow returns who looks at the run. It needs what [Status] needs, and the target
// for more than one database.
func Follow(o Options) *Follower {
	f := &Follower{o: o}
	if !f.several() {
		f.one = &o
	}
	return f
}

// several reports whether the next database has to be looked for.
func (f *Follower) several() bool { return f.o.Config.Several() && f.o.Config.Target.URI != "" }

// Status says how far the database is that is being copied. While the planner makes
// the plan of the next one, it says that.
func (f *Follower) Status(ctx context.Context) (tasks.RunStatus, error) {
	one, err := f.current(ctx)
	switch {
	case isBetween(err):
		return f.between(ctx)
	case err != nil:
		return tasks.RunStatus{}, err
	}
	s, err := Status(ctx, one)
	if !f.several() || err == nil && s.State == tasks.RunRunning {
		return s, err
	}
	f.mu.Lock()
	f.one = nil
	f.mu.Unlock()
	if err != nil && !isGone(err) {
		return s, err
	}
	return f.between(ctx)
}

// Report reads what was done of that database, nothing if there is none.
func (f *Follower) Report(ctx context.Context) (tasks.Report, error) {
	one, err := f.current(ctx)
	if isBetween(err) || f.several() && isGone(err) {
		return tasks.Report{}, nil
	}
	if err != nil {
		return tasks.Report{}, err
	}
	return Report(ctx, one)
}

// Databases says how far all databases of a run of several are, none of them before
// the first is begun.
func (f *Follower) Databases(ctx context.Context) (tasks.InstanceStatus, error) {
	s, err := StatusInstance(ctx, f.o)
	if errors.Is(err, errNothingBegun) {
		err = nil
	}
	return s, err
}

// current returns the options about the database that is being copied. All of the
// target's are looked at only if that is not known.
func (f *Follower) current(ctx context.Context) (Options, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.one == nil {
		one, err := current(ctx, f.o)
		if err != nil {
			return one, err
		}
		f.one = &one
	}
	return *f.one, nil
}

// isBetween reports whether no database of a run of several is being copied.
func isBetween(err error) bool { return errors.Is(err, errBetween) || errors.Is(err, errNoneRunning) }

// between is the status of a run of several databases of which none is being copied.
func (f *Follower) between(ctx context.Context) (tasks.RunStatus, error) {
	all, err := StatusInstance(ctx, f.o)
	if err != nil {
		return tasks.RunStatus{}, err
	}
	now := time.Now()
	s := tasks.RunStatus{Run: all.Run, RunUID: all.UID, State: all.State, At: now, Started: now, Tasks: map[tasks.State]int{}}
	if s.State == tasks.RunRunning {
		s.State = tasks.RunPlanning
	}
	return s, nil
}
