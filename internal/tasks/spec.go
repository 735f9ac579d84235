package tasks

import (
	"fmt"
	"strings"
)

// Table is a table of the source as the plan saw it.
type Table struct {
	Name
	OID      uint32   `json:"oid"`
	Filenode uint32   `json:"filenode"` // pg_relation_filenode; another value later means that the table was rewritten
	Columns  []string `json:"columns"`  // columns that are copied, in order; generated ones are left out
}

// Copy is the spec of [KindCopy]: rows of one table, streamed in one COPY.
type Copy struct {
	Table  Table  `json:"table"`
	Part   Part   `json:"part,omitzero"`   // the zero part is the whole table
	Parts  int    `json:"parts,omitempty"` // number of parts of the table, 0 if not split
	Where  string `json:"where,omitempty"` // predicate of an extension's configuration table
	Into   *Name  `json:"into,omitempty"`  // load through this partitioned root instead of the table itself
	Freeze bool   `json:"freeze,omitempty"`
	Binary bool   `json:"binary,omitempty"` // COPY's binary format: the values of all columns mean the same on both servers
	Digest bool   `json:"digest,omitempty"` // hash the rows on their way, to compare them with the target's later

	Existing bool `json:"existing,omitempty"` // the target's table was there before the run: nothing of it is dropped, and it is not truncated
	Silent   bool `json:"silent,omitempty"`   // its triggers and foreign keys do not fire
}

// SourceSQL returns the COPY that reads the rows. The column list is explicit,
// and ONLY keeps rows of child tables out.
func (c Copy) SourceSQL() string {
	name := c.Table.String()
	format := ""
	if c.Binary {
		format = " WITH (FORMAT binary)"
	}
	if c.Where == "" && c.Part.IsWhole() && len(c.Table.Columns) > 0 {
		return fmt.Sprintf("COPY %s (%s) TO STDOUT%s", name, QuoteIdents(c.Table.Columns), format)
	}
	return fmt.Sprintf("COPY (%s) TO STDOUT%s", c.SelectSQL(QuoteIdents(c.Table.Columns)), format)
}

// SelectSQL returns a SELECT of the given expressions over exactly the rows
// that [Copy.SourceSQL] reads. An empty list of expressions is valid SQL and
// yields rows without columns.
func (c Copy) SelectSQL(exprs string) string {
	return fmt.Sprintf("SELECT %s FROM ONLY %s", exprs, c.Table.Name) + condition(c.Where, c.Part)
}

// condition returns the WHERE of the rows of a part that meet a condition, which
// may be "".
func condition(where string, p Part) string {
	switch {
	case where != "" && !p.IsWhole():
		return fmt.Sprintf(" WHERE (%s) AND %s", where, p.Predicate())
	case where != "":
		return " WHERE " + where
	case !p.IsWhole():
		return " WHERE " + p.Predicate()
	}
	return ""
}

// TargetSQL returns the COPY that loads the rows. Without columns the list is
// left out: the default list leaves generated columns out, too.
func (c Copy) TargetSQL() string {
	into := c.Target().String()
	if len(c.Table.Columns) > 0 {
		into += " (" + QuoteIdents(c.Table.Columns) + ")"
	}
	var options []string
	if c.Binary {
		options = append(options, "FORMAT binary")
	}
	if c.Freeze {
		options = append(options, "FREEZE")
	}
	if len(options) > 0 {
		return fmt.Sprintf("COPY %s FROM STDIN WITH (%s)", into, strings.Join(options, ", "))
	}
	return fmt.Sprintf("COPY %s FROM STDIN", into)
}

// TruncateSQL returns what must run before TargetSQL in its transaction: the
// TRUNCATE that FREEZE asks for, or nothing.
func (c Copy) TruncateSQL() string {
	if !c.Freeze {
		return ""
	}
	return fmt.Sprintf("TRUNCATE ONLY %s", c.Target())
}

// Target returns the relation that the rows are loaded into.
func (c Copy) Target() Name {
	if c.Into != nil {
		return *c.Into
	}
	return c.Table.Name
}

// Label describes the copy in a log line: COPY "public"."orders" part 3/16.
func (c Copy) Label() string {
	if c.Parts > 1 {
		return fmt.Sprintf("COPY %s part %d/%d", c.Table.Name, c.Part.Index, c.Parts)
	}
	return fmt.Sprintf("COPY %s", c.Table.Name)
}

// Statement is one or more SQL statements that belong together, with a label
// for logs and errors.
type Statement struct {
	Label string `json:"label"`
	SQL   string `json:"sql"`
	Undo  string `json:"undo,omitempty"` // SQL that drops what this has made of a table which was there before the run
}

// Statements is the spec of the kinds that run SQL on the target: schema,
// index, attach, analyze, fkey-add, fkey-validate and refresh.
type Statements struct {
	On         *Name       `json:"on,omitempty"` // the table, if there is one
	Statements []Statement `json:"statements"`
}

// Loaded is one table of a bundle: its copy, and what runs after all copies of
// the bundle, in the same transaction.
type Loaded struct {
	Copy    Copy        `json:"copy"`
	After   []Statement `json:"after,omitempty"`
	Analyze []Statement `json:"analyze,omitempty"` // may fail without harm
}

// Bundle is the spec of [KindBundle] and [KindExtensionData]: several tables
// that are copied in one round trip and one transaction.
type Bundle struct {
	Tables []Loaded `json:"tables"`
}

// LargeObjects is the spec of [KindLargeObjects]: the large objects whose oid
// is in [From, To].
type LargeObjects struct {
	From   uint32 `json:"from"`
	To     uint32 `json:"to"`
	Around Around `json:"around,omitzero"`
}

// Sequences is the spec of [KindSequences].
type Sequences struct {
	Names []Name `json:"names"`
}

// Levels of a comparison.
const (
	LevelRows   = "rows"   // numbers of rows
	LevelDigest = "digest" // contents
)

// Sides of a comparison.
const (
	SideSource = "source"
	SideTarget = "target"
)

// Measure is the spec of [KindMeasure]: what tables hold on one side.
type Measure struct {
	Level    string        `json:"level"`
	Side     string        `json:"side"`
	Snapshot string        `json:"snapshot,omitempty"` // exported one to read in; "" reads what is there
	Tables   []VerifyTable `json:"tables"`
}

// Label describes the task in a log line.
func (m Measure) Label() string {
	what := fmt.Sprintf("%d tables", len(m.Tables))
	if len(m.Tables) == 1 {
		what = m.Tables[0].String()
		if p := m.Tables[0].Part; !p.IsWhole() {
			what += fmt.Sprintf(" part %d", p.Index)
		}
	}
	return fmt.Sprintf("%s of %s on the %s", m.Level, what, m.Side)
}

// Verify is the spec of [KindVerify]. After a copy, what was measured on the
// target is compared with what was copied, and a difference fails the task. In
// a comparison, which has the snapshots of both sides, it is compared with what
// was measured on the source, and a difference is a result.
type Verify struct {
	Level  string        `json:"level"`
	Tables []VerifyTable `json:"tables"`
	Source string        `json:"source,omitempty"` // exported snapshots of a comparison
	Target string        `json:"target,omitempty"`
}

// VerifyTable is a table whose rows must be equal on both sides.
type VerifyTable struct {
	Table
	Part    Part   `json:"part,omitzero"`     // only these rows are measured
	Where   string `json:"where,omitempty"`   // and of them those that meet the condition
	Descend bool   `json:"descend,omitempty"` // with the rows of its partitions: those may lie in others on the target
	Leaves  []Name `json:"leaves,omitempty"`  // the partitions that Descend means
}

// SelectSQL returns a SELECT of the expressions over the rows to compare. With
// Descend, a part by blocks is that range of blocks of every partition.
func (v VerifyTable) SelectSQL(exprs string) string {
	only := "ONLY "
	if v.Descend {
		only = ""
	}
	return fmt.Sprintf("SELECT %s FROM %s%s", exprs, only, v.Name) + condition(v.Where, v.Part)
}
