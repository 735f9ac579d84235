package pg

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Database is what a cluster knows of the database that a session is in.
type Database struct {
	Name, Owner, Comment string
	ConnLimit            int
	Settings             []DatabaseSetting
	Grants               []DatabaseGrant // of all privileges, the default ones, too, but for the owner's
	Mine                 bool            // the session's role may act as its owner
	Locale               Locale
}

// DatabaseSetting is one of ALTER DATABASE … SET, or of ALTER ROLE … IN DATABASE
// … SET.
type DatabaseSetting struct {
	Role  string // "" for all
	Entry string // name=value
}

// DatabaseGrant is a privilege on the database.
type DatabaseGrant struct {
	Grantee   string // "" for everybody
	Privilege string
	Grantable bool
}

// Locale is what can only be said when a database is made.
type Locale struct {
	Encoding, Provider, Collate, Ctype string // Provider as in datlocprovider
	Name, Rules                        string // of the provider, "" for libc
	Tablespace                         string
}

// ReadDatabase reads what belongs to the session's database as a whole.
func ReadDatabase(ctx context.Context, c *Conn) (Database, error) {
	var d Database
	provider, name, rules := "'c'", "''", "''"
	if c.Major() >= 15 {
		provider, name = "d.datlocprovider::text", "coalesce(d.daticulocale::text, '')"
	}
	if c.Major() >= 16 {
		rules = "coalesce(d.daticurules, '')"
	}
	if c.Major() >= 17 {
		name = "coalesce(d.datlocale, '')"
	}
	l := &d.Locale
	err := c.QueryRow(ctx, fmt.Sprintf(`SELECT d.datname::text, pg_catalog.pg_get_userbyid(d.datdba)::text, coalesce(pg_catalog.shobj_description(d.oid, 'pg_database'), ''),
		d.datconnlimit, pg_catalog.pg_has_role(d.datdba, 'USAGE'), pg_catalog.pg_encoding_to_char(d.encoding)::text, d.datcollate::text, d.datctype::text,
		t.spcname::text, %s, %s, %s
		FROM pg_catalog.pg_database d JOIN pg_catalog.pg_tablespace t ON t.oid = d.dattablespace WHERE d.datname = pg_catalog.current_database()`, provider, name, rules)).
		Scan(&d.Name, &d.Owner, &d.Comment, &d.ConnLimit, &d.Mine, &l.Encoding, &l.Collate, &l.Ctype, &l.Tablespace, &l.Provider, &l.Name, &l.Rules)
	if err != nil {
		return d, fmt.Errorf("read the %s database: %w", c.side, err)
	}
	rows, err := c.Query(ctx, `SELECT coalesce(r.rolname::text, ''), c.entry FROM pg_catalog.pg_db_role_setting s
		JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase AND d.datname = pg_catalog.current_database()
		LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole CROSS JOIN unnest(s.setconfig) AS c (entry)
		WHERE s.setrole = 0 OR r.oid IS NOT NULL ORDER BY 1, 2`)
	if err == nil {
		d.Settings, err = pgx.CollectRows(rows, pgx.RowToStructByPos[DatabaseSetting])
	}
	if err != nil {
		return d, fmt.Errorf("read settings of the %s database: %w", c.side, err)
	}
	rows, err = c.Query(ctx, `SELECT CASE WHEN x.grantee = 0 THEN '' ELSE r.rolname::text END, x.privilege_type, pg_catalog.bool_or(x.is_grantable)
		FROM pg_catalog.pg_database d CROSS JOIN pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) x
		LEFT JOIN pg_catalog.pg_roles r ON r.oid = x.grantee
		WHERE d.datname = pg_catalog.current_database() AND x.grantee <> d.datdba AND (x.grantee = 0 OR r.oid IS NOT NULL) GROUP BY 1, 2 ORDER BY 1, 2`)
	if err == nil {
		d.Grants, err = pgx.CollectRows(rows, pgx.RowToStructByPos[DatabaseGrant])
	}
	if err != nil {
		return d, fmt.Errorf("read privileges of the %s database: %w", c.side, err)
	}
	return d, nil
}
