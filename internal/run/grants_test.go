package run_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/check"
	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/run"
)

// sqlPrinted matches the SQL of a line of a hint.
var sqlPrinted = regexp.MustCompile(`\b(?:GRANT|ALTER|CREATE) .*;$`)

// grantPrinted is a statement that a hint prints, and where it is to be run.
type grantPrinted struct {
	db  *pgtest.Database
	sql string
}

// grantsPrinted returns what the hint of a blocker prints. What follows an "or" are
// other ways.
func grantsPrinted(t *testing.T, f check.Finding, src, dst *pgtest.Database) (grants []grantPrinted) {
	t.Helper()
	db := map[string]*pgtest.Database{"source-connection": src, "target-connection": dst}[f.Check]
	for line := range strings.Lines(f.Hint) {
		switch line = strings.TrimSpace(line); {
		case strings.HasPrefix(line, "or"):
			continue
		case strings.Contains(line, "on the source"):
			db = src
		case strings.Contains(line, "on the target"):
			db = dst
		}
		if sql := sqlPrinted.FindString(line); sql != "" {
			require.NotNil(t, db, "no side in the hint of %s, %s: %s", f.Check, f.What, f.Hint)
			grants = append(grants, grantPrinted{db, sql})
		}
	}
	require.NotEmpty(t, grants, "no SQL in the hint of %s, %s: %s", f.Check, f.What, f.Hint)
	return grants
}

// blockersOf runs the preflight.
func blockersOf(t *testing.T, o run.Options) check.Findings {
	t.Helper()
	err := run.Check(t.Context(), o)
	if err == nil {
		return nil
	}
	failed, ok := errors.AsType[*check.FailedError](err)
	require.True(t, ok, "%v", err)
	return failed.Findings.Blockers()
}

// TestGrantsThatCheckPrints: two roles that may do nothing, the SQL that planner
// check prints for them, and nothing else: then all of the museum that others than
// superusers may have is copied.
func TestGrantsThatCheckPrints(t *testing.T) {
	t.Parallel()
	source, target := pgtest.Start(t, pgtest.Options{}), pgtest.Start(t, pgtest.Options{})
	source.MuseumRoles(t)
	target.MuseumRoles(t)
	const owners = `museum_owner, museum_reader, museum_writer, "museum ""Odd"" röle\'%"`
	source.Exec(t, "CREATE ROLE curator LOGIN; GRANT "+owners+" TO curator; GRANT CREATE ON TABLESPACE museum_space TO curator; CREATE ROLE reader LOGIN")
	source.Exec(t, "CREATE DATABASE museum OWNER curator TEMPLATE template0")
	target.Exec(t, "CREATE ROLE curator LOGIN") // an extension belongs to whoever creates it
	target.Exec(t, "CREATE DATABASE museum TEMPLATE template0")
	src, dst := &pgtest.Database{Server: source, Name: "museum"}, &pgtest.Database{Server: target, Name: "museum"}
	src.Exec(t, `CREATE SCHEMA museum AUTHORIZATION curator; GRANT CREATE ON SCHEMA museum TO museum_owner; CREATE EXTENSION file_fdw; CREATE EXTENSION postgres_fdw;
		GRANT USAGE ON FOREIGN DATA WRAPPER file_fdw, postgres_fdw TO curator`)
	src.LoadMuseumAs(t, "curator")
	require.Greater(t, src.Count(t, "pg_class WHERE oid >= 16384"), 400, "most of the museum is there")
	// Its owner sees nothing of the table beneath, which forces its policies; a copy is refreshed with all rows.
	source.Exec(t, "ALTER ROLE curator BYPASSRLS")
	src.Exec(t, "REFRESH MATERIALIZED VIEW museum.mv_of_secret")
	require.Equal(t, "t", src.Query(t, "SELECT pg_get_userbyid(relowner) <> 'curator' FROM pg_class WHERE oid = 'annex.config_item'::regclass"), "a trusted extension has its tables from a superuser")
	// Options of user mappings are shown to the owner of the server alone; the check says so.
	src.Exec(t, `DROP USER MAPPING FOR museum_reader SERVER "far ""away"""; DROP USER MAPPING FOR PUBLIC SERVER "far ""away"""`)
	for _, db := range []*pgtest.Database{src, dst} {
		db.Exec(t, "REVOKE CONNECT ON DATABASE museum FROM PUBLIC")
	}
	o := options(t, src, dst)
	o.Config.Source.URI, o.Config.Target.URI = config.Secret(src.URIAs("reader")), config.Secret(dst.URIAs("curator"))

	connect := blockersOf(t, o)
	require.Len(t, connect, 2, "%v", connect)
	var granted []string
	for _, found := range []check.Findings{connect, nil} {
		if found == nil {
			found = blockersOf(t, o) // of those that are let in
		}
		for _, f := range found {
			for _, g := range grantsPrinted(t, f, src, dst) {
				require.NotRegexp(t, `SUPERUSER|GRANT "?postgres`, g.sql, f.What)
				require.NoError(t, g.db.TryExec(g.sql), f.Hint)
				granted = append(granted, g.sql)
			}
		}
	}
	// Warnings print these two: for a table that forces its policies on its owner, and one that its owner may not read.
	dst.Exec(t, "ALTER ROLE curator BYPASSRLS")
	dst.Exec(t, "GRANT pg_read_all_data TO curator")
	t.Logf("granted:\n%s", strings.Join(granted, "\n"))
	require.Empty(t, blockersOf(t, o))
	copyAll(t, o)
	pgtest.RequireEqual(t, src, dst)
}
