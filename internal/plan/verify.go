package plan

import (
	"fmt"
	"slices"

	"github.com/pgconvoy/pgconvoy/internal/filter"
	"github.com/pgconvoy/pgconvoy/internal/fit"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Limits of one task that measures, or compares, several tables.
const (
	verifyTables = 100
	verifyBytes  = 256 << 20
)

// verified is a table to compare.
type verified struct {
	table   tasks.VerifyTable
	measure *pg.Relation // what decides about its parts: the table, or all leaves of a root as if they were one
	unlike  bool         // the types of its columns differ, and so would digests
}

// verifyLater notes a table to compare after the copy.
func (b *builder) verifyLater(r pg.Relation) {
	b.verified = append(b.verified, &verified{table: tasks.VerifyTable{Table: tableOf(r)}, measure: b.relation[r.OID]})
}

// roots returns the tables that others were loaded through: they are compared
// as a whole, with all of their leaves.
func (b *builder) roots() []*verified {
	if b.in.Existing != nil || !b.in.Options.Only.Has(tasks.SectionData) {
		return nil
	}
	var roots []*verified
	position := map[uint32]int{}
	for _, leaf := range b.in.Catalog.Tables {
		if leaf.Kind != "r" || !b.has(leaf.OID) || b.in.Scope.Table(leaf.OID).NoRows {
			continue
		}
		root := b.loadRoot(leaf)
		if root == nil {
			continue
		}
		i, known := position[root.OID]
		if !known {
			i = len(roots)
			position[root.OID] = i
			roots = append(roots, &verified{
				table: tasks.VerifyTable{Table: tableOf(*root), Descend: true}, measure: &pg.Relation{OID: root.OID, AccessMethod: leaf.AccessMethod},
			})
		}
		roots[i].table.Leaves = append(roots[i].table.Leaves, nameOf(leaf))
		all := roots[i].measure
		all.Bytes += leaf.Bytes
		all.Blocks = max(all.Blocks, leaf.Blocks) // a part is the same range of blocks of every leaf
		if all.AccessMethod != leaf.AccessMethod {
			all.AccessMethod = ""
		}
	}
	return roots
}

// side is where the tables of a comparison are measured, and how.
type side struct {
	name     string
	snapshot string
	parts    func(*verified) []tasks.Part
}

// comparison is how the verify tasks of a plan are made.
type comparison struct {
	sides []side
	spec  tasks.Verify // without tables
	wave  tasks.Group
	needs []tasks.Group // what the tasks that measure wait for
	tasks int           // so far, that measure
	units int           // so far, that compare
}

// compares reports whether the finished copy is compared.
func (b *builder) compares() bool { return b.in.Options.Verify != "none" }

// verify adds the tasks that compare the finished copy with what was copied.
func (b *builder) verify() error {
	if !b.compares() {
		return nil
	}
	// Bounds are block numbers of the source. The target's table has not many more, and its last part is open.
	target := side{name: tasks.SideTarget, parts: func(v *verified) []tasks.Part { return b.partsOn(b.in.TargetMajor*10000, *v.measure) }}
	c := &comparison{
		sides: []side{target}, spec: tasks.Verify{Level: b.in.Options.Verify},
		wave: tasks.WaveVerify, needs: append(afterData(), tasks.WaveLate),
	}
	return b.compareAll(c, slices.Concat(b.verified, b.roots()))
}

// compareAll adds what compares the tables: by the number of their rows where the
// types of columns differ, as digests of the same values do, too.
func (b *builder) compareAll(c *comparison, list []*verified) error {
	var alike, unlike []*verified
	for _, v := range list {
		if !v.unlike {
			alike = append(alike, v)
			continue
		}
		unlike = append(unlike, v)
		if c.spec.Level == tasks.LevelDigest {
			b.skip("digest of "+v.table.String(), "its columns have other types on the target; its rows are counted")
		}
	}
	if err := b.compare(c, alike); err != nil {
		return err
	}
	c.spec.Level = tasks.LevelRows
	return b.compare(c, unlike)
}

// compare adds what measures and compares the tables: large ones by themselves
// and in parts, small ones many at a time.
func (b *builder) compare(c *comparison, list []*verified) error {
	var current []*verified
	var bytes int64
	flush := func() error {
		if len(current) == 0 {
			return nil
		}
		err := b.compareTogether(c, current, bytes)
		current, bytes = current[:0], 0
		return err
	}
	for _, v := range list {
		if slices.ContainsFunc(c.sides, func(s side) bool { return len(s.parts(v)) > 1 }) {
			if err := b.compareTogether(c, []*verified{v}, v.measure.Bytes); err != nil {
				return err
			}
			continue
		}
		if len(current) == verifyTables || bytes+v.measure.Bytes > verifyBytes {
			if err := flush(); err != nil {
				return err
			}
		}
		current = append(current, v)
		bytes += v.measure.Bytes
	}
	return flush()
}

// compareTogether adds the tasks that measure the tables on each side, and the
// one that compares what those have found.
func (b *builder) compareTogether(c *comparison, list []*verified, bytes int64) error {
	c.units++
	measured := tasks.Group(fmt.Sprintf("measure:%d", c.units))
	tables := make([]tasks.VerifyTable, len(list))
	for i, v := range list {
		tables[i] = v.table
	}
	for _, s := range c.sides {
		parts := []tasks.Part{{}}
		if len(list) == 1 {
			parts = s.parts(list[0])
		}
		for _, p := range parts {
			spec := tasks.Measure{Level: c.spec.Level, Side: s.name, Snapshot: s.snapshot, Tables: slices.Clone(tables)}
			spec.Tables[0].Part = p // which is all of it where there are several tables
			c.tasks++
			err := b.add(tasks.Task{
				Kind: tasks.KindMeasure, ID: tasks.NewID(tasks.KindMeasure, "measure", fmt.Sprintf("m%05d", c.tasks)),
				Group: measured, Wave: c.wave, Needs: c.needs, Weight: bytes / int64(len(parts)),
			}, spec)
			if err != nil {
				return err
			}
		}
	}
	spec := c.spec
	spec.Tables = tables
	return b.add(tasks.Task{
		Kind: tasks.KindVerify, ID: tasks.NewID(tasks.KindVerify, "verify", fmt.Sprintf("v%04d", c.units)),
		Wave: c.wave, Needs: []tasks.Group{measured},
	}, spec)
}

// CompareInput is everything that the plan of a comparison is made from.
type CompareInput struct {
	Options        Options // of which Verify is the level
	Source, Target pg.Catalog
	Bounds         map[uint32][]string  // as in [Input]
	SameText       bool                 // as in [Input]
	Snapshots      [2]string            // exported ones, of source and target
	Scope          filter.Scope         // as in [Input], of the source
	Places         map[uint32]fit.Place // where the rows of tables are that the target has in another shape; nil if there is none
}

// Compare makes the plan that compares every table of the source with the one
// of the same name on the target. Tables that cannot be compared, as they are
// not there or have other columns, are differences already. It also returns the
// number of tables, with those.
func Compare(in CompareInput) (p tasks.Plan, found []tasks.Difference, tables int, err error) {
	b := newBuilder(Input{
		Options: in.Options, Catalog: in.Source, Bounds: in.Bounds, SameText: in.SameText,
		Selection: Selection{tables: map[uint32]bool{}}, Scope: in.Scope,
	})
	for _, r := range in.Source.Tables {
		b.in.Selection.tables[r.OID] = true
	}
	if in.Places != nil {
		b.in.Existing = &Existing{Places: in.Places}
	}
	for _, r := range in.Source.Tables {
		if r.Kind != "r" || in.Scope.Table(r.OID).NoRows {
			continue
		}
		switch p, _, there := b.place(r); {
		case there && (p.Root != 0 || p.Tree && !r.Inherited):
			b.compareWhole(r, p)
		case b.root(r) == nil:
			b.verifyLater(r)
			b.verified[len(b.verified)-1].unlike = there && !p.Alike
		}
	}
	there := map[tasks.Name]pg.Relation{}
	for _, r := range in.Target.Tables {
		there[nameOf(r)] = r
	}
	var list []*verified
	for _, v := range slices.Concat(b.verified, b.roots()) {
		tables++
		v.table.Where = b.where(pg.Relation{OID: v.table.OID})
		if d := unlike(v.table, there); d != nil {
			found = append(found, *d)
		} else {
			list = append(list, v)
		}
	}
	c := &comparison{
		sides: []side{
			{tasks.SideSource, in.Snapshots[0], func(v *verified) []tasks.Part { return b.parts(*v.measure) }},
			{tasks.SideTarget, in.Snapshots[1], func(v *verified) []tasks.Part {
				r := *v.measure
				if !v.table.Descend {
					t := there[v.table.Name]
					r.Bytes, r.Blocks, r.AccessMethod = t.Bytes, t.Blocks, t.AccessMethod
				}
				return b.partsOn(in.Target.Version, r)
			}},
		},
		spec: tasks.Verify{Level: in.Options.Verify, Source: in.Snapshots[0], Target: in.Snapshots[1]},
		// Whatever reads in a snapshot belongs to this wave: the snapshot is released after it.
		wave: tasks.WaveData,
	}
	b.plan.Skipped = nil // a comparison skips nothing but digests
	err = b.compareAll(c, list)
	largestFirst(&b.plan)
	return b.plan, found, tables, err
}

// unlike returns the difference of a table that the target lacks, or has with
// other columns.
func unlike(t tasks.VerifyTable, there map[tasks.Name]pg.Relation) *tasks.Difference {
	d := &tasks.Difference{Table: t.Name, Source: "the table", Target: "no table of that name"}
	r, ok := there[t.Name]
	if !ok {
		return d
	}
	for _, column := range t.Columns {
		if !slices.Contains(r.Columns, column) {
			d.Source, d.Target = "column "+tasks.QuoteIdent(column), "no such column, or generates it"
			return d
		}
	}
	return nil
}
