package plan

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// indexTasks adds one task per index of the table and one that attaches its
// constraints after all of them, and returns the group to wait for: nothing
// else may lock the table meanwhile, as an ALTER TABLE that queues behind one
// CREATE INDEX makes the next one queue behind itself.
func (b *builder) indexTasks(r pg.Relation, copied tasks.Group) (tasks.Group, error) {
	if !b.in.Options.Only.Has(tasks.SectionIndexes) {
		return copied, nil
	}
	built := tasks.Group(fmt.Sprintf("index:%d", r.OID))
	ready := copied
	own := slices.DeleteFunc(slices.Clone(b.indexes[r.OID]), func(x pg.Index) bool { return b.builtByConstraint(r, x) })
	for _, x := range own {
		statements, err := b.createIndex(r, x)
		if err != nil {
			return "", err
		}
		statements[0].SQL = b.buildSettings(x, len(own)) + statements[0].SQL
		err = b.add(tasks.Task{
			Kind: tasks.KindIndex, ID: tasks.NewID(tasks.KindIndex, r.Schema, r.Name, x.Name),
			Group: built, Wave: tasks.WaveData, Needs: []tasks.Group{copied}, Weight: max(x.Bytes, r.Bytes/10),
		}, tasks.Statements{On: on(r), Statements: statements})
		if err != nil {
			return "", err
		}
		ready = built
	}
	attach := b.attachStatements(r)
	if len(attach) == 0 {
		return ready, nil
	}
	t := tasks.Task{
		Kind: tasks.KindAttach, ID: tasks.NewID(tasks.KindAttach, r.Schema, r.Name, "all"),
		Group: tasks.Group(fmt.Sprintf("attach:%d", r.OID)), Wave: tasks.WaveData, Needs: []tasks.Group{ready}, Weight: r.Bytes / 100,
	}
	return t.Group, b.add(t, tasks.Statements{On: on(r), Statements: attach})
}

// sortMemory is the least memory of an index build, in bytes.
const sortMemory = 16 << 20

// buildSettings returns what the build of one of so many indexes of a table sets
// for its transaction.
//
// The keys of a B-tree are sorted in runs that fill maintenance_work_mem and are
// then merged. Runs that fit into the processor's cache are sorted faster than
// all keys at once (docs/benchmarks.md); they must not be so many that they are
// merged in more than one pass, which the root of the size is well above. Other
// kinds of index keep what the session has: they want all that they can get.
//
// The cap of the stage is how many processes build indexes at once. A table with
// fewer indexes than that gives them helpers instead, as many as the server lets
// one build have; on a server that is busy already, helpers are only overhead.
func (b *builder) buildSettings(x pg.Index, siblings int) string {
	settings := ""
	if strings.Contains(x.Definition, " USING btree ") {
		settings = fmt.Sprintf("SET LOCAL maintenance_work_mem = %d; ", int64(max(sortMemory, math.Sqrt(float64(x.Bytes)*(1<<20))))>>10)
	}
	return settings + fmt.Sprintf("SELECT pg_catalog.set_config('max_parallel_maintenance_workers', "+
		"least(pg_catalog.current_setting('max_parallel_maintenance_workers')::int, %d)::text, true); ", max(b.in.Options.IndexCap/siblings-1, 0))
}

// tableStatements returns all that follows the copy of a table in a bundle.
func (b *builder) tableStatements(r pg.Relation) ([]tasks.Statement, error) {
	if !b.in.Options.Only.Has(tasks.SectionIndexes) {
		return nil, nil
	}
	var statements []tasks.Statement
	for _, x := range b.indexes[r.OID] {
		if b.builtByConstraint(r, x) {
			continue
		}
		create, err := b.createIndex(r, x)
		if err != nil {
			return nil, err
		}
		statements = append(statements, create...)
	}
	return append(statements, b.attachStatements(r)...), nil
}

// builtByConstraint reports whether only ADD CONSTRAINT can make the index: from 18
// on, a primary key USING INDEX makes the NOT NULL that a table has from its parent
// one of its own.
func (b *builder) builtByConstraint(r pg.Relation, x pg.Index) bool {
	k := x.Constraint
	return k != nil && (k.Type == "x" || k.Period || k.Type == "p" && r.Child && b.in.TargetMajor >= 18)
}

// createIndex returns the statements that make the index and what
// pg_get_indexdef does not tell of it.
func (b *builder) createIndex(r pg.Relation, x pg.Index) ([]tasks.Statement, error) {
	if x.Definition == "" {
		return nil, fmt.Errorf("index %s of %s was dropped since the snapshot was taken", x.Name, nameOf(r))
	}
	return append([]tasks.Statement{{Label: x.Definition, SQL: inTablespace(x, x.Definition), Undo: b.undoIndex(r, x)}}, statTargets(r, x)...), nil
}

// undo is what a cleanup runs where the tables stay.
func (b *builder) undo(sql string) string {
	if b.in.Options.Only.Has(tasks.SectionSchema) {
		return "" // the tables are dropped with all that belongs to them
	}
	return sql
}

func (b *builder) undoIndex(r pg.Relation, x pg.Index) string {
	return b.undo("DROP INDEX IF EXISTS " + indexName(r, x).String())
}

func (b *builder) undoConstraint(table pg.Relation, constraint string) string {
	return b.undo(fmt.Sprintf("ALTER TABLE IF EXISTS %s DROP CONSTRAINT IF EXISTS %s", nameOf(table), tasks.QuoteIdent(constraint)))
}

// inTablespace makes the statement put the index where it is on the source.
func inTablespace(x pg.Index, sql string) string {
	if x.Tablespace == "" {
		return sql
	}
	return fmt.Sprintf("SET LOCAL default_tablespace = %s; %s; SET LOCAL default_tablespace = ''", tasks.QuoteLiteral(x.Tablespace), sql)
}

func statTargets(r pg.Relation, x pg.Index) []tasks.Statement {
	var statements []tasks.Statement
	for _, column := range slices.Sorted(maps.Keys(x.StatTargets)) {
		sql := fmt.Sprintf("ALTER INDEX %s ALTER COLUMN %s SET STATISTICS %d", indexName(r, x), column, x.StatTargets[column])
		statements = append(statements, tasks.Statement{Label: sql, SQL: sql})
	}
	return statements
}

// attachStatements returns what turns the finished indexes of a table into its
// constraints, and the marks that refer to indexes.
func (b *builder) attachStatements(r pg.Relation) []tasks.Statement {
	var statements []tasks.Statement
	add := func(sql, undo string) {
		statements = append(statements, tasks.Statement{Label: sql, SQL: sql, Undo: undo})
	}
	table := nameOf(r).String()
	for _, x := range b.indexes[r.OID] {
		switch {
		case b.builtByConstraint(r, x):
			sql := addConstraint(r, x.Constraint)
			statements = append(statements, tasks.Statement{Label: sql, SQL: inTablespace(x, sql), Undo: b.undoConstraint(r, x.Constraint.Name)})
			statements = append(statements, statTargets(r, x)...)
		case x.Constraint != nil:
			add(fmt.Sprintf("ALTER TABLE ONLY %s ADD CONSTRAINT %s %s USING INDEX %s%s", table,
				tasks.QuoteIdent(x.Constraint.Name), constraintWord(x.Constraint), tasks.QuoteIdent(x.Name), deferrable(x.Constraint)), b.undoConstraint(r, x.Constraint.Name))
		}
	}
	for _, x := range b.indexes[r.OID] {
		statements = append(statements, b.marks(r, x)...)
	}
	return statements
}

// marks returns what refers to a finished index. All of it goes with the index but
// the replica identity, which would be nothing then.
func (b *builder) marks(r pg.Relation, x pg.Index) []tasks.Statement {
	var statements []tasks.Statement
	add := func(format string, args ...any) {
		sql := fmt.Sprintf(format, args...)
		statements = append(statements, tasks.Statement{Label: sql, SQL: sql})
	}
	if x.Clustered {
		add("ALTER TABLE ONLY %s CLUSTER ON %s", nameOf(r), tasks.QuoteIdent(x.Name))
	}
	if x.ReplicaIdentity {
		add("ALTER TABLE ONLY %s REPLICA IDENTITY USING INDEX %s", nameOf(r), tasks.QuoteIdent(x.Name))
		statements[len(statements)-1].Undo = b.undo(fmt.Sprintf("ALTER TABLE IF EXISTS ONLY %s REPLICA IDENTITY DEFAULT", nameOf(r)))
	}
	for _, e := range x.Extensions {
		add("ALTER INDEX %s DEPENDS ON EXTENSION %s", indexName(r, x), tasks.QuoteIdent(e))
	}
	return statements
}

// addConstraint returns the statement that makes a constraint and its index. What
// pg_get_constraintdef says of a key lacks the parameters of the index, which
// belong before DEFERRABLE.
func addConstraint(r pg.Relation, k *pg.Constraint) string {
	definition := k.Definition
	if k.Type != "x" && k.Parameters != "" {
		definition = fmt.Sprintf("%s WITH (%s)%s", strings.TrimSuffix(definition, deferrable(k)), k.Parameters, deferrable(k))
	}
	return fmt.Sprintf("ALTER TABLE ONLY %s ADD CONSTRAINT %s %s", nameOf(r), tasks.QuoteIdent(k.Name), definition)
}

func constraintWord(k *pg.Constraint) string {
	if k.Type == "p" {
		return "PRIMARY KEY"
	}
	return "UNIQUE"
}

func deferrable(k *pg.Constraint) string {
	switch {
	case k.Deferred:
		return " DEFERRABLE INITIALLY DEFERRED"
	case k.Deferrable:
		return " DEFERRABLE"
	}
	return ""
}

// indexName returns the quoted name of an index: it is in its table's schema.
func indexName(r pg.Relation, x pg.Index) tasks.Name {
	return tasks.Name{Schema: r.Schema, Name: x.Name}
}

// partitioned adds, for every partitioned table, the task that makes its
// indexes and attaches those of its partitions, and its ANALYZE.
func (b *builder) partitioned() error {
	if !b.in.Options.Only.Has(tasks.SectionData, tasks.SectionIndexes, tasks.SectionConstraints) {
		return nil
	}
	leaves := map[uint32][]uint32{} // direct partitions
	for _, r := range b.in.Catalog.Tables {
		if r.Parent != 0 {
			leaves[r.Parent] = append(leaves[r.Parent], r.OID)
		}
	}
	for _, r := range b.deepestFirst() {
		if !b.has(r.OID) {
			continue
		}
		needs := b.groupsOf(leaves[r.OID], b.attached)
		if err := b.attachPartitioned(r, needs); err != nil {
			return err
		}
	}
	return b.analyzePartitioned(leaves)
}

// deepestFirst returns the partitioned tables, each after its partitions.
func (b *builder) deepestFirst() []pg.Relation {
	depth := func(r pg.Relation) (n int) {
		for p := b.relation[r.Parent]; p != nil; p = b.relation[p.Parent] {
			n++
		}
		return n
	}
	var tables []pg.Relation
	for _, r := range b.in.Catalog.Tables {
		if r.Kind == "p" {
			tables = append(tables, r)
		}
	}
	slices.SortStableFunc(tables, func(x, y pg.Relation) int { return depth(y) - depth(x) })
	return tables
}

func (b *builder) attachPartitioned(r pg.Relation, needs []tasks.Group) error {
	if !slices.Contains(needs, tasks.WaveSchema) {
		needs = append(needs, tasks.WaveSchema)
	}
	statements, err := b.partitionedIndexes(r)
	if err != nil {
		return err
	}
	t := tasks.Task{
		Kind: tasks.KindAttach, ID: tasks.NewID(tasks.KindAttach, r.Schema, r.Name, "all"),
		Group: tasks.Group(fmt.Sprintf("attach:%d", r.OID)), Wave: tasks.WaveData, Needs: needs,
	}
	b.attached[r.OID], b.analyzed[r.OID] = t.Group, t.Group
	return b.add(t, tasks.Statements{On: on(r), Statements: statements})
}

// partitionedIndexes returns what makes the indexes of a partitioned table, and
// attaches those of its partitions.
func (b *builder) partitionedIndexes(r pg.Relation) ([]tasks.Statement, error) {
	if !b.in.Options.Only.Has(tasks.SectionIndexes) {
		return nil, nil
	}
	var statements []tasks.Statement
	add := func(x pg.Index, sql, undo string) {
		statements = append(statements, tasks.Statement{Label: sql, SQL: inTablespace(x, sql), Undo: undo})
	}
	for _, x := range b.indexes[r.OID] {
		if x.Constraint != nil {
			add(x, addConstraint(r, x.Constraint), b.undoConstraint(r, x.Constraint.Name))
		} else {
			if x.Definition == "" {
				return nil, fmt.Errorf("index %s of %s was dropped since the snapshot was taken", x.Name, nameOf(r))
			}
			add(x, x.Definition, b.undoIndex(r, x)) // pg_get_indexdef says ON ONLY for a partitioned table
		}
		statements = append(statements, statTargets(r, x)...)
	}
	for _, x := range b.indexes[r.OID] {
		for _, child := range b.children[x.OID] {
			leaf := *b.relation[child.Table]
			sql := fmt.Sprintf("ALTER INDEX %s ATTACH PARTITION %s", indexName(r, x), indexName(leaf, child))
			statements = append(statements, tasks.Statement{Label: sql, SQL: sql})
		}
		statements = append(statements, b.marks(r, x)...)
	}
	return statements, nil
}

// analyzePartitioned adds the ANALYZE of partitioned tables: automatic ANALYZE
// never visits them. Until 17 that of the root does the whole tree.
func (b *builder) analyzePartitioned(leaves map[uint32][]uint32) error {
	for _, r := range b.in.Catalog.Tables {
		if r.Kind != "p" || !b.has(r.OID) || !b.changes(r) || !b.analyzesItself(r) {
			if r.Kind == "p" && r.OverForeign {
				b.skipStatistics(r)
			}
			continue
		}
		if err := b.analyze(r, []tasks.Group{b.attached[r.OID]}); err != nil {
			return err
		}
		if b.in.TargetMajor < 18 {
			b.inherit(r.OID, leaves, b.analyzed[r.OID])
		}
	}
	return nil
}

// inherit makes everything below the partitioned table wait for its ANALYZE.
func (b *builder) inherit(table uint32, leaves map[uint32][]uint32, g tasks.Group) {
	for _, leaf := range leaves[table] {
		b.analyzed[leaf] = g
		b.inherit(leaf, leaves, g)
	}
}

// groupsOf returns the distinct groups of the tables, in a stable order, with
// those of the pieces that their bundles may be split into.
func (b *builder) groupsOf(tables []uint32, of map[uint32]tasks.Group) []tasks.Group {
	var groups []tasks.Group
	seen := map[tasks.Group]bool{"": true}
	for _, t := range tables {
		g := of[t]
		if !seen[g] {
			seen[g] = true
			groups = append(groups, g)
		}
		if piece := tasks.PieceGroup(t); b.bundled[t] && g == b.attached[t] && !seen[piece] {
			seen[piece] = true
			groups = append(groups, piece)
		}
	}
	return groups
}

// configures reports whether the table is one of the configuration tables that
// are copied.
func (b *builder) configures(table uint32) bool {
	return slices.ContainsFunc(b.in.Catalog.ExtensionConfig, func(c pg.ConfigTable) bool { return c.OID == table && c.Kind == "r" })
}

// foreignKeys adds every foreign key: first without looking at the rows, then
// the validation, in separate transactions, so that the lock on the referenced
// table is short. Before 18 a foreign key of or to a partitioned table cannot
// be added NOT VALID.
func (b *builder) foreignKeys() error {
	if !b.in.Options.Only.Has(tasks.SectionConstraints) {
		return nil
	}
	for _, f := range b.in.Catalog.ForeignKeys {
		table, references := b.relation[f.Table], b.relation[f.References]
		if table == nil || !b.in.Selection.fkeys[f.OID] {
			b.skip("foreign key "+f.Name, "pg_dump leaves it out")
			continue
		}
		if f.Definition == "" {
			return fmt.Errorf("foreign key %s of %s was dropped since the snapshot was taken", f.Name, nameOf(*table))
		}
		if err := b.foreignKey(f, *table, references); err != nil {
			return err
		}
	}
	return nil
}

// ValidationOf stands, among what is skipped, before a foreign key that is added
// without a look at the rows.
const ValidationOf = "validation of "

// foreignKey adds one foreign key. references is nil if the referenced table
// belongs to an extension: its rows are there after CREATE EXTENSION, or with
// those of the configuration tables, and it may well be partitioned.
func (b *builder) foreignKey(f pg.ForeignKey, table pg.Relation, references *pg.Relation) error {
	needs := b.groupsOf([]uint32{f.Table, f.References}, b.analyzed)
	if references == nil && b.configures(f.References) && b.in.Options.Only.Has(tasks.SectionData) {
		needs = append(needs, extensionGroup)
	}
	partitioned := table.Kind == "p" || references == nil || references.Kind == "p"
	// Small tables are checked in less time than another task takes.
	small := b.bundled[f.Table] && b.bundled[f.References]
	apart := f.Validated && f.Enforced && !small && (!partitioned || b.in.TargetMajor >= 18)
	partial := b.in.Scope.Table(f.References).Partial()
	if partial && f.Validated && f.Enforced {
		if table.Kind == "p" && b.in.TargetMajor < 18 {
			b.skip("constraint "+f.Name+" of "+nameOf(table).String(), "not all rows of "+nameOf(*references).String()+
				" are copied, and before 18 a foreign key of a partitioned table cannot be added NOT VALID")
			return nil
		}
		apart = true
		b.skip(ValidationOf+"constraint "+f.Name+" of "+nameOf(table).String(), "not all rows of "+nameOf(*references).String()+" are copied; the foreign key is added NOT VALID")
	}
	only, suffix := "ONLY ", ""
	if table.Kind == "p" {
		only = ""
	}
	if apart && !strings.HasSuffix(f.Definition, " NOT VALID") {
		suffix = " NOT VALID"
	}
	add := tasks.Task{
		Kind: tasks.KindFKeyAdd, ID: tasks.NewID(tasks.KindFKeyAdd, table.Schema, table.Name, f.Name, "add"),
		Group: tasks.Group(fmt.Sprintf("fkey:%d", f.OID)), Wave: tasks.WaveData, Weight: table.Bytes / 10,
		Needs: needs,
	}
	sql := fmt.Sprintf("ALTER TABLE %s%s ADD CONSTRAINT %s %s%s", only, nameOf(table), tasks.QuoteIdent(f.Name), f.Definition, suffix)
	if err := b.add(add, tasks.Statements{On: on(table), Statements: []tasks.Statement{{Label: sql, SQL: sql, Undo: b.undoConstraint(table, f.Name)}}}); err != nil {
		return err
	}
	if !apart || partial {
		return nil
	}
	validate := tasks.Task{
		Kind: tasks.KindFKeyValidate, ID: tasks.NewID(tasks.KindFKeyValidate, table.Schema, table.Name, f.Name, "validate"),
		Wave: tasks.WaveData, Weight: table.Bytes / 10, Needs: []tasks.Group{add.Group},
	}
	sql = fmt.Sprintf("ALTER TABLE %s%s VALIDATE CONSTRAINT %s", only, nameOf(table), tasks.QuoteIdent(f.Name))
	return b.add(validate, tasks.Statements{On: on(table), Statements: []tasks.Statement{{Label: sql, SQL: sql}}})
}
