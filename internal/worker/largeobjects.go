package worker

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

const (
	// largeObjectPiece is how many bytes of a large object are held at a time: a
	// whole number of its pages.
	largeObjectPiece = 1 << 20
	// largeObjectHead is how many bytes come with the list of objects: what is
	// smaller needs no round trip of its own.
	largeObjectHead = 64 << 10
	// largeObjectBatch is how many objects one statement makes at most.
	largeObjectBatch = 500
)

// copyLargeObjects does [tasks.KindLargeObjects]: the objects themselves, with
// owner, privileges and comment, under the oids that they have on the source.
// Small ones are written by the hundred, while the list still comes in; the rest
// of the others follows in pieces.
type copyLargeObjects struct{}

// largeObject is what is copied of a large object beside its data.
type largeObject struct {
	OID     uint32
	Owner   string
	Comment *string
	Head    []byte // the first bytes

	// Privileges, one after the other; nil if they are the default ones. A grantee
	// without a name is PUBLIC.
	Grantors, Grantees, Privileges []string
	Grantable                      []bool
}

func (copyLargeObjects) Do(ctx context.Context, j *Job) (_ tasks.Result, err error) {
	spec, err := tasks.Decode[tasks.LargeObjects](j.Task)
	if err != nil {
		return tasks.Result{}, tasks.Discard(err)
	}
	ctx, end := j.trace(ctx, pg.Target, label(j.Task))
	defer func() { end(err) }()
	source, err := j.reader(ctx)
	if err != nil {
		return tasks.Result{}, err
	}
	if _, err := source.Exec(ctx, source.begin); err != nil {
		return tasks.Result{}, j.notImported(source.snapshot, err)
	}
	w := largeObjectWriter{target: j.Target, around: spec.Around, hollow: map[uint32]bool{}}
	if err := w.copyHeads(ctx, source.Conn, spec); err != nil {
		return tasks.Result{}, err
	}
	for _, oid := range w.longer {
		if err := w.copyRest(ctx, source.Conn, oid); err != nil {
			return tasks.Result{}, fmt.Errorf("copy large object %d: %w", oid, err)
		}
	}
	if err := source.end(ctx); err != nil {
		return tasks.Result{}, err
	}
	return tasks.Result{Snapshot: source.snapshot.ID, Rows: w.objects, Bytes: w.bytes}, nil
}

const listLargeObjectsSQL = `SELECT m.oid, pg_catalog.pg_get_userbyid(m.lomowner)::text, pg_catalog.obj_description(m.oid, 'pg_largeobject'),
	pg_catalog.lo_get(m.oid, 0, $3), a.grantors, a.grantees, CASE WHEN m.lomacl IS NOT NULL THEN coalesce(a.privileges, '{}') END, a.grantable
	FROM pg_catalog.pg_largeobject_metadata m CROSS JOIN LATERAL (
		SELECT pg_catalog.array_agg(pg_catalog.pg_get_userbyid(x.grantor)::text ORDER BY x.grantor <> m.lomowner, x.ordinality) AS grantors,
			pg_catalog.array_agg(CASE WHEN x.grantee = 0 THEN '' ELSE pg_catalog.pg_get_userbyid(x.grantee)::text END ORDER BY x.grantor <> m.lomowner, x.ordinality) AS grantees,
			pg_catalog.array_agg(x.privilege_type ORDER BY x.grantor <> m.lomowner, x.ordinality) AS privileges,
			pg_catalog.array_agg(x.is_grantable ORDER BY x.grantor <> m.lomowner, x.ordinality) AS grantable
		FROM pg_catalog.aclexplode(m.lomacl) WITH ORDINALITY x) a
	WHERE m.oid BETWEEN $1 AND $2 ORDER BY m.oid`

// largeObjectWriter makes large objects on the target.
type largeObjectWriter struct {
	target *pg.Conn
	around tasks.Around

	oids     []uint32 // of the batch that is being gathered
	heads    [][]byte
	held     int      // bytes of heads
	describe []string // statements about the batch

	longer  []uint32        // objects of which more than the head may come
	hollow  map[uint32]bool // those of them whose head is all zeros, and not written yet
	objects int64
	bytes   int64
}

// copyHeads makes all objects of the range, with as much of their data as the list
// holds.
func (w *largeObjectWriter) copyHeads(ctx context.Context, source *pg.Conn, spec tasks.LargeObjects) error {
	rows, err := source.Query(ctx, listLargeObjectsSQL, spec.From, spec.To, largeObjectHead)
	if err != nil {
		return fmt.Errorf("list large objects: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		o, err := pgx.RowToStructByPos[largeObject](rows)
		if err != nil {
			return fmt.Errorf("list large objects: %w", err)
		}
		w.add(o)
		if err := source.Paid(ctx, len(o.Head)); err != nil {
			return err
		}
		if len(w.oids) >= largeObjectBatch || w.held >= largeObjectPiece {
			if err := w.flush(ctx); err != nil {
				return err
			}
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("list large objects: %w", err)
	}
	return w.flush(ctx)
}

// add puts an object into the batch.
func (w *largeObjectWriter) add(o largeObject) {
	w.objects++
	w.bytes += int64(len(o.Head))
	if len(o.Head) == largeObjectHead {
		w.longer = append(w.longer, o.OID)
		if isHole(o.Head) {
			w.hollow[o.OID] = true
			o.Head = nil
		}
	}
	w.oids, w.heads = append(w.oids, o.OID), append(w.heads, append([]byte{}, o.Head...))
	w.held += len(o.Head)
	w.describe = append(w.describe, o.statements(w.around)...)
}

// flush makes the objects of the batch: in one statement, and in another, of many,
// what describes them.
func (w *largeObjectWriter) flush(ctx context.Context) error {
	if len(w.oids) == 0 {
		return nil
	}
	_, err := w.target.Conn.Exec(ctx, `SELECT pg_catalog.count(pg_catalog.lo_from_bytea(x.id, x.data)) FROM ROWS FROM (unnest($1::oid[]), unnest($2::bytea[])) x (id, data)`, w.oids, w.heads)
	if err == nil && len(w.describe) > 0 {
		_, err = w.target.Exec(ctx, strings.Join(w.describe, "; "))
	}
	if err != nil {
		return fmt.Errorf("copy large objects %d to %d: %w", w.oids[0], w.oids[len(w.oids)-1], err)
	}
	w.target.Move(w.held)
	w.oids, w.heads, w.held, w.describe = w.oids[:0], w.heads[:0], 0, w.describe[:0]
	return nil
}

// copyRest streams what follows the head of an object, in pieces; the next one is
// read while one is written. Pieces of zeros are left out but for the very last
// byte, so holes stay holes.
func (w *largeObjectWriter) copyRest(ctx context.Context, source *pg.Conn, oid uint32) error {
	pieces := make(chan []byte)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(pieces)
		for offset := int64(largeObjectHead); ; offset += largeObjectPiece {
			var piece []byte
			err := source.QueryRow(ctx, "SELECT pg_catalog.lo_get($1, $2, $3)", oid, offset, largeObjectPiece).Scan(&piece)
			if err == nil {
				err = source.Paid(ctx, len(piece))
			}
			if err != nil {
				return err
			}
			select {
			case pieces <- piece:
			case <-ctx.Done():
				return ctx.Err()
			}
			if len(piece) < largeObjectPiece {
				return nil
			}
		}
	})
	group.Go(func() error {
		offset, end := int64(largeObjectHead), int64(largeObjectHead) // of what is read, and of what is written
		if w.hollow[oid] {
			end = 0
		}
		for piece := range pieces {
			if !isHole(piece) {
				if err := w.put(ctx, oid, offset, piece); err != nil {
					return err
				}
				end = offset + int64(len(piece))
			}
			offset += int64(len(piece))
			w.bytes += int64(len(piece))
			w.target.Move(len(piece))
		}
		if end == offset || ctx.Err() != nil {
			return ctx.Err()
		}
		return w.put(ctx, oid, offset-1, []byte{0}) // of an object that ends with zeros, or with its head
	})
	return group.Wait()
}

func (w *largeObjectWriter) put(ctx context.Context, oid uint32, offset int64, data []byte) error {
	_, err := w.target.Conn.Exec(ctx, "SELECT pg_catalog.lo_put($1, $2, $3)", oid, offset, data)
	return err
}

// isHole reports whether there are only zeros.
func isHole(piece []byte) bool {
	return len(piece) == 0 || piece[0] == 0 && bytes.Equal(piece[1:], piece[:len(piece)-1])
}

// statements returns what sets comment, owner and privileges. The owner comes
// before the privileges, which are those that it has granted.
func (o largeObject) statements(a tasks.Around) []string {
	var sql []string
	on := fmt.Sprintf("ON LARGE OBJECT %d", o.OID)
	if o.Comment != nil && !a.NoComments {
		sql = append(sql, fmt.Sprintf("COMMENT %s IS %s", on, tasks.QuoteLiteral(*o.Comment)))
	}
	owner := tasks.QuoteIdent(a.Role(o.Owner))
	if !a.NoOwner {
		sql = append(sql, fmt.Sprintf("ALTER LARGE OBJECT %d OWNER TO %s", o.OID, owner))
	}
	if o.Privileges == nil || a.NoACL {
		return sql
	}
	asUsual := a.NoOwner && o.ownedAsUsual() // then it is the session's role that may do what owners may
	if !asUsual {
		sql = append(sql, fmt.Sprintf("REVOKE ALL %s FROM %s", on, owner))
	}
	for i, privilege := range o.Privileges {
		if asUsual && o.Grantees[i] == o.Owner {
			continue
		}
		grantee, option := "PUBLIC", ""
		if o.Grantees[i] != "" {
			grantee = tasks.QuoteIdent(a.Role(o.Grantees[i]))
		}
		if o.Grantable[i] {
			option = " WITH GRANT OPTION"
		}
		grant := fmt.Sprintf("GRANT %s %s TO %s%s", privilege, on, grantee, option)
		if o.Grantors[i] != o.Owner {
			grant = fmt.Sprintf("SET LOCAL ROLE %s; %s; RESET ROLE", tasks.QuoteIdent(a.Role(o.Grantors[i])), grant)
		}
		sql = append(sql, grant)
	}
	return sql
}

// ownedAsUsual reports whether the owner may do what an owner may unless somebody
// says otherwise.
func (o largeObject) ownedAsUsual() bool {
	n := 0
	for i, grantee := range o.Grantees {
		if grantee != o.Owner {
			continue
		}
		if o.Grantors[i] != o.Owner || o.Grantable[i] {
			return false
		}
		n++
	}
	return n == 2 // SELECT and UPDATE: there are no others
}
