package pg

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Shape is what decides whether the rows of one table fit into another: that of a
// table, a view, or what else has columns.
type Shape struct {
	OID                  uint32
	Schema, Name         string
	Kind                 string // relkind: r, p, v, m or f
	Unlogged             bool
	Populated            bool   // false of a materialized view without rows
	Mine                 bool   // the role has what its owner may do
	AccessMethod         string // "" for what has no storage
	ParentSchema, Parent string // of a partition, "" otherwise
	Bound                string // of a partition, as pg_get_expr writes it
	Key                  string // of a partitioned table, as pg_get_partkeydef writes it
	Columns              []string
	Types                []string // of the columns, as format_type writes them
	BuiltIn              []bool   // whether the type means the same on every server, and is no domain
	Generated            []bool
	Required             []bool // NOT NULL without a default
}

// ReadShapes returns the shapes of all user relations with columns, but for those
// of extensions and what is left out.
func ReadShapes(ctx context.Context, c *Conn, without Without) ([]Shape, error) {
	rows, err := c.Query(ctx, `SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence = 'u', c.relispopulated,
		pg_catalog.pg_has_role(c.relowner, 'USAGE'), coalesce(am.amname::text, ''),
		coalesce(pn.nspname::text, ''), coalesce(p.relname::text, ''), coalesce(pg_catalog.pg_get_expr(c.relpartbound, c.oid), ''),
		CASE WHEN c.relkind = 'p' THEN coalesce(pg_catalog.pg_get_partkeydef(c.oid), '') ELSE '' END,
		cols.names, cols.types, cols.builtin, cols.generated, cols.required
	FROM pg_catalog.pg_class c
	JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam
	LEFT JOIN pg_catalog.pg_inherits i ON c.relispartition AND i.inhrelid = c.oid
	LEFT JOIN pg_catalog.pg_class p ON p.oid = i.inhparent LEFT JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
	CROSS JOIN LATERAL (SELECT coalesce(pg_catalog.array_agg(a.attname::text ORDER BY a.attnum), '{}') AS names,
			coalesce(pg_catalog.array_agg(pg_catalog.format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum), '{}') AS types,
			coalesce(pg_catalog.array_agg(t.oid < 16384 AND t.typtype <> 'd' ORDER BY a.attnum), '{}') AS builtin,
			coalesce(pg_catalog.array_agg(a.attgenerated <> '' ORDER BY a.attnum), '{}') AS generated,
			coalesce(pg_catalog.array_agg(a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' ORDER BY a.attnum), '{}') AS required
		FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
		WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) cols
	WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname <> ALL ($1) AND c.oid <> ALL ($2) AND `+userRelation+`
	ORDER BY c.oid`, without.names(), without.IDs())
	if err != nil {
		return nil, fmt.Errorf("read the shapes of tables of the %s: %w", c.side, err)
	}
	shapes, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Shape])
	if err != nil {
		return nil, fmt.Errorf("read the shapes of tables of the %s: %w", c.side, err)
	}
	return shapes, nil
}

// Firing is what happens on its own when rows come into a table that was there
// before: a trigger, or a foreign key that is looked after.
type Firing struct {
	Root  string // the quoted name that was asked for: the table, or one that it is a partition of
	Table string // quoted
	Name  string // of the trigger, or of the foreign key
	State string // tgenabled of a trigger: O, A or R; F is a foreign key
}

// ReadFirings returns what fires when rows come into the tables, or their
// partitions, and also when they are truncated if that is asked for.
func ReadFirings(ctx context.Context, c *Conn, tables []string, truncated bool) ([]Firing, error) {
	events := 4 // tgtype: INSERT
	if truncated {
		events |= 32
	}
	rows, err := c.Query(ctx, treesSQL+`SELECT tree.root, tree.oid::regclass::text, t.tgname::text, t.tgenabled::text FROM tree JOIN pg_catalog.pg_trigger t ON t.tgrelid = tree.oid
			WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgtype & $2 <> 0
		UNION ALL SELECT tree.root, tree.oid::regclass::text, k.conname::text, 'F' FROM tree JOIN pg_catalog.pg_constraint k ON k.conrelid = tree.oid AND k.contype = 'f'
		ORDER BY 1, 2, 3`, tables, events)
	if err != nil {
		return nil, fmt.Errorf("look for triggers and foreign keys of the %s: %w", c.side, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Firing])
	if err != nil {
		return nil, fmt.Errorf("look for triggers and foreign keys of the %s: %w", c.side, err)
	}
	return list, nil
}

// treesSQL begins a query about the tables $1, which are there, and all of their
// partitions.
const treesSQL = `WITH tree AS MATERIALIZED (SELECT DISTINCT name AS root, x.oid FROM unnest($1::text[]) name
		CROSS JOIN LATERAL (SELECT name::regclass::oid AS oid UNION SELECT relid::oid FROM pg_catalog.pg_partition_tree(name::regclass)) x) `

// Reference is a foreign key between two tables, or partitions of them. The one
// that refers may be another than those that were asked for; its Root is "" then.
type Reference struct {
	Root, References string // the names that were asked for
	Table, Name      string // quoted; of the foreign key
}

// ReadReferences returns the foreign keys to the tables, or to their partitions.
func ReadReferences(ctx context.Context, c *Conn, tables []string) ([]Reference, error) {
	rows, err := c.Query(ctx, treesSQL+`SELECT DISTINCT coalesce(own.root, ''), tree.root, k.conrelid::regclass::text, k.conname::text
		FROM tree JOIN pg_catalog.pg_constraint k ON k.confrelid = tree.oid AND k.contype = 'f' LEFT JOIN tree own ON own.oid = k.conrelid ORDER BY 1, 2, 3, 4`, tables)
	if err != nil {
		return nil, fmt.Errorf("look for foreign keys of the %s: %w", c.side, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Reference])
	if err != nil {
		return nil, fmt.Errorf("look for foreign keys of the %s: %w", c.side, err)
	}
	return list, nil
}

// Proof is a look at whether a foreign key holds: the SQL raises an error if it
// does not. Rows that come past triggers come past foreign keys, too.
type Proof struct {
	Schema, Table, Name string
	SQL                 string
}

// ReadProofs returns a proof for each foreign key of the tables, or of their
// partitions, that claims to hold for all rows. Those with a range in them are
// returned by their names in unproven.
func ReadProofs(ctx context.Context, c *Conn, tables []string) (proofs []Proof, unproven []string, err error) {
	enforced, period := "true", "false"
	if c.Major() >= 18 {
		enforced, period = "k.conenforced", "k.conperiod"
	}
	rows, err := c.Query(ctx, treesSQL+`SELECT n.nspname::text, t.relname::text, k.conname::text, k.conrelid::regclass::text, k.confrelid::regclass::text, k.confmatchtype::text,
			`+period+`, t.relkind = 'p', r.relkind = 'p', cols.own, cols.others, cols.operators
		FROM (SELECT DISTINCT oid FROM tree) o JOIN pg_catalog.pg_constraint k ON k.conrelid = o.oid AND k.contype = 'f' AND k.conparentid = 0
		JOIN pg_catalog.pg_class t ON t.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace JOIN pg_catalog.pg_class r ON r.oid = k.confrelid
		CROSS JOIN LATERAL (SELECT pg_catalog.array_agg(pg_catalog.quote_ident(a.attname) ORDER BY x.n) AS own, pg_catalog.array_agg(pg_catalog.quote_ident(b.attname) ORDER BY x.n) AS others,
				pg_catalog.array_agg(pg_catalog.format('OPERATOR(%I.%s)', s.nspname, p.oprname) ORDER BY x.n) AS operators
			FROM ROWS FROM (unnest(k.conkey), unnest(k.confkey), unnest(k.conpfeqop)) WITH ORDINALITY x (own, other, op, n)
			JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = x.own JOIN pg_catalog.pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = x.other
			JOIN pg_catalog.pg_operator p ON p.oid = x.op JOIN pg_catalog.pg_namespace s ON s.oid = p.oprnamespace) cols
		WHERE k.convalidated AND `+enforced+` ORDER BY 1, 2, 3`, tables)
	if err != nil {
		return nil, nil, fmt.Errorf("read foreign keys of the %s: %w", c.side, err)
	}
	type key struct {
		Schema, Table, Name              string
		Own, Other, Match                string
		Period, OwnTree, OtherTree       bool
		Columns, OtherColumns, Operators []string
	}
	keys, err := pgx.CollectRows(rows, pgx.RowToStructByPos[key])
	if err != nil {
		return nil, nil, fmt.Errorf("read foreign keys of the %s: %w", c.side, err)
	}
	only := func(tree bool) string {
		if tree {
			return ""
		}
		return "ONLY "
	}
	for _, k := range keys {
		if k.Period {
			unproven = append(unproven, fmt.Sprintf("%s of %s", k.Name, k.Own))
			continue
		}
		given, equal := make([]string, len(k.Columns)), make([]string, len(k.Columns))
		for i, column := range k.Columns {
			given[i] = "f." + column + " IS NOT NULL"
			equal[i] = fmt.Sprintf("p.%s %s f.%s", k.OtherColumns[i], k.Operators[i], column)
		}
		word := " AND " // MATCH SIMPLE: a row with a NULL refers to nothing
		if k.Match == "f" {
			word = " OR " // only one with NULLs alone does so
		}
		violation := fmt.Sprintf("SELECT FROM %s%s f WHERE (%s) AND NOT EXISTS (SELECT FROM %s%s p WHERE %s)",
			only(k.OwnTree), k.Own, strings.Join(given, word), only(k.OtherTree), k.Other, strings.Join(equal, " AND "))
		message := fmt.Sprintf("rows of %s violate foreign key %s of the target: what they refer to is not in %s", k.Own, k.Name, k.Other)
		body := fmt.Sprintf("BEGIN IF EXISTS (%s) THEN RAISE foreign_key_violation USING MESSAGE = %s; END IF; END", violation, QuoteLiteral(message))
		proofs = append(proofs, Proof{Schema: k.Schema, Table: k.Table, Name: k.Name, SQL: "DO LANGUAGE plpgsql " + QuoteLiteral(body)})
	}
	return proofs, unproven, nil
}

// SilentSQL keeps triggers and foreign keys of the target from firing, until the
// transaction ends or [LoudSQL] is run.
const SilentSQL = "SET LOCAL session_replication_role = replica"

// LoudSQL lets them fire again.
const LoudSQL = "SET LOCAL session_replication_role = DEFAULT"
