package check

import (
	"context"
	"fmt"
	"strings"

	"github.com/pgconvoy/pgconvoy/internal/pg"
)

// server is what several checks need to know of one side.
type server struct {
	*pg.Conn
	fingerprint string
	Facts       facts
}

// facts has the columns of sqlFacts.
type facts struct {
	Database   string
	Role       string // the role that the session acts as
	Superuser  bool
	BypassRLS  bool
	CreateRole bool
	InRecovery bool
	Delegate   string // a role of a managed service that stands in for superuser, "" if the role is no member of one
	Encoding   string
}

const sqlFacts = `SELECT pg_catalog.current_database()::text, r.rolname::text, r.rolsuper, r.rolbypassrls, r.rolcreaterole, pg_catalog.pg_is_in_recovery(),
	coalesce((SELECT d.rolname::text FROM pg_catalog.pg_roles d
		WHERE d.rolname IN ('rds_superuser', 'cloudsqlsuperuser', 'alloydbsuperuser', 'azure_pg_admin', 'neon_superuser')
		AND pg_catalog.pg_has_role(d.oid, 'USAGE') LIMIT 1), ''),
	pg_catalog.pg_encoding_to_char(db.encoding)::text
	FROM pg_catalog.pg_roles r, pg_catalog.pg_database db
	WHERE r.rolname = current_user AND db.datname = pg_catalog.current_database()`

// readServers fills in the facts about both sides. It runs outside a
// transaction, which the fingerprint's second try would find aborted.
func (p *probe) readServers(ctx context.Context) error {
	for _, side := range []struct {
		conn *pg.Conn
		into **server
	}{{p.Source, &p.source}, {p.Target, &p.target}} {
		fp, err := pg.Fingerprint(ctx, side.conn)
		if err != nil {
			return err
		}
		if *side.into, err = readServer(ctx, side.conn, fp); err != nil {
			return err
		}
	}
	p.sameServer = p.source.cluster() == p.target.cluster()
	return nil
}

// readServer fills in the facts about one side.
func readServer(ctx context.Context, c *pg.Conn, fingerprint string) (*server, error) {
	found, err := query[facts](ctx, c, sqlFacts)
	if err != nil {
		return nil, err
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("%s: the session's role is not in pg_roles", c.Side())
	}
	return &server{Conn: c, fingerprint: fingerprint, Facts: found[0]}, nil
}

// cluster returns the part of the fingerprint that identifies the cluster.
func (s *server) cluster() string { return strings.TrimSuffix(s.fingerprint, "/"+s.Facts.Database) }

// place names the database in a message, for example: target database "shop".
func (s *server) place() string {
	return fmt.Sprintf("%s database %q", s.Side(), s.Facts.Database)
}

// role returns the quoted name of the session's role, for use in SQL.
func (s *server) role() string { return quoteIdent(s.Facts.Role) }
