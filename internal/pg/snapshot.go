package pg

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Snapshot is an exported snapshot of the source. It lives as long as the
// transaction of the connection that exported it.
type Snapshot struct {
	Name string // what SET TRANSACTION SNAPSHOT takes
	Text string // pg_current_snapshot(): xmin:xmax:xip,…
	// Replayed is up to where a standby had replayed its primary's WAL before the snapshot was taken, "" on a primary.
	Replayed string
}

// ExportSnapshot begins a REPEATABLE READ, READ ONLY transaction on c and
// exports its snapshot. The transaction stays open.
func ExportSnapshot(ctx context.Context, c *Conn) (Snapshot, error) {
	return ExportLocked(ctx, c, nil, "0")
}

// ExportLocked is [ExportSnapshot] of a transaction that has the tables locked,
// as [LockTables] does, before it takes its snapshot: LOCK takes none. What a
// session changed that the lock had to wait for is in the snapshot then.
func ExportLocked(ctx context.Context, c *Conn, tables []string, timeout string) (Snapshot, error) {
	var s Snapshot
	if err := c.QueryRow(ctx, "SELECT coalesce(pg_catalog.pg_last_wal_replay_lsn()::text, '') WHERE pg_catalog.pg_is_in_recovery()").Scan(&s.Replayed); err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return s, fmt.Errorf("read how far the standby is: %w", err)
	}
	if _, err := c.Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); err != nil {
		return Snapshot{}, fmt.Errorf("begin snapshot transaction: %w", err)
	}
	if err := LockTables(ctx, c, tables, timeout); err != nil {
		return Snapshot{}, err
	}
	// pg_current_snapshot shows xids in 64 bits; it came with 13, our oldest source.
	err := c.QueryRow(ctx, "SELECT pg_catalog.pg_export_snapshot(), pg_catalog.pg_current_snapshot()::text").Scan(&s.Name, &s.Text)
	if err != nil {
		return Snapshot{}, fmt.Errorf("export snapshot: %w", err)
	}
	return s, nil
}

// ReexportSnapshot makes c's session one that holds the exported snapshot, too:
// it begins a transaction that sees it and exports it again. The new name works
// on when every other session that held the snapshot has ended. The transaction
// stays open; after an error the connection should be discarded.
func ReexportSnapshot(ctx context.Context, c *Conn, name string) (Snapshot, error) {
	if _, err := c.Exec(ctx, ImportSnapshotSQL(name)); err != nil {
		return Snapshot{}, fmt.Errorf("import snapshot: %w", err)
	}
	var s Snapshot
	err := c.QueryRow(ctx, "SELECT pg_catalog.pg_export_snapshot(), pg_catalog.pg_current_snapshot()::text").Scan(&s.Name, &s.Text)
	if err != nil {
		return Snapshot{}, fmt.Errorf("export snapshot: %w", err)
	}
	return s, nil
}

// ImportSnapshotSQL returns the statements that begin a transaction which sees
// the exported snapshot.
func ImportSnapshotSQL(name string) string {
	return "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT " + QuoteLiteral(name)
}

// lockChunk bounds how many tables one LOCK statement names.
const lockChunk = 500

// LockTables takes ACCESS SHARE on the tables, given as quoted names, in c's
// transaction, so that nothing can drop, alter, truncate or rewrite them until
// it ends. Waiting is bounded by timeout per statement, in PostgreSQL's syntax.
func LockTables(ctx context.Context, c *Conn, tables []string, timeout string) error {
	if _, err := c.Exec(ctx, "SET LOCAL lock_timeout = "+QuoteLiteral(timeout)); err != nil {
		return fmt.Errorf("lock tables: %w", err)
	}
	for len(tables) > 0 {
		n := min(len(tables), lockChunk)
		if _, err := c.Exec(ctx, LockSQL(tables[:n])); err != nil {
			return fmt.Errorf("lock tables in ACCESS SHARE mode: %w", err)
		}
		tables = tables[n:]
	}
	return nil
}

// LockSQL returns the statement that takes ACCESS SHARE on the quoted tables,
// without their children.
func LockSQL(tables []string) string {
	return "LOCK TABLE ONLY " + strings.Join(tables, ", ONLY ") + " IN ACCESS SHARE MODE"
}

// ErrRewritten is returned when a table is not what it was when the plan was
// made: an old snapshot would show it empty, or half full.
var ErrRewritten = errors.New("table was rewritten, truncated, renamed or dropped since the plan was made")

// TableIdentity is what must not change between the plan and the copy.
type TableIdentity struct {
	Quoted   string
	OID      uint32
	Filenode uint32
}

// IdentitySQL returns a query that yields the quoted names of those tables
// that are not what the plan saw. The tables must be locked first.
// pg_relation_filenode looks past the snapshot, pg_class.relfilenode does not.
func IdentitySQL(tables []TableIdentity) string {
	values := make([]string, len(tables))
	for i, t := range tables {
		values[i] = fmt.Sprintf("(%s, %d::oid, %d::oid)", QuoteLiteral(t.Quoted), t.OID, t.Filenode)
	}
	return "SELECT v.name FROM (VALUES " + strings.Join(values, ", ") + `) AS v (name, id, filenode)
		WHERE pg_catalog.to_regclass(v.name)::oid IS DISTINCT FROM v.id
		OR coalesce(pg_catalog.pg_relation_filenode(v.id), 0) <> v.filenode`
}
