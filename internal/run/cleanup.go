package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/pgconvoy/pgconvoy/internal/check"
	"github.com/pgconvoy/pgconvoy/internal/fleet"
	"github.com/pgconvoy/pgconvoy/internal/ledger"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/queue"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// dropChunk is how many DROP statements one transaction runs.
const dropChunk = 200

// Cleanup drops from the target what an unfinished run made, then its ledger. Of
// one that did not make the tables those stay, with their rows; of a complete run
// only the ledger is dropped. It is idempotent: what is not there is passed over. Of a run of several
// databases it does so for each.
func Cleanup(ctx context.Context, o Options) (err error) {
	if o.Config.Several() {
		return cleanupInstance(ctx, o, false)
	}
	target, err := connectTarget(ctx, o)
	if err != nil {
		return err
	}
	defer target.Discard()
	defer disown(target)
	if err := own(ctx, o, target, ledger.Own); err != nil {
		return err
	}
	compared, err := dropComparison(ctx, o, target)
	if err != nil {
		return err
	}
	l, err := openLedger(ctx, target, o.Config.Run)
	if errors.Is(err, ledger.ErrNoRun) && compared {
		o.Log.Info("ledger of a comparison dropped", "run", o.Config.Run)
		return nil
	}
	if errors.Is(err, ledger.ErrNoRun) && !o.Config.Embedded() { // a complete run may have left it, if the server was away
		if dropped, dropErr := deleteStream(ctx, o); dropped || dropErr != nil {
			return dropErr
		}
	}
	if err != nil {
		return err
	}
	state, err := l.State(ctx, target)
	if err != nil {
		return err
	}
	if !o.Config.Embedded() {
		if _, err := deleteStream(ctx, o); err != nil {
			return err
		}
	}
	sections, err := l.Sections(ctx, target)
	if err != nil {
		return err
	}
	switch {
	case state == tasks.RunComplete:
	case sections.Has(tasks.SectionSchema):
		err = dropCopied(ctx, o, l, target)
	default:
		if err = dropParts(ctx, o, l, target); err == nil {
			err = leaveCopied(ctx, o, l, target)
		}
	}
	if err != nil {
		return err
	}
	if err := ledger.Drop(ctx, target); err != nil {
		return err
	}
	o.Log.Info("ledger dropped", "run", o.Config.Run, "state", string(state))
	return nil
}

// connectTarget connects to the target alone.
func connectTarget(ctx context.Context, o Options) (*pg.Conn, error) {
	target, err := connectSide(ctx, o, pg.Target)
	if err != nil {
		return nil, check.Findings{check.ConnectFinding(pg.Target, err)}.Err()
	}
	return target, nil
}

// dropComparison drops what a comparison has left behind whose planner could
// not do so itself: its ledger, and its stream. It reports whether there was one.
func dropComparison(ctx context.Context, o Options, target *pg.Conn) (bool, error) {
	dropped, err := ledger.DropComparisons(ctx, target)
	if err != nil || !dropped || o.Config.Embedded() {
		return dropped, err
	}
	_, err = deleteStream(ctx, o)
	return true, err
}

// deleteStream deletes the stream of the run, so that no worker goes on with it,
// and returns whether there was one.
func deleteStream(ctx context.Context, o Options) (bool, error) {
	conn, err := queue.Connect(ctx, fleet.QueueOptions(o.Config, "planner", o.Log))
	if err != nil {
		return false, err
	}
	dropped, err := conn.Drop(ctx, o.Config.Run)
	if dropped && err == nil {
		o.Log.Info("queue of the run dropped", "run", o.Config.Run)
	}
	return dropped, errors.Join(err, conn.Close())
}

// dropLargeObjectsSQL drops the large objects of a range.
const dropLargeObjectsSQL = "SELECT pg_catalog.lo_unlink(oid) FROM pg_catalog.pg_largeobject_metadata WHERE oid BETWEEN $1 AND $2"

// dropCopied drops every object of the run's archive, and its large objects.
func dropCopied(ctx context.Context, o Options, l *ledger.Ledger, target *pg.Conn) error {
	dir, err := os.MkdirTemp("", "pgconvoy-")
	if err != nil {
		return fmt.Errorf("make a folder for temporary files: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := filepath.Join(dir, "schema.dump")
	if err := writeArchive(ctx, l, target, file); err != nil {
		return err
	}
	tools, err := pg.FindTools(ctx, o.Config.PGBindir, 0, target.Major())
	if err != nil {
		return err
	}
	drops, err := tools.DropSQL(ctx, file)
	if err != nil {
		return err
	}
	if err := dropMade(ctx, o, target, drops); err != nil {
		return err
	}
	ranges, err := l.LargeObjects(ctx, target)
	if err != nil {
		return err
	}
	for _, r := range ranges {
		_, err := target.Conn.Exec(ctx, dropLargeObjectsSQL, r.From, r.To)
		if err != nil {
			return fmt.Errorf("drop large objects: %w", err)
		}
	}
	return nil
}

// dropMade runs the statements, and says which of them are refused.
func dropMade(ctx context.Context, o Options, target *pg.Conn, drops []string) error {
	refused, err := dropAll(ctx, target, drops)
	if err != nil {
		return err
	}
	for _, statement := range refused {
		o.Log.Warn("not dropped", "statement", statement)
	}
	o.Log.Info("what the run made is dropped", "statements", len(drops), "refused", len(refused))
	return nil
}

// dropParts drops the indexes, keys and foreign keys that the run has made on tables
// which were there before it. The preflight has seen that there were none of those
// names, and a task that is not done has made nothing.
func dropParts(ctx context.Context, o Options, l *ledger.Ledger, target *pg.Conn) error {
	order := []tasks.Kind{tasks.KindFKeyAdd, tasks.KindAttach, tasks.KindBundle, tasks.KindIndex} // what needs another comes before it
	done, err := l.Tasks(ctx, target, []tasks.State{tasks.Done}, order...)
	if err != nil {
		return err
	}
	slices.SortStableFunc(done, func(x, y tasks.Task) int { return slices.Index(order, x.Kind) - slices.Index(order, y.Kind) })
	var drops []string
	for _, t := range done {
		statements, err := statementsOf(t)
		if err != nil {
			return err
		}
		for _, s := range slices.Backward(statements) {
			if s.Undo != "" {
				drops = append(drops, s.Undo)
			}
		}
	}
	if len(drops) == 0 {
		return nil
	}
	return dropMade(ctx, o, target, drops)
}

// leaveCopied says what the run leaves in tables that it did not make. Others may
// have changed them since, or use what it made.
func leaveCopied(ctx context.Context, o Options, l *ledger.Ledger, target *pg.Conn) error {
	report, err := l.Report(ctx, target)
	if err != nil {
		return err
	}
	for _, t := range report.Tables {
		if t.Rows > 0 {
			o.Log.Warn("rows stay in a table that was there before the run", "table", t.Name.String(), "rows", t.Rows)
		}
	}
	made := []tasks.Kind{tasks.KindSchema, tasks.KindLargeObjects}
	for _, s := range report.Stages {
		if !slices.Contains(made, s.Kind) {
			continue
		}
		o.Log.Warn("what the run made on tables that were there before it stays", "kind", s.Kind, "tasks", s.Tasks)
	}
	return nil
}

func writeArchive(ctx context.Context, l *ledger.Ledger, target *pg.Conn, file string) error {
	f, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	return errors.Join(l.Archive(ctx, target, f), f.Close())
}

// dropAll runs the statements, and those that are refused again after the
// others, for as long as that helps: some need what depends on them to go first.
// It returns those that are refused to the end.
func dropAll(ctx context.Context, target *pg.Conn, drops []string) (refused []string, err error) {
	for {
		refused = nil
		for chunk := range slices.Chunk(drops, dropChunk) {
			left, err := dropSome(ctx, target, chunk)
			if err != nil {
				return nil, err
			}
			refused = append(refused, left...)
		}
		if len(refused) == 0 || len(refused) == len(drops) {
			return refused, nil
		}
		drops = refused
	}
}

// dropSome runs the statements in one transaction. One that is refused is left
// out, and the others run again.
func dropSome(ctx context.Context, target *pg.Conn, drops []string) (refused []string, err error) {
	for len(drops) > 0 {
		err := target.Script(ctx, slices.Concat([]string{"BEGIN"}, drops, []string{"COMMIT"}))
		var script *pg.ScriptError
		switch {
		case err == nil:
			return refused, nil
		case !errors.As(err, &script), target.IsClosed():
			return nil, fmt.Errorf("drop what the run made: %w", err)
		}
		if _, err := target.Exec(ctx, "ROLLBACK"); err != nil {
			return nil, fmt.Errorf("drop what the run made: %w", err)
		}
		at := min(max(script.Index-1, 0), len(drops)-1) // BEGIN comes first
		refused = append(refused, drops[at])
		drops = slices.Concat(drops[:at], drops[at+1:])
	}
	return refused, nil
}
