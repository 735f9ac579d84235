package ledger

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// New is what [Create] writes beside the plan.
type New struct {
	Run          tasks.RunID
	Version      string
	ConfigDigest string
	Without      pg.Without // what of the source was left out when it was read
	Sections     tasks.Sections
	Planner      string // host/pid
	Snapshot     pg.Snapshot
	Mark         pg.Mark   // of the snapshot
	Archive      io.Reader // nil if there is none

	Instance *tasks.Instance // nil unless the run is of several databases
}

// archivePiece is the size of one row of the archive, in bytes.
const archivePiece = 1 << 20

// Create makes the ledger and writes the whole plan to it, in one transaction,
// before anything is published. It fails if the schema is already there.
func Create(ctx context.Context, c *pg.Conn, n New, plan tasks.Plan) (*Ledger, error) {
	return create(ctx, c, n, plan, func(ctx context.Context) error {
		_, err := c.Exec(ctx, schemaSQL)
		return err
	})
}

// create writes a plan to the schema that prepare has made in the same
// transaction, or has found.
func create(ctx context.Context, c *pg.Conn, n New, plan tasks.Plan, prepare func(context.Context) error) (*Ledger, error) {
	l := &Ledger{run: n.Run}
	_, _ = rand.Read(l.key[:]) // never fails
	tx, err := c.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite})
	if err != nil {
		return nil, fmt.Errorf("create ledger: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	_, err = c.Exec(ctx, "SET LOCAL synchronous_commit = on")
	if err == nil {
		err = prepare(ctx)
	}
	if err == nil {
		err = writeNew(ctx, tx, l, n, plan)
	}
	if err != nil {
		return nil, fmt.Errorf("create ledger: %w", err)
	}
	if err := tx.Commit(ctx); err != nil {
		return nil, fmt.Errorf("create ledger: %w", err)
	}
	// Statistics keep the readiness queries on their indexes from the first task on.
	if _, err := c.Exec(ctx, "ANALYZE pgconvoy.task, pgconvoy.need"); err != nil {
		return nil, fmt.Errorf("create ledger: %w", err)
	}
	return l, nil
}

func writeNew(ctx context.Context, tx pgx.Tx, l *Ledger, n New, plan tasks.Plan) error {
	_, err := tx.Exec(ctx, `INSERT INTO pgconvoy.run (run, uid, state, source, target, version, config_digest, planner, digest_key, without, sections, target_start)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, pg_catalog.pg_postmaster_start_time())`,
		n.Run.Name, n.Run.UID, tasks.RunRunning, n.Run.FP.Source, n.Run.FP.Target, n.Version, n.ConfigDigest, n.Planner, l.key[:], n.Without, stringsOf(n.Sections))
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "INSERT INTO pgconvoy.intact (run) VALUES ($1)", n.Run.Name); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO pgconvoy.snapshot (run, id, name, pg_snapshot, timeline, lsn, durable, replayed)
		VALUES ($1, 1, $2, $3, $4, $5, $6, $7)`, n.Run.Name, n.Snapshot.Name, n.Snapshot.Text, n.Mark.Timeline, n.Mark.LSN, n.Mark.Durable, n.Mark.Replayed)
	if err != nil {
		return err
	}
	if n.Instance != nil {
		_, err = tx.Exec(ctx, "INSERT INTO pgconvoy.instance (run, uid, databases) VALUES ($1, $2, $3)", n.Run.Name, n.Instance.UID, n.Instance.Databases)
		if err != nil {
			return err
		}
	}
	if err := writeTasks(ctx, tx, n.Run.Name, plan.Tasks); err != nil {
		return err
	}
	if err := writeTables(ctx, tx, n.Run.Name, plan); err != nil {
		return err
	}
	if n.Archive == nil {
		return nil
	}
	return writeArchive(ctx, tx, n.Run.Name, n.Archive)
}

// bucketTasks is how many neighbours of the plan share a bucket. Under an old
// transaction on the target every look into a bucket passes the dead versions
// of its rows, and every finished bucket is a look at the whole wave.
const bucketTasks = 500

// writeTasks stores tasks and what they need. Those that need nothing are
// ready.
func writeTasks(ctx context.Context, tx pgx.Tx, run string, list []tasks.Task) error {
	var needs [][]any
	_, err := tx.CopyFrom(ctx, pgx.Identifier{Schema, "task"},
		[]string{"run", "id", "kind", "stage", "grp", "wave", "bucket", "spec", "weight", "state"},
		pgx.CopyFromSlice(len(list), func(i int) ([]any, error) {
			t := list[i]
			state := tasks.Pending
			if len(t.Needs) == 0 {
				state = tasks.Ready
			}
			for _, g := range t.Needs {
				needs = append(needs, []any{run, string(t.ID), string(g)})
			}
			return []any{run, string(t.ID), string(t.Kind), string(t.Kind.Stage()), string(t.Group), string(t.Wave), i / bucketTasks,
				t.Spec, t.Weight, string(state)}, nil
		}))
	if err != nil {
		return fmt.Errorf("write tasks: %w", err)
	}
	if _, err := tx.CopyFrom(ctx, pgx.Identifier{Schema, "need"}, []string{"run", "task", "grp"}, pgx.CopyFromRows(needs)); err != nil {
		return fmt.Errorf("write needs: %w", err)
	}
	return nil
}

func writeTables(ctx context.Context, tx pgx.Tx, run string, plan tasks.Plan) error {
	_, err := tx.CopyFrom(ctx, pgx.Identifier{Schema, "planned"}, []string{"run", "schema", "name", "bytes", "parts", "indexes", "bundle", "unlogged"},
		pgx.CopyFromSlice(len(plan.Tables), func(i int) ([]any, error) {
			t := plan.Tables[i]
			return []any{run, t.Name.Schema, t.Name.Name, t.Bytes, t.Parts, t.Indexes, string(t.Bundle), t.Unlogged}, nil
		}))
	if err != nil {
		return fmt.Errorf("write tables: %w", err)
	}
	_, err = tx.CopyFrom(ctx, pgx.Identifier{Schema, "skipped"}, []string{"run", "id", "object", "reason"},
		pgx.CopyFromSlice(len(plan.Skipped), func(i int) ([]any, error) {
			return []any{run, i + 1, text(plan.Skipped[i].Object), plan.Skipped[i].Reason}, nil
		}))
	if err != nil {
		return fmt.Errorf("write skipped objects: %w", err)
	}
	return nil
}

// writeArchive stores the schema archive, so that any planner on any host can
// finish the run, or undo it.
func writeArchive(ctx context.Context, tx pgx.Tx, run string, archive io.Reader) error {
	piece := make([]byte, archivePiece)
	for i := 1; ; i++ {
		n, err := io.ReadFull(archive, piece)
		if n > 0 {
			if _, err := tx.Exec(ctx, "INSERT INTO pgconvoy.archive (run, id, data) VALUES ($1, $2, $3)", run, i, piece[:n]); err != nil {
				return fmt.Errorf("write archive: %w", err)
			}
		}
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			return nil
		default:
			return fmt.Errorf("read archive: %w", err)
		}
	}
}

// Archive writes the schema archive that [Create] stored to w.
func (l *Ledger) Archive(ctx context.Context, c *pg.Conn, w io.Writer) error {
	rows, err := c.Query(ctx, "SELECT data FROM pgconvoy.archive WHERE run = $1 ORDER BY id", l.run.Name)
	if err != nil {
		return fmt.Errorf("read archive: %w", err)
	}
	var data []byte
	_, err = pgx.ForEachRow(rows, []any{&data}, func() error {
		_, err := w.Write(data)
		return err
	})
	if err != nil {
		return fmt.Errorf("read archive: %w", err)
	}
	return nil
}

// Without returns what of the source was left out when it was read.
func (l *Ledger) Without(ctx context.Context, c *pg.Conn) (w pg.Without, err error) {
	if err := c.QueryRow(ctx, "SELECT without FROM pgconvoy.run WHERE run = $1", l.run.Name).Scan(&w); err != nil {
		return w, fmt.Errorf("read what was left out: %w", err)
	}
	return w, nil
}

// Sections returns the sections that the run makes.
func (l *Ledger) Sections(ctx context.Context, c *pg.Conn) (s tasks.Sections, err error) {
	if err := c.QueryRow(ctx, "SELECT sections FROM pgconvoy.run WHERE run = $1", l.run.Name).Scan(&s); err != nil {
		return s, fmt.Errorf("read which sections the run makes: %w", err)
	}
	return s, nil
}
