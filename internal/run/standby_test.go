package run_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/run"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// followed is a run from a streaming standby.
type followed struct {
	primary  *pgtest.Database
	src, dst *pgtest.Database // src is on the standby
	o        run.Options
	release  func() // the gate that parts of table big wait at
}

// follow makes a primary with a few tables, and a standby of it.
func follow(t *testing.T, settings map[string]string) *followed {
	t.Helper()
	server := pgtest.Start(t, pgtest.Options{})
	server.Exec(t, "CREATE DATABASE shop")
	f := &followed{primary: &pgtest.Database{Server: server, Name: "shop"}, dst: pgtest.Target(t).Database(t)}
	f.release = gated(t, f.primary, f.dst, 30_000)
	f.primary.Exec(t, `CREATE TABLE small (id int PRIMARY KEY, note text); INSERT INTO small SELECT i, 'n' || i FROM generate_series(1, 500) i;
		CREATE TABLE whole (id int PRIMARY KEY, pad text); INSERT INTO whole SELECT i, repeat('x', 200) FROM generate_series(1, 1000) i`)
	standby := server.Standby(t, settings)
	standby.AwaitReplay(t, server)
	f.src = &pgtest.Database{Server: standby, Name: "shop"}
	f.o = options(t, f.src, f.dst)
	f.o.Config.Split.LargerThan, f.o.Config.Split.MaxParts = 4<<20, 3
	f.o.Config.KeepLedger = true
	return f
}

// digests returns what the tables hold in the run's snapshot. The session that
// asks is gone then.
func (f *followed) digests(t *testing.T) []string {
	t.Helper()
	c, err := pg.Connect(t.Context(), pg.Options{Side: pg.Source, URI: f.src.URI()})
	require.NoError(t, err)
	defer c.Discard()
	_, err = c.Exec(t.Context(), pg.ImportSnapshotSQL(f.dst.Query(t, "SELECT name FROM pgconvoy.snapshot")))
	require.NoError(t, err)
	var texts []string
	for _, table := range []string{"big", "small", "whole"} {
		var text string
		require.NoError(t, c.QueryRow(t.Context(), digestSQL(table)).Scan(&text))
		texts = append(texts, text)
	}
	return texts
}

func digestSQL(table string) string {
	return fmt.Sprintf("SELECT count(*) || md5(string_agg(x::text, ',' ORDER BY id)) FROM public.%s x", table)
}

func (f *followed) requireDigests(t *testing.T, want []string) {
	t.Helper()
	for i, table := range []string{"big", "small", "whole"} {
		require.Equal(t, want[i], f.dst.Query(t, digestSQL(table)), table)
	}
}

// write changes every table of the primary, and leaves dead rows.
func (f *followed) write(t *testing.T) {
	t.Helper()
	f.primary.Exec(t, `UPDATE big SET pad = 'changed' WHERE id % 3 = 0; DELETE FROM big WHERE id % 7 = 0 AND id > 1000; INSERT INTO big SELECT i, 'new' FROM generate_series(40001, 41000) i ON CONFLICT DO NOTHING;
		UPDATE small SET note = 'changed' WHERE id % 2 = 0; DELETE FROM whole WHERE id < 900; INSERT INTO whole VALUES (5000, 'new') ON CONFLICT DO NOTHING`)
}

// TestMovingSource: a standby that goes on replaying while it is copied, in parts,
// is copied as the snapshot shows it, whatever is written to its primary and
// removed there by VACUUM.
func TestMovingSource(t *testing.T) {
	t.Parallel()
	for name, settings := range map[string]map[string]string{
		"that tells its primary what it needs": {"hot_standby_feedback": "on", "wal_receiver_status_interval": "1s"},
		"that has patience":                    {"max_standby_streaming_delay": "-1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := follow(t, settings)
			wait := start(t.Context(), f.o)
			awaitQuery(t, f.dst, "t", sqlHeld)
			want := f.digests(t)
			if settings["hot_standby_feedback"] == "on" {
				xmin := f.dst.Query(t, "SELECT split_part(pg_snapshot, ':', 1) FROM pgconvoy.snapshot")
				awaitQuery(t, f.primary, "t", "SELECT backend_xmin::text::int8 <= "+xmin+" FROM pg_stat_replication")
			}
			for range 3 {
				f.write(t)
				f.primary.Exec(t, "VACUUM")
			}
			awaitQuery(t, f.src, "t", "SELECT count(*) > 0 FROM whole WHERE pad = 'new'")
			f.release()
			report, err := wait()
			require.NoError(t, err)
			require.Equal(t, tasks.RunComplete, report.State)
			f.requireDigests(t, want)
			require.Equal(t, "3", f.dst.Query(t, "SELECT count(*) FROM pgconvoy.task WHERE id LIKE 'copy.public.big.p%'"))
			require.Equal(t, "1", f.dst.Query(t, "SELECT count(*) FROM pgconvoy.snapshot"))
		})
	}
}

// awaitConflict waits until the replay of the standby has come to what the primary did
// last, at the expense of every session that was in its way, or stands still before it
// and has told the session that it waits for, which does not listen as it sends rows.
func (f *followed) awaitConflict(t *testing.T) {
	t.Helper()
	last, before, still := f.primary.Query(t, "SELECT pg_create_restore_point('last')"), "", 0
	require.Eventually(t, func() bool {
		at := f.src.Query(t, fmt.Sprintf(`SELECT CASE WHEN pg_last_wal_replay_lsn() >= '%s' THEN 'there'
			WHEN pg_last_wal_receive_lsn() >= '%[1]s' THEN pg_last_wal_replay_lsn()::text ELSE '' END`, last))
		still++
		if at == "" || at != before {
			before, still = at, 0
		}
		return at == "there" || still == 10
	}, time.Minute, 100*time.Millisecond)
}

// TestConflictOfLocks: an exclusive lock on the primary ends copies from the
// standby, and the session that has its tables locked. The copies are done again,
// in the same snapshot.
func TestConflictOfLocks(t *testing.T) {
	t.Parallel()
	f := follow(t, map[string]string{"hot_standby_feedback": "on", "max_standby_streaming_delay": "0"})
	w := &witness{Handler: f.o.Log.Handler()}
	f.o.Log = slog.New(w)
	wait := start(t.Context(), f.o)
	awaitQuery(t, f.dst, "t", sqlHeld)
	want := f.digests(t)
	f.primary.Exec(t, "LOCK TABLE big, small, whole IN ACCESS EXCLUSIVE MODE; UPDATE big SET pad = 'changed' WHERE id % 3 = 0")
	f.awaitConflict(t)
	f.release()
	report, err := wait()
	require.NoError(t, err)
	require.Equal(t, tasks.RunComplete, report.State)
	f.requireDigests(t, want)
	require.Regexp(t, "task is tried again|task failed here, and another worker has it by now", w.all(), "a copy was cancelled")
	require.Contains(t, w.all(), "the standby has ended the session that has the tables locked")
	require.Contains(t, f.src.Server.Log(t), "conflict with recovery")
	require.Equal(t, "1", f.dst.Query(t, "SELECT count(*) FROM pgconvoy.snapshot"))
	require.NotEqual(t, "0", f.src.Query(t, "SELECT count(*) FROM big WHERE pad = 'changed'"))
}

// TestColumnsChangeBehindAStandby: its locks keep nobody from changing tables on the
// primary. A column that was made anew under its old name would be copied as if it
// were the old one.
func TestColumnsChangeBehindAStandby(t *testing.T) {
	t.Parallel()
	f := follow(t, map[string]string{"hot_standby_feedback": "on", "max_standby_streaming_delay": "0"})
	wait := start(t.Context(), f.o)
	awaitQuery(t, f.dst, "t", sqlHeld)
	f.primary.Exec(t, "ALTER TABLE big DROP COLUMN pad; ALTER TABLE big ADD COLUMN pad text DEFAULT 'other'")
	f.awaitConflict(t)
	f.release()
	report, err := wait()
	require.ErrorIs(t, err, pg.ErrRewritten)
	require.ErrorContains(t, err, "public.big")
	require.NotEqual(t, tasks.RunComplete, report.State)
}

// TestConflictOfSnapshots: rows that VACUUM has removed on the primary cost the
// standby every session that still sees them. The run says so, and what to set.
func TestConflictOfSnapshots(t *testing.T) {
	t.Parallel()
	f := follow(t, map[string]string{"max_standby_streaming_delay": "0"})
	w := &witness{Handler: f.o.Log.Handler()}
	f.o.Log = slog.New(w)
	wait := start(t.Context(), f.o)
	awaitQuery(t, f.dst, "t", sqlHeld)
	f.write(t)
	f.primary.Exec(t, "VACUUM")
	f.awaitConflict(t)
	f.release()
	_, err := wait()
	var lost *run.LostError
	require.ErrorAs(t, err, &lost)
	require.Equal(t, 3, lost.ExitCode())
	require.Contains(t, lost.Hint(), "hot_standby_feedback = on")
	require.Contains(t, lost.Hint(), "max_standby_streaming_delay = -1")
	require.Contains(t, f.src.Server.Log(t), "User query might have needed to see row versions that must be removed")
	require.NotContains(t, w.all(), "nobody was found that holds the snapshot", "no other process could, and none is waited for")

	f.src.Server.Exec(t, "ALTER SYSTEM SET hot_standby_feedback = on")
	f.src.Server.Exec(t, "SELECT pg_reload_conf()")
	report, err := run.Resume(t.Context(), f.o, run.Resumption{Recopy: true})
	require.NoError(t, err)
	require.Equal(t, tasks.RunComplete, report.State)
	pgtest.RequireEqual(t, f.src, f.dst, pgtest.IgnoreSchemas("pgconvoy"))
}

// TestConflictWhilePlanning: a standby that ends the snapshot before there is a
// plan is read anew.
func TestConflictWhilePlanning(t *testing.T) {
	t.Parallel()
	f := follow(t, map[string]string{"max_standby_streaming_delay": "0"})
	f.release()
	w := &witness{Handler: f.o.Log.Handler(), said: "snapshot exported", once: sync.OnceFunc(func() {
		f.primary.Exec(t, "LOCK TABLE big, small, whole IN ACCESS EXCLUSIVE MODE; UPDATE small SET note = 'changed'")
		f.src.Server.AwaitReplay(t, f.primary.Server)
	})}
	f.o.Log = slog.New(w)
	copyAll(t, f.o)
	require.Contains(t, w.all(), "source is read anew")
	pgtest.RequireEqual(t, f.src, f.dst, pgtest.IgnoreSchemas("pgconvoy"))
}

// witness is a log that does something when a message comes.
type witness struct {
	slog.Handler
	said string
	once func()

	mu       sync.Mutex
	messages []string
}

// WithAttrs returns a log that shares what it has heard.
func (w *witness) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &heard{Handler: w.Handler.WithAttrs(attrs), by: w}
}

// heard is a log with attributes of which a witness hears.
type heard struct {
	slog.Handler
	by *witness
}

// Handle passes the record on.
func (h *heard) Handle(ctx context.Context, r slog.Record) error {
	h.by.hear(r)
	return h.Handler.Handle(ctx, r)
}

// WithAttrs returns one with more attributes.
func (h *heard) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &heard{Handler: h.Handler.WithAttrs(attrs), by: h.by}
}

// Handle passes the record on.
func (w *witness) Handle(ctx context.Context, r slog.Record) error {
	w.hear(r)
	return w.Handler.Handle(ctx, r)
}

func (w *witness) hear(r slog.Record) {
	w.mu.Lock()
	w.messages = append(w.messages, r.Message)
	w.mu.Unlock()
	if r.Message == w.said {
		w.once()
	}
}

func (w *witness) all() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.messages, "\n")
}
