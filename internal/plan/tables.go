package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pgconvoy/pgconvoy/internal/filter"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// tables adds the copy of every table with rows of its own, and for those that
// do not travel in a bundle what follows the copy.
func (b *builder) tables() error {
	var small []pg.Relation
	for _, r := range b.in.Catalog.Tables {
		switch {
		case r.Kind != "r":
		case !b.has(r.OID):
			b.skip("table "+nameOf(r).String(), "pg_dump leaves it out")
		case !b.copies(r):
			if err := b.afterCopy(r, tasks.WaveSchema); err != nil {
				return err
			}
		case b.in.Options.BundleMaxTable > 0 && r.Bytes <= b.in.Options.BundleMaxTable && !b.alone(r) && b.in.Scope.Table(r.OID).Parts <= 1 && !b.isCut(r):
			small = append(small, r)
		default:
			if err := b.table(r); err != nil {
				return err
			}
		}
	}
	return b.bundles(small)
}

// copies reports whether rows of the table are copied.
func (b *builder) copies(r pg.Relation) bool {
	return r.Kind == "r" && b.has(r.OID) && b.in.Options.Only.Has(tasks.SectionData) && !b.in.Scope.Table(r.OID).NoRows
}

// table adds the tasks of one table that has them to itself.
func (b *builder) table(r pg.Relation) error {
	place, _, there := b.place(r)
	root := b.root(r)
	if root != nil && !there {
		if err := b.wholeTree(r, *root); err != nil {
			return err
		}
	}
	copied := tasks.Group(fmt.Sprintf("copy:%d", r.OID))
	if root != nil {
		// Rows may land in any of the root's leaves, so all of them wait for all copies.
		copied = tasks.Group(fmt.Sprintf("copy:%d", root.OID))
	}
	parts := b.parts(r)
	for i, p := range parts {
		spec := tasks.Copy{Table: tableOf(r), Part: p, Where: b.where(r), Freeze: len(parts) == 1 && root == nil && freezable(r), Binary: b.binary(r), Digest: b.digests()}
		item := "all"
		if len(parts) > 1 {
			spec.Parts = len(parts)
			item = fmt.Sprintf("p%04d", i+1)
		}
		if root != nil && !there {
			into := nameOf(*root)
			// In the root's order, in which they are compared.
			spec.Into, spec.Table.Columns = &into, root.Columns
		}
		b.settle(r, &spec)
		err := b.add(tasks.Task{
			Kind: tasks.KindCopy, ID: tasks.NewID(tasks.KindCopy, r.Schema, r.Name, item),
			Group: copied, Wave: tasks.WaveData, Needs: []tasks.Group{tasks.WaveSchema}, Weight: r.Bytes / int64(len(parts)),
		}, spec)
		if err != nil {
			return err
		}
	}
	b.planned(r, parts, "")
	switch {
	case there:
		b.compareExisting(r, place)
	case root == nil:
		b.verifyLater(r)
	}
	return b.afterCopy(r, copied)
}

// where returns the condition that the copied rows of the table meet, "" if all
// are copied.
func (b *builder) where(r pg.Relation) string {
	where := b.in.Scope.Table(r.OID).Where
	if strings.Contains(where, "--") {
		where += "\n" // ends a comment, which would go on to what follows
	}
	return where
}

// wholeTree refuses a choice among the partitions of a table that rows are loaded
// through: which of them a row lands in is up to the target.
func (b *builder) wholeTree(r, root pg.Relation) error {
	own, all := b.in.Scope.Table(r.OID), b.in.Scope.Table(root.OID)
	if !all.Torn && own.Where == all.Where && slices.Equal(own.Columns, all.Columns) {
		return nil
	}
	return tasks.WithHint(fmt.Errorf("partitions of %s cannot be chosen one by one: its rows are hashed to other partitions on the target", nameOf(root)),
		"choose the partitioned table as a whole")
}

// afterCopy adds the indexes, the attach task and the ANALYZE of a table.
func (b *builder) afterCopy(r pg.Relation, copied tasks.Group) error {
	ready, err := b.indexTasks(r, copied)
	if err != nil {
		return err
	}
	b.attached[r.OID] = ready
	b.analyzed[r.OID] = ready
	_, root, _ := b.place(r)
	switch {
	case !b.changes(r), root != nil: // that one is analyzed
	case b.analyzedLate(r):
		return b.analyzeLate(r)
	case b.analyzesItself(r):
		return b.analyze(r, []tasks.Group{ready})
	}
	return nil
}

// changes reports whether the run makes something of the table that statistics
// tell of.
func (b *builder) changes(r pg.Relation) bool {
	only := b.in.Options.Only
	return b.onTarget(r) && (only.Has(tasks.SectionData) || only.Has(tasks.SectionIndexes) && len(b.indexes[r.OID]) > 0)
}

// analyzedLate reports whether the statistics of the table must wait for all
// others: they hold those of the tables that inherit from it, too.
func (b *builder) analyzedLate(r pg.Relation) bool { return r.Kind == "r" && r.Inherited }

func (b *builder) skipStatistics(r pg.Relation) {
	b.skip("statistics of "+nameOf(r).String(), "ANALYZE would read its foreign tables on their own servers")
}

func (b *builder) analyzeLate(r pg.Relation) error {
	if r.OverForeign {
		b.skipStatistics(r)
		return nil
	}
	return b.add(tasks.Task{
		Kind: tasks.KindAnalyze, ID: tasks.NewID(tasks.KindAnalyze, r.Schema, r.Name, "all"),
		Wave: tasks.WaveLate, Needs: []tasks.Group{tasks.WaveData}, Weight: r.Bytes / 100,
	}, tasks.Statements{On: on(r), Statements: []tasks.Statement{b.analyzeStatement(r)}})
}

// analyze adds the ANALYZE of a table.
func (b *builder) analyze(r pg.Relation, needs []tasks.Group) error {
	t := tasks.Task{
		Kind: tasks.KindAnalyze, ID: tasks.NewID(tasks.KindAnalyze, r.Schema, r.Name, "all"),
		Group: tasks.Group(fmt.Sprintf("analyze:%d", r.OID)), Wave: tasks.WaveData, Needs: needs, Weight: r.Bytes / 100,
	}
	b.analyzed[r.OID] = t.Group
	return b.add(t, tasks.Statements{On: on(r), Statements: []tasks.Statement{b.analyzeStatement(r)}})
}

// analyzesItself reports whether the table needs an ANALYZE of its own: until
// 17, ANALYZE of a partitioned table analyzes all of its partitions, too. A
// tree with partitions on another server is never analyzed as a whole, as that
// would read them there; its own leaves are.
func (b *builder) analyzesItself(r pg.Relation) bool {
	if r.OverForeign {
		return false
	}
	root := &r
	for p := b.relation[r.Parent]; p != nil && b.onTarget(*p); p = b.relation[p.Parent] {
		root = p
	}
	return root.OID == r.OID || b.in.TargetMajor >= 18 || root.OverForeign
}

func (b *builder) analyzeStatement(r pg.Relation) tasks.Statement {
	only := ""
	if r.Kind == "p" && b.in.TargetMajor >= 18 && b.in.Existing == nil {
		only = "ONLY "
	}
	sql := "ANALYZE " + only + nameOf(r).String()
	return tasks.Statement{Label: sql, SQL: sql}
}

// bundles packs the small tables, largest first, into bundles.
func (b *builder) bundles(small []pg.Relation) error {
	slices.SortStableFunc(small, func(x, y pg.Relation) int { return cmp.Compare(y.Bytes, x.Bytes) })
	var current []pg.Relation
	var bytes int64
	n := 0
	flush := func() error {
		if len(current) == 0 {
			return nil
		}
		n++
		err := b.bundle(fmt.Sprintf("b%04d", n), current, bytes)
		current, bytes = nil, 0
		return err
	}
	for _, r := range small {
		if len(current) >= max(b.in.Options.BundleMaxTables, 1) || bytes+r.Bytes > b.in.Options.BundleMaxBytes {
			if err := flush(); err != nil {
				return err
			}
		}
		current = append(current, r)
		bytes += r.Bytes
	}
	return flush()
}

func (b *builder) bundle(name string, tables []pg.Relation, bytes int64) error {
	t := tasks.Task{
		Kind: tasks.KindBundle, ID: tasks.NewID(tasks.KindBundle, "bundle", name),
		Group: tasks.Group("bundle:" + name), Wave: tasks.WaveData, Needs: []tasks.Group{tasks.WaveSchema}, Weight: bytes,
	}
	spec := tasks.Bundle{}
	for _, r := range tables {
		after, err := b.tableStatements(r)
		if err != nil {
			return err
		}
		loaded := tasks.Loaded{Copy: tasks.Copy{Table: tableOf(r), Where: b.where(r), Freeze: freezable(r) && r.Bytes >= freezeFrom, Binary: b.binary(r), Digest: b.digests()}, After: after}
		b.settle(r, &loaded.Copy)
		switch {
		case b.analyzedLate(r):
			if err := b.analyzeLate(r); err != nil {
				return err
			}
		case b.analyzesItself(r):
			loaded.Analyze = []tasks.Statement{b.analyzeStatement(r)}
		}
		spec.Tables = append(spec.Tables, loaded)
		b.attached[r.OID], b.analyzed[r.OID] = t.Group, t.Group
		b.bundled[r.OID] = true
		b.planned(r, []tasks.Part{{}}, t.ID)
		if place, _, there := b.place(r); there {
			b.compareExisting(r, place)
		} else {
			b.verifyLater(r)
		}
	}
	return b.add(t, spec)
}

// freezeFrom is the size in bytes from which rows of a bundle are written frozen.
// That needs a TRUNCATE, which costs the target three new files a table, one of
// them written to disk at once: more than to load some hundred rows, and more
// than the VACUUM that finds a few pages to freeze later.
const freezeFrom = 1 << 20

// digests reports whether rows are hashed while they are copied.
func (b *builder) digests() bool { return b.in.Options.Verify == tasks.LevelDigest }

// binary reports whether the table's rows travel in COPY's binary format, which
// costs the target about half of what text does. Digests are of text; an older
// target need not know what a newer source writes.
func (b *builder) binary(r pg.Relation) bool { return b.whyText(r) == "" }

// whyText says why the table's rows travel as text, "" if they do not.
func (b *builder) whyText(r pg.Relation) string {
	switch {
	case b.digests():
		return "digests are of text"
	case b.in.TargetMajor < b.in.Catalog.Version/10000:
		return "the target is older than the source"
	case !r.Portable:
		return "the binary form of a column's type is not the same on every server"
	}
	if p, _, there := b.place(r); there && !p.BuiltIn {
		return "the target's table has columns of other types, or of types that are not built in"
	}
	return ""
}

// freezable reports whether the table's rows may be written frozen where one
// task truncates and loads it: other access methods than the built-in one need
// not know what that is.
func freezable(r pg.Relation) bool { return r.AccessMethod == "heap" }

func (b *builder) planned(r pg.Relation, parts []tasks.Part, bundle tasks.ID) {
	unlogged := r.Unlogged
	var into *tasks.Name
	if p, _, there := b.place(r); there {
		unlogged = p.Unlogged
		if p.Root != 0 {
			into = &p.Into
		}
	}
	var indexBytes int64
	var indexes []pg.Index
	if b.in.Options.Only.Has(tasks.SectionIndexes) {
		indexes = b.indexes[r.OID]
	}
	for _, x := range indexes {
		indexBytes += x.Bytes
	}
	t := tasks.PlannedTable{
		HeapBytes: r.Blocks * b.in.Catalog.BlockSize, IndexBytes: indexBytes, WhyText: b.whyText(r),
		Name: nameOf(r), Bytes: r.Bytes, Rows: r.Rows, Parts: len(parts), Indexes: len(indexes), Bundle: bundle,
		Binary: b.binary(r), Unlogged: unlogged, Into: into,
	}
	for _, p := range parts {
		if p.To != nil {
			t.Bounds = append(t.Bounds, *p.To)
		}
	}
	if len(parts) > 1 {
		t.SplitBy = byCTID
		if key := parts[0].Key; key != "" {
			t.SplitBy = tasks.QuoteIdent(key)
		}
	}
	b.plan.Tables = append(b.plan.Tables, t)
}

// byCTID says that parts are ranges of blocks.
const byCTID = "ctid"

// loadRoot returns the partitioned table that the rows of a hash partition must
// be loaded through, or nil: a hash that depends on oids, as that of an enum
// does, puts the same row into another partition on the target.
func (b *builder) loadRoot(r pg.Relation) *pg.Relation {
	var root *pg.Relation
	for parent := b.relation[r.Parent]; parent != nil; parent = b.relation[parent.Parent] {
		if parent.HashKey == "local" || parent.HashKey == "text" && !b.in.SameText {
			root = parent
		}
	}
	return root
}

// splittable reports whether the table is large enough to be copied in parts,
// and in how many; or whether a person has said so.
func splittable(o Options, r pg.Relation, chosen filter.Table) (parts int, ok bool) {
	if chosen.Parts > 0 {
		parts = int(min(int64(chosen.Parts), max(r.Blocks, 1)))
		return parts, parts > 1
	}
	if r.Bytes <= o.SplitLargerThan || o.SplitLargerThan <= 0 {
		return 1, false
	}
	parts = int(min(int64(o.MaxParts), (r.Bytes+o.SplitLargerThan-1)/o.SplitLargerThan, max(r.Blocks, 1)))
	return parts, parts > 1
}

// byBlocks reports whether ranges of ctid are read without a full scan.
func byBlocks(version int, r pg.Relation) bool { return version >= 140000 && r.AccessMethod == "heap" }

// SplitBy says by what a table would be cut into parts, on a server of the
// version: ctid, the quoted name of a key, or "" if it cannot be.
func SplitBy(version int, r pg.Relation) string {
	switch {
	case r.Kind != "r":
		return ""
	case byBlocks(version, r):
		return byCTID
	case r.SplitKey == "":
		return ""
	}
	return tasks.QuoteIdent(r.SplitKey)
}

// KeySplit is a table whose parts need bounds of its key.
type KeySplit struct {
	Table    uint32
	Name     tasks.Name
	Key      string
	Blocks   int64
	NumParts int
}

// KeySplits returns the tables that are split by key, for which
// [Input.Bounds] needs bounds.
func KeySplits(o Options, cat pg.Catalog, scope filter.Scope) []KeySplit {
	var splits []KeySplit
	for _, r := range cat.Tables {
		if parts, ok := splittable(o, r, scope.Table(r.OID)); ok && r.Kind == "r" && !byBlocks(cat.Version, r) && r.SplitKey != "" {
			splits = append(splits, KeySplit{r.OID, nameOf(r), r.SplitKey, r.Blocks, parts})
		}
	}
	return splits
}

// parts returns the parts of a table of the source; a single zero part is the
// whole table.
func (b *builder) parts(r pg.Relation) []tasks.Part {
	if parts, ok := b.cut(r); ok {
		return parts
	}
	return b.partsOn(b.in.Catalog.Version, r)
}

func (b *builder) isCut(r pg.Relation) bool {
	_, ok := b.cut(r)
	return ok
}

// cut returns the parts of a table that is cut at given bounds. A table that can be
// cut there no more has none.
func (b *builder) cut(r pg.Relation) (parts []tasks.Part, ok bool) {
	c, given := b.in.Cuts[r.OID]
	switch {
	case !given:
		return nil, false
	case c.By == byCTID && byBlocks(b.in.Catalog.Version, r):
		return tasks.Ranges("", c.Bounds, false), true
	case r.SplitKey != "" && c.By == tasks.QuoteIdent(r.SplitKey):
		return tasks.Ranges(r.SplitKey, c.Bounds, !r.SplitNotNull), true
	}
	return nil, false
}

// partsOn returns the parts that a server of the version reads a table in.
func (b *builder) partsOn(version int, r pg.Relation) []tasks.Part {
	return Parts(b.in.Options, version, r, b.in.Scope.Table(r.OID), b.in.Bounds[r.OID])
}

// Parts returns the parts that a server of the version (server_version_num) reads
// a table in, a single zero part for the whole table. The bounds are those that
// [KeySplits] asks for.
func Parts(o Options, version int, r pg.Relation, chosen filter.Table, keyBounds []string) []tasks.Part {
	parts, ok := splittable(o, r, chosen)
	switch {
	case !ok:
		return []tasks.Part{{}}
	case byBlocks(version, r):
		bounds := make([]string, 0, parts-1)
		for i := 1; i < parts; i++ {
			bounds = append(bounds, strconv.FormatInt(r.Blocks*int64(i)/int64(parts), 10))
		}
		return tasks.Ranges("", bounds, false)
	case len(keyBounds) > 0:
		return tasks.Ranges(r.SplitKey, keyBounds, !r.SplitNotNull)
	}
	return []tasks.Part{{}}
}

// extensionGroup is the task that copies the rows of configuration tables.
const extensionGroup tasks.Group = "extension-data"

// extensionData adds one task for the rows of all configuration tables:
// referenced tables first.
func (b *builder) extensionData() error {
	if !b.in.Options.Only.Has(tasks.SectionData) {
		return nil
	}
	var spec tasks.Bundle
	for _, c := range byReferences(b.in.Catalog.ExtensionConfig) {
		if c.Kind != "r" {
			continue // sequences are copied with the others
		}
		where := strings.TrimSpace(c.Condition)
		if len(where) > 5 && strings.EqualFold(where[:5], "WHERE") {
			where = strings.TrimSpace(where[5:])
		}
		table := tasks.Table{Name: tasks.Name{Schema: c.Schema, Name: c.Name}, OID: c.OID, Filenode: c.Filenode, Columns: c.Columns}
		spec.Tables = append(spec.Tables, tasks.Loaded{Copy: tasks.Copy{Table: table, Where: where}})
	}
	if len(spec.Tables) == 0 {
		return nil
	}
	return b.add(tasks.Task{
		Kind: tasks.KindExtensionData, ID: tasks.NewID(tasks.KindExtensionData, "extension-data", "all"),
		Group: extensionGroup, Wave: tasks.WaveData, Needs: []tasks.Group{tasks.WaveSchema},
	}, spec)
}

// byReferences orders configuration tables so that each comes after those it
// references; members of a cycle keep their order.
func byReferences(tables []pg.ConfigTable) []pg.ConfigTable {
	byOID := map[uint32]pg.ConfigTable{}
	for _, t := range tables {
		byOID[t.OID] = t
	}
	var ordered []pg.ConfigTable
	seen := map[uint32]bool{}
	var visit func(pg.ConfigTable)
	visit = func(t pg.ConfigTable) {
		if seen[t.OID] {
			return
		}
		seen[t.OID] = true
		for _, r := range t.References {
			if ref, ok := byOID[r]; ok {
				visit(ref)
			}
		}
		ordered = append(ordered, t)
	}
	for _, t := range tables {
		visit(t)
	}
	return ordered
}

// largeObjects adds one task for every thousand large objects; the last may
// have one more.
func (b *builder) largeObjects() error {
	bounds := b.in.Catalog.LargeObjects
	if len(bounds) == 0 || !b.in.Options.Only.Has(tasks.SectionLargeObjects) {
		return nil
	}
	last := bounds[len(bounds)-1]
	if len(bounds) > 1 {
		bounds = bounds[:len(bounds)-1]
	}
	around := b.in.Options.Around
	around.Tablespaces, around.Versions = nil, nil // none of theirs
	for i, from := range bounds {
		to := last
		if i+1 < len(bounds) {
			to = bounds[i+1] - 1
		}
		err := b.add(tasks.Task{
			Kind: tasks.KindLargeObjects, ID: tasks.NewID(tasks.KindLargeObjects, "large-objects", fmt.Sprintf("o%d-%d", from, to)),
			Wave: tasks.WaveData, Needs: []tasks.Group{tasks.WaveSchema}, Weight: b.in.Catalog.LargeObjectBytes / int64(len(bounds)),
		}, tasks.LargeObjects{From: from, To: to, Around: around})
		if err != nil {
			return err
		}
	}
	return nil
}

func nameOf(r pg.Relation) tasks.Name { return tasks.Name{Schema: r.Schema, Name: r.Name} }

func on(r pg.Relation) *tasks.Name {
	n := nameOf(r)
	return &n
}

func tableOf(r pg.Relation) tasks.Table {
	return tasks.Table{Name: nameOf(r), OID: r.OID, Filenode: r.Filenode, Columns: r.Columns}
}
