package plan

import (
	"fmt"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Limits of one verify task that compares several tables.
const (
	verifyTables = 100
	verifyBytes  = 256 << 20
)

// verifyLater notes a table to compare after the copy.
func (b *builder) verifyLater(r pg.Relation, descend bool) {
	v := tasks.VerifyTable{Table: tableOf(r), Descend: descend}
	if descend {
		for _, leaf := range b.in.Catalog.Tables {
			if root := b.loadRoot(leaf); leaf.Kind == "r" && root != nil && root.OID == r.OID {
				v.Leaves = append(v.Leaves, nameOf(leaf))
			}
		}
	}
	b.verified = append(b.verified, v)
}

// verify adds the tasks that compare the finished copy with the source. Tables
// that were loaded through their root are compared as a whole.
func (b *builder) verify() error {
	if b.in.Options.Verify == "none" {
		return nil
	}
	roots := map[uint32]bool{}
	for _, leaf := range b.in.Catalog.Tables {
		if root := b.loadRoot(leaf); leaf.Kind == "r" && root != nil && b.has(leaf.OID) && !roots[root.OID] {
			roots[root.OID] = true
			b.verifyLater(*root, true)
		}
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
			Wave: tasks.WaveVerify, Needs: []tasks.Group{tasks.WaveData, tasks.WaveLate}, Weight: bytes,
		}
		err := b.add(t, tasks.Verify{Level: b.in.Options.Verify, Tables: current})
		current, bytes = nil, 0
		return err
	}
	for _, v := range b.verified {
		size := b.relation[v.OID].Bytes
		if len(current) == verifyTables || bytes+size > verifyBytes {
			if err := flush(); err != nil {
				return err
			}
		}
		current = append(current, v)
		bytes += size
	}
	return flush()
}
