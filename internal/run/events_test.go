package run_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/natstest"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/queue"
	"github.com/pgconvoy/pgconvoy/internal/run"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// events are those that somebody has heard.
type events struct {
	conn  *queue.Conn
	mu    sync.Mutex
	heard []string // bodies
}

// listen subscribes as docs/events.md says.
func listen(t *testing.T, url string) *events {
	t.Helper()
	nc := natstest.Connect(t, url)
	conn, err := queue.Connect(t.Context(), queue.Options{URL: url, Name: t.Name()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	e := &events{conn: conn}
	_, err = nc.Subscribe("pgconvoy.*.event.>", func(m *nats.Msg) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.heard = append(e.heard, string(m.Data))
		var one tasks.Event
		if json.Unmarshal(m.Data, &one) != nil || m.Subject != "pgconvoy."+one.Run+".event."+string(one.Type) {
			t.Errorf("on subject %s: %s", m.Subject, m.Data)
		}
	})
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
	return e
}

func (e *events) bodies() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.heard)
}

// of returns the events of a type.
func (e *events) of(about tasks.EventType) []tasks.Event {
	var list []tasks.Event
	for _, body := range e.bodies() {
		var one tasks.Event
		if json.Unmarshal([]byte(body), &one) == nil && one.Type == about {
			list = append(list, one)
		}
	}
	return list
}

// await waits for so many events of a type, and returns them.
func (e *events) await(t *testing.T, about tasks.EventType, n int) []tasks.Event {
	t.Helper()
	require.Eventually(t, func() bool { return len(e.of(about)) >= n }, time.Minute, 10*time.Millisecond, "%s", about)
	list := e.of(about)
	require.Len(t, list, n, "%s: %v", about, list)
	return list
}

// requireKept demands that the last run of the name is known to have ended so.
func (e *events) requireKept(t *testing.T, want tasks.Event) {
	t.Helper()
	last, err := e.conn.Last(t.Context(), want.Run)
	require.NoError(t, err)
	require.Equal(t, []string{string(want.Type), want.RunUID}, []string{string(last.Type), last.RunUID})
}

// refusedRow makes a table with a row that no target takes.
const refusedRow = `CREATE FUNCTION fine(t text) RETURNS bool LANGUAGE sql AS 'SELECT true';
	CREATE TABLE strict (t text CONSTRAINT is_fine CHECK (public.fine(t))); INSERT INTO strict VALUES ('` + rowSecret + `');
	CREATE OR REPLACE FUNCTION fine(t text) RETURNS bool LANGUAGE sql AS 'SELECT false'`

// atTheGate is the condition that a session of a worker waits at the gate.
const atTheGate = "datname = current_database() AND application_name LIKE 'pgconvoy worker%' AND wait_event = 'advisory'"

// TestEventsAreAsDocumented has a run that stalls, is cancelled, fails and is
// completed, comparisons of it, and a run of two databases that nobody works on, and of
// which one fails then, and compares what is announced with docs/events.md.
func TestEventsAreAsDocumented(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	release := gated(t, src, dst, 10_000)
	src.Exec(t, refusedRow)
	o, server := external(t, src, dst)
	o.Config.Workers, o.Config.Bundle.MaxTable, o.Config.Split.LargerThan = config.Yes, 0, 1<<30
	o.Config.Grace = 100 * time.Millisecond
	var alerts []tasks.Event // the planner tells one after the other
	o.Alert = func(e tasks.Event) { alerts = append(alerts, e) }
	heard := listen(t, server.URL())

	ctx, interrupt := context.WithCancel(t.Context())
	wait := start(ctx, o)
	awaitQuery(t, dst, "1", "SELECT count(*) FROM pg_stat_activity WHERE "+atTheGate)
	heard.await(t, tasks.EventRunStarted, 1)
	dst.Exec(t, `INSERT INTO pgconvoy.lease (run, task, worker, target_pid, target_start, bytes, moved_at, beat_at, since)
		SELECT 'main', 'copy.public.big.all', 'frozen', pid, backend_start::text, 0, t, t, t
		FROM pg_stat_activity, (SELECT now() - interval '2 min') x (t) WHERE `+atTheGate)
	stalled := heard.await(t, tasks.EventRunStalled, 1)[0]
	require.Equal(t, tasks.ID("copy.public.big.all"), stalled.Task)
	require.Equal(t, "frozen", stalled.Worker)
	dst.Exec(t, "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE "+atTheGate)
	retried := heard.await(t, tasks.EventTaskRetried, 1)[0]
	require.Equal(t, tasks.ID("copy.public.big.all"), retried.Task)
	require.Equal(t, 1, retried.Attempt)
	heard.await(t, tasks.EventTaskDead, 1)
	interrupt()
	_, err := wait()
	require.ErrorIs(t, err, context.Canceled)
	cancelled := heard.await(t, tasks.EventRunCancelled, 1)[0]
	require.Equal(t, retried.RunUID, cancelled.RunUID)
	heard.requireKept(t, cancelled)
	release()

	_, err = run.Resume(t.Context(), o, run.Resumption{Recopy: true})
	var incomplete *run.IncompleteError
	require.ErrorAs(t, err, &incomplete)
	failed := heard.await(t, tasks.EventRunFailed, 1)[0]
	require.Equal(t, map[string]int{"done": len(incomplete.Report.Timeline), "failed": 1, "pending": incomplete.Report.Pending}, failed.Tasks)
	dead := heard.await(t, tasks.EventTaskDead, 2)[1] // of this planner, and of the one before
	require.Equal(t, tasks.ID("copy.public.strict.all"), dead.Task)
	require.Contains(t, dead.Reason, "SQLSTATE 23514, table strict, constraint is_fine")

	dst.Exec(t, "CREATE OR REPLACE FUNCTION fine(t text) RETURNS bool LANGUAGE sql AS 'SELECT true'")
	report, err := run.Resume(t.Context(), o, run.Resumption{Recopy: true})
	require.NoError(t, err)
	done := heard.await(t, tasks.EventRunDone, 1)[0]
	require.Equal(t, report.Rows, done.Rows)
	require.Equal(t, report.Elapsed, done.Took)
	heard.requireKept(t, done)
	started := heard.await(t, tasks.EventRunStarted, 3)
	require.Equal(t, []bool{false, true, true}, []bool{started[0].Resumed, started[1].Resumed, started[2].Resumed})
	stages := map[tasks.Stage]int{}
	for _, e := range heard.of(tasks.EventStageDone) {
		require.Positive(t, e.Tasks["done"])
		stages[e.Stage]++
	}
	require.Equal(t, 1, stages[tasks.StageCopy])
	require.Equal(t, 1, stages[tasks.StageMisc])
	require.GreaterOrEqual(t, len(heard.of(tasks.EventTaskDone)), done.Tasks["done"])
	var types []tasks.EventType
	for _, e := range alerts {
		types = append(types, e.Type)
	}
	require.Equal(t, []tasks.EventType{tasks.EventRunStalled, tasks.EventRunCancelled, tasks.EventRunFailed, tasks.EventRunDone}, types)

	alerts = nil
	compareThrice(t, o, dst, heard)
	types = nil
	for _, e := range alerts {
		types = append(types, e.Type)
	}
	require.Equal(t, []tasks.EventType{tasks.EventVerifyDone, tasks.EventVerifyDiffers, tasks.EventVerifyFailed}, types)
	copyTwo(t, o, heard)
	for _, body := range heard.bodies() {
		require.NotContains(t, body, rowSecret)
	}
	requireDocumented(t, heard.bodies())
}

// compareThrice compares the sides as they are, then when they differ, and then begins
// to without workers, and gives up.
func compareThrice(t *testing.T, o run.Options, dst *pgtest.Database, heard *events) {
	t.Helper()
	o.Config.Verify = config.VerifyDigest
	result := requireEqualSides(t, o)
	done := heard.await(t, tasks.EventVerifyDone, 1)[0]
	require.Equal(t, result.Rows, done.Rows)
	require.Equal(t, map[string]int{"compared": 2, "different": 0}, done.Tables)
	dst.Exec(t, "DELETE FROM big WHERE id = 4711; DROP TABLE strict")
	requireDifferences(t, o)
	differs := heard.await(t, tasks.EventVerifyDiffers, 1)[0]
	require.Equal(t, map[string]int{"compared": 2, "different": 2}, differs.Tables)
	heard.requireKept(t, differs)

	o.Config.Workers = config.No
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	wait := background(ctx, o, run.Verify)
	started := heard.await(t, tasks.EventVerifyStarted, 3)
	interrupt()
	_, err := wait()
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, started[2].RunUID, heard.await(t, tasks.EventVerifyFailed, 1)[0].RunUID)
}

// copyTwo has a run of two databases that nobody works on, so that it is cancelled, and
// then one of which the second database fails.
func copyTwo(t *testing.T, o run.Options, heard *events) {
	t.Helper()
	good, bad := "announced_good", "announced_bad" // on both servers
	for name, sql := range map[string]string{good: "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a SELECT generate_series(1, 10000)", bad: refusedRow} {
		db := &pgtest.Database{Server: pgtest.Source(t), Name: name}
		db.Server.Exec(t, "CREATE DATABASE "+name+" TEMPLATE template0")
		db.Exec(t, sql)
		t.Cleanup(func() {
			for _, s := range []*pgtest.Server{pgtest.Source(t), pgtest.Target(t)} {
				s.Exec(t, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
			}
		})
	}
	o.Config.Run, o.Config.Databases = "two", config.List{good, bad}
	idle := o
	idle.Config.Workers, idle.AckWait = config.No, 2*time.Second
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	wait := background(ctx, idle, run.CopyInstance)
	stalled := heard.await(t, tasks.EventRunStalled, 2)[1] // the first one was of the other run
	require.Regexp(t, `^no workers: \d+ tasks wait, and no worker was heard of for \d+s; start workers for run two$`, stalled.Reason)
	interrupt()
	_, err := wait()
	require.ErrorIs(t, err, context.Canceled)
	cancelled := heard.await(t, tasks.EventDatabaseCancelled, 1)[0]
	require.Equal(t, []string{good, good}, []string{stalled.Database, cancelled.Database})
	require.Equal(t, map[string]int{"done": 0, "open": 2}, heard.await(t, tasks.EventRunCancelled, 2)[1].Databases)

	require.NoError(t, run.Cleanup(t.Context(), o))

	before := len(heard.of(tasks.EventRunFailed))
	report, err := run.CopyInstance(t.Context(), o)
	var failed *run.InstanceError
	require.ErrorAs(t, err, &failed)
	all := heard.await(t, tasks.EventRunFailed, before+1)[before]
	require.Equal(t, report.UID, all.RunUID)
	require.Empty(t, all.Database)
	heard.requireKept(t, all)
	require.Equal(t, map[string]int{"done": 1, "open": 1}, all.Databases)
	require.Equal(t, good, heard.await(t, tasks.EventDatabaseDone, 1)[0].Database)
	require.Equal(t, bad, heard.await(t, tasks.EventDatabaseFailed, 1)[0].Database)
	require.Len(t, heard.of(tasks.EventDatabaseStarted), 3)
	for _, e := range heard.of(tasks.EventTaskDone) {
		if e.Run == "two" {
			require.Contains(t, []string{good, bad}, e.Database)
		}
	}
}

// requireDocumented compares events with docs/events.md: each type is named there,
// those with an example have the fields of the example, of the same types of JSON, and
// all of these are really sent.
func requireDocumented(t *testing.T, bodies []string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/events.md")
	require.NoError(t, err)
	documented, sent := map[string]map[string]string{}, map[string]map[string]string{}
	examples := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllSubmatch(text, -1)
	require.NotEmpty(t, examples)
	for _, example := range examples {
		var e tasks.Event
		require.NoError(t, json.Unmarshal(example[1], &e), "%s", example[1])
		again, err := json.Marshal(e)
		require.NoError(t, err)
		require.JSONEq(t, string(example[1]), string(again), "an example must be what is sent, its text included")
		addFields(t, documented, string(example[1]))
	}
	for _, body := range bodies {
		addFields(t, sent, body)
	}
	for about, fields := range sent {
		require.Contains(t, string(text), "`"+about+"`", "docs/events.md does not name the type")
		like := documented[about]
		switch kind, _, _ := strings.Cut(about, "."); {
		case like != nil:
		case kind == "database":
			like = documented["database.done"]
		case kind == "verify":
			like = documented["verify.differs"]
		}
		require.NotNil(t, like, "docs/events.md has no example of %s", about)
		for field, kind := range fields {
			if field == "database" || field == "databases" {
				continue // of any event, in a run of several
			}
			require.Equal(t, like[field], kind, "field %s of %s", field, about)
		}
	}
	for about, fields := range documented {
		require.NotNil(t, sent[about], "nothing of type %s was sent", about)
		for field := range fields {
			require.Contains(t, sent[about], field, "field %s of %s", field, about)
			require.Contains(t, string(text), "`"+field+"`", "docs/events.md does not explain the field")
		}
	}
}

// addFields notes the fields of an event and their types of JSON, by its type.
func addFields(t *testing.T, to map[string]map[string]string, body string) {
	t.Helper()
	var fields map[string]any
	require.NoError(t, json.Unmarshal([]byte(body), &fields), body)
	about, ok := fields["type"].(string)
	require.True(t, ok, body)
	if to[about] == nil {
		to[about] = map[string]string{}
	}
	for field, value := range fields {
		to[about][field] = fmt.Sprintf("%T", value)
	}
}
