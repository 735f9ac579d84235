package worker

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// reader is a session that a task reads rows from.
type reader struct {
	*pg.Conn
	snapshot tasks.SnapshotRef
	begin    string       // the statements that begin a transaction which shows the snapshot
	clone    *pg.Position // where the session's server, a clone of the source, must stand; nil if it is the source
}

// reader returns a session in which the rows of the run's snapshot can be read: on
// the source, where it is imported, or on a clone, which shows nothing else as long
// as it stands where the source stood. Tasks of this process take them in turn.
func (j *Job) reader(ctx context.Context) (reader, error) {
	s, err := j.Snapshot(ctx)
	if err != nil {
		return reader{}, err
	}
	w := j.worker
	turn := int(w.turn.Add(1) % uint32(len(w.clones)+1))
	if turn == len(w.clones) {
		c, err := j.Source(ctx)
		return reader{Conn: c, snapshot: s, begin: pg.ImportSnapshotSQL(s.Name)}, err
	}
	if s.LSN == "" {
		return reader{}, tasks.Discard(tasks.WithHint(errors.New("the source did not stand still when the run's snapshot was taken, and this worker has clones of it"),
			"take source_clones out of the settings of this worker, then planner retry"))
	}
	pool := w.clones[turn]
	c, err := pool.get(ctx)
	if err != nil {
		return reader{}, fmt.Errorf("clone %d of the source: %w", turn+1, err)
	}
	j.source, j.pool = c, pool
	j.hand.useClone(c)
	r := reader{Conn: c, snapshot: s, clone: &pg.Position{Fingerprint: w.run.FP.Source, Timeline: s.Timeline, LSN: s.LSN}, begin: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"}
	return r, r.still(ctx)
}

// still makes sure that a clone stands where it must. It does so if it is asked
// before the transaction that reads takes its snapshot, and after it has read.
func (r reader) still(ctx context.Context) error {
	if r.clone == nil {
		return nil
	}
	now, err := pg.ReadPosition(ctx, r.Conn)
	if err == nil && now != *r.clone {
		err = fmt.Errorf("it stands at %s, and the run reads at %s", now, *r.clone)
	}
	if err != nil {
		cfg := r.Config()
		err = fmt.Errorf("clone of the source at %s:%d: %w", cfg.Host, cfg.Port, err)
		if pg.Classify(err) != pg.Transient { // another try may read from another one
			err = tasks.Retry(0, tasks.WithHint(err, "a clone must stand still: SELECT pg_wal_replay_pause() there, at the position of the others; or take it out of source_clones"))
		}
	}
	return err
}

// end ends the transaction.
func (r reader) end(ctx context.Context) error {
	if err := r.still(ctx); err != nil {
		return err
	}
	if _, err := r.Exec(ctx, "COMMIT"); err != nil {
		return fmt.Errorf("end the transaction on the source: %w", err)
	}
	return nil
}
