// Package ledger keeps what a run has to do and what is done, in the schema
// pgconvoy of the target database. It is the truth: a task's effect and its
// done mark commit in one transaction, and everything that the queue holds can
// be made again from here. plan.go writes a plan, task.go has the steps of one
// delivery, run.go the life of a run, and report.go what people read.
package ledger

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Schema is the name of the ledger's schema in the target database.
const Schema = "pgconvoy"

// Marker is what the comment on the schema begins with if it is ours. The
// number of the layout follows.
const Marker = "pgconvoy ledger"

const layout = Marker + ", layout 6"

//go:embed sql/schema.sql
var schemaSQL string

// ErrNoRun is returned when the target holds no ledger of the run.
var ErrNoRun = errors.New("target holds no ledger of this run")

// ErrNoTask is returned when the ledger has no task of that ID: a message that
// asks for it is not of this run's plan.
var ErrNoTask = errors.New("task is not in the ledger")

// ErrNotMarked is returned when the done mark of a task did not hit exactly
// one row that was not done.
var ErrNotMarked = errors.New("task could not be marked as done")

// Ledger is the ledger of one run. It holds no connection; its methods work on
// the one they are given and are safe for concurrent use on different ones.
type Ledger struct {
	run tasks.RunID
	key tasks.DigestKey
}

// Run returns the run that the ledger is of. A comparison has the name of the
// run that it is called after: the same workers do it.
func (l *Ledger) Run() tasks.RunID {
	run := l.run
	run.Name = strings.TrimSuffix(run.Name, comparisonSuffix)
	return run
}

// DigestKey returns the key that the rows of this run are hashed under.
func (l *Ledger) DigestKey() tasks.DigestKey { return l.key }

// Open finds the ledger of the run with the name. It returns [ErrNoRun] if
// there is none.
func Open(ctx context.Context, c *pg.Conn, name string) (*Ledger, error) {
	return open(ctx, c, "run", name)
}

// OpenUID finds the ledger of the run with the identifier: a copy, or a
// comparison. It returns [ErrNoRun] if there is none.
func OpenUID(ctx context.Context, c *pg.Conn, uid string) (*Ledger, error) {
	return open(ctx, c, "uid", uid)
}

func open(ctx context.Context, c *pg.Conn, column, value string) (*Ledger, error) {
	l := &Ledger{}
	var there bool
	var comment string
	err := c.QueryRow(ctx, `SELECT pg_catalog.to_regclass('pgconvoy.run') IS NOT NULL,
		coalesce(pg_catalog.obj_description(pg_catalog.to_regnamespace('pgconvoy')::oid, 'pg_namespace'), '')`).Scan(&there, &comment)
	switch {
	case err != nil:
		return nil, fmt.Errorf("look for ledger: %w", err)
	case !there:
		return nil, ErrNoRun
	case strings.HasPrefix(comment, Marker) && comment != layout:
		return nil, tasks.WithHint(fmt.Errorf("the ledger in the target is of another version of pgconvoy (%s)", comment),
			"go on with the version that began the run, or drop the schema pgconvoy and what was copied")
	}
	var key []byte
	err = c.QueryRow(ctx, "SELECT run, uid, source, target, digest_key FROM pgconvoy.run WHERE "+column+" = $1", value).
		Scan(&l.run.Name, &l.run.UID, &l.run.FP.Source, &l.run.FP.Target, &key)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, ErrNoRun
	}
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	copy(l.key[:], key)
	return l, nil
}

// text makes a string storable in a UTF-8 text column: a message of a server
// may hold what was wrong with a row.
func text(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
}
