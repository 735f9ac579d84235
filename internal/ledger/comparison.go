package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// comparisonSuffix ends the name that a comparison has in the ledger. No name
// of a run holds a colon, so it stands beside the run that it is called after.
const comparisonSuffix = ":verify"

// ErrOccupied is returned when the target holds a ledger that a comparison
// cannot stand beside.
var ErrOccupied = errors.New("target holds a ledger that is in use or unknown")

// CreateComparison is [Create] for a comparison: a plan without effect on the
// target, whose ledger stands beside that of a run which has copied everything,
// whether or not its own comparison was passed. It returns [ErrOccupied] if the
// ledger of another run is there, or of a comparison, or one of another version.
func CreateComparison(ctx context.Context, c *pg.Conn, n New, plan tasks.Plan) (*Ledger, error) {
	n.Run.Name += comparisonSuffix
	return create(ctx, c, n, plan, func(ctx context.Context) error {
		if _, err := c.Exec(ctx, quietSQL(c)); err != nil {
			return err
		}
		found, err := ledgerComment(ctx, c)
		switch {
		case err != nil:
			return err
		case found == nil:
			_, err := c.Exec(ctx, schemaSQL)
			return err
		case *found != layout:
			return ErrOccupied
		}
		var unfinished bool
		err = c.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pgconvoy.run WHERE run LIKE $1)
			OR EXISTS (SELECT FROM pgconvoy.task WHERE state <> 'done' AND kind NOT IN ('measure', 'verify'))`, "%"+comparisonSuffix).Scan(&unfinished)
		if err != nil {
			return err
		}
		if unfinished {
			return ErrOccupied
		}
		return nil
	})
}

// quietSQL keeps the event triggers of the target from seeing, or refusing,
// what this transaction does to the ledger. Only superusers may say so; for
// others it does nothing.
func quietSQL(c *pg.Conn) string {
	setting := "'session_replication_role', 'replica'"
	if c.Major() >= 17 {
		setting = "'event_triggers', 'off'" // also those that are marked ENABLE ALWAYS
	}
	return "SELECT pg_catalog.set_config(" + setting + ", true) FROM pg_catalog.pg_roles WHERE rolname = current_user AND rolsuper"
}

// ledgerComment returns the comment of the ledger's schema, nil if there is no
// schema of that name.
func ledgerComment(ctx context.Context, c *pg.Conn) (*string, error) {
	var comment string
	err := c.QueryRow(ctx, `SELECT coalesce(pg_catalog.obj_description(oid, 'pg_namespace'), '')
		FROM pg_catalog.pg_namespace WHERE nspname = $1`, Schema).Scan(&comment)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return &comment, err
}

// ledgerTables are the tables of the ledger; each has a column run.
const ledgerTables = "run instance intact snapshot lease worker task need copied measured difference planned skipped archive"

// DropComparisons removes what comparisons have in the target's ledger, and the
// ledger if nothing else is in it. It reports whether there was one. The caller
// must own the target, so that none is under way.
func DropComparisons(ctx context.Context, c *pg.Conn) (dropped bool, err error) {
	comment, err := ledgerComment(ctx, c)
	if err != nil || comment == nil || *comment != layout {
		return false, err
	}
	others := false
	err = pgx.BeginFunc(ctx, c.Conn, func(pgx.Tx) error {
		for table := range strings.FieldsSeq(ledgerTables) {
			tag, err := c.Conn.Exec(ctx, "DELETE FROM pgconvoy."+table+" WHERE run LIKE $1", "%"+comparisonSuffix)
			if err != nil {
				return err
			}
			dropped = dropped || tag.RowsAffected() > 0
		}
		return c.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pgconvoy.run)").Scan(&others)
	})
	if err != nil {
		return false, fmt.Errorf("drop ledger of the comparison: %w", err)
	}
	if others || !dropped {
		return dropped, nil
	}
	return true, Drop(ctx, c)
}

// queueMeasured adds what the task has measured, and the differences that it
// found, to what [Ledger.Done] writes.
func (l *Ledger) queueMeasured(batch *pgx.Batch, id tasks.ID, r tasks.Result) error {
	if len(r.Measured) > 0 {
		k := columns(r.Measured)
		batch.Queue(`INSERT INTO pgconvoy.measured (run, task, side, schema, name, rows, digest)
			SELECT $1, $2, $3, x.* FROM unnest($4::text[], $5::text[], $6::int8[], $7::text[]) x`,
			l.run.Name, string(id), r.Side, k.schemas, k.names, k.rows, k.digests)
	}
	for _, d := range r.Differences {
		detail, err := json.Marshal(d)
		if err != nil {
			return fmt.Errorf("encode difference of %s: %w", d.Table, err)
		}
		batch.Queue("INSERT INTO pgconvoy.difference (run, schema, name, detail) VALUES ($1, $2, $3, $4)",
			l.run.Name, d.Table.Schema, d.Table.Name, detail)
	}
	return nil
}

// Copied returns what was copied of each of the tables, all parts together.
func (l *Ledger) Copied(ctx context.Context, c *pg.Conn, tables []tasks.Name) (map[tasks.Name]tasks.TableCount, error) {
	counts, err := l.sum(ctx, c, "c.bytes, c.digest FROM pgconvoy.copied c", tables)
	if err != nil {
		return nil, fmt.Errorf("read what was copied: %w", err)
	}
	return counts, nil
}

// Measured returns what was found in each of the tables on the side, all parts
// together.
func (l *Ledger) Measured(ctx context.Context, c *pg.Conn, side string, tables []tasks.Name) (map[tasks.Name]tasks.TableCount, error) {
	counts, err := l.sum(ctx, c, "0::int8, c.digest FROM pgconvoy.measured c", tables, side)
	if err != nil {
		return nil, fmt.Errorf("read what was measured: %w", err)
	}
	return counts, nil
}

// sum adds up the counts of each table; the digests are added here, as SQL has
// no sum modulo 2^128.
func (l *Ledger) sum(ctx context.Context, c *pg.Conn, from string, tables []tasks.Name, side ...string) (map[tasks.Name]tasks.TableCount, error) {
	schemas, names := make([]string, len(tables)), make([]string, len(tables))
	for i, t := range tables {
		schemas[i], names[i] = t.Schema, t.Name
	}
	sql, args := "SELECT c.schema, c.name, c.rows, "+from+`
		JOIN unnest($2::text[], $3::text[]) x (schema, name) ON x.schema = c.schema AND x.name = c.name WHERE c.run = $1`,
		[]any{l.run.Name, schemas, names}
	if len(side) > 0 {
		sql, args = sql+" AND c.side = $4", append(args, side[0])
	}
	rows, err := c.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	counts := map[tasks.Name]tasks.TableCount{}
	var n tasks.TableCount
	var digest *string
	_, err = pgx.ForEachRow(rows, []any{&n.Name.Schema, &n.Name.Name, &n.Rows, &n.Bytes, &digest}, func() error {
		one := n
		if digest != nil {
			d, err := tasks.ParseDigest(*digest)
			if err != nil {
				return err
			}
			one.Digest = &d
		}
		if sum, there := counts[n.Name]; there {
			one = sum.Add(one)
		}
		counts[n.Name] = one
		return nil
	})
	return counts, err
}

// Differences returns what the run's comparisons have found, in the order of
// names, and how many rows they have compared.
func (l *Ledger) Differences(ctx context.Context, c *pg.Conn) (found []tasks.Difference, compared int64, err error) {
	rows, err := c.Query(ctx, `SELECT detail FROM pgconvoy.difference WHERE run = $1 ORDER BY schema COLLATE "C", name COLLATE "C"`, l.run.Name)
	if err != nil {
		return nil, 0, fmt.Errorf("read differences: %w", err)
	}
	found, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (tasks.Difference, error) {
		var d tasks.Difference
		var detail []byte
		if err := row.Scan(&detail); err != nil {
			return d, err
		}
		err := json.Unmarshal(detail, &d)
		return d, err
	})
	if err == nil {
		err = c.QueryRow(ctx, "SELECT coalesce(pg_catalog.sum(rows), 0)::int8 FROM pgconvoy.task WHERE run = $1 AND kind = 'verify'", l.run.Name).Scan(&compared)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read differences: %w", err)
	}
	return found, compared, nil
}
