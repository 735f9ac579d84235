// Package plan turns what is known of the source, its catalog and its schema
// archive, into the immutable list of tasks of a run. It is pure: no I/O, no
// clock, the same input gives the same plan. Which object is copied how, in
// what order, and what waits for what is decided here and nowhere else:
// select.go places every entry of the archive, schema.go orders those that come
// before the rows, tables.go places every table, existing.go those that the target
// has already, and constraints.go, late.go and verify.go what follows from them;
// critical.go finds the longest chain, and expected.go says what the copy will take on
// disk.
package plan

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pgconvoy/pgconvoy/internal/filter"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Options are the settings that shape a plan.
type Options struct {
	SplitLargerThan int64 // bytes; a larger table is copied in parts
	MaxParts        int
	BundleMaxTable  int64 // bytes; a larger table does not travel in a bundle
	BundleMaxBytes  int64 // bytes of one bundle
	BundleMaxTables int
	IndexCap        int    // index builds that go on at once
	Verify          string // rows, digest or none
	Around          tasks.Around
	Only            tasks.Sections
}

// Input is everything that a plan is made from.
type Input struct {
	Options     Options
	Catalog     pg.Catalog
	Selection   Selection
	SQL         []pg.EntrySQL       // of Selection.Kept(), in that order
	NoLabels    []string            // providers of security labels that the target does not have
	Foreign     map[string]bool     // extensions of the target that its role may not change, and whether the source has another comment on them
	Lodgers     []tasks.Lodger      // who must be let into schemas until everything there has its owner
	Late        []tasks.Statement   // about the target database itself, at the very end
	Cuts        map[uint32]Cut      // where tables are cut whatever their size is
	Bounds      map[uint32][]string // ascending key bounds of the tables that [KeySplits] named
	TargetMajor int
	TargetWAL   pg.WALSettings
	SameText    bool            // encoding and collation of both databases agree, so text hashes to the same partition
	Scope       filter.Scope    // what was decided for single tables; the catalog holds what is copied only
	Skipped     []tasks.Skipped // what is left out by that
	Existing    *Existing       // nil if the run makes the tables
}

// Cut is where a table is cut into parts.
type Cut struct {
	By     string   // what [SplitBy] returns
	Bounds []string // ascending
}

// Build makes the plan. The lists in in are its own from then on.
func Build(in Input) (tasks.Plan, error) {
	if err := in.readable(); err != nil {
		return tasks.Plan{}, err
	}
	b := newBuilder(in)
	b.sections()
	steps := []func() error{b.schema, b.truncate, b.tables, b.partitioned, b.foreignKeys, b.extensionData, b.largeObjects, b.proofs, b.late, b.verify}
	for _, step := range steps {
		if err := step(); err != nil {
			return tasks.Plan{}, err
		}
	}
	largestFirst(&b.plan)
	slices.SortStableFunc(b.plan.Tables, func(x, y tasks.PlannedTable) int { return cmp.Compare(y.Bytes, x.Bytes) })
	if err := b.check(); err != nil {
		return b.plan, err
	}
	b.plan.Critical = critical(b.plan.Tasks)
	b.plan.Expected = b.expected()
	return b.plan, nil
}

// largestFirst orders the tasks: the queue keeps the order of publishing, and a
// long task that starts last runs alone.
func largestFirst(p *tasks.Plan) {
	slices.SortStableFunc(p.Tasks, func(x, y tasks.Task) int { return cmp.Compare(y.Weight, x.Weight) })
}

// readable refuses text that is not UTF-8, which a database with encoding
// SQL_ASCII may hold: specs are stored as JSON, where such bytes would silently
// become others.
func (in Input) readable() error {
	check := func(what string, texts ...string) error {
		for _, t := range texts {
			if !utf8.ValidString(t) {
				return fmt.Errorf("%s %q is not valid UTF-8 in its name or definition", what, strings.ToValidUTF8(texts[0], "?"))
			}
		}
		return nil
	}
	var errs []error
	for _, r := range in.Catalog.Tables {
		errs = append(errs, check("table", append([]string{r.Name, r.Schema}, r.Columns...)...))
	}
	for _, x := range in.Catalog.Indexes {
		errs = append(errs, check("index", x.Name, x.Definition))
	}
	for _, f := range in.Catalog.ForeignKeys {
		errs = append(errs, check("foreign key", f.Name, f.Definition))
	}
	for _, s := range in.Catalog.Sequences {
		errs = append(errs, check("sequence", s.Name, s.Schema))
	}
	for _, e := range in.SQL {
		errs = append(errs, check("archive entry", e.Entry.Desc+" "+e.Entry.Rest, e.SQL))
	}
	return errors.Join(errs...)
}

// builder is the plan in the making.
type builder struct {
	in       Input
	plan     tasks.Plan
	relation map[uint32]*pg.Relation
	indexes  map[uint32][]pg.Index // by table, only those that the archive has
	children map[uint32][]pg.Index // attached indexes, by partitioned index
	attached map[uint32]tasks.Group
	bundled  map[uint32]bool
	analyzed map[uint32]tasks.Group
	verified []*verified
	entrySQL map[int]int // places in in.SQL, by dump ID

	schemaTasks int
	refreshed   int64 // bytes of the materialized views that are refreshed
}

func newBuilder(in Input) *builder {
	b := &builder{
		in:       in,
		relation: map[uint32]*pg.Relation{},
		indexes:  map[uint32][]pg.Index{},
		children: map[uint32][]pg.Index{},
		attached: map[uint32]tasks.Group{},
		bundled:  map[uint32]bool{},
		analyzed: map[uint32]tasks.Group{},
		entrySQL: make(map[int]int, len(in.SQL)),
	}
	b.plan.Skipped = slices.Clone(in.Skipped)
	b.around()
	in = b.in
	for i := range in.Catalog.Tables {
		b.relation[in.Catalog.Tables[i].OID] = &in.Catalog.Tables[i]
	}
	for _, x := range in.Catalog.Indexes {
		if !in.Selection.hasIndex(x) {
			if b.has(x.Table) {
				b.skip(fmt.Sprintf("index %s", x.Name), "pg_dump leaves it out")
			}
			continue
		}
		b.indexes[x.Table] = append(b.indexes[x.Table], x)
		if x.Parent != 0 {
			b.children[x.Parent] = append(b.children[x.Parent], x)
		}
	}
	for i, e := range in.SQL {
		b.entrySQL[e.Entry.DumpID] = i
	}
	for _, e := range in.Selection.ForeignTables {
		b.skip("rows of foreign table "+e.Rest, "they stay on their own server")
	}
	return b
}

// has reports whether the archive holds the table.
func (b *builder) has(table uint32) bool { return b.in.Selection.tables[table] }

func (b *builder) skip(object, reason string) {
	b.plan.Skipped = append(b.plan.Skipped, tasks.Skipped{Object: object, Reason: reason})
}

// add appends a task of the kind with its place in the plan.
func (b *builder) add(t tasks.Task, spec any) error {
	made, err := tasks.New(t.Kind, t.ID, spec)
	if err != nil {
		return err
	}
	t.Spec = made.Spec
	b.plan.Tasks = append(b.plan.Tasks, t)
	return nil
}

// check refuses a plan that could never finish: every group that is needed
// must exist, and no two tasks may share an ID.
func (b *builder) check() error {
	groups := map[tasks.Group]bool{tasks.WaveSchema: true, tasks.WaveData: true, tasks.WaveLate: true, tasks.WaveVerify: true}
	ids := map[tasks.ID]bool{}
	for _, t := range b.plan.Tasks {
		groups[t.Group] = true
		if ids[t.ID] {
			return fmt.Errorf("plan has two tasks %s", t.ID)
		}
		ids[t.ID] = true
	}
	for _, t := range b.plan.Tasks {
		for _, g := range t.Needs {
			if !groups[g] && !g.IsPiece() {
				return fmt.Errorf("plan: task %s needs %s, which nothing makes", t.ID, g)
			}
		}
	}
	return nil
}
