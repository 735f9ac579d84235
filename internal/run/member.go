package run

import (
	"context"
	"errors"

	"github.com/pgconvoy/pgconvoy/internal/ledger"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/queue"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// member makes a run about one database a part of a run of several. Its methods
// may be called on nil, for a run that is about one alone.
type member struct {
	name   string // of the database, on both sides
	follow bool   // others come after it
	of     *tasks.Instance
	shared *shared
}

// shared is what the runs about several databases, which come one after the other,
// have in common.
type shared struct {
	conn *queue.Conn     // nil until the first of them needs it
	stop func()          // ends it
	set  ledger.Control  // the caps and limits that planner scale and planner limit have set
	said map[string]bool // what a person was told already

	unreported bool // the report of one could not be written
}

// queue connects to the queue, or starts an embedded one, unless that was done for
// another database.
func (s *shared) queue(ctx context.Context, o Options) (_ *queue.Conn, err error) {
	if s.conn == nil {
		o.member = nil
		s.conn, s.stop, err = openQueue(ctx, o)
	}
	return s.conn, err
}

// database returns the database to connect to, "" for the one that the URI names.
func (m *member) database() string {
	if m == nil {
		return ""
	}
	return m.name
}

// instance returns what the ledger is to know of the other databases.
func (m *member) instance() *tasks.Instance {
	if m == nil {
		return nil
	}
	return m.of
}

// identify adds to a run what workers need to find its database.
func (m *member) identify(run tasks.RunID) tasks.RunID {
	if m != nil {
		run.Database, run.Follow = m.name, m.follow
	}
	return run
}

// inherit gives a run the caps and limits that people have set for the one before.
func (m *member) inherit(ctx context.Context, l *ledger.Ledger, target *pg.Conn) error {
	if m == nil || len(m.shared.set.Caps)+len(m.shared.set.Limits) == 0 {
		return nil
	}
	return errors.Join(l.SetCaps(ctx, target, m.shared.set.Caps), l.SetLimits(ctx, target, m.shared.set.Limits))
}

// bequeath keeps them for the next one.
func (m *member) bequeath(ctx context.Context, l *ledger.Ledger, target *pg.Conn) error {
	if m == nil {
		return nil
	}
	control, err := l.Control(ctx, target)
	m.shared.set = control
	return err
}

// emptied returns the tables that a crash of the target has emptied since the
// database was complete, while others of the run were not: they are missing.
func (m *member) emptied(ctx context.Context, l *ledger.Ledger, target *pg.Conn) ([]tasks.Name, error) {
	if m == nil {
		return nil, nil
	}
	return l.Emptied(ctx, target)
}

// warn logs what a person should know. Of what is the same for several databases it
// is said once.
func (o Options) warn(message string, args ...any) {
	if o.member != nil {
		if o.member.shared.said[message] {
			return
		}
		o.member.shared.said[message] = true
	}
	o.Log.Warn(message, args...)
}
