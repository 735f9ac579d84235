package worker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// lockTimeout bounds the wait for ACCESS SHARE on the source: only a session
// that waits for ACCESS EXCLUSIVE, behind the run's own locks, can hold it up.
const lockTimeout = "30s"

// copyTable does [tasks.KindCopy].
type copyTable struct{}

func (copyTable) Do(ctx context.Context, j *Job) (tasks.Result, error) {
	spec, err := tasks.Decode[tasks.Copy](j.Task)
	if err != nil {
		return tasks.Result{}, tasks.Discard(err)
	}
	return j.load(ctx, []tasks.Copy{spec})
}

// copyBundle does [tasks.KindBundle] and [tasks.KindExtensionData]: all copies
// in one round trip, then all that follows them in another, one transaction.
type copyBundle struct{}

func (copyBundle) Do(ctx context.Context, j *Job) (tasks.Result, error) {
	spec, err := tasks.Decode[tasks.Bundle](j.Task)
	if err != nil {
		return tasks.Result{}, tasks.Discard(err)
	}
	var copies []tasks.Copy
	var after, analyze []tasks.Statement
	var owner []tasks.Name // table of each statement
	for _, t := range spec.Tables {
		copies = append(copies, t.Copy)
		analyze = append(analyze, t.Analyze...)
		for _, s := range t.After {
			after = append(after, s)
			owner = append(owner, t.Copy.Table.Name)
		}
	}
	result, err := j.load(ctx, copies)
	if err == nil && len(after) > 0 && !j.Task.Again { // or they are there already
		indexing, end := j.trace(ctx, pg.Target, fmt.Sprintf("indexes and constraints of %d tables", len(spec.Tables)))
		err = j.Target.Script(indexing, sqlOf(after))
		end(err)
		var script *pg.ScriptError
		if errors.As(err, &script) {
			err = fmt.Errorf("%s: %s: %w", owner[script.Index], after[script.Index].Label, script.Err)
		}
	}
	if err == nil && len(analyze) > 0 {
		analyzing, end := j.trace(ctx, pg.Target, fmt.Sprintf("ANALYZE of %d tables", len(analyze)))
		result.Notes, err = j.analyze(analyzing, analyze)
		end(err)
	}
	if err != nil && ctx.Err() == nil && len(spec.Tables) > 1 && j.Task.Kind == tasks.KindBundle && !j.Task.Again && isOfOneTable(err) {
		return tasks.Result{}, splitBundle(j.Task, spec, err)
	}
	return result, err
}

// isOfOneTable reports whether the error may well be about one table of a
// bundle: the others would then go through without it.
func isOfOneTable(err error) bool {
	var server *pgconn.PgError
	var relay *pg.RelayError
	switch {
	case pg.Classify(err) == pg.Transient, pg.IsSnapshotLost(err):
		return false
	case errors.Is(err, pg.ErrRewritten), errors.As(err, &server), errors.As(err, &relay):
		return true
	}
	return false
}

// splitBundle returns the error that makes a bundle into one task per table,
// so that one bad table does not hold up the others.
func splitBundle(t tasks.Task, spec tasks.Bundle, cause error) error {
	_, name, _ := strings.Cut(string(t.ID), ".bundle.")
	split := &tasks.SplitError{Err: cause}
	for _, table := range spec.Tables {
		id := tasks.NewID(tasks.KindBundle, "bundle", name, table.Copy.Table.Schema, table.Copy.Table.Name.Name)
		single, err := tasks.New(tasks.KindBundle, id, tasks.Bundle{Tables: []tasks.Loaded{table}})
		if err != nil {
			return err
		}
		single.Group, single.Weight = tasks.PieceGroup(table.Copy.Table.OID), t.Weight/int64(len(spec.Tables))
		split.Into = append(split.Into, single)
	}
	return split
}

// load streams the copies, all in one relay. It fails with the table, and the
// row if the error tells, in its text.
func (j *Job) load(ctx context.Context, copies []tasks.Copy) (tasks.Result, error) {
	source, err := j.reader(ctx)
	if err != nil {
		return tasks.Result{}, err
	}
	if err := j.beginSource(ctx, source, copies); err != nil {
		return tasks.Result{}, err
	}
	restore := ""
	if j.Task.Again {
		if restore, err = j.quiet(ctx, copies); err != nil {
			return tasks.Result{}, err
		}
	}
	silent := len(copies) > 0 && copies[0].Silent // as all of a task are
	if silent {
		if _, err := j.Target.Exec(ctx, pg.SilentSQL); err != nil {
			return tasks.Result{}, fmt.Errorf("keep triggers of the target from firing: %w", err)
		}
	}
	var from, into strings.Builder
	for _, c := range copies {
		from.WriteString(c.SourceSQL() + ";")
		if truncate := c.TruncateSQL(); truncate != "" {
			into.WriteString(truncate + ";")
		}
		into.WriteString(c.TargetSQL() + ";")
	}
	digests, sinks, err := j.digests(copies)
	if err != nil {
		return tasks.Result{}, err
	}
	streaming, end := j.trace(ctx, pg.Target, labelOf(copies))
	copied, err := pg.Relay(streaming, source.Conn, j.Target, from.String(), into.String(), sinks...)
	end(err)
	if err != nil {
		return tasks.Result{}, j.explain(ctx, source.snapshot.Name, copies, err)
	}
	if err := source.end(ctx); err != nil {
		return tasks.Result{}, err
	}
	if silent {
		if _, err := j.Target.Exec(ctx, pg.LoudSQL); err != nil {
			return tasks.Result{}, fmt.Errorf("let triggers of the target fire again: %w", err)
		}
	}
	if restore != "" {
		if _, err := j.Target.Exec(ctx, restore); err != nil {
			return tasks.Result{}, fmt.Errorf("switch triggers on again: %w", err)
		}
	}
	result := tasks.Result{Snapshot: source.snapshot.ID}
	for i, c := range copied {
		result.Rows += c.Rows
		result.Bytes += c.Bytes
		count := tasks.TableCount{Name: copies[i].Table.Name, Rows: c.Rows, Bytes: c.Bytes}
		if digests != nil {
			sum := digests[i].Sum()
			count.Digest = &sum
		}
		result.Tables = append(result.Tables, count)
	}
	return result, nil
}

// beginSource begins a transaction in the run's snapshot, locks the tables and
// makes sure that they are still what the plan saw, in one round trip.
func (j *Job) beginSource(ctx context.Context, source reader, copies []tasks.Copy) (err error) {
	ctx, end := j.trace(ctx, pg.Source, "BEGIN in the snapshot")
	defer func() { end(err) }()
	names := make([]string, len(copies))
	identities := make([]pg.TableIdentity, len(copies))
	for i, c := range copies {
		names[i] = c.Table.String()
		identities[i] = pg.TableIdentity{Quoted: names[i], OID: c.Table.OID, Filenode: c.Table.Filenode}
	}
	results, err := source.PgConn().Exec(ctx, source.begin+
		"; SET LOCAL lock_timeout = "+tasks.QuoteLiteral(lockTimeout)+
		"; "+pg.LockSQL(names)+"; "+pg.IdentitySQL(identities)).ReadAll()
	switch {
	case pg.IsSnapshotLost(err):
		return j.notImported(source.snapshot, err)
	case pg.IsCode(err, "55P03"):
		return fmt.Errorf("lock %s on the source: another session waits there for an exclusive lock: %w", describeTables(names), err)
	case pg.IsCode(err, "42P01"), pg.IsCode(err, "3F000"):
		return tasks.Discard(fmt.Errorf("%s: %w: %w", describeTables(names), pg.ErrRewritten, err))
	case err != nil:
		return fmt.Errorf("begin to read %s: %w", describeTables(names), err)
	}
	var changed []string
	for _, row := range results[len(results)-1].Rows {
		changed = append(changed, string(row[0]))
	}
	if len(changed) > 0 {
		return tasks.Discard(fmt.Errorf("%s: %w", describeTables(changed), pg.ErrRewritten))
	}
	return nil
}

func describeTables(names []string) string {
	if len(names) > 3 {
		return fmt.Sprintf("%s and %d more tables", strings.Join(names[:3], ", "), len(names)-3)
	}
	return strings.Join(names, ", ")
}

// copyLine returns the line number in the context of an error of COPY FROM into
// the table, 0 if there is none. What follows it may be any text of the row.
func copyLine(where, table string) int64 {
	rest, ok := strings.CutPrefix(where, "COPY "+table+", line ")
	if !ok {
		return 0
	}
	digits := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
	line, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return 0
	}
	return line
}

// explain adds the table to the error of a relay and, if a certain row was
// refused or could not be read, where on the source it is.
func (j *Job) explain(ctx context.Context, snapshot string, copies []tasks.Copy, err error) error {
	var relay *pg.RelayError
	if !errors.As(err, &relay) || relay.Copy >= len(copies) {
		return err
	}
	c := copies[relay.Copy]
	err = fmt.Errorf("%s: %w", c.Label(), err)
	var server *pgconn.PgError
	if ctx.Err() != nil || !errors.As(err, &server) || pg.Classify(err) == pg.Transient || !blamesRow(server.Code) {
		return err
	}
	line := int64(0)
	if relay.Side == pg.Source {
		line = relay.Rows + 1 // the first one that did not arrive
	} else {
		line = copyLine(server.Where, c.Target().Name)
	}
	if line == 0 {
		return err
	}
	if ctid, locateErr := j.locate(ctx, snapshot, c, line); locateErr == nil {
		return fmt.Errorf("row %d of the COPY, at ctid %s on the source: %w", line, ctid, err)
	}
	return fmt.Errorf("row %d of the COPY: %w", line, err)
}

// blamesRow reports whether an error of the class is about the row that it
// came with, and not about the server's resources.
func blamesRow(code string) bool {
	return !strings.HasPrefix(code, "53") && !strings.HasPrefix(code, "58")
}

// locate returns the ctid of the n-th row that the copy reads. Scans are neither
// synchronised nor shared among processes in our sessions, so a second one yields the same order.
func (j *Job) locate(ctx context.Context, snapshot string, c tasks.Copy, n int64) (string, error) {
	conn, err := j.worker.source.get(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Discard()
	if _, err := conn.Exec(ctx, pg.ImportSnapshotSQL(snapshot)); err != nil {
		return "", err
	}
	var ctid string
	err = conn.QueryRow(ctx, fmt.Sprintf("%s OFFSET %d LIMIT 1", c.SelectSQL("ctid::text"), n-1)).Scan(&ctid)
	return ctid, err
}
