package plan

import (
	"fmt"
	"slices"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Limits of one verify task that compares several tables.
const (
	verifyTables = 100
	verifyBytes  = 256 << 20
)

// verifyLater notes a table to compare after the copy.
func (b *builder) verifyLater(r pg.Relation) {
	b.verified = append(b.verified, verified{tasks.VerifyTable{Table: tableOf(r)}, r.Bytes})
}

// verified is a table to compare, and its size on the source.
type verified struct {
	table tasks.VerifyTable
	bytes int64
}

// roots returns the tables that others were loaded through: they are compared
// as a whole, with all of their leaves.
func (b *builder) roots() []verified {
	var roots []verified
	position := map[uint32]int{}
	for _, leaf := range b.in.Catalog.Tables {
		if leaf.Kind != "r" || !b.has(leaf.OID) {
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
			roots = append(roots, verified{table: tasks.VerifyTable{Table: tableOf(*root), Descend: true}})
		}
		roots[i].table.Leaves = append(roots[i].table.Leaves, nameOf(leaf))
		roots[i].bytes += leaf.Bytes
	}
	return roots
}

// verify adds the tasks that compare the finished copy with the source.
func (b *builder) verify() error {
	if b.in.Options.Verify == "none" {
		return nil
	}
	var current []tasks.VerifyTable
	var bytes int64
	n := 0
	flush := func() error {
		if len(current) == 0 {
			return nil
		}
		n++
		t := tasks.Task{
			Kind: tasks.KindVerify, ID: tasks.NewID(tasks.KindVerify, "verify", fmt.Sprintf("v%04d", n)),
			Wave: tasks.WaveVerify, Needs: append(afterData(), tasks.WaveLate), Weight: bytes,
		}
		err := b.add(t, tasks.Verify{Level: b.in.Options.Verify, Tables: current})
		current, bytes = nil, 0
		return err
	}
	for _, v := range slices.Concat(b.verified, b.roots()) {
		if len(current) == verifyTables || bytes+v.bytes > verifyBytes {
			if err := flush(); err != nil {
				return err
			}
		}
		current = append(current, v.table)
		bytes += v.bytes
	}
	return flush()
}

// Comparisons returns every table of the catalog whose rows can be compared
// with those of a finished copy, as a run with [Input.SameText] would.
func Comparisons(cat pg.Catalog, sameText bool) []tasks.VerifyTable {
	in := Input{Catalog: cat, SameText: sameText, Selection: Selection{tables: map[uint32]bool{}}}
	for _, r := range cat.Tables {
		in.Selection.tables[r.OID] = true
	}
	b := newBuilder(in)
	for _, r := range cat.Tables {
		if r.Kind == "r" && b.loadRoot(r) == nil {
			b.verifyLater(r)
		}
	}
	var tables []tasks.VerifyTable
	for _, v := range slices.Concat(b.verified, b.roots()) {
		tables = append(tables, v.table)
	}
	return tables
}
