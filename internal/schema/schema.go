// Package schema compares the definitions of two databases object by object, by
// their catalogs and not by a dump: what only one side has, and every property
// that is not the same. It needs nothing but a session on each side, and changes
// nothing.
//
// A family is one query over all objects of a few kinds. Each file has the
// families of one area: relations.go those of tables, views and their columns,
// indexes.go those of indexes and constraints, and so on; kinds.go lists all. A
// new property is a column of its family's query, named as people read it.
// dialect.go has the pieces of SQL that depend on the server's version and what
// is not comparable between versions, merge.go walks the answers of both sides.
//
// Objects are told apart by their names, never by oids. The sessions quote every
// identifier, as the list of words that need it is not the same in any two
// versions; so names and definitions read "public"."orders".
package schema

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/pgconvoy/pgconvoy/internal/filter"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Expected is what a copy leaves out or renames on purpose: that is no difference.
type Expected struct {
	Without        []string    // schemas that are left out whole
	Source, Target filter.Made // what is chosen, by the same rules on either side
	Around         tasks.Around
	NoLabels       []string // providers of security labels that the target does not have
}

// Compare compares the definitions on both sides, each as one snapshot shows it,
// but for the values of sequences, which belong to none. After an error both
// sessions should be discarded.
func Compare(ctx context.Context, source, target *pg.Conn, e Expected) (tasks.SchemaComparison, error) {
	c := &comparison{
		source: side{source, newDialect(source, target, e), e.Source}, target: side{target, newDialect(target, source, e), e.Target},
		alone: map[string]bool{},
	}
	c.result.Differences, c.result.Kinds = []tasks.SchemaDifference{}, []tasks.KindCount{}
	c.result.Notes = append(notes(source.Major(), target.Major()), e.notes()...)
	if err := c.both(ctx, side.begin); err != nil {
		return c.result, err
	}
	if err := c.receiver(ctx); err != nil {
		return c.result, err
	}
	for _, f := range families(e) {
		if err := c.compare(ctx, f); err != nil {
			return c.result, fmt.Errorf("compare %s: %w", f.kind, err)
		}
	}
	if err := c.sequenceValues(ctx); err != nil {
		return c.result, fmt.Errorf("compare values of sequences: %w", err)
	}
	return c.result, c.both(ctx, side.end)
}

// comparison is a comparison under way.
type comparison struct {
	source, target side
	result         tasks.SchemaComparison
	alone          map[string]bool // relations and the like that one side lacks: what belongs to them is not listed, too
	sequences      []string        // that both sides have
}

// side is one of the two databases.
type side struct {
	conn *pg.Conn
	dialect
	made filter.Made
}

// receiver reads whom things belong to on the target, and where they are, unless
// they say otherwise.
func (c *comparison) receiver(ctx context.Context) error {
	var role, space string
	err := c.target.conn.QueryRow(ctx, `SELECT current_user::text, t.spcname::text FROM pg_catalog.pg_database d JOIN pg_catalog.pg_tablespace t ON t.oid = d.dattablespace
		WHERE d.datname = pg_catalog.current_database()`).Scan(&role, &space)
	if err != nil {
		return fmt.Errorf("read the role of the target: %w", err)
	}
	for _, d := range []*dialect{&c.source.dialect, &c.target.dialect} {
		d.receiver, d.space = role, space
	}
	return nil
}

// begin takes the snapshot that the side is compared in.
func (s side) begin(ctx context.Context) error {
	if _, err := s.conn.Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL quote_all_identifiers = on"); err != nil {
		return fmt.Errorf("begin on the %s: %w", s.conn.Side(), err)
	}
	return nil
}

// end lets go of the snapshot, and of the locks on what was looked at.
func (s side) end(ctx context.Context) error {
	if _, err := s.conn.Exec(ctx, "ROLLBACK"); err != nil {
		return fmt.Errorf("end on the %s: %w", s.conn.Side(), err)
	}
	return nil
}

// both does the same on both sides at once.
func (c *comparison) both(ctx context.Context, do func(side, context.Context) error) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, s := range []side{c.source, c.target} {
		group.Go(func() error { return do(s, ctx) })
	}
	return group.Wait()
}

// sequenceQuery is how many sequences one query reads; each takes a lock.
const sequenceQuery = 200

// sequenceValues compares the values of the sequences that both sides have. They
// are in the sequences themselves, one row each.
func (c *comparison) sequenceValues(ctx context.Context) error {
	for len(c.sequences) > 0 {
		names := c.sequences[:min(len(c.sequences), sequenceQuery)]
		c.sequences = c.sequences[len(names):]
		selects := make([]string, len(names))
		for i, name := range names {
			selects[i] = fmt.Sprintf("SELECT %s::text AS object, last_value || CASE WHEN is_called THEN '' ELSE ', not called yet' END AS value FROM %s",
				pg.QuoteLiteral(name), name)
		}
		values := func(dialect) string { return strings.Join(selects, " UNION ALL ") }
		if err := c.compare(ctx, family{kind: "sequence", query: values, counted: true}); err != nil {
			return err
		}
	}
	return nil
}
