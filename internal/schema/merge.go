package schema

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// family is one query over all objects of some kinds. It returns a row per
// object, whose first column is its identity, and whose further columns are
// properties, all text, with names for people. Some names have a meaning:
//
//   - kind is the exact kind of the object, where the family has several;
//   - of is the identity of what the object belongs to, and is not compared: if
//     only one side has that, it is reported and this object is not;
//   - dispensable is true if a copy leaves the object out: it is no difference if
//     only the source has it;
//   - one that begins with "secret " holds what must not be shown.
type family struct {
	kind     string
	query    func(dialect) string
	deparsed []string // properties that are queries, which servers print in their own ways
	owns     bool     // other families' of names objects of this one
	counted  bool     // by another family already
}

// compare reads the objects of a family from both sides, in one order, and
// notes what differs. Neither side's are held in memory.
func (c *comparison) compare(ctx context.Context, f family) error {
	source, target := newCursor(ctx, c.source, f), newCursor(ctx, c.target, f)
	counts := &counter{}
	for {
		s, t := source.next(), target.next()
		if err := errors.Join(source.err, target.err); err != nil {
			return err
		}
		if !s && !t {
			break
		}
		order := 0
		switch {
		case !t:
			order = -1
		case !s:
			order = 1
		default:
			order = bytes.Compare(source.key(), target.key())
		}
		switch {
		case order < 0:
			counts.add(source.kind(f), 1, 0)
			c.only(f, source, tasks.ObjectMissing)
			target.keep()
		case order > 0:
			counts.add(target.kind(f), 0, 1)
			c.only(f, target, tasks.ObjectExtra)
			source.keep()
		default:
			counts.add(source.kind(f), 1, 0)
			counts.add(target.kind(f), 0, 1)
			c.pair(f, source, target)
		}
	}
	if !f.counted {
		c.result.Kinds = append(c.result.Kinds, counts.list...)
	}
	return nil
}

// only notes an object that one side lacks.
func (c *comparison) only(f family, row *cursor, finding tasks.ObjectFinding) {
	if f.owns {
		c.alone[string(row.key())] = true
	}
	if c.alone[row.value("of")] || finding == tasks.ObjectMissing && row.value("dispensable") == "true" {
		return
	}
	c.result.Differences = append(c.result.Differences, tasks.SchemaDifference{Kind: row.kind(f), Object: string(row.key()), Finding: finding})
}

// pair notes the properties that differ of an object that both sides have.
func (c *comparison) pair(f family, source, target *cursor) {
	if f.kind == "sequence" && !f.counted {
		c.sequences = append(c.sequences, string(source.key()))
	}
	for i, name := range source.columns {
		if i == 0 || name == "of" || name == "dispensable" || bytes.Equal(source.values[i], target.values[i]) {
			continue
		}
		d := tasks.SchemaDifference{
			Kind: source.kind(f), Object: string(source.key()), Finding: tasks.ObjectDifferent,
			Property: name, Source: string(source.values[i]), Target: string(target.values[i]),
		}
		if c.source.sameDefinition(f, d) {
			continue
		}
		c.result.Differences = append(c.result.Differences, hideSecrets(d))
	}
}

// counter counts objects by kind, in the order in which kinds are seen.
type counter struct {
	list []tasks.KindCount
	at   map[string]int
}

func (c *counter) add(kind string, source, target int) {
	i, known := c.at[kind]
	if !known {
		if c.at == nil {
			c.at = map[string]int{}
		}
		i = len(c.list)
		c.at[kind] = i
		c.list = append(c.list, tasks.KindCount{Kind: kind})
	}
	c.list[i].Source += source
	c.list[i].Target += target
}

// cursor is the answer of one side, read row by row.
type cursor struct {
	side    side
	rows    *pgconn.ResultReader
	columns []string
	values  [][]byte // of the row at hand
	kept    bool     // the row at hand is to be looked at again
	done    bool
	err     error
}

// newCursor sends the family's query and does not wait for the answer.
func newCursor(ctx context.Context, s side, f family) *cursor {
	sql := "SELECT * FROM (" + f.query(s.dialect) + ") x ORDER BY " + s.order
	return &cursor{side: s, rows: s.conn.PgConn().ExecParams(ctx, sql, nil, nil, nil, nil)}
}

// keep makes next return the row at hand again.
func (c *cursor) keep() { c.kept = true }

// next moves to the next row, and returns false if there is none, or after an
// error, which is in err.
func (c *cursor) next() bool {
	if c.kept {
		c.kept = false
		return !c.done
	}
	if c.done {
		return false
	}
	before := string(c.key())
	if c.rows.NextRow() {
		c.values = c.rows.Values()
		if c.columns == nil {
			for _, field := range c.rows.FieldDescriptions() {
				c.columns = append(c.columns, field.Name)
			}
		} else if before > string(c.key()) {
			c.err = fmt.Errorf("the %s sorts %q after %q", c.side.conn.Side(), before, c.key())
		}
		return c.err == nil
	}
	c.done, c.values = true, nil
	if _, err := c.rows.Close(); err != nil {
		c.err = fmt.Errorf("on the %s: %w", c.side.conn.Side(), err)
	}
	return false
}

// key returns the identity of the object at hand.
func (c *cursor) key() []byte {
	if len(c.values) == 0 {
		return nil
	}
	return c.values[0]
}

// value returns a property of the object at hand, "" if it has none.
func (c *cursor) value(column string) string {
	for i, name := range c.columns {
		if name == column {
			return string(c.values[i])
		}
	}
	return ""
}

// kind returns the kind of the object at hand.
func (c *cursor) kind(f family) string {
	if kind := c.value("kind"); kind != "" {
		return kind
	}
	return f.kind
}
