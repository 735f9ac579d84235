package plan

import (
	"fmt"
	"slices"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// sequenceChunk is how many sequences one task copies.
const sequenceChunk = 1000

// late adds what runs when rows, indexes and constraints are there: sequences,
// what is left of the archive, privileges, materialized views, and at the very
// end what would have seen or refused our own statements.
func (b *builder) late() error {
	if err := b.sequences(); err != nil {
		return err
	}
	if !b.in.Options.Only.Has(tasks.SectionPostData) {
		if _, err := b.sendOut(afterData()); err != nil {
			return err
		}
		return b.refreshExisting()
	}
	s := b.in.Selection
	after, err := b.lateChunks("post-data", s.Rest, afterData())
	if err != nil {
		return err
	}
	if after, err = b.sendOut(after); err != nil {
		return err
	}
	after, err = b.lateChunks("privileges", s.Access, after)
	if err != nil {
		return err
	}
	refreshed, err := b.refreshes(after)
	if err != nil {
		return err
	}
	after, err = b.lateChunks("last", s.Last, slices.Concat(after, refreshed))
	if err != nil {
		return err
	}
	return b.databaseLate(after)
}

// sendOut takes back what lodgers were granted, and returns what to wait for in order
// to come after that.
func (b *builder) sendOut(after []tasks.Group) ([]tasks.Group, error) {
	if len(b.in.Lodgers) == 0 {
		return after, nil
	}
	statements := make([]tasks.Statement, len(b.in.Lodgers))
	for i, l := range b.in.Lodgers {
		statements[i] = tasks.Statement{Label: l.RevokeSQL(), SQL: l.RevokeSQL()}
	}
	t := tasks.Task{
		Kind: tasks.KindSchema, ID: tasks.NewID(tasks.KindSchema, "lodgers", "c0001"), Group: "lodgers:1", Wave: tasks.WaveLate, Needs: after,
	}
	return []tasks.Group{t.Group}, b.add(t, tasks.Statements{Statements: statements})
}

// afterData is what to wait for in order to come after all rows, indexes and
// constraints. A wave without tasks holds nobody up: where there are no rows,
// it is the schema alone that must be there.
func afterData() []tasks.Group { return []tasks.Group{tasks.WaveSchema, tasks.WaveData} }

// lateChunks adds the entries as a chain of tasks and returns what to wait for
// in order to come after them.
func (b *builder) lateChunks(name string, entries []pg.Entry, after []tasks.Group) ([]tasks.Group, error) {
	for i, chunk := range b.chunks(entries) {
		t := tasks.Task{
			Kind: tasks.KindSchema, ID: tasks.NewID(tasks.KindSchema, name, fmt.Sprintf("c%04d", i+1)),
			Group: tasks.Group(fmt.Sprintf("%s:%d", name, i+1)), Wave: tasks.WaveLate, Needs: after,
		}
		if err := b.add(t, tasks.Statements{Statements: chunk}); err != nil {
			return nil, err
		}
		after = []tasks.Group{t.Group}
	}
	return after, nil
}

// refreshes adds the refresh of every populated materialized view, each after
// those that it reads. One that reads what is not populated cannot be refreshed.
func (b *builder) refreshes(after []tasks.Group) ([]tasks.Group, error) {
	group := func(oid uint32) tasks.Group { return tasks.Group(fmt.Sprintf("refresh:%d", oid)) }
	refreshed := b.refreshable()
	var all []tasks.Group
	for _, v := range b.in.Catalog.MatViews {
		if !refreshed[v.OID] {
			continue
		}
		needs := slices.Clone(after)
		for _, oid := range v.Reads {
			needs = append(needs, group(oid))
		}
		name := tasks.Name{Schema: v.Schema, Name: v.Name}.String()
		spec := tasks.Statements{Statements: []tasks.Statement{{Label: "REFRESH " + name, SQL: "REFRESH MATERIALIZED VIEW " + name}}}
		t := tasks.Task{
			Kind: tasks.KindRefresh, ID: tasks.NewID(tasks.KindRefresh, "refresh", fmt.Sprintf("v%d", v.OID)),
			Group: group(v.OID), Wave: tasks.WaveLate, Needs: needs, Weight: v.Bytes,
		}
		b.refreshed += v.Bytes
		if err := b.add(t, spec); err != nil {
			return nil, err
		}
		all = append(all, t.Group)
	}
	return all, nil
}

// refreshable returns the materialized views that are populated, and all of whose
// sources are; what is left of the populated ones is skipped.
func (b *builder) refreshable() map[uint32]bool {
	can := map[uint32]bool{}
	for _, v := range b.in.Catalog.MatViews {
		can[v.OID] = v.Populated && b.in.Selection.matviews[v.OID]
		if can[v.OID] && !b.in.Options.Only.Has(tasks.SectionPostData) {
			can[v.OID] = b.filled(tasks.Name{Schema: v.Schema, Name: v.Name})
		}
	}
	for changed := true; changed; {
		changed = false
		for _, v := range b.in.Catalog.MatViews {
			if can[v.OID] && slices.ContainsFunc(v.Reads, func(oid uint32) bool { return !can[oid] }) {
				can[v.OID], changed = false, true
				b.skip("rows of materialized view "+tasks.Name{Schema: v.Schema, Name: v.Name}.String(), "it reads another one that is not populated")
			}
		}
	}
	return can
}

// sequences adds tasks that copy the values of all sequences. They come after
// the last row: sequences are not transactional, and so they are never behind.
func (b *builder) sequences() error {
	if !b.in.Options.Only.Has(tasks.SectionSequences) {
		return nil
	}
	var names []tasks.Name
	for _, s := range b.in.Catalog.Sequences {
		names = append(names, tasks.Name{Schema: s.Schema, Name: s.Name})
	}
	for _, c := range b.in.Catalog.ExtensionConfig {
		if c.Kind == "S" {
			names = append(names, tasks.Name{Schema: c.Schema, Name: c.Name})
		}
	}
	n := 0
	for chunk := range slices.Chunk(names, sequenceChunk) {
		n++
		err := b.add(tasks.Task{
			Kind: tasks.KindSequences, ID: tasks.NewID(tasks.KindSequences, "sequences", fmt.Sprintf("s%04d", n)),
			Wave: tasks.WaveLate, Needs: afterData(),
		}, tasks.Sequences{Names: chunk})
		if err != nil {
			return err
		}
	}
	return nil
}
