package plan

import (
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// What a definition takes in the target's catalogs, and in WAL, in bytes, with its
// first blocks, statistics, and rows in the ledger. TestExpectedSizeAndWAL of
// internal/run holds them to what runs write.
const (
	tableCatalog, tableWAL = 8 << 10, 12 << 10
	indexCatalog, indexWAL = 9 << 10, 5 << 10
	sequenceWAL            = 4 << 10
	runWAL                 = 1 << 20 // the ledger, with the schema archive, and all else of the run
)

// mapBytes is what the maps of free space and of visibility take, in bytes, of a table
// from a few blocks on.
const mapsFrom, mapBytes = 32 << 10, 32 << 10

// rowHeader is what a row takes in a heap and not in the WAL of COPY: the item
// identifier, and most of the header, which the rows of one record share.
const rowHeader = 20

// smallFile is wal_skip_threshold: with wal_level minimal, what is made and
// filled in one transaction is not logged but written to disk at its end, if it is
// larger than that.
const smallFile = 2 << 20

// expected returns what the run will leave on the target's disks.
//
// Rows take what they take on the source, so dead rows there make it too much. An
// index of the source is as large as the new one or larger, and is logged page by
// page, as the build fills them, without the tenth that stays free.
func (b *builder) expected() tasks.Expected {
	var e tasks.Expected
	for _, t := range b.plan.Tables {
		toast := t.Bytes - t.HeapBytes
		toast += toast / 80 // its index: 20 bytes for every chunk of 2 kB, some 80 % full
		e.Tables += t.HeapBytes + toast
		if t.HeapBytes > mapsFrom {
			e.Tables += mapBytes
		}
		if t.Unlogged {
			continue
		}
		heapWAL := max(t.HeapBytes-b.in.Catalog.BlockSize, 0) // the last block is not full
		if t.Rows > 0 {
			heapWAL = max(heapWAL-rowHeader*t.Rows, heapWAL/4)
		}
		frozen := t.Parts == 1 && (t.Bundle == "" || t.Bytes >= freezeFrom)
		if b.in.TargetWAL.Minimal && frozen && t.Bytes >= smallFile {
			heapWAL, toast = 0, 0
		}
		e.WAL += heapWAL + toast
		if b.in.TargetWAL.Hints && !frozen && b.compares() {
			e.MostWAL += t.HeapBytes // whole pages, once more
		}
	}
	only := b.in.Options.Only
	for _, r := range b.in.Catalog.Tables {
		if !b.has(r.OID) {
			continue
		}
		if only.Has(tasks.SectionSchema) {
			e.Catalog += tableCatalog
			e.WAL += tableWAL
		}
		if only.Has(tasks.SectionIndexes) {
			b.expectIndexes(&e, r)
		}
	}
	if only.Has(tasks.SectionSchema) {
		e.WAL += int64(len(b.in.Catalog.Sequences)) * sequenceWAL
	}
	e.WAL += b.refreshed + runWAL
	e.Tables += b.refreshed
	if len(b.in.Catalog.LargeObjects) > 0 && only.Has(tasks.SectionLargeObjects) {
		e.LargeObjects = b.in.Catalog.LargeObjectBytes
		e.WAL += e.LargeObjects * 5 / 4 // row by row, with their index
	}
	e.MostWAL += e.WAL
	return e
}

// expectIndexes adds the indexes of a table.
func (b *builder) expectIndexes(e *tasks.Expected, r pg.Relation) {
	for _, x := range b.indexes[r.OID] {
		e.Catalog += indexCatalog
		e.WAL += indexWAL
		if b.in.Scope.Table(r.OID).NoRows {
			continue
		}
		e.Indexes += x.Bytes
		if !r.Unlogged && (!b.in.TargetWAL.Minimal || x.Bytes < smallFile) {
			e.WAL += max(x.Bytes-2*b.in.Catalog.BlockSize, 0) * 9 / 10 // the first two blocks are nearly empty
		}
	}
}
