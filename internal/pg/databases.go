package pg

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// ServerDatabase is a database of a server.
type ServerDatabase struct {
	Name   string
	Bytes  int64  // -1 if the role may not know
	Closed string // why it is not copied, "" if it can be
	Enter  bool   // the role may connect to it
}

// sqlDatabases lists databases, largest first. A connection limit of -2 marks one
// whose DROP DATABASE was interrupted.
const sqlDatabases = `SELECT d.datname::text,
	CASE WHEN pg_catalog.has_database_privilege(d.oid, 'CONNECT') AND d.datconnlimit <> -2 THEN pg_catalog.pg_database_size(d.oid) ELSE -1 END,
	CASE WHEN d.datconnlimit = -2 THEN 'it is what an interrupted DROP DATABASE has left'
		WHEN d.datistemplate THEN 'it is a template' WHEN NOT d.datallowconn THEN 'it allows no connections' ELSE '' END,
	pg_catalog.has_database_privilege(d.oid, 'CONNECT')
	FROM pg_catalog.pg_database d ORDER BY 2 DESC, 1`

// Databases lists the databases of the server that the session is on, largest
// first.
func Databases(ctx context.Context, c *Conn) ([]ServerDatabase, error) {
	rows, err := c.Query(ctx, sqlDatabases)
	if err != nil {
		return nil, fmt.Errorf("list databases of the %s: %w", c.side, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[ServerDatabase])
	if err != nil {
		return nil, fmt.Errorf("list databases of the %s: %w", c.side, err)
	}
	return list, nil
}

// sqlHoldsObjects asks for what somebody has made in the database, extensions and
// what they made left out. $1 names schemas that do not count.
const sqlHoldsObjects = `WITH o (class, id, space) AS (
		SELECT 'pg_catalog.pg_class'::regclass, oid, relnamespace FROM pg_catalog.pg_class WHERE oid >= 16384 AND relpersistence <> 't' AND relkind NOT IN ('i', 'I', 't')
		UNION ALL SELECT 'pg_catalog.pg_proc'::regclass, oid, pronamespace FROM pg_catalog.pg_proc WHERE oid >= 16384
		UNION ALL SELECT 'pg_catalog.pg_type'::regclass, oid, typnamespace FROM pg_catalog.pg_type WHERE oid >= 16384 AND typrelid = 0 AND typelem = 0
		UNION ALL SELECT 'pg_catalog.pg_namespace'::regclass, oid, oid FROM pg_catalog.pg_namespace WHERE oid >= 16384
		UNION ALL SELECT 'pg_catalog.pg_publication'::regclass, oid, 0 FROM pg_catalog.pg_publication
		UNION ALL SELECT 'pg_catalog.pg_event_trigger'::regclass, oid, 0 FROM pg_catalog.pg_event_trigger
		UNION ALL SELECT 'pg_catalog.pg_foreign_data_wrapper'::regclass, oid, 0 FROM pg_catalog.pg_foreign_data_wrapper
		UNION ALL SELECT 'pg_catalog.pg_largeobject_metadata'::regclass, oid, 0 FROM pg_catalog.pg_largeobject_metadata)
	SELECT EXISTS (SELECT FROM o LEFT JOIN pg_catalog.pg_namespace n ON n.oid = o.space
		WHERE coalesce(n.nspname !~ '^pg_(toast|temp)' AND n.nspname <> ALL ($1::text[]), true)
		AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = o.class AND d.objid = o.id AND d.deptype = 'e'))`

// HoldsObjects reports whether anybody has made anything in the session's
// database, extensions and what is in the schemas left out.
func HoldsObjects(ctx context.Context, c *Conn, without []string) (bool, error) {
	var holds bool
	if err := c.QueryRow(ctx, sqlHoldsObjects, without).Scan(&holds); err != nil {
		return false, fmt.Errorf("look for objects on the %s: %w", c.side, err)
	}
	return holds, nil
}
