package schema

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgconvoy/pgconvoy/internal/pg"
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
//   - one that begins with "secret " holds what must not be shown;
//   - address is that of the object, and needs that of another one: if a copy does
//     not make one of them the object is not compared;
//   - from is the address of something that the object has some of its properties
//     from, and does without where a copy does not make that;
//   - refers to is the table of a foreign key that is proven, and of partitions is
//     true if it is declared on a partitioned table.
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
		if i == 0 || slices.Contains(notProperties, name) || bytes.Equal(source.values[i], target.values[i]) || source.doesWithout(name) {
			continue
		}
		d := tasks.SchemaDifference{
			Kind: source.kind(f), Object: string(source.key()), Finding: tasks.ObjectDifferent,
			Property: name, Source: string(source.values[i]), Target: string(target.values[i]),
		}
		if c.source.sameDefinition(f, d) || source.unproven() && strings.TrimSuffix(d.Source, notValid) == strings.TrimSuffix(d.Target, notValid) {
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
	for c.rows.NextRow() {
		before := string(c.key())
		c.values = c.rows.Values()
		if c.columns == nil {
			for _, field := range c.rows.FieldDescriptions() {
				c.columns = append(c.columns, field.Name)
			}
		} else if before > string(c.key()) {
			c.err = fmt.Errorf("the %s sorts %q after %q", c.side.conn.Side(), before, c.key())
		}
		if c.err != nil || !c.leftOut() {
			return c.err == nil
		}
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

// notProperties are the columns whose names have a meaning.
var notProperties = []string{"of", "dispensable", "address", "needs", "from", "refers to", "of partitions"}

// fromOthers are the properties that an object has from what its from names.
var fromOthers = []string{"parents", "partition bound", "inherited", "attached to", "owned by"}

// notValid is how the definition of a foreign key ends that nobody has proven.
const notValid = " NOT VALID"

// address returns the address in the column, and whether there is one.
func (c *cursor) address(column string) (o pg.Object, ok bool) {
	_, err := fmt.Sscan(c.value(column), &o.Class, &o.OID)
	return o, err == nil
}

// leftOut reports whether a copy does not make the object at hand.
func (c *cursor) leftOut() bool {
	if c.side.made.All() {
		return false
	}
	for _, column := range []string{"address", "needs"} {
		if o, ok := c.address(column); ok && !c.side.made.Makes(o) {
			return true
		}
	}
	return c.unproven() && c.value("of partitions") == "true" && c.side.targetMajor() < notNull
}

// unproven reports whether a copy adds the foreign key at hand without a look at the
// rows, as not all of those that it refers to are copied.
func (c *cursor) unproven() bool {
	table, err := strconv.ParseUint(c.value("refers to"), 10, 32)
	return err == nil && c.side.made.Table(uint32(table)).Partial()
}

// doesWithout reports whether a copy of the object at hand has another value of
// the property than the object itself.
func (c *cursor) doesWithout(property string) bool {
	switch {
	case c.side.made.All():
		return false
	case property == "validated":
		return c.unproven()
	case property == "populated":
		o, _ := c.address("address")
		return c.side.made.Table(o.OID).NoRows
	case slices.Contains(fromOthers, property):
		o, ok := c.address("from")
		return ok && !c.side.made.Makes(o)
	}
	return false
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
