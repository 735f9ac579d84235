package verify

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// shownRows is how many rows that differ are named per table.
const shownRows = 10

// locator finds rows that differ, by bisecting the space of hashes: both sides
// are read once, and every row is added to the digest of its range of hashes,
// one of many thousand. Only the rows of ranges whose digests differ are looked
// at one by one, in a second reading; where such a range is still too large, it
// is cut once more instead.
//
// A row belongs to a range by the hash of its key, or of all of it if the table
// has no key. So nothing depends on where rows are stored, how keys are
// ordered on either server, or whether an index can find them fast; and memory
// depends neither on the size of the table nor on how much of it differs.
type locator struct {
	source, target *pg.Conn
	key            tasks.DigestKey
	table          tasks.VerifyTable
	columns        []string // of the table's key, none if it has none

	bits    int   // of the hash that one reading cuts by
	maxRows int64 // of both sides, that are looked at one by one
}

// Locate adds to the difference of a table which rows differ, ten at most. The
// two sessions must see what the difference was found in. Rows are told apart
// by the primary key or another key of the source; without one, by their
// contents. After an error both connections must be discarded.
func Locate(ctx context.Context, source, target *pg.Conn, key tasks.DigestKey, t tasks.VerifyTable, d *tasks.Difference) error {
	l := &locator{source: source, target: target, key: key, table: t, bits: 16, maxRows: 100_000}
	if err := l.locate(ctx, d); err != nil {
		return fmt.Errorf("look for the rows of %s that differ: %w", t.Name, err)
	}
	return nil
}

// maxCuts bounds how often the hashes are cut: rows that are still together
// then are equal.
const maxCuts = 4

func (l *locator) locate(ctx context.Context, d *tasks.Difference) (err error) {
	if l.columns, err = keyColumns(ctx, l.source, l.table.Table); err != nil {
		return err
	}
	d.Key = l.columns
	var in region
	for {
		cells, err := l.cut(ctx, in)
		if err != nil || len(cells) == 0 {
			return err
		}
		chosen, rows := l.choose(cells)
		d.More = d.More || len(chosen) < len(cells)
		if rows > l.maxRows && len(in.path) < maxCuts-1 {
			in.path = append(in.path, chosen[0])
			continue
		}
		in.cells = chosen
		return l.compare(ctx, in, d)
	}
}

// keyColumns returns the columns of a key whose columns are all copied and not
// NULL, the primary key if there is one.
func keyColumns(ctx context.Context, c *pg.Conn, t tasks.Table) ([]string, error) {
	var columns []string
	err := c.QueryRow(ctx, `SELECT pg_catalog.array_agg(a.attname::text ORDER BY k.n)
		FROM pg_catalog.pg_index x
		CROSS JOIN LATERAL unnest(x.indkey::int2[]) WITH ORDINALITY k (attnum, n)
		JOIN pg_catalog.pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.attnum
		WHERE x.indrelid = $1 AND x.indisunique AND x.indisvalid AND x.indpred IS NULL AND x.indexprs IS NULL AND k.n <= x.indnkeyatts
		GROUP BY x.indexrelid, x.indisprimary HAVING pg_catalog.bool_and(a.attnotnull AND a.attname::text = ANY ($2))
		ORDER BY x.indisprimary DESC, x.indexrelid LIMIT 1`, t.OID, append([]string{}, t.Columns...)).Scan(&columns)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("look for a key: %w", err)
	}
	return columns, nil
}

// query returns the SELECT of what names a row, in front of its columns.
func (l *locator) query() string {
	names := "ctid"
	switch {
	case len(l.columns) > 0:
		names = tasks.QuoteIdents(l.columns)
	case l.table.Descend:
		names = "tableoid::pg_catalog.regclass::text || ' ' || ctid"
	}
	if len(l.table.Columns) > 0 {
		names += ", " + tasks.QuoteIdents(l.table.Columns)
	}
	return l.table.SelectSQL(names)
}

// region is a set of ranges of hashes.
type region struct {
	path  []int // the range of each earlier cut
	cells []int // the ranges of the next one; nil means all
}

// cell returns the range that a hash is in after the cuts of the path, or false
// if it is in none of the region.
func (l *locator) cell(in region, hash tasks.Digest) (int, bool) {
	at := func(depth int) int { return int(hash.Hi >> (64 - l.bits*(depth+1)) & (1<<l.bits - 1)) }
	for depth, want := range in.path {
		if at(depth) != want {
			return 0, false
		}
	}
	cell := at(len(in.path))
	return cell, in.cells == nil || slices.Contains(in.cells, cell)
}

// pair is what both sides hold of something.
type pair struct{ source, target tasks.Digest }

// cut reads both sides and returns the ranges that differ, by number.
func (l *locator) cut(ctx context.Context, in region) (map[int]pair, error) {
	grids := [2][]tasks.Digest{make([]tasks.Digest, 1<<l.bits), make([]tasks.Digest, 1<<l.bits)}
	err := l.read(ctx, in, func(side, cell int, _ []byte, _, row tasks.Digest) {
		grids[side][cell] = grids[side][cell].Add(row)
	})
	differ := map[int]pair{}
	for i := range grids[0] {
		if grids[0][i] != grids[1][i] {
			differ[i] = pair{grids[0][i], grids[1][i]}
		}
	}
	return differ, err
}

// choose returns as many ranges as hold the rows that are shown, as each holds
// one at least, but not more than can be looked at, and the number of their
// rows. It returns one at least, if there is one.
func (l *locator) choose(cells map[int]pair) (chosen []int, rows int64) {
	size := func(i int) int64 { return cells[i].source.Rows + cells[i].target.Rows }
	all := make([]int, 0, len(cells))
	for i := range cells {
		all = append(all, i)
	}
	slices.SortFunc(all, func(x, y int) int { return cmp.Or(cmp.Compare(size(x), size(y)), cmp.Compare(x, y)) })
	chosen = []int{}
	for _, i := range all {
		if len(chosen) == shownRows || len(chosen) > 0 && rows+size(i) > l.maxRows {
			break
		}
		chosen, rows = append(chosen, i), rows+size(i)
	}
	return chosen, rows
}

// found is what one side has under one key, or of one content.
type found struct {
	sum    tasks.Digest
	places []string // of some of the rows, if there is no key
}

// compare reads the rows of the region and adds those that differ to d.
func (l *locator) compare(ctx context.Context, in region, d *tasks.Difference) error {
	var sides [2]map[string]found
	for i := range sides {
		sides[i] = map[string]found{}
	}
	err := l.read(ctx, in, func(side, _ int, name []byte, hash, row tasks.Digest) {
		id := name
		if len(l.columns) == 0 {
			id = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, hash.Hi), hash.Lo)
		}
		f := sides[side][string(id)]
		f.sum = f.sum.Add(row)
		if len(l.columns) == 0 && len(f.places) < shownRows {
			f.places = append(f.places, unescape(string(name)))
		}
		sides[side][string(id)] = f
	})
	if err != nil {
		return err
	}
	for id := range sides[1] {
		if _, there := sides[0][id]; !there {
			sides[0][id] = found{}
		}
	}
	for id, source := range sides[0] {
		d.Rows = append(d.Rows, l.differences(id, source, sides[1][id])...)
	}
	slices.SortFunc(d.Rows, compareRows)
	if len(d.Rows) > shownRows {
		d.Rows, d.More = d.Rows[:shownRows], true
	}
	return nil
}

// differences returns what is different between the rows of one key, or those
// of one content.
func (l *locator) differences(id string, source, target found) []tasks.RowDifference {
	if source.sum == target.sum {
		return nil
	}
	finding, places := tasks.RowDifferent, target.places
	missing := source.sum.Rows - target.sum.Rows
	switch {
	case missing > 0:
		finding, places = tasks.RowMissing, source.places
	case missing < 0:
		finding, missing = tasks.RowExtra, -missing
	}
	if len(l.columns) > 0 {
		var key []string
		for field := range strings.SplitSeq(id, "\t") {
			key = append(key, unescape(field))
		}
		return []tasks.RowDifference{{Finding: finding, Key: key}}
	}
	// Which of several equal rows are too many cannot be said: the last ones are as good as the others.
	var rows []tasks.RowDifference
	for _, place := range places[max(0, len(places)-int(min(missing, shownRows))):] {
		rows = append(rows, tasks.RowDifference{Finding: finding, CTID: place})
	}
	return rows
}

// compareRows orders rows by key, numbers by their value, then by finding and
// by place.
func compareRows(x, y tasks.RowDifference) int {
	byKey := slices.CompareFunc(x.Key, y.Key, func(a, b string) int {
		n, errA := strconv.ParseInt(a, 10, 64)
		m, errB := strconv.ParseInt(b, 10, 64)
		if errA == nil && errB == nil {
			return cmp.Compare(n, m)
		}
		return strings.Compare(a, b)
	})
	return cmp.Or(byKey, strings.Compare(string(x.Finding), string(y.Finding)), strings.Compare(x.CTID, y.CTID))
}

// read reads both sides at the same time and calls visit with each row of the
// region: its side, range, name, what decides about its range, and its digest.
// The two sides call it concurrently.
func (l *locator) read(ctx context.Context, in region, visit func(side, cell int, name []byte, hash, row tasks.Digest)) error {
	one := func(side int, c *pg.Conn) func(context.Context) error {
		return func(ctx context.Context) error {
			s, err := newSplitter(l.key, max(len(l.columns), 1))
			if err != nil {
				return err
			}
			s.visit = func(name []byte, hash, row tasks.Digest) {
				if len(l.columns) == 0 {
					hash = row
				}
				if cell, ok := l.cell(in, hash); ok {
					visit(side, cell, name, hash, row)
				}
			}
			return readRows(ctx, c, l.query(), s)
		}
	}
	return both(ctx, one(0, l.source), one(1, l.target))
}

// splitter is a row sink that takes the first fields of a row as its name, and
// hashes the rest.
type splitter struct {
	fields int
	left   int // fields that are still to come
	name   []byte
	names  *rowHash
	rows   *rowHash
	visit  func(name []byte, hash, row tasks.Digest)
}

func newSplitter(key tasks.DigestKey, fields int) (*splitter, error) {
	s := &splitter{fields: fields, left: fields}
	var err error
	if s.names, err = newRowHash(key); err != nil {
		return nil, err
	}
	s.rows, err = newRowHash(key)
	return s, err
}

// Row takes the next piece of a row. Tabs and line ends that are part of a
// value are escaped, so that others separate fields.
func (s *splitter) Row(piece []byte, last bool) {
	for s.left > 0 && len(piece) > 0 {
		i := bytes.IndexAny(piece, "\t\n")
		if i < 0 {
			s.name = append(s.name, piece...)
			return
		}
		s.left--
		end := i
		if s.left > 0 {
			end++ // the separator stays between fields
		}
		s.name = append(s.name, piece[:end]...)
		piece = piece[i+1:]
	}
	if len(piece) == 0 && !last {
		return
	}
	if s.rows.row(piece, last) {
		s.names.row(s.name, true)
		s.visit(s.name, s.names.sum(), s.rows.sum())
		s.name, s.left = s.name[:0], s.fields
	}
}

// unescape undoes what COPY does to a value in its text format.
func unescape(field string) string {
	if !strings.Contains(field, `\`) {
		return field
	}
	var b strings.Builder
	for i := 0; i < len(field); i++ {
		if field[i] != '\\' || i+1 == len(field) {
			b.WriteByte(field[i])
			continue
		}
		i++
		if at := strings.IndexByte("bfnrtv", field[i]); at >= 0 {
			b.WriteByte("\b\f\n\r\t\v"[at])
		} else {
			b.WriteByte(field[i])
		}
	}
	return b.String()
}
