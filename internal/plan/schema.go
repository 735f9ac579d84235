package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// schemaChunk is how many archive entries one transaction runs: enough to make
// commits rare, few enough for the lock table of a server with default settings.
const schemaChunk = 300

// schema adds the chunks of pre-data: in a row what comes before the tables, then
// the tables side by side, then in a row the rest. A server makes most tables
// with a file that it writes to disk at once, for the index of values out of
// line, and has time for another session meanwhile.
func (b *builder) schema() error {
	if !b.in.Options.Only.Has(tasks.SectionSchema) {
		return nil
	}
	before, tables, rest := aroundTables(slices.Concat(b.in.Selection.Pre, b.in.Selection.Statistics))
	after, err := b.schemaChain(before, nil)
	if err != nil {
		return err
	}
	var made []tasks.Group
	for _, chain := range b.sideBySide(tables) {
		last, err := b.schemaChain(chain, after)
		if err != nil {
			return err
		}
		made = append(made, last...)
	}
	if len(made) == 0 {
		made = after
	}
	_, err = b.schemaChain(rest, made)
	return err
}

// schemaChain adds the entries as a chain of tasks and returns what to wait for
// in order to come after them.
func (b *builder) schemaChain(entries []pg.Entry, after []tasks.Group) ([]tasks.Group, error) {
	for _, chunk := range b.chunks(entries) {
		b.schemaTasks++
		t := tasks.Task{
			Kind: tasks.KindSchema, ID: tasks.NewID(tasks.KindSchema, "pre-data", fmt.Sprintf("c%04d", b.schemaTasks)),
			Group: tasks.Group(fmt.Sprintf("pre-data:%d", b.schemaTasks)), Wave: tasks.WaveSchema, Needs: after,
		}
		if err := b.add(t, tasks.Statements{Statements: chunk}); err != nil {
			return nil, err
		}
		after = []tasks.Group{t.Group}
	}
	return after, nil
}

// aroundTables tells apart what comes before the first table, the tables with what
// belongs to them, and the rest. A table stands among the rest if it needs
// something of that, as the type of a view. Entries may pass each other as long
// as their dependencies allow it: pg_dump has no other order than these, and
// names.
func aroundTables(entries []pg.Entry) (before, tables, rest []pg.Entry) {
	late := map[int]bool{} // dump IDs of rest
	for _, e := range entries {
		switch {
		case e.Desc != "TABLE" && len(tables) == 0:
			before = append(before, e)
		case !ofTable(e) || slices.ContainsFunc(e.Deps, func(id int) bool { return late[id] }):
			late[e.DumpID] = true
			rest = append(rest, e)
		default:
			tables = append(tables, e)
		}
	}
	return before, tables, rest
}

// ofTable reports whether the entry makes a table, or something that belongs to
// tables and locks nothing else.
func ofTable(e pg.Entry) bool {
	switch e.Desc {
	case "TABLE", "TABLE ATTACH", "SEQUENCE", "SEQUENCE OWNED BY", "DEFAULT", "STATISTICS", "COMMENT", "SECURITY LABEL":
		return true
	}
	return false
}

// sideBySide returns lists of entries that different sessions may run at the
// same time, each in its order: what depends on each other is in the same one.
func (b *builder) sideBySide(entries []pg.Entry) [][]pg.Entry {
	families := newFamilies(len(entries))
	byDumpID := make(map[int]int, len(entries))
	byName := map[string]int{}
	for i, e := range entries {
		byDumpID[e.DumpID] = i
	}
	for i, e := range entries {
		for _, id := range e.Deps {
			if d, ok := byDumpID[id]; ok {
				families.join(i, d)
			}
		}
		if key := b.typeName(e); key != "" {
			if d, ok := byName[key]; ok {
				families.join(i, d)
			}
			byName[key] = i
		}
	}
	members := map[int][]pg.Entry{}
	var order []int // families, by their first entries
	for i, e := range entries {
		f := families.of(i)
		if members[f] == nil {
			order = append(order, f)
		}
		members[f] = append(members[f], e)
	}
	var lists [][]pg.Entry
	var current []pg.Entry // of small families
	for _, f := range order {
		family := members[f]
		if len(family) > schemaChunk {
			lists = append(lists, family)
			continue
		}
		if len(current)+len(family) > schemaChunk {
			lists, current = append(lists, current), nil
		}
		current = append(current, family...)
	}
	if len(current) > 0 {
		lists = append(lists, current)
	}
	return lists
}

// longName is a length in bytes from which on the server may shorten what it makes
// of a name.
const longName = 50

// typeName returns a key that two tables share if the array types that the server
// makes for them may want the same name: _a is that of a, and the row type of a
// table _a; and names of full length are shortened. In one session the server
// finds another name, in two at the same time one of them fails.
func (b *builder) typeName(e pg.Entry) string {
	r := b.relation[e.OID]
	if r == nil || e.Desc != "TABLE" {
		return ""
	}
	name := strings.TrimLeft(r.Name, "_")
	return tasks.Name{Schema: r.Schema, Name: name[:min(len(name), longName)]}.String()
}

// families are sets of numbers without a common member.
type families []int

func newFamilies(n int) families {
	f := make(families, n)
	for i := range f {
		f[i] = i
	}
	return f
}

// of returns the number that stands for the set of i.
func (f families) of(i int) int {
	for f[i] != i {
		f[i] = f[f[i]]
		i = f[i]
	}
	return i
}

func (f families) join(i, j int) { f[f.of(i)] = f.of(j) }

// chunks turns entries into the statements of one task each.
func (b *builder) chunks(entries []pg.Entry) [][]tasks.Statement {
	var chunks [][]tasks.Statement
	for part := range slices.Chunk(entries, schemaChunk) {
		statements := make([]tasks.Statement, 0, len(part))
		settings := ""
		for _, e := range part {
			var sql pg.EntrySQL
			if i, ok := b.entrySQL[e.DumpID]; ok {
				sql = b.in.SQL[i]
			}
			text := sql.SQL
			if sql.Settings != settings {
				settings = sql.Settings
				text = local(settings) + "\n" + text
			}
			statements = append(statements, tasks.Statement{Label: e.Desc + " " + e.Rest, SQL: text})
			if e.Desc == "SCHEMA" {
				statements = append(statements, b.letIn(e.OID)...)
			}
		}
		chunks = append(chunks, statements)
	}
	return chunks
}

// letIn returns the grants that follow the making of a schema.
func (b *builder) letIn(schema uint32) []tasks.Statement {
	var grants []tasks.Statement
	for _, l := range b.in.Lodgers {
		if l.SchemaOID == schema {
			grants = append(grants, tasks.Statement{Label: l.GrantSQL(), SQL: l.GrantSQL()})
		}
	}
	return grants
}

// local bounds settings to the transaction: the session that it runs in goes
// on to other tasks, whose indexes would land in the tablespace of this one.
func local(settings string) string {
	return strings.ReplaceAll(settings, "SET default_", "SET LOCAL default_")
}
