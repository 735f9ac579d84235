package check

import (
	"context"
	"fmt"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// sqlLockTable yields the size of a server's lock table, as its manual computes
// it, its divisor, and how much of it is in use.
const sqlLockTable = `SELECT pg_catalog.current_setting('max_locks_per_transaction')::int,
	pg_catalog.current_setting('max_connections')::int + pg_catalog.current_setting('max_prepared_transactions')::int,
	(SELECT pg_catalog.count(*) FROM pg_catalog.pg_locks l WHERE NOT l.fastpath)::int`

// sqlLockedOnSource counts what the snapshot's session and pg_dump lock. Two
// sessions share the entry of a table; pg_dump also locks views as it reads
// their definitions.
const sqlLockedOnSource = `SELECT pg_catalog.count(*)::int FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	WHERE c.relkind IN ('r', 'p', 'v', 'm') AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pgconvoy') AND` + sqlChosen

// sqlLargestTree counts the partitions of the largest partitioned table, all
// levels, and their indexes: a command on the root locks all of them.
const sqlLargestTree = `WITH RECURSIVE tree (root, id) AS (
		SELECT p.partrelid, p.partrelid FROM pg_catalog.pg_partitioned_table p
		WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = p.partrelid)
		UNION ALL
		SELECT t.root, i.inhrelid FROM tree t JOIN pg_catalog.pg_inherits i ON i.inhparent = t.id
	), sized AS (
		SELECT t.root, pg_catalog.count(DISTINCT t.id) + pg_catalog.count(x.indexrelid) AS relations
		FROM tree t LEFT JOIN pg_catalog.pg_index x ON x.indrelid = t.id GROUP BY t.root
	)
	SELECT coalesce(pg_catalog.max(s.relations), 0)::int FROM sized s`

// locksPerSession is what each of the run's other sessions may hold at once.
const locksPerSession = 30

type lockTable struct{ PerTransaction, Transactions, Used int }

func (l lockTable) size() int { return l.PerTransaction * l.Transactions }

// setting returns the max_locks_per_transaction that leaves room for need.
func (l lockTable) setting(need int) int { return (need+l.Used)*11/10/max(l.Transactions, 1) + 1 }

// checkLocks compares the locks that the run holds at once with the room in the
// shared lock tables: out of it, PostgreSQL ends the transaction with "out of
// shared memory".
func checkLocks(ctx context.Context, p *probe) (Findings, error) {
	var tree int
	locked, err := query[struct{ Tables int }](ctx, p.Source, sqlLockedOnSource, p.Choice.args()...)
	if err != nil {
		return nil, err
	}
	tables := locked[0].Tables
	if err := queryRow(ctx, p.Source, sqlLargestTree, &tree); err != nil {
		return nil, err
	}
	onSource := tables + locksPerSession*p.Connections.Source
	onTarget := p.TargetLocks
	if onTarget == 0 {
		onTarget = DefaultTargetLocks
	}
	// A bundle of small tables never needs more than what there is.
	onTarget = min(onTarget, 8*tables) + tree + locksPerSession*p.Connections.Target
	if p.sameServer {
		onSource, onTarget = onSource+onTarget, onSource+onTarget
	}
	var found Findings
	for _, side := range []struct {
		*server
		need int
		why  string
	}{
		{p.source, onSource, tasks.Plural(tables, "table")},
		{p.target, onTarget, fmt.Sprintf("its largest transactions, and a partitioned table of %d partitions and indexes", tree)},
	} {
		rows, err := query[lockTable](ctx, side.Conn, sqlLockTable)
		if err != nil {
			return nil, err
		}
		found = append(found, lockFindings(side.server, rows[0], side.need, side.why)...)
		if p.sameServer {
			break
		}
	}
	return found, nil
}

func lockFindings(s *server, have lockTable, need int, why string) Findings {
	free := have.size() - have.Used
	if need <= free {
		return nil
	}
	return Findings{blocker("locks",
		fmt.Sprintf("on the %s: ALTER SYSTEM SET max_locks_per_transaction = %d; and restart it", s.Side(), have.setting(need)),
		"the run may hold %d locks at once on the server of the %s, for %s; there is room for %d (max_locks_per_transaction %d, times %d)",
		need, s.place(), why, max(free, 0), have.PerTransaction, have.Transactions)}
}
