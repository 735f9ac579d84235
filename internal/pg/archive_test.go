package pg_test

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

// dumped is an archive of the database's schema.
func dumped(t *testing.T, db *pgtest.Database, without ...string) (pg.Archive, pg.Tools) {
	t.Helper()
	tools, err := pg.FindTools(t.Context(), pgtest.ClientDir(t, db.Server.Major), db.Server.Major, db.Server.Major)
	require.NoError(t, err)
	keeper := connect(t, pg.Source, db.URI())
	s, err := pg.ExportSnapshot(t.Context(), keeper)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "schema.dump")
	require.NoError(t, tools.DumpSchema(t.Context(), pg.Options{URI: db.URI()}, s.Name, file, pg.Without{Schemas: without}))
	archive, err := tools.ReadArchive(t.Context(), file)
	require.NoError(t, err)
	return archive, tools
}

// restore runs the SQL of all entries, each on its own, with only the settings
// that its EntrySQL names.
func restore(t *testing.T, archive pg.Archive, into *pgtest.Database) {
	t.Helper()
	split, err := archive.SQL(t.Context(), archive.Entries)
	require.NoError(t, err)
	require.Len(t, split, len(archive.Entries))
	c := connect(t, pg.Target, into.URI())
	for i, s := range split {
		require.Equal(t, archive.Entries[i].Line, s.Entry.Line)
		if s.Entry.Desc == "SCHEMA" && strings.HasPrefix(s.SQL, "CREATE SCHEMA public") {
			continue
		}
		exec(t, c, "RESET default_tablespace; RESET default_table_access_method; "+s.Settings)
		_, err := c.Exec(context.Background(), s.SQL)
		require.NoError(t, err, "%s\n%s", s.Entry.Line, s.SQL)
	}
}

// depopulate empties the materialized views: an archive of definitions makes
// them so.
func depopulate(t *testing.T, db *pgtest.Database) {
	t.Helper()
	db.Exec(t, `DO $$DECLARE v regclass; BEGIN
		FOR v IN SELECT oid FROM pg_class WHERE relkind = 'm' LOOP EXECUTE format('REFRESH MATERIALIZED VIEW %s WITH NO DATA', v); END LOOP; END$$`)
}

// TestArchiveOfMuseum runs every entry of the museum's archive on its own; what
// comes out is the museum's schema.
func TestArchiveOfMuseum(t *testing.T) {
	t.Parallel()
	src := pgtest.Source(t).Museum(t)
	target := pgtest.Target(t)
	target.MuseumRoles(t)
	dst := target.Database(t)
	archive, _ := dumped(t, src)
	restore(t, archive, dst)
	depopulate(t, src)
	pgtest.RequireEqual(t, src, dst, pgtest.SchemaOnly(), pgtest.IgnoreLines(`^ALTER SUBSCRIPTION`))

	post := slices.IndexFunc(archive.Entries, func(e pg.Entry) bool { return e.Post })
	require.Positive(t, post)
	ids := map[int]bool{}
	for i, e := range archive.Entries {
		require.Equal(t, i >= post, e.Post, e.Line)
		require.False(t, ids[e.DumpID])
		ids[e.DumpID] = true
		switch e.Desc {
		case "TABLE":
			require.EqualValues(t, 1259, e.ClassID)
			require.NotZero(t, e.OID)
		case "FK CONSTRAINT":
			require.EqualValues(t, 2606, e.ClassID)
			require.NotEmpty(t, e.Deps)
		case "TABLE DATA", "SEQUENCE SET", "MATERIALIZED VIEW DATA", "BLOB", "BLOBS", "BLOB METADATA":
			t.Errorf("data in the archive of a schema: %s", e.Line)
		}
	}
}

// misleading has texts that look like what pg_restore prints between entries.
const misleading = `
CREATE FUNCTION public.body() RETURNS text LANGUAGE plpgsql AS $f$BEGIN RETURN '
--
-- TOC entry 215 (class 1259 OID 16385)
-- Name: fake; Type: TABLE; Schema: public; Owner: nobody
--

SET default_tablespace = gone;

'; END
-- the end
$f$;
CREATE TABLE public.a (x int);
COMMENT ON TABLE public.a IS 'first

SET default_tablespace = gone;';
CREATE TABLE public.b (x int);
COMMENT ON TABLE public.b IS 'first

-- last';
CREATE TABLE public.c (x int);
COMMENT ON TABLE public.c IS '
--
-- PostgreSQL database dump complete
--

-- Completed on 2026-01-01 00:00:00 UTC';
COMMENT ON COLUMN public.c.x IS '--
--
\unrestrict abc';
CREATE VIEW public.v AS SELECT 'x
SET default_table_access_method = gone;
-- y'::text AS "a
--
-- b";
CREATE TABLE public."new
--
line" (x int);
COMMENT ON TABLE public."new
--
line" IS 'newline';
CREATE TABLE public.z_elsewhere (x int) TABLESPACE museum_space;
CREATE TABLE public.z_here (x int PRIMARY KEY USING INDEX TABLESPACE museum_space);
CREATE ACCESS METHOD other_heap TYPE TABLE HANDLER heap_tableam_handler;
CREATE TABLE public.z_other (x int) USING other_heap;
CREATE TABLE public.zz_heap (x int);
CREATE TABLE public.zz_parted (x int) PARTITION BY RANGE (x);
CREATE MATERIALIZED VIEW public.zz_mat USING other_heap TABLESPACE museum_space AS SELECT 1 AS x;
CREATE SCHEMA hidden; CREATE TABLE hidden.x (); CREATE SCHEMA "HIDDEN"; CREATE TABLE "HIDDEN".x ();
COMMENT ON TABLE public.zz_heap IS 'the last entry''s text ends like the script
-- Completed on 2026-01-01';
`

func TestArchiveSQL(t *testing.T) {
	t.Parallel()
	for _, server := range []*pgtest.Server{pgtest.Source(t), pgtest.Major(t, 18)} {
		server.MuseumRoles(t)
		src, dst := server.Database(t), server.Database(t)
		src.Exec(t, misleading)
		archive, _ := dumped(t, src, "hidden")
		restore(t, archive, dst)
		src.Exec(t, "DROP SCHEMA hidden CASCADE")
		depopulate(t, src)
		pgtest.RequireEqual(t, src, dst, pgtest.SchemaOnly())
		require.Equal(t, "museum_space", dst.Query(t, "SELECT tablespace FROM pg_tables WHERE tablename = 'z_elsewhere'"))
		require.Equal(t, pgtest.Null, dst.Query(t, "SELECT tablespace FROM pg_tables WHERE tablename = 'z_here'"))

		// Any subset, in any order, comes back in that order.
		subset := slices.Clone(archive.Entries[len(archive.Entries)/2:])
		slices.Reverse(subset)
		all, err := archive.SQL(t.Context(), archive.Entries)
		require.NoError(t, err)
		text := map[int]string{}
		for _, s := range all {
			text[s.Entry.DumpID] = s.SQL
		}
		some, err := archive.SQL(t.Context(), subset)
		require.NoError(t, err)
		for i, s := range some {
			require.Equal(t, subset[i].DumpID, s.Entry.DumpID)
			require.Equal(t, text[s.Entry.DumpID], s.SQL)
		}
		none, err := archive.SQL(t.Context(), nil)
		require.NoError(t, err)
		require.Empty(t, none)
	}
}

// TestDropSQL undoes the museum. What is refused is tried again after the rest:
// pg_restore would first replace views that are in a circle of dependencies.
func TestDropSQL(t *testing.T) {
	t.Parallel()
	target := pgtest.Target(t)
	target.MuseumRoles(t)
	dst := target.Museum(t)
	archive, tools := dumped(t, dst)
	drops, err := tools.DropSQL(t.Context(), archive.File)
	require.NoError(t, err)
	require.Contains(t, drops, "DROP TABLE IF EXISTS museum.plain")
	c := connect(t, pg.Target, dst.URI())
	exec(t, c, "SELECT pg_catalog.lo_unlink(oid) FROM pg_catalog.pg_largeobject_metadata")
	for before := len(drops) + 1; len(drops) > 0 && len(drops) < before; {
		before = len(drops)
		drops = slices.DeleteFunc(drops, func(sql string) bool {
			_, err := c.Exec(context.Background(), sql)
			return err == nil
		})
	}
	require.Empty(t, drops)
	require.True(t, dst.Empty(t))
}

func TestDumpSchemaFails(t *testing.T) {
	t.Parallel()
	db := pgtest.Source(t).Database(t)
	tools, err := pg.FindTools(t.Context(), pgtest.ClientDir(t, db.Server.Major), db.Server.Major, db.Server.Major)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "schema.dump")
	uri := strings.Replace(db.URI(), "postgres@", "postgres:geheim@", 1)
	err = tools.DumpSchema(t.Context(), pg.Options{URI: uri}, "00000003-0000001B-1", file, pg.Without{})
	require.ErrorContains(t, err, "pg_dump")
	require.ErrorContains(t, err, "snapshot")
	require.NotContains(t, err.Error(), "geheim")
	_, err = tools.ReadArchive(t.Context(), file+".gone")
	require.ErrorContains(t, err, "pg_restore")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, tools.DumpSchema(ctx, pg.Options{URI: uri}, "x", file, pg.Without{}), context.Canceled)
}
