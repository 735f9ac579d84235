package pg

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// ForeignExtensions returns those extensions of the target that the session's role
// may not change, as others own them, and whether the source has another comment
// on them.
func ForeignExtensions(ctx context.Context, source, target *Conn) (map[string]bool, error) {
	comments := [2]map[string]string{{}, {}}
	for i, side := range []struct {
		conn  *Conn
		where string
	}{{source, "true"}, {target, "NOT pg_catalog.pg_has_role(e.extowner, 'USAGE')"}} {
		rows, err := side.conn.Query(ctx, "SELECT e.extname::text, coalesce(pg_catalog.obj_description(e.oid, 'pg_extension'), '') FROM pg_catalog.pg_extension e WHERE "+side.where)
		if err != nil {
			return nil, fmt.Errorf("list extensions of the %s: %w", side.conn.side, err)
		}
		var name, comment string
		if _, err := pgx.ForEachRow(rows, []any{&name, &comment}, func() error {
			comments[i][name] = comment
			return nil
		}); err != nil {
			return nil, fmt.Errorf("list extensions of the %s: %w", side.conn.side, err)
		}
	}
	differs := map[string]bool{}
	for name, comment := range comments[1] {
		if other, there := comments[0][name]; there {
			differs[name] = other != comment
		}
	}
	return differs, nil
}
