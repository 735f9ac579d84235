package pgtest

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

const (
	// sampledRows bounds the search for rows that differ: above it the report
	// says only that the table differs.
	sampledRows = 2_000_000
	shownRows   = 3
	shownBytes  = 200
	// sequencesPerQuery bounds the arms of one UNION ALL.
	sequencesPerQuery = 200
	largeObjectPage   = 2048
)

// content is what diffData reads from one side.
type content struct {
	tables    map[string]rowsOf
	sequences map[string]string
	blobs     map[string]string // large objects
}

// rowsOf is how the rows of one table are read, and what their digest is.
type rowsOf struct {
	query  string
	digest rowDigest
}

// diffData compares rows, sequences and large objects.
func (c *comparison) diffData(ctx context.Context, src, dst *Database) ([]string, error) {
	s, d, err := bothSides(ctx, src, dst, c.readNow)
	if err != nil {
		return nil, err
	}
	var diffs []string
	for _, table := range slices.Sorted(maps.Keys(s.tables)) {
		// A missing table is a matter of diffSchema, unless that was left out.
		got, ok := d.tables[table]
		if !ok {
			diffs = append(diffs, fmt.Sprintf("rows of %s: the target has no such table, or it is not populated", table))
			continue
		}
		want := s.tables[table]
		if got == want {
			continue
		}
		text := fmt.Sprintf("rows of %s: source %s, target %s", table, &want.digest, &got.digest)
		if got.query != want.query {
			diffs = append(diffs, fmt.Sprintf("%s: other columns\n    source %s\n    target %s", text, want.query, got.query))
			continue
		}
		samples, err := sampleRows(ctx, src, dst, got.query)
		if err != nil {
			return nil, err
		}
		diffs = append(diffs, strings.Join(append([]string{text}, samples...), "\n    "))
	}
	for _, table := range slices.Sorted(maps.Keys(d.tables)) {
		if _, ok := s.tables[table]; !ok {
			diffs = append(diffs, fmt.Sprintf("rows of %s: the source has no such table, or it is not populated", table))
		}
	}
	diffs = append(diffs, diffMaps("sequence", s.sequences, d.sequences)...)
	return append(diffs, diffMaps("large object", s.blobs, d.blobs)...), nil
}

// rowQueries lists the tables and populated matviews and the query that reads the
// rows of each. Columns are in the order of their names: pg_dump itself moves
// the inherited columns of a table to the front. Generated ones are among them.
//
// Which leaf of a hash partitioned table a row belongs to may depend on oids (of
// enum values) and differ between equal databases. So the leaves below one are
// read together, through the topmost table that is partitioned by hash.
const rowQueries = `
WITH ancestor AS (
    SELECT c.oid, a.relid <> c.oid AS above, p.partstrat = 'h' AS hash
    FROM pg_class c, pg_partition_ancestors(c.oid) a JOIN pg_partitioned_table p ON p.partrelid = a.relid
    WHERE c.relkind IN ('r', 'p'))
SELECT format('%I.%I', n.nspname, c.relname),
       format('SELECT %s FROM %s%I.%I',
              (SELECT string_agg(quote_ident(attname), ', ' ORDER BY attname COLLATE "C")
               FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped),
              CASE c.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END, n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE (c.relkind = 'r' OR c.relkind = 'm' AND c.relispopulated
       OR c.relkind = 'p' AND EXISTS (SELECT FROM ancestor a WHERE a.oid = c.oid AND a.hash AND NOT a.above))
  AND NOT EXISTS (SELECT FROM ancestor a WHERE a.oid = c.oid AND a.hash AND a.above) AND` + userSchemas

func (c *comparison) readNow(ctx context.Context, conn *pgx.Conn) (content, error) {
	return c.readContent(ctx, conn, "")
}

// readContent reads one side in one snapshot: that of the name, a new one if it
// is empty.
func (c *comparison) readContent(ctx context.Context, conn *pgx.Conn, snapshot string) (content, error) {
	out := content{tables: map[string]rowsOf{}}
	if _, err := conn.Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); err != nil {
		return out, err
	}
	if snapshot != "" {
		if _, err := conn.Exec(ctx, "SET TRANSACTION SNAPSHOT '"+strings.ReplaceAll(snapshot, "'", "''")+"'"); err != nil {
			return out, fmt.Errorf("import snapshot %s: %w", snapshot, err)
		}
	}
	queries, err := readPairs(ctx, conn, rowQueries, c.ignoredSchemas)
	if err != nil {
		return out, fmt.Errorf("list tables: %w", err)
	}
	for table, query := range queries {
		var d rowDigest
		if err := eachRow(ctx, conn, query, d.add); err != nil {
			return out, err
		}
		out.tables[table] = rowsOf{query, d}
	}
	if out.sequences, err = c.readSequences(ctx, conn); err != nil {
		return out, fmt.Errorf("read sequences: %w", err)
	}
	if out.blobs, err = readLargeObjects(ctx, conn); err != nil {
		return out, fmt.Errorf("read large objects: %w", err)
	}
	return out, nil
}

// eachRow calls fn with every row of a query as a line of COPY's text format.
func eachRow(ctx context.Context, conn *pgx.Conn, query string, fn func(line []byte)) error {
	w := &lineWriter{fn: fn}
	if _, err := conn.PgConn().CopyTo(ctx, w, "COPY ("+query+") TO STDOUT"); err != nil {
		return fmt.Errorf("%s: %w", query, err)
	}
	return nil
}

// lineWriter cuts what is written to it into lines. In COPY's text format a
// newline within a value is escaped, so that a line is a row.
type lineWriter struct {
	fn   func([]byte)
	rest []byte
}

func (w *lineWriter) Write(p []byte) (int, error) {
	n := len(p)
	for {
		line, after, ok := bytes.Cut(p, []byte{'\n'})
		if !ok {
			w.rest = append(w.rest, p...)
			return n, nil
		}
		if len(w.rest) > 0 {
			line = append(w.rest, line...)
			w.rest = w.rest[:0]
		}
		w.fn(line)
		p = after
	}
}

// rowDigest is an order-independent digest of rows: the sum of their hashes
// modulo 2^128. A sum, unlike XOR, sees a row that is there twice more.
type rowDigest struct {
	hi, lo uint64
	rows   int64
}

func (d *rowDigest) add(line []byte) {
	h := sha256.Sum256(line)
	var carry uint64
	d.lo, carry = bits.Add64(d.lo, binary.BigEndian.Uint64(h[8:16]), 0)
	d.hi, _ = bits.Add64(d.hi, binary.BigEndian.Uint64(h[:8]), carry)
	d.rows++
}

func (d *rowDigest) String() string {
	return fmt.Sprintf("%d rows (%016x%016x)", d.rows, d.hi, d.lo)
}

// sampleRows finds a few rows of a query that one side lacks.
func sampleRows(ctx context.Context, src, dst *Database, query string) ([]string, error) {
	count := map[[16]byte]int{} // occurrences in the source less those in the target
	key := func(line []byte) [16]byte {
		h := sha256.Sum256(line)
		return [16]byte(h[:16])
	}
	var samples []string
	show := func(side string, line []byte) {
		samples = append(samples, fmt.Sprintf("only in the %s: %.*s", side, shownBytes, line))
	}
	read := func(db *Database, fn func([]byte)) error {
		conn, err := connectOracle(ctx, db)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
		return eachRow(ctx, conn, query, fn)
	}
	err := read(src, func(line []byte) {
		if len(count) < sampledRows {
			count[key(line)]++
		}
	})
	if err != nil || len(count) == sampledRows {
		return nil, err
	}
	err = read(dst, func(line []byte) {
		k := key(line)
		if count[k]--; count[k] < 0 && len(samples) < shownRows {
			show("target", line)
		}
	})
	if err != nil {
		return nil, err
	}
	err = read(src, func(line []byte) {
		if k := key(line); count[k] > 0 && len(samples) < 2*shownRows {
			count[k]--
			show("source", line)
		}
	})
	return samples, err
}

// readSequences reads the two values that a copy has to keep. log_cnt is a
// matter of the server's WAL.
func (c *comparison) readSequences(ctx context.Context, conn *pgx.Conn) (map[string]string, error) {
	rows, err := conn.Query(ctx, `SELECT format('%I.%I', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'S' AND`+userSchemas, c.ignoredSchemas)
	if err != nil {
		return nil, err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for chunk := range slices.Chunk(names, sequencesPerQuery) {
		arms := make([]string, len(chunk))
		for i, name := range chunk {
			arms[i] = "SELECT '" + strings.ReplaceAll(name, "'", "''") + "', concat('last_value ', last_value, ' is_called ', is_called) FROM " + name
		}
		found, err := readPairs(ctx, conn, strings.Join(arms, "\nUNION ALL\n"))
		if err != nil {
			return nil, err
		}
		maps.Copy(all, found)
	}
	return all, nil
}

// sqlPages reads the pages of all large objects: of a full one that ends with
// another byte than zero the digest, which is 64 times shorter, else the page.
const sqlPages = `SELECT loid, pageno, CASE WHEN octet_length(data) = 2048 AND get_byte(data, 2047) <> 0 THEN md5(data) ELSE data::text END
FROM pg_largeobject ORDER BY loid, pageno`

// readLargeObjects returns owner, ACL, comment, length and digest of every large
// object by oid. Pages are digested without trailing zeros and empty pages not at
// all: a hole of a sparse object reads as zeros, and a copy may have written them.
func readLargeObjects(ctx context.Context, conn *pgx.Conn) (map[string]string, error) {
	all, err := readPairs(ctx, conn, `
SELECT m.oid::text,
       concat_ws(' ', 'owner', pg_get_userbyid(m.lomowner),
                 'acl', (SELECT string_agg(a::text, ',' ORDER BY a::text) FROM unnest(m.lomacl) a),
                 'comment', quote_nullable(obj_description(m.oid, 'pg_largeobject')))
FROM pg_largeobject_metadata m`)
	if err != nil {
		return nil, err
	}
	lengths, sums := map[string]int64{}, map[string][]byte{}
	read := &lineWriter{fn: func(line []byte) {
		oid, rest, _ := bytes.Cut(line, []byte{'\t'})
		page, data, _ := bytes.Cut(rest, []byte{'\t'})
		var number int64
		_, _ = fmt.Sscan(string(page), &number)
		length, content := int64(largeObjectPage), data
		if text, whole := bytes.CutPrefix(data, []byte(`\\x`)); whole {
			raw, _ := hex.DecodeString(string(text))
			length, content = int64(len(raw)), bytes.TrimRight(raw, "\x00")
		}
		key := string(oid)
		lengths[key] = max(lengths[key], number*largeObjectPage+length)
		if len(content) > 0 {
			h := md5.New()
			fmt.Fprintf(h, "%x %d ", sums[key], number)
			_, _ = h.Write(content)
			sums[key] = h.Sum(nil)
		}
	}}
	_, err = conn.PgConn().CopyTo(ctx, read, "COPY ("+sqlPages+") TO STDOUT")
	if err != nil {
		return nil, err
	}
	for oid, text := range all {
		all[oid] = fmt.Sprintf("%s bytes %d digest %x", text, lengths[oid], sums[oid])
	}
	return all, nil
}
