package run

import (
	"context"
	"errors"
	"time"

	"github.com/pgconvoy/pgconvoy/internal/ledger"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// errOwned is returned when two planners have the same target.
var errOwned = errors.New("another planner is at work in the target database")

// ownWait is how long a planner waits for another one to go. What owns the target is a
// session, and one whose client has been killed, or has just closed it, is there until
// the server has looked.
const ownWait = 3 * time.Second

// ownEvery is how often it looks.
const ownEvery = 250 * time.Millisecond

// taking takes the right to plan for a database, or for a server, until the session
// ends; it reports false if another session has it.
type taking func(context.Context, *pg.Conn) (bool, error)

// own takes the target for this planner, or returns [errOwned].
func own(ctx context.Context, o Options, target *pg.Conn, take taking) error {
	err := awaitOwn(ctx, o, target, take, time.After(ownWait))
	if errors.Is(err, errOwned) {
		err = tasks.WithHint(err, "wait until it ends, or stop it")
	}
	return err
}

// awaitOwn takes the target as soon as no other planner has it, or returns [errOwned]
// when given up.
func awaitOwn(ctx context.Context, o Options, target *pg.Conn, take taking, givenUp <-chan time.Time) error {
	tick := time.NewTicker(ownEvery)
	defer tick.Stop()
	told := false
	for {
		owned, err := take(ctx, target)
		if err != nil || owned {
			return err
		}
		if !told {
			o.Log.Info("waiting for another planner to end", "run", o.Config.Run)
			told = true
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-givenUp:
			return errOwned
		case <-tick.C:
		}
	}
}

// disown gives up what the session owns, so that whoever comes next needs not wait for
// the server to look. It is a courtesy, and fails if the session does.
func disown(target *pg.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), ownWait)
	defer cancel()
	_ = ledger.Disown(ctx, target)
}
