package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pgconvoy/pgconvoy/internal/fit"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Existing is what a run that does not make the tables finds on the target.
type Existing struct {
	Tables   map[tasks.Name]bool  // what has the name of a table there
	Filled   map[tasks.Name]bool  // materialized views with rows, and whether the role may refresh them
	Places   map[uint32]fit.Place // where rows go, by the oid of their table on the source
	Silent   bool                 // triggers and foreign keys of those tables must not fire
	Truncate bool                 // they are emptied first
	Together [][2]tasks.Name      // pairs of those tables that one statement must empty: foreign keys between them
	Proofs   []pg.Proof           // of foreign keys that rows come past
	Unproven []string             // foreign keys that rows come past, and that nothing proves
	Invalid  []string             // indexes and constraints that are not valid before, and sequences of others that are behind
}

// sections notes which sections are left to others.
func (b *builder) sections() {
	for _, s := range tasks.AllSections() {
		if !b.in.Options.Only.Has(s) {
			b.skip("section "+string(s), "not among those in only")
		}
	}
	if b.in.Existing == nil {
		return
	}
	for _, name := range b.in.Existing.Invalid {
		b.skip(ValidationOf+name, "it was not so on the target before the run")
	}
	for _, name := range b.in.Existing.Unproven {
		b.skip("proof of foreign key "+name, "it refers to ranges; rows come past it")
	}
}

// place returns where the rows of the table go in a target that has its tables
// already, and the table of the source that rows of others go to as well, nil if
// there is none.
func (b *builder) place(r pg.Relation) (p fit.Place, root *pg.Relation, there bool) {
	if b.in.Existing == nil {
		return p, nil, false
	}
	p, there = b.in.Existing.Places[r.OID]
	return p, b.relation[p.Root], there
}

// onTarget reports whether the target has the table, or will have it.
func (b *builder) onTarget(r pg.Relation) bool {
	return b.in.Existing == nil || b.in.Existing.Tables[nameOf(r)]
}

// refreshExisting adds, after new rows, the refresh of the materialized views that
// have been filled already: of others, post_data takes care.
func (b *builder) refreshExisting() error {
	if b.in.Existing == nil || !b.in.Options.Only.Has(tasks.SectionData) {
		return nil
	}
	_, err := b.refreshes(afterData())
	return err
}

// filled reports whether the target has filled the materialized view already, and
// the role may fill it once more.
func (b *builder) filled(name tasks.Name) bool {
	may, filled := b.in.Existing.Filled[name]
	if filled && !may {
		b.skip("refresh of materialized view "+name.String(), "it belongs to another role; its rows are those of before")
	}
	return may
}

// root returns the partitioned table that the rows of the table are loaded
// through, together with those of others, or nil.
func (b *builder) root(r pg.Relation) *pg.Relation {
	if b.in.Existing != nil {
		_, root, _ := b.place(r)
		return root
	}
	return b.loadRoot(r)
}

// alone reports whether the table cannot travel in a bundle: rows of others come
// into the same table, or it is compared in another way than they are.
func (b *builder) alone(r pg.Relation) bool {
	if p, _, there := b.place(r); there {
		return p.Root != 0 || p.Tree || b.digests() && !p.Alike
	}
	return b.loadRoot(r) != nil
}

// settle makes the copy one into a table that was there before.
func (b *builder) settle(r pg.Relation, spec *tasks.Copy) {
	p, root, there := b.place(r)
	if !there {
		return
	}
	spec.Existing, spec.Silent, spec.Freeze = true, b.in.Existing.Silent, false
	spec.Digest = spec.Digest && p.Alike
	if p.Tree || p.Root != 0 {
		spec.Into = &p.Into
	}
	if root != nil && sameColumns(r, *root) {
		spec.Table.Columns = root.Columns // in the order in which they are compared
	}
}

func sameColumns(x, y pg.Relation) bool {
	return slices.Equal(slices.Sorted(slices.Values(x.Columns)), slices.Sorted(slices.Values(y.Columns)))
}

// compareExisting notes a table to compare on a target that had it before. Its
// blocks are not those of the source: it is read in parts only if it is stored as
// there.
func (b *builder) compareExisting(r pg.Relation, p fit.Place) {
	v := &verified{table: tasks.VerifyTable{Table: tableOf(r), Descend: p.Tree}, unlike: !p.Alike}
	v.measure = &pg.Relation{Bytes: r.Bytes, Blocks: r.Blocks}
	if !p.Tree {
		v.measure.AccessMethod = p.AccessMethod
	}
	if p.Root == 0 {
		b.verified = append(b.verified, v)
		return
	}
	root := b.relation[p.Root]
	v.unlike = v.unlike || !sameColumns(r, *root)
	i := slices.IndexFunc(b.verified, func(o *verified) bool { return o.table.OID == root.OID })
	if i < 0 {
		i = len(b.verified)
		v.table.Table, v.measure.Bytes, v.measure.Blocks = tableOf(*root), 0, 0
		b.verified = append(b.verified, v)
	}
	all := b.verified[i]
	all.table.Leaves = append(all.table.Leaves, nameOf(r))
	all.unlike = all.unlike || v.unlike
	all.measure.Bytes += r.Bytes
	all.measure.Blocks += r.Blocks
}

// compareWhole notes, for a comparison, a table that one side has in partitions, or
// in others than the other side: it is read there and here with all of them.
func (b *builder) compareWhole(r pg.Relation, p fit.Place) {
	whole := r
	if p.Root != 0 {
		whole = *b.relation[p.Root]
	}
	i := slices.IndexFunc(b.verified, func(v *verified) bool { return v.table.OID == whole.OID })
	if i < 0 {
		i = len(b.verified)
		b.verified = append(b.verified, &verified{table: tasks.VerifyTable{Table: tableOf(whole), Descend: true}, measure: &pg.Relation{}})
	}
	b.verified[i].measure.Bytes += r.Bytes
	b.verified[i].unlike = b.verified[i].unlike || !p.Alike
}

// truncateChunk is how many tables one statement empties, more only if foreign
// keys hold them together.
const truncateChunk = 200

// truncate adds the tasks that empty the tables before any row comes in.
func (b *builder) truncate() error {
	if b.in.Existing == nil || !b.in.Existing.Truncate {
		return nil
	}
	var names []tasks.Name
	position := map[tasks.Name]int{}
	tree := map[tasks.Name]bool{}
	for _, r := range b.in.Catalog.Tables {
		p, _, there := b.place(r)
		if _, known := position[p.Into]; !there || known || !b.copies(r) {
			continue
		}
		position[p.Into] = len(names)
		names = append(names, p.Into)
		tree[p.Into] = p.Tree
	}
	families := newFamilies(len(names))
	for _, pair := range b.in.Existing.Together {
		x, one := position[pair[0]]
		y, other := position[pair[1]]
		if one && other {
			families.join(x, y)
		}
	}
	members := map[int][]string{}
	var order []int
	for i, n := range names {
		f := families.of(i)
		if members[f] == nil {
			order = append(order, f)
		}
		only := "ONLY "
		if tree[n] {
			only = ""
		}
		members[f] = append(members[f], only+n.String())
	}
	var current []string
	n := 0
	flush := func() error {
		if len(current) == 0 {
			return nil
		}
		n++
		sql := "TRUNCATE " + strings.Join(current, ", ")
		label := fmt.Sprintf("TRUNCATE of %d tables", len(current))
		if b.in.Existing.Silent {
			sql = pg.SilentSQL + "; " + sql
		}
		current = nil
		return b.add(tasks.Task{
			Kind: tasks.KindSchema, ID: tasks.NewID(tasks.KindSchema, "truncate", fmt.Sprintf("t%04d", n)), Wave: tasks.WaveSchema,
		}, tasks.Statements{Statements: []tasks.Statement{{Label: label, SQL: sql}}})
	}
	for _, f := range order {
		if len(current)+len(members[f]) > truncateChunk {
			if err := flush(); err != nil {
				return err
			}
		}
		current = append(current, members[f]...)
	}
	return flush()
}

// proofs adds, after all rows, a look at the foreign keys that they came past.
func (b *builder) proofs() error {
	if b.in.Existing == nil || !b.in.Options.Only.Has(tasks.SectionData) {
		return nil
	}
	for _, p := range b.in.Existing.Proofs {
		name := tasks.Name{Schema: p.Schema, Name: p.Table}
		err := b.add(tasks.Task{
			Kind: tasks.KindFKeyValidate, ID: tasks.NewID(tasks.KindFKeyValidate, p.Schema, p.Table, p.Name, "proof"),
			Wave: tasks.WaveLate, Needs: afterData(),
		}, tasks.Statements{On: &name, Statements: []tasks.Statement{{Label: "look whether " + p.Name + " of " + name.String() + " holds", SQL: p.SQL}}})
		if err != nil {
			return err
		}
	}
	return nil
}
