package fleet_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/fleet"
	"github.com/pgconvoy/pgconvoy/internal/ledger"
	"github.com/pgconvoy/pgconvoy/internal/natstest"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/queue"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// The tasks of the hostile world, by the state that they are in.
const (
	doneTask    tasks.ID = "misc.done.one"
	failedTask  tasks.ID = "index.failed.one"
	pendingTask tasks.ID = "attach.pending.one" // needs the failed one
	distantTask tasks.ID = "fkey.pending.two"   // needs the pending one
	readyTask   tasks.ID = "analyze.ready.one"  // not published: any message may trigger it, once
	probeTask   tasks.ID = "misc.probe.one"     // ready, and published at the end
)

// Redelivery must never be faster than this, whatever is wrong with a message.
const leastDelay = time.Second

// hostileWorld is a run under way with one worker, and somebody who can publish
// what he likes. Every task leaves its name in the table effects.
type hostileWorld struct {
	src, dst *pgtest.Database
	source   *pgx.Conn // to look with
	target   *pgx.Conn
	run      tasks.RunID
	queue    *queue.Queue
	js       jetstream.JetStream
	stream   jetstream.Stream
	ended    chan error // of the worker
	began    time.Time
	before   hostileState

	mu        sync.Mutex
	delivered map[uint64]int           // by sequence number: highest attempt that was answered
	answers   map[uint64]chan struct{} // closed at the first answer
}

// hostileState is what must not change, and what may.
type hostileState struct {
	objects string // of the target, by name
	ledger  string // without the tasks that may be triggered
	rows    int64  // of the source, added up
	done    string // tasks that the ledger has as done
	effects string // tasks that have left their name
}

func newHostileWorld(tb testing.TB) *hostileWorld {
	tb.Helper()
	w := &hostileWorld{
		src: pgtest.Source(tb).Database(tb), dst: pgtest.Target(tb).Database(tb),
		began: time.Now(), delivered: map[uint64]int{}, answers: map[uint64]chan struct{}{}, ended: make(chan error, 1),
	}
	w.src.Exec(tb, "CREATE TABLE a (i int); INSERT INTO a SELECT generate_series(1, 100)")
	w.dst.Exec(tb, "CREATE TABLE effects (task text)")
	l := w.plan(tb)
	w.source, w.target = w.src.Connect(tb), w.dst.Connect(tb)
	server := natstest.Start(tb)
	conn, err := queue.Connect(tb.Context(), queue.Options{URL: server.URL(), Name: tb.Name()})
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, conn.Close()) })
	// A message that is handed back keeps its place under the cap; there are more of them here than there are tasks.
	w.queue, err = conn.Create(tb.Context(), w.run, stages(100_000))
	require.NoError(tb, err)

	nc := natstest.Connect(tb, server.URL())
	_, err = nc.Subscribe("$JS.ACK."+queue.StreamName(w.run.Name)+".>", w.note)
	require.NoError(tb, err)
	require.NoError(tb, nc.Flush())
	w.js, err = jetstream.New(nc)
	require.NoError(tb, err)
	w.stream, err = w.js.Stream(tb.Context(), queue.StreamName(w.run.Name))
	require.NoError(tb, err)

	ctx, stop := context.WithCancel(context.Background())
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		w.ended <- fleet.Work(ctx, w.queue, l, fleet.Options{
			Run: w.run.Name, Source: pg.Options{URI: w.src.URI()}, Target: pg.Options{URI: w.dst.URI()},
			Slots: stages(2), Grace: wait, Log: slog.New(slog.DiscardHandler),
		})
	}()
	tb.Cleanup(func() {
		stop()
		<-finished
	})
	require.NoError(tb, w.queue.Publish(tb.Context(), []tasks.Envelope{w.run.Envelope(tasks.KindSchema, doneTask)}))
	w.awaitState(tb, doneTask, tasks.Done)
	w.before = w.look(tb)
	return w
}

// plan writes the ledger.
func (w *hostileWorld) plan(tb testing.TB) *ledger.Ledger {
	tb.Helper()
	target, err := pg.Connect(tb.Context(), w.side(pg.Target))
	require.NoError(tb, err)
	defer target.Discard()
	source, err := pg.Connect(tb.Context(), w.side(pg.Source))
	require.NoError(tb, err)
	defer source.Discard()
	w.run = tasks.RunID{Name: "test", UID: "uid-1"}
	w.run.FP.Source, err = pg.Fingerprint(tb.Context(), source)
	require.NoError(tb, err)
	w.run.FP.Target, err = pg.Fingerprint(tb.Context(), target)
	require.NoError(tb, err)
	var list []tasks.Task
	for _, t := range []struct {
		id    tasks.ID
		kind  tasks.Kind
		needs []tasks.Group
	}{
		{doneTask, tasks.KindSchema, nil},
		{failedTask, tasks.KindIndex, nil},
		{pendingTask, tasks.KindAttach, []tasks.Group{tasks.Group(failedTask)}},
		{distantTask, tasks.KindFKeyAdd, []tasks.Group{tasks.Group(pendingTask)}},
		{readyTask, tasks.KindAnalyze, nil},
		{probeTask, tasks.KindRefresh, nil},
	} {
		made, err := tasks.New(t.kind, t.id, tasks.Statements{Statements: []tasks.Statement{
			{Label: string(t.id), SQL: "INSERT INTO public.effects VALUES ('" + string(t.id) + "')"}}})
		require.NoError(tb, err)
		made.Group, made.Wave, made.Needs = tasks.Group(t.id), tasks.WaveData, t.needs
		list = append(list, made)
	}
	l, err := ledger.Create(tb.Context(), target, ledger.New{Run: w.run, Archive: strings.NewReader("")}, tasks.Plan{Tasks: list})
	require.NoError(tb, err)
	w.dst.Exec(tb, fmt.Sprintf("UPDATE pgconvoy.task SET state = 'failed' WHERE id = '%s'", failedTask))
	return l
}

func (w *hostileWorld) side(side pg.Side) pg.Options {
	if side == pg.Source {
		return pg.Options{Side: side, URI: w.src.URI()}
	}
	return pg.Options{Side: side, URI: w.dst.URI()}
}

// note takes down an answer to a delivery, whose subject says which message it
// is about and how often that was delivered.
func (w *hostileWorld) note(m *nats.Msg) {
	if string(m.Data) == "+WPI" {
		return
	}
	tokens := strings.Split(m.Subject, ".") // $JS ACK stream consumer delivered sequence …
	attempt, _ := strconv.Atoi(tokens[4])
	sequence, _ := strconv.ParseUint(tokens[5], 10, 64)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.delivered[sequence] = max(w.delivered[sequence], attempt)
	answer := w.answer(sequence)
	select {
	case <-answer:
	default:
		close(answer)
	}
}

// answer returns what is closed when a message is answered; w.mu is held.
func (w *hostileWorld) answer(sequence uint64) chan struct{} {
	if w.answers[sequence] == nil {
		w.answers[sequence] = make(chan struct{})
	}
	return w.answers[sequence]
}

func (w *hostileWorld) answered(sequence uint64) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.answer(sequence)
}

// send publishes a message and waits until the worker has answered it, if the
// server stores it and a stage has it. What was handed back is then removed.
func (w *hostileWorld) send(tb testing.TB, m *nats.Msg) {
	tb.Helper()
	ack, err := w.js.PublishMsg(tb.Context(), m, jetstream.WithRetryAttempts(0))
	if err != nil { // refused, by the client or the server
		require.NotErrorIs(tb, err, context.DeadlineExceeded)
		return
	}
	stage, rest, _ := strings.Cut(strings.TrimPrefix(m.Subject, queue.SubjectPrefix+w.run.Name+".task."), ".")
	if tasks.Stage(stage).Valid() && rest != "" {
		select {
		case <-w.answered(ack.Sequence):
		case err := <-w.ended:
			tb.Fatalf("the worker ended: %v", err)
		case <-time.After(wait):
			tb.Fatalf("no answer to message %d on %q: %q", ack.Sequence, m.Subject, m.Data)
		}
	}
	err = w.stream.DeleteMsg(tb.Context(), ack.Sequence)
	if !errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) { // so it says if the message is gone already
		require.NoError(tb, err)
	}
}

const sqlHostileState = `SELECT (SELECT string_agg(o, ' ' ORDER BY o) FROM (
		SELECT concat(oid::regclass, relkind, relfilenode) FROM pg_class WHERE oid >= 16384 AND relname <> 'effects'
		UNION ALL SELECT oid::regprocedure::text FROM pg_proc WHERE oid >= 16384 UNION ALL SELECT rolname FROM pg_roles
		UNION ALL SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_t' UNION ALL SELECT 'lo' || oid FROM pg_largeobject_metadata) AS x (o)),
	(SELECT string_agg(t::text, ' ' ORDER BY t.id) FROM pgconvoy.task t WHERE t.id <> ALL ($1)),
	(SELECT coalesce(string_agg(t.id, ' ' ORDER BY t.id), '') FROM pgconvoy.task t WHERE t.state = 'done'),
	(SELECT coalesce(string_agg(e.task, ' ' ORDER BY e.task COLLATE "C"), '') FROM public.effects e)`

// look takes the state down.
func (w *hostileWorld) look(tb testing.TB) hostileState {
	tb.Helper()
	var s hostileState
	ctx := context.Background() // also when the test has ended
	require.NoError(tb, w.target.QueryRow(ctx, sqlHostileState, []string{string(readyTask), string(probeTask)}).Scan(&s.objects, &s.ledger, &s.done, &s.effects))
	require.NoError(tb, w.source.QueryRow(ctx, "SELECT sum(i) FROM a").Scan(&s.rows))
	return s
}

// require fails unless nothing but planned work was done: what is done was
// ready, and done once.
func (w *hostileWorld) require(tb testing.TB) {
	tb.Helper()
	now := w.look(tb)
	require.Equal(tb, now.done, now.effects)
	now.done, now.effects = w.before.done, w.before.effects
	require.Equal(tb, w.before, now)
	select {
	case err := <-w.ended:
		tb.Fatalf("the worker ended: %v", err)
	default:
	}
}

func (w *hostileWorld) awaitState(tb testing.TB, id tasks.ID, state tasks.State) {
	tb.Helper()
	require.Eventually(tb, func() bool {
		return w.dst.Query(tb, fmt.Sprintf("SELECT state FROM pgconvoy.task WHERE id = '%s'", id)) == string(state)
	}, wait, tick)
}

// finish shows that the worker still does what is planned, that nothing was
// delivered in a hot loop, and that what nobody takes is all that is left.
func (w *hostileWorld) finish(tb testing.TB) {
	tb.Helper()
	require.NoError(tb, w.queue.Publish(context.Background(), []tasks.Envelope{w.run.Envelope(tasks.KindRefresh, probeTask)}))
	w.awaitState(tb, probeTask, tasks.Done)
	w.require(tb)
	w.mu.Lock()
	defer w.mu.Unlock()
	most := 1 + int(time.Since(w.began)/leastDelay)
	for sequence, attempts := range w.delivered {
		require.LessOrEqual(tb, attempts, most, "message %d", sequence)
	}
}

// Which part of a message the fuzzer writes.
const (
	rawBody     = iota // anything, on the subject of a task of the plan
	rawSubject         // anything, on any subject of the stream
	theRun             // the fields of an envelope that is right otherwise
	theUID             //
	theSource          //
	theTarget          //
	theKind            //
	theTask            // with the subject that belongs to it
	theStranger        // a task, on the subject of another
	theVersion         //
	more               // fields that there are not
	right              // nothing: the message is right
	parts
)

// hostileMessage makes a message about one of the tasks in which part is text.
func hostileMessage(w *hostileWorld, part, about uint8, text, headers string) *nats.Msg {
	ids := []tasks.ID{doneTask, failedTask, pendingTask, distantTask, readyTask}
	kinds := []tasks.Kind{tasks.KindSchema, tasks.KindIndex, tasks.KindAttach, tasks.KindFKeyAdd, tasks.KindAnalyze}
	i := int(about) % len(ids)
	e, extra := w.run.Envelope(kinds[i], ids[i]), map[string]any{}
	m := nats.NewMsg(queue.Subject(w.run.Name, ids[i]))
	switch part % parts {
	case rawBody:
		m.Data = []byte(text)
	case rawSubject:
		m.Subject, m.Data = queue.Subject(w.run.Name, tasks.ID(text)), []byte(text)
	case theRun:
		e.Run = text
	case theUID:
		e.RunUID = text
	case theSource:
		e.FP.Source = text
	case theTarget:
		e.FP.Target = text
	case theKind:
		e.Kind = tasks.Kind(text)
	case theTask:
		e.Task = tasks.ID(text)
		m.Subject = queue.Subject(w.run.Name, e.Task)
	case theStranger:
		e.Task = tasks.ID(text)
	case theVersion:
		e.Version = len(text)
	case more:
		extra = map[string]any{"sql": text, "spec": text, "statements": []string{text}, "state": "ready", "source_uri": text, text: text}
	}
	if part%parts != rawBody && part%parts != rawSubject {
		fields := map[string]any{}
		body, err := json.Marshal(e)
		if err == nil && json.Unmarshal(body, &fields) == nil {
			for name, value := range extra {
				if _, ours := fields[name]; !ours {
					fields[name] = value
				}
			}
			m.Data, _ = json.Marshal(fields)
		}
	}
	for line := range strings.SplitSeq(headers, "\n") {
		if name, value, ok := strings.Cut(line, ":"); ok {
			m.Header.Add(name, strings.TrimSpace(value))
		}
	}
	return m
}

// FuzzHostileMessage: whatever somebody publishes who may publish everything,
// nothing is done but what the plan has ready.
func FuzzHostileMessage(f *testing.F) {
	const sql = `DROP TABLE effects; CREATE TABLE pwned (); --`
	for about := range uint8(5) {
		f.Add(uint8(rawBody), about, "", "")
		f.Add(uint8(rawBody), about, `{"v": 1, "kind": "schema", "task": "misc.done.one", "sql": "`+sql+`"}`, "")
		f.Add(uint8(theUID), about, "uid-0", "")
		f.Add(uint8(theSource), about, "1/other", "")
		f.Add(uint8(theTarget), about, "1/other", "")
		f.Add(uint8(theKind), about, "copy", "")
		f.Add(uint8(theKind), about, "bundle", "")
		f.Add(uint8(theKind), about, sql, "")
		f.Add(uint8(theStranger), about, string(readyTask), "")
		f.Add(uint8(theVersion), about, "22", "")
		f.Add(uint8(more), about, sql, "")
		f.Add(uint8(right), about, "", "Pgconvoy-Kind: copy\nPgconvoy-V: 9")
	}
	for part := range uint8(parts) {
		f.Add(part, part, sql, "X: "+sql)
		f.Add(part, part+1, "null", "")
		f.Add(part, part+2, "copy.public.a.all", "")
		f.Add(part, part+3, strings.Repeat("x", 100_000), "")
		f.Add(part, part, strings.Repeat(`{"a":`, 20_000), "")
		f.Add(part, part, "\x00\xff\u2028", "Nats-Msg-Id: 1")
	}
	for _, subject := range []string{"misc.>", "misc.*", "misc", "copy..a", ".", "copy.public.a.all.", "event.x", "misc.done.one.", "blob.1", "analyze.ready.one.x"} {
		f.Add(uint8(theTask), uint8(0), subject, "")
		f.Add(uint8(rawSubject), uint8(0), subject, "")
	}
	// What the server says of itself, and asks of itself, is a header, too.
	for _, status := range []string{"100", "404", "408", "409", "503", "999", "x"} {
		f.Add(uint8(rawBody), uint8(0), "", "Status: "+status+"\nDescription: Consumer Deleted")
	}
	for _, header := range []string{"Nats-Rollup: all", "Nats-TTL: 1s", "Nats-Expected-Stream: x", "Nats-Pending-Messages: 1", "Nats-Schedule: @every 1s", "Reply-To: x"} {
		f.Add(uint8(right), uint8(0), "", header)
	}
	w := newHostileWorld(f)
	f.Cleanup(func() { w.finish(f) })
	f.Fuzz(func(t *testing.T, part, about uint8, text, headers string) {
		if part%parts == theTask || part%parts == rawSubject {
			if len(text) > 1000 || strings.ContainsAny(text, " \t\r\n") {
				t.Skip("not a subject: the client or the server closes the connection")
			}
		}
		w.send(t, hostileMessage(w, part, about, text, headers))
		w.require(t)
	})
}
