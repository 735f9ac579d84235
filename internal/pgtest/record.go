package pgtest

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// Record is what a database showed in one snapshot: the digests of its tables
// and its large objects. Sequences belong to no snapshot and are left out.
type Record struct{ content content }

// Recorded reads what db shows in a snapshot that another session has exported.
// Nothing of it stays open: the snapshot may be lost afterwards.
func Recorded(ctx context.Context, db *Database, snapshot string) (*Record, error) {
	conn, err := connectOracle(ctx, db)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	read, err := (&comparison{ignoredSchemas: []string{}}).readContent(ctx, conn, snapshot)
	if err != nil {
		return nil, err
	}
	return &Record{read}, nil
}

// Diff says how db, as it is now, differs from the record, in one readable text
// per table or large object; none if it does not.
func (r *Record) Diff(db *Database, opts ...Option) ([]string, error) {
	c := comparison{ignoredSchemas: []string{}}
	for _, o := range opts {
		o(&c)
	}
	ctx, cancel := context.WithTimeout(context.Background(), helperTimeout)
	defer cancel()
	conn, err := connectOracle(ctx, db)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	now, err := c.readNow(ctx, conn)
	if err != nil {
		return nil, err
	}
	return append(diffMaps("rows of", r.content.digests(), now.digests()), diffMaps("large object", r.content.blobs, now.blobs)...), nil
}

// digests returns the digest of each table as text.
func (c content) digests() map[string]string {
	texts := make(map[string]string, len(c.tables))
	for _, table := range slices.Sorted(maps.Keys(c.tables)) {
		rows := c.tables[table]
		texts[table] = fmt.Sprintf("%s by %s", &rows.digest, rows.query)
	}
	return texts
}
