package pg_test

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

func TestSnapshot(t *testing.T) {
	t.Parallel()
	for _, server := range []*pgtest.Server{pgtest.Source(t), pgtest.Major(t, 14), pgtest.Major(t, 18)} {
		db := server.Database(t)
		db.Exec(t, "CREATE TABLE public.a AS SELECT 1 AS x")
		keeper, reader := connect(t, pg.Source, db.URI()), connect(t, pg.Source, db.URI())
		s, err := pg.ExportSnapshot(t.Context(), keeper)
		require.NoError(t, err)
		require.Regexp(t, regexp.MustCompile(`^\d+:\d+:[\d,]*$`), s.Text)
		require.Equal(t, byte('T'), keeper.PgConn().TxStatus())
		db.Exec(t, "INSERT INTO public.a VALUES (2)")

		exec(t, reader, pg.ImportSnapshotSQL(s.Name))
		require.Equal(t, "1", value(t, reader, "SELECT count(*) FROM public.a"))
		exec(t, reader, "COMMIT")
		exec(t, keeper, "COMMIT")
		_, err = reader.Exec(t.Context(), pg.ImportSnapshotSQL(s.Name))
		require.True(t, pg.IsSnapshotLost(err), "%d: %v", server.Major, err)
		exec(t, reader, "ROLLBACK")
		_, err = reader.Exec(t.Context(), pg.ImportSnapshotSQL("it's not one"))
		require.True(t, pg.IsSnapshotLost(err), "%d: %v", server.Major, err)
	}
}

// identityOf is what the plan would have seen of a table.
func identityOf(t *testing.T, db *pgtest.Database, name string) pg.TableIdentity {
	t.Helper()
	c := connect(t, pg.Source, db.URI())
	cat, err := pg.ReadCatalog(t.Context(), c, pg.Without{})
	require.NoError(t, err)
	for _, r := range cat.Tables {
		if r.Name == name {
			return pg.TableIdentity{Quoted: `"public"."` + name + `"`, OID: r.OID, Filenode: r.Filenode}
		}
	}
	t.Fatalf("no table %s", name)
	return pg.TableIdentity{}
}

// TestIdentity changes a table in every way that makes an old snapshot show
// something else, and in ways that do not.
func TestIdentity(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change  string
		changed bool
	}{
		"nothing":           {"SELECT 1", false},
		"rows":              {"INSERT INTO public.a VALUES (7); DELETE FROM public.a WHERE x < 3; VACUUM public.a", false},
		"index":             {"CREATE INDEX ON public.a (x)", false},
		"vacuum full":       {"VACUUM FULL public.a", true},
		"cluster":           {"CREATE INDEX i ON public.a (x); CLUSTER public.a USING i", true},
		"truncate":          {"TRUNCATE public.a", true},
		"type":              {"ALTER TABLE public.a ALTER x TYPE bigint", true},
		"renamed":           {"ALTER TABLE public.a RENAME TO c", true},
		"moved":             {"CREATE SCHEMA s; ALTER TABLE public.a SET SCHEMA s", true},
		"dropped":           {"DROP TABLE public.a", true},
		"made again":        {"DROP TABLE public.a; CREATE TABLE public.a (x int)", true},
		"swapped by rename": {"ALTER TABLE public.a RENAME TO c; ALTER TABLE public.b RENAME TO a; ALTER TABLE public.c RENAME TO b", true},
		"now a view":        {"DROP TABLE public.a; CREATE VIEW public.a AS SELECT 1 AS x", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.Source(t).Database(t)
			db.Exec(t, "CREATE TABLE public.a AS SELECT generate_series(1, 9) AS x; CREATE TABLE public.b (x int)")
			identities := []pg.TableIdentity{identityOf(t, db, "a"), identityOf(t, db, "b")}
			old := connect(t, pg.Source, db.URI())
			_, err := pg.ExportSnapshot(t.Context(), old)
			require.NoError(t, err)
			for _, statement := range splitStatements(c.change) {
				db.Exec(t, statement)
			}
			results, err := old.PgConn().Exec(t.Context(), pg.IdentitySQL(identities)).ReadAll()
			require.NoError(t, err)
			var names []string
			for _, row := range results[0].Rows {
				names = append(names, string(row[0]))
			}
			if !c.changed {
				require.Empty(t, names)
				return
			}
			require.Contains(t, names, `"public"."a"`)
		})
	}
}

// splitStatements separates statements that hold no semicolon: VACUUM must be alone.
func splitStatements(sql string) []string { return regexp.MustCompile(`;\s*`).Split(sql, -1) }

func TestLockTables(t *testing.T) {
	t.Parallel()
	db := pgtest.Source(t).Museum(t)
	keeper := connect(t, pg.Source, db.URI())
	_, err := pg.ExportSnapshot(t.Context(), keeper)
	require.NoError(t, err)
	names, err := pg.TableNames(t.Context(), keeper, pg.Without{})
	require.NoError(t, err)
	require.Greater(t, len(names), 80)
	require.Contains(t, names, `museum.plain`)
	require.Contains(t, names, `"Odd ""Schema"".%s\ ü"."it's; DROP TABLE x; --"`)
	require.Contains(t, names, `museum.orders`)
	require.NoError(t, pg.LockTables(t.Context(), keeper, names, "5s"))
	require.Equal(t, "0", db.Query(t, `SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
		WHERE relkind IN ('r', 'p') AND nspname IN ('museum', 'annex') AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
		AND NOT EXISTS (SELECT FROM pg_locks l WHERE l.relation = c.oid AND l.mode = 'AccessShareLock')`))
	require.Error(t, db.TryExec("SET lock_timeout = '50ms'; TRUNCATE museum.plain"))

	without, err := pg.TableNames(t.Context(), keeper, pg.Without{Schemas: []string{"museum"}})
	require.NoError(t, err)
	require.NotContains(t, without, "museum.plain")
	require.Contains(t, without, "annex.plain")

	other := connect(t, pg.Source, db.URI())
	exec(t, other, "BEGIN")
	blocker := connect(t, pg.Target, db.URI())
	exec(t, blocker, "BEGIN; LOCK TABLE pg_catalog.pg_largeobject IN ACCESS EXCLUSIVE MODE")
	err = pg.LockTables(t.Context(), other, []string{"pg_catalog.pg_largeobject"}, "50ms")
	require.True(t, pg.IsCode(err, "55P03"), "%v", err)
	exec(t, other, "ROLLBACK; BEGIN")
	err = pg.LockTables(t.Context(), other, []string{"museum.gone"}, "50ms")
	require.True(t, pg.IsCode(err, "42P01"), "%v", err)
}
