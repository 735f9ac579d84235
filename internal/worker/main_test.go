package worker_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/fleet"
	"github.com/pgconvoy/pgconvoy/internal/ledger"
	"github.com/pgconvoy/pgconvoy/internal/metrics"
	"github.com/pgconvoy/pgconvoy/internal/natstest"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/queue"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// How long a condition is waited for, and how often it is looked at.
const (
	wait = 30 * time.Second
	tick = 10 * time.Millisecond
)

// gate is the advisory lock that what is gated waits for.
const gate = 4711

// bundle is a run by hand: two databases, a ledger with the tasks of the test,
// and a queue.
type bundle struct {
	src, dst *pgtest.Database
	keeper   *pg.Conn // holds the snapshot
	text     string   // of the snapshot
	catalog  pg.Catalog
	ledger   *ledger.Ledger
	server   *natstest.Server
	queue    *queue.Queue
	options  fleet.Options

	mu      sync.Mutex
	answers []string // to deliveries, in order
}

// databases makes the two databases and takes the snapshot; both runs on both
// sides, source on the source alone.
func databases(t *testing.T, both, source string) *bundle {
	t.Helper()
	b := &bundle{src: pgtest.Source(t).Database(t), dst: pgtest.Target(t).Database(t)}
	b.src.Exec(t, both)
	b.dst.Exec(t, both)
	b.src.Exec(t, source)
	var err error
	b.keeper, err = pg.Connect(t.Context(), pg.Options{Side: pg.Source, URI: b.src.URI()})
	require.NoError(t, err)
	t.Cleanup(b.keeper.Discard)
	return b
}

// start writes the ledger, publishes what is ready and starts no worker.
func (b *bundle) start(t *testing.T, list ...tasks.Task) {
	t.Helper()
	target, err := pg.Connect(t.Context(), pg.Options{Side: pg.Target, URI: b.dst.URI()})
	require.NoError(t, err)
	defer target.Discard()
	run := tasks.RunID{Name: "test", UID: "uid-1"}
	run.FP.Source, err = pg.Fingerprint(t.Context(), b.keeper)
	require.NoError(t, err)
	run.FP.Target, err = pg.Fingerprint(t.Context(), target)
	require.NoError(t, err)
	b.ledger, err = ledger.Create(t.Context(), target, ledger.New{Run: run, Snapshot: b.snapshot(t), Archive: strings.NewReader("")}, tasks.Plan{Tasks: list})
	require.NoError(t, err)

	b.server = natstest.Start(t)
	conn, err := queue.Connect(t.Context(), queue.Options{URL: b.server.URL(), Name: t.Name(), AckWait: 5 * time.Second})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	caps := map[tasks.Stage]int{}
	for _, s := range tasks.Stages() {
		caps[s] = 16
	}
	b.queue, err = conn.Create(t.Context(), run, caps)
	require.NoError(t, err)
	b.listen(t)
	b.publishReady(t)
	slots := maps.Clone(caps)
	for s := range slots {
		slots[s] = 2
	}
	b.options = fleet.Options{
		Run: run.Name, Source: pg.Options{URI: b.src.URI()}, Target: pg.Options{URI: b.dst.URI()}, Slots: slots, Grace: wait,
		Log:   slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
		Meter: metrics.NewWorker(func() bool { return true }),
	}
}

// snapshot exports the snapshot at the first call, and reads the catalog in it.
func (b *bundle) snapshot(t *testing.T) pg.Snapshot {
	t.Helper()
	if b.keeper.PgConn().TxStatus() == 'I' {
		_, err := pg.ExportSnapshot(t.Context(), b.keeper)
		require.NoError(t, err)
		b.catalog, err = pg.ReadCatalog(t.Context(), b.keeper, pg.Without{})
		require.NoError(t, err)
	}
	var s pg.Snapshot
	require.NoError(t, b.keeper.QueryRow(t.Context(), "SELECT pg_export_snapshot(), pg_current_snapshot()::text").Scan(&s.Name, &s.Text))
	b.text = s.Text
	return s
}

// listen notes every answer to a delivery.
func (b *bundle) listen(t *testing.T) {
	t.Helper()
	nc := b.nats(t)
	_, err := nc.Subscribe("$JS.ACK.>", func(m *nats.Msg) {
		if string(m.Data) != "+WPI" {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.answers = append(b.answers, string(m.Data))
		}
	})
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
}

func (b *bundle) forgetAnswers() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answers = nil
}

func (b *bundle) nats(t *testing.T) *nats.Conn {
	t.Helper()
	return natstest.Connect(t, b.server.URL())
}

// answered waits until a delivery was answered so.
func (b *bundle) answered(t *testing.T, prefix string) {
	t.Helper()
	require.Eventually(t, func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, a := range b.answers {
			if strings.HasPrefix(a, prefix) {
				return true
			}
		}
		return false
	}, wait, tick, "no delivery was answered with %s", prefix)
}

func (b *bundle) publishReady(t *testing.T) {
	t.Helper()
	c, err := pg.Connect(t.Context(), pg.Options{Side: pg.Target, URI: b.dst.URI()})
	require.NoError(t, err)
	defer c.Discard()
	ready, err := b.ledger.Ready(t.Context(), c)
	require.NoError(t, err)
	var envelopes []tasks.Envelope
	for _, r := range ready {
		envelopes = append(envelopes, b.ledger.Run().Envelope(r.Kind, r.ID))
	}
	require.NoError(t, b.queue.Publish(t.Context(), envelopes))
}

// worker runs a worker until stop is called, which returns what the worker
// returned.
func (b *bundle) worker(t *testing.T) (stop func() error) {
	t.Helper()
	cancel, done := b.background(t)
	return func() error {
		cancel()
		return <-done
	}
}

func (b *bundle) background(t *testing.T) (cancel context.CancelFunc, done <-chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	finished := make(chan struct{})
	options := b.options
	go func() {
		defer close(finished)
		ended <- fleet.Work(ctx, b.queue, b.ledger, options)
	}()
	t.Cleanup(func() {
		cancel()
		<-finished
	})
	return cancel, ended
}

// finish runs a worker until nothing more can be done and the queue is empty:
// whoever ends a task publishes followers again that another has just done, and
// those messages are taken, too.
func (b *bundle) finish(t *testing.T) {
	t.Helper()
	c, err := pg.Connect(t.Context(), pg.Options{Side: pg.Target, URI: b.dst.URI()})
	require.NoError(t, err)
	defer c.Discard()
	stop := b.worker(t)
	require.Eventually(t, func() bool {
		stuck, err := b.ledger.Stuck(context.Background(), c)
		return err == nil && stuck
	}, wait, tick, "tasks are left")
	b.emptied(t)
	require.NoError(t, stop())
}

// outcomes returns how often tasks of which kind have ended how, as the workers of
// this test measured it.
func (b *bundle) outcomes(t *testing.T) map[string]int {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(b.options.Meter))
	families, err := registry.Gather()
	require.NoError(t, err)
	counts := map[string]int{}
	for _, f := range families {
		if f.GetName() == "pgconvoy_worker_task_duration_seconds" {
			for _, m := range f.GetMetric() {
				counts[m.GetLabel()[0].GetValue()+" "+m.GetLabel()[1].GetValue()] = int(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return counts
}

// ready returns what a worker answers to whoever asks whether it is ready.
func (b *bundle) ready(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	require.NoError(t, metrics.Process{Worker: b.options.Meter, Log: b.options.Log}.Register(mux))
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz", nil))
	return strings.TrimSpace(w.Body.String())
}

// await waits for a condition in the target.
func (b *bundle) await(t *testing.T, condition string) {
	t.Helper()
	await(t, b.dst, condition)
}

func await(t *testing.T, db *pgtest.Database, condition string) {
	t.Helper()
	c := db.Connect(t)
	require.Eventually(t, func() bool {
		var met bool
		require.NoError(t, c.QueryRow(context.Background(), "SELECT "+condition).Scan(&met))
		return met
	}, wait, tick, "never met: %s", condition)
	require.NoError(t, c.Close(context.Background()))
}

func (b *bundle) state(t *testing.T, id tasks.ID) string {
	t.Helper()
	return b.dst.Query(t, fmt.Sprintf("SELECT state FROM pgconvoy.task WHERE id = '%s'", id))
}

func (b *bundle) reason(t *testing.T, id tasks.ID) string {
	t.Helper()
	return b.dst.Query(t, fmt.Sprintf("SELECT last_error FROM pgconvoy.task WHERE id = '%s'", id))
}

func (b *bundle) attempts(t *testing.T, id tasks.ID) string {
	t.Helper()
	return b.dst.Query(t, fmt.Sprintf("SELECT attempts FROM pgconvoy.task WHERE id = '%s'", id))
}

func (b *bundle) emptied(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		n, err := b.queue.Outstanding(context.Background())
		return err == nil && n == 0
	}, wait, tick, "the queue does not become empty")
}

// shut closes the gate on one side and returns what opens it.
func shut(t *testing.T, db *pgtest.Database) (open func()) {
	t.Helper()
	c := db.Connect(t)
	_, err := c.Exec(t.Context(), fmt.Sprintf("SELECT pg_advisory_lock(%d)", gate))
	require.NoError(t, err)
	return func() { require.NoError(t, c.Close(context.Background())) }
}

// waiting is the condition that n sessions wait at the gate.
func waiting(n int) string {
	return fmt.Sprintf(`(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %d AND NOT granted
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) = %d`, gate, n)
}

// gated makes the copy into table a wait for the gate.
const gated = `CREATE FUNCTION public.waits() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(4711); RETURN NEW; END';
	CREATE TRIGGER waits BEFORE INSERT ON public.a FOR EACH ROW EXECUTE FUNCTION public.waits();`

// copyOf is the copy of a whole table.
func (b *bundle) copyOf(t *testing.T, name string) tasks.Copy {
	t.Helper()
	b.snapshot(t)
	for _, r := range b.catalog.Tables {
		if r.Name == name {
			table := tasks.Table{Name: tasks.Name{Schema: r.Schema, Name: r.Name}, OID: r.OID, Filenode: r.Filenode, Columns: r.Columns}
			return tasks.Copy{Table: table, Freeze: true}
		}
	}
	t.Fatalf("source has no table %s", name)
	return tasks.Copy{}
}

func (b *bundle) copyTask(t *testing.T, name string) tasks.Task {
	t.Helper()
	return task(t, tasks.KindCopy, copyID(name), b.copyOf(t, name))
}

func copyID(name string) tasks.ID { return tasks.NewID(tasks.KindCopy, "public", name, "all") }

func task(t *testing.T, kind tasks.Kind, id tasks.ID, spec any) tasks.Task {
	t.Helper()
	made, err := tasks.New(kind, id, spec)
	require.NoError(t, err)
	made.Group, made.Wave = tasks.Group(id), tasks.WaveData
	return made
}

// run is a task that runs SQL.
func run(t *testing.T, kind tasks.Kind, id tasks.ID, sql ...string) tasks.Task {
	t.Helper()
	var spec tasks.Statements
	for _, s := range sql {
		spec.Statements = append(spec.Statements, tasks.Statement{Label: s, SQL: s})
	}
	return task(t, kind, id, spec)
}

// after makes a task wait for others.
func after(made tasks.Task, others ...tasks.Task) tasks.Task {
	for _, o := range others {
		made.Needs = append(made.Needs, o.Group)
	}
	return made
}
