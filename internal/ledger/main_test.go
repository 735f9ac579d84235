package ledger_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/ledger"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

var runID = tasks.RunID{Name: "shop", UID: "0198c0de-1", FP: tasks.Fingerprint{Source: "1/shop", Target: "2/shop"}}

// connect opens a session as a worker has it.
func connect(t testing.TB, db *pgtest.Database) *pg.Conn {
	t.Helper()
	return connectURI(t, db.URI())
}

func connectURI(t testing.TB, uri string) *pg.Conn {
	t.Helper()
	c, err := pg.Connect(context.Background(), pg.Options{Side: pg.Target, URI: uri})
	require.NoError(t, err)
	t.Cleanup(c.Discard)
	return c
}

// task makes a task of the data wave.
func task(t testing.TB, kind tasks.Kind, name string, group tasks.Group, needs ...tasks.Group) tasks.Task {
	t.Helper()
	made, err := tasks.New(kind, tasks.NewID(kind, "public", name, "all"), tasks.Statements{Statements: []tasks.Statement{{Label: name, SQL: "SELECT 1"}}})
	require.NoError(t, err)
	made.Group, made.Wave, made.Needs = group, tasks.WaveData, needs
	return made
}

func newRun(archive string) ledger.New {
	return ledger.New{
		Run: runID, Version: "test", ConfigDigest: "abc",
		Snapshot: pg.Snapshot{Name: "00000003-1", Text: "700:701:"}, Archive: strings.NewReader(archive),
	}
}

func create(t testing.TB, c *pg.Conn, list ...tasks.Task) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Create(t.Context(), c, newRun("archive"), tasks.Plan{Tasks: list})
	require.NoError(t, err)
	return l
}

// fanIn is a plan of parts, a follower of all parts, and one of that follower
// and of the wave of the schema.
func fanIn(t testing.TB, parts int) []tasks.Task {
	t.Helper()
	var list []tasks.Task
	for i := range parts {
		list = append(list, task(t, tasks.KindCopy, fmt.Sprintf("t%03d", i), "copy"))
	}
	return append(list, task(t, tasks.KindAttach, "t", "attach", "copy"), task(t, tasks.KindAnalyze, "t", "analyze", "attach", tasks.WaveSchema))
}

// take takes a task that must be ready.
func take(t testing.TB, l *ledger.Ledger, c *pg.Conn, id tasks.ID) tasks.Task {
	t.Helper()
	taken, state, err := l.Take(t.Context(), c, id)
	require.NoError(t, err)
	require.Equal(t, tasks.Ready, state)
	return taken
}

// do takes a task and marks it as done.
func do(t testing.TB, l *ledger.Ledger, c *pg.Conn, id tasks.ID) tasks.Task {
	t.Helper()
	taken := take(t, l, c, id)
	require.NoError(t, l.Done(t.Context(), c, taken, tasks.Result{}, "w"))
	return taken
}

func rollback(t testing.TB, c *pg.Conn) {
	t.Helper()
	_, err := c.Exec(t.Context(), "ROLLBACK")
	require.NoError(t, err)
}

func unblocked(t testing.TB, l *ledger.Ledger, c *pg.Conn, of tasks.Task) []tasks.ID {
	t.Helper()
	list, err := l.Unblocked(t.Context(), c, of)
	require.NoError(t, err)
	return idsOf(list)
}

func idsOf(list []tasks.Task) []tasks.ID {
	ids := make([]tasks.ID, len(list))
	for i, t := range list {
		ids[i] = t.ID
	}
	return ids
}

func state(t testing.TB, db *pgtest.Database, id tasks.ID) string {
	t.Helper()
	return db.Query(t, fmt.Sprintf("SELECT state FROM pgconvoy.task WHERE id = '%s'", id))
}

func TestCreateWritesAll(t *testing.T) {
	t.Parallel()
	db := pgtest.Target(t).Database(t)
	c := connect(t, db)
	archive := strings.Repeat("0123456789abcde\n", 150_000) // more than two pieces
	p := tasks.Plan{
		Tasks: fanIn(t, 2),
		Tables: []tasks.PlannedTable{
			{Name: tasks.Name{Schema: "public", Name: `we"ird`}, Bytes: 10, Parts: 2, Indexes: 1},
			{Name: tasks.Name{Schema: "public", Name: "b"}, Bytes: 5, Parts: 1, Bundle: "copy.bundle.b0001"},
		},
		Skipped: []tasks.Skipped{{Object: "index caf\xe9\x00", Reason: "because"}},
	}
	p.Tasks[0].Weight = 77
	l, err := ledger.Create(t.Context(), c, newRun(archive), p)
	require.NoError(t, err)
	require.Equal(t, runID, l.Run())

	require.Equal(t, [][]string{{"shop", "0198c0de-1", "running", "1/shop", "2/shop", "test", "abc", "t"}},
		db.Rows(t, "SELECT run, uid, state, source, target, version, config_digest, target_start = pg_postmaster_start_time() FROM pgconvoy.run"))
	require.Equal(t, [][]string{{"1", "00000003-1", "700:701:", pgtest.Null}}, db.Rows(t, "SELECT id, name, pg_snapshot, lost_at FROM pgconvoy.snapshot"))
	require.Equal(t, [][]string{
		{"analyze.public.t.all", "analyze", "analyze", "analyze", "wave:data", "0", "pending"},
		{"attach.public.t.all", "attach", "attach", "attach", "wave:data", "0", "pending"},
		{"copy.public.t000.all", "copy", "copy", "copy", "wave:data", "77", "ready"},
		{"copy.public.t001.all", "copy", "copy", "copy", "wave:data", "0", "ready"},
	}, db.Rows(t, "SELECT id, kind, stage, grp, wave, weight, state FROM pgconvoy.task ORDER BY id"))
	require.Equal(t, [][]string{{"analyze.public.t.all", "attach"}, {"analyze.public.t.all", "wave:schema"}, {"attach.public.t.all", "copy"}},
		db.Rows(t, "SELECT task, grp FROM pgconvoy.need ORDER BY 1, 2"))
	require.Equal(t, [][]string{{`we"ird`, "10", "2", "1", ""}, {"b", "5", "1", "0", "copy.bundle.b0001"}},
		db.Rows(t, "SELECT name, bytes, parts, indexes, bundle FROM pgconvoy.planned ORDER BY bytes DESC"))
	require.Equal(t, "index caf\uFFFD", db.Query(t, "SELECT object FROM pgconvoy.skipped"))
	require.Equal(t, "3", db.Query(t, "SELECT count(*) FROM pgconvoy.archive"))
	var back bytes.Buffer
	require.NoError(t, l.Archive(t.Context(), c, &back))
	require.Equal(t, archive, back.String())
	require.Equal(t, ledger.Marker, db.Query(t, "SELECT left(obj_description('pgconvoy'::regnamespace), "+fmt.Sprint(len(ledger.Marker))+")"))

	opened, err := ledger.Open(t.Context(), c, "shop")
	require.NoError(t, err)
	require.Equal(t, runID, opened.Run())
	_, err = ledger.Open(t.Context(), c, "other")
	require.ErrorIs(t, err, ledger.ErrNoRun)
}

func TestCreateIsAllOrNothing(t *testing.T) {
	t.Parallel()
	db := pgtest.Target(t).Database(t)
	c := connect(t, db)
	_, err := ledger.Open(t.Context(), c, "shop")
	require.ErrorIs(t, err, ledger.ErrNoRun)

	twice := task(t, tasks.KindCopy, "a", "copy")
	_, err = ledger.Create(t.Context(), c, newRun(""), tasks.Plan{Tasks: []tasks.Task{twice, twice}})
	require.ErrorContains(t, err, "create ledger: write tasks")
	require.True(t, db.Empty(t))

	create(t, c, twice)
	_, err = ledger.Create(t.Context(), c, newRun(""), tasks.Plan{})
	require.True(t, pg.IsCode(err, "42P06"), "a ledger is there already: %v", err)
	require.Equal(t, 1, db.Count(t, "pgconvoy.task"))
}

// The ledger's tables have primary keys, so that the updates go through
// although a publication of the user's takes all tables in.
func TestPublicationForAllTables(t *testing.T) {
	t.Parallel()
	db := pgtest.Target(t).Database(t)
	c := connect(t, db)
	db.Exec(t, "CREATE PUBLICATION everything FOR ALL TABLES")
	l := create(t, c, fanIn(t, 1)...)
	done := do(t, l, c, "copy.public.t000.all")
	require.Equal(t, []tasks.ID{"attach.public.t.all"}, unblocked(t, l, c, done))
	_, err := l.Attempt(t.Context(), c, "attach.public.t.all", "x")
	require.NoError(t, err)
	require.NoError(t, l.LoseSnapshot(t.Context(), c))
	require.NoError(t, l.End(t.Context(), c, tasks.RunFailed))
	require.Empty(t, db.Column(t, `SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'pgconvoy'::regnamespace AND c.relkind = 'r'
		AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND indisprimary)`))
	require.NoError(t, ledger.Drop(t.Context(), c))
}

func TestDropDespiteEventTriggers(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		server *pgtest.Server
		enable string
		role   string
		fails  bool
	}{
		"none":                   {server: pgtest.Target(t)},
		"refuses":                {server: pgtest.Target(t), enable: "ENABLE"},
		"refuses always":         {server: pgtest.Target(t), enable: "ENABLE ALWAYS", fails: true},
		"refuses, not superuser": {server: pgtest.Target(t), enable: "ENABLE", role: "drop_owner", fails: true},
		"not superuser":          {server: pgtest.Target(t), enable: "DISABLE", role: "drop_owner"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireDrop(t, test.server, test.enable, test.role, test.fails)
		})
	}
	t.Run("refuses always, 18", func(t *testing.T) {
		t.Parallel()
		requireDrop(t, pgtest.Major(t, 18), "ENABLE ALWAYS", "", false)
	})
}

func requireDrop(t *testing.T, server *pgtest.Server, enable, role string, fails bool) {
	t.Helper()
	db := server.Database(t)
	uri := db.URI()
	if role != "" {
		role = strings.ReplaceAll(fmt.Sprintf("%s_%s", role, db.Name), "__", "_")
		role = role[:min(len(role), 60)]
		server.Exec(t, fmt.Sprintf(`CREATE ROLE %s LOGIN; GRANT CREATE ON DATABASE "%s" TO %s`, role, db.Name, role))
		t.Cleanup(func() { db.Exec(t, fmt.Sprintf("DROP OWNED BY %s CASCADE; DROP ROLE %s", role, role)) })
		uri = db.URIAs(role)
	}
	c := connectURI(t, uri)
	create(t, c, fanIn(t, 1)...)
	db.Exec(t, `CREATE FUNCTION public.refuse() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no''; END';
		CREATE EVENT TRIGGER refuse ON sql_drop EXECUTE FUNCTION public.refuse();
		CREATE EVENT TRIGGER refuse_start ON ddl_command_start WHEN tag IN ('DROP SCHEMA') EXECUTE FUNCTION public.refuse()`)
	if enable == "" {
		enable = "DISABLE"
	}
	db.Exec(t, "ALTER EVENT TRIGGER refuse "+enable+"; ALTER EVENT TRIGGER refuse_start "+enable)
	err := ledger.Drop(t.Context(), c)
	db.Exec(t, "ALTER EVENT TRIGGER refuse DISABLE; ALTER EVENT TRIGGER refuse_start DISABLE")
	if fails {
		require.ErrorContains(t, err, "drop ledger")
		require.Equal(t, byte('I'), c.PgConn().TxStatus())
		require.NoError(t, ledger.Drop(t.Context(), c))
	} else {
		require.NoError(t, err)
	}
	require.Equal(t, "0", db.Query(t, "SELECT count(*) FROM pg_namespace WHERE nspname = 'pgconvoy'"))
	require.NoError(t, ledger.Drop(t.Context(), c), "there is nothing to drop, which is no error")
}

func TestOwn(t *testing.T) {
	t.Parallel()
	db := pgtest.Target(t).Database(t)
	first, second := connect(t, db), connect(t, db)
	owned, err := ledger.Own(t.Context(), first)
	require.NoError(t, err)
	require.True(t, owned)
	owned, err = ledger.Own(t.Context(), second)
	require.NoError(t, err)
	require.False(t, owned)
	first.Discard()
	require.Eventually(t, func() bool {
		owned, err := ledger.Own(t.Context(), second)
		return err == nil && owned
	}, wait, tick)
}

func sorted(ids []tasks.ID) []tasks.ID {
	slices.Sort(ids)
	return ids
}
