package worker

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// largeObjectPiece is how many bytes of a large object are held at a time: a
// whole number of its pages.
const largeObjectPiece = 1 << 20

// copyLargeObjects does [tasks.KindLargeObjects]: the objects themselves, with
// owner, privileges and comment, under the oids that they have on the source.
type copyLargeObjects struct{}

// largeObject is what is copied of a large object beside its data.
type largeObject struct {
	OID     uint32
	Owner   string
	Comment *string
	Grants  []string // statements; nil if the privileges are the default ones
}

func (copyLargeObjects) Do(ctx context.Context, j *Job) (tasks.Result, error) {
	spec, err := tasks.Decode[tasks.LargeObjects](j.Task)
	if err != nil {
		return tasks.Result{}, tasks.Discard(err)
	}
	snapshot, err := j.Snapshot(ctx)
	if err != nil {
		return tasks.Result{}, err
	}
	source, err := j.Source(ctx)
	if err != nil {
		return tasks.Result{}, err
	}
	if _, err := source.Exec(ctx, pg.ImportSnapshotSQL(snapshot.Name)); err != nil {
		return tasks.Result{}, j.notImported(snapshot, err)
	}
	objects, err := listLargeObjects(ctx, source, spec)
	if err != nil {
		return tasks.Result{}, err
	}
	result := tasks.Result{Snapshot: snapshot.ID, Rows: int64(len(objects))}
	for _, o := range objects {
		n, err := copyLargeObject(ctx, source, j.Target, o)
		if err != nil {
			return tasks.Result{}, fmt.Errorf("copy large object %d: %w", o.OID, err)
		}
		result.Bytes += n
	}
	if _, err := source.Exec(ctx, "COMMIT"); err != nil {
		return tasks.Result{}, fmt.Errorf("end the transaction on the source: %w", err)
	}
	return result, nil
}

func listLargeObjects(ctx context.Context, source *pg.Conn, spec tasks.LargeObjects) ([]largeObject, error) {
	rows, err := source.Query(ctx, `SELECT m.oid, pg_catalog.pg_get_userbyid(m.lomowner)::text, pg_catalog.obj_description(m.oid, 'pg_largeobject'),
		CASE WHEN m.lomacl IS NOT NULL THEN
			ARRAY[pg_catalog.format('REVOKE ALL ON LARGE OBJECT %s FROM %I', m.oid, pg_catalog.pg_get_userbyid(m.lomowner))] ||
			(SELECT coalesce(pg_catalog.array_agg(pg_catalog.format(CASE WHEN a.grantor = m.lomowner THEN 'GRANT %s ON LARGE OBJECT %s TO %s%s'
					ELSE 'SET LOCAL ROLE %5$I; GRANT %1$s ON LARGE OBJECT %2$s TO %3$s%4$s; RESET ROLE' END, a.privilege_type, m.oid,
				CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END,
				CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END, pg_catalog.pg_get_userbyid(a.grantor))
				ORDER BY a.grantor <> m.lomowner, a.ordinality), '{}')
			FROM pg_catalog.aclexplode(m.lomacl) WITH ORDINALITY a)
		END
		FROM pg_catalog.pg_largeobject_metadata m WHERE m.oid BETWEEN $1 AND $2 ORDER BY m.oid`, spec.From, spec.To)
	if err != nil {
		return nil, fmt.Errorf("list large objects: %w", err)
	}
	objects, err := pgx.CollectRows(rows, pgx.RowToStructByPos[largeObject])
	if err != nil {
		return nil, fmt.Errorf("list large objects: %w", err)
	}
	return objects, nil
}

// copyLargeObject makes the object and streams its data in pieces. Pieces of
// zeros are left out but for the very last byte, so holes stay holes.
func copyLargeObject(ctx context.Context, source, target *pg.Conn, o largeObject) (int64, error) {
	if _, err := target.Conn.Exec(ctx, "SELECT pg_catalog.lo_create($1)", o.OID); err != nil {
		return 0, err
	}
	zeros := make([]byte, largeObjectPiece)
	var offset int64
	hole := false
	for {
		var piece []byte
		err := source.QueryRow(ctx, "SELECT pg_catalog.lo_get($1, $2, $3)", o.OID, offset, largeObjectPiece).Scan(&piece)
		if err != nil {
			return 0, err
		}
		if len(piece) > 0 {
			if hole = bytes.Equal(piece, zeros[:len(piece)]); !hole {
				if _, err := target.Conn.Exec(ctx, "SELECT pg_catalog.lo_put($1, $2, $3)", o.OID, offset, piece); err != nil {
					return 0, err
				}
			}
		}
		target.Move(len(piece))
		offset += int64(len(piece))
		if len(piece) < largeObjectPiece {
			break
		}
	}
	if hole {
		if _, err := target.Conn.Exec(ctx, "SELECT pg_catalog.lo_put($1, $2, $3)", o.OID, offset-1, []byte{0}); err != nil {
			return 0, err
		}
	}
	return offset, describeLargeObject(ctx, target, o)
}

// describeLargeObject sets comment, owner and privileges. The owner comes
// before the privileges, which are those that it has granted.
func describeLargeObject(ctx context.Context, target *pg.Conn, o largeObject) error {
	var sql []string
	if o.Comment != nil {
		sql = append(sql, fmt.Sprintf("COMMENT ON LARGE OBJECT %d IS %s", o.OID, tasks.QuoteLiteral(*o.Comment)))
	}
	sql = append(sql, fmt.Sprintf("ALTER LARGE OBJECT %d OWNER TO %s", o.OID, tasks.QuoteIdent(o.Owner)))
	sql = append(sql, o.Grants...)
	_, err := target.Exec(ctx, strings.Join(sql, "; "))
	return err
}
