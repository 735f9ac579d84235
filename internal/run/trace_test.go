package run_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/pgconvoy/pgconvoy/internal/natstest"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// outside are the servers that a run tells of itself: a collector of traces, and
// a webhook, which does not take the first post of each event.
type outside struct {
	*httptest.Server
	evidence

	mu    sync.Mutex
	spans map[string]span // by their identifiers
	posts []tasks.Event   // that were taken
	fresh bool
}

// span is one that was received.
type span struct {
	*spans.Span
	service string
}

const hookSecret = "hook-that-nobody-knows"

func startOutside(t *testing.T) *outside {
	t.Helper()
	e := &outside{spans: map[string]span{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", e.collect)
	mux.HandleFunc("POST /hook/"+hookSecret, e.post)
	e.Server = httptest.NewServer(mux)
	t.Cleanup(e.Close)
	return e
}

// environment is that of a process that tells the servers.
func (e *outside) environment() []string {
	return []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + e.URL, "OTEL_EXPORTER_OTLP_COMPRESSION=gzip", "PGCONVOY_WEBHOOK_URL=" + e.URL + "/hook/" + hookSecret}
}

// collect takes spans as a collector does.
func (e *outside) collect(w http.ResponseWriter, r *http.Request) {
	unzipped, err := gzip.NewReader(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	body, err := io.ReadAll(unzipped)
	var request collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &request)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	e.add("traces", body)
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, from := range request.ResourceSpans {
		service := attribute(from.Resource.Attributes, "service.name")
		for _, scope := range from.ScopeSpans {
			for _, s := range scope.Spans {
				e.spans[hex.EncodeToString(s.SpanId)] = span{s, service}
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// post takes every second event, which is each of them at the second try.
func (e *outside) post(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var event tasks.Event
	if e.fresh = !e.fresh; e.fresh || json.NewDecoder(r.Body).Decode(&event) != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if !slices.ContainsFunc(e.posts, func(had tasks.Event) bool { return had.Type == event.Type && had.At.Equal(event.At) }) { // else it comes again, as the answer was late
		e.posts = append(e.posts, event)
	}
}

func attribute(list []*common.KeyValue, key string) string {
	for _, a := range list {
		if a.Key == key {
			return a.Value.GetStringValue()
		}
	}
	return ""
}

// TestTraceAndWebhook has a run that fails, and is resumed, by a planner and a worker
// process, and compared, and looks at what it tells others: one trace of all of it, and
// posts.
func TestTraceAndWebhook(t *testing.T) {
	t.Parallel()
	other := startOutside(t)
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	src.Exec(t, `CREATE TABLE a (id int PRIMARY KEY, t text DEFAULT 'a-literal'); INSERT INTO a SELECT i, '`+rowSecret+`' FROM generate_series(1, 1000) i;
		CREATE INDEX partial ON a (id) WHERE t = 'a-literal'; CREATE SEQUENCE s; SELECT lo_from_bytea(0, '`+rowSecret+`');`+refusedRow)
	queue := natstest.Start(t)
	o := options(t, src, dst)
	environment := append(os.Environ(), "PGCONVOY_SOURCE_URI="+string(o.Config.Source.URI), "PGCONVOY_TARGET_URI="+string(o.Config.Target.URI),
		"PGCONVOY_NATS_URL="+queue.URL(), "PGCONVOY_KEEP_LEDGER=true", "PGCONVOY_BUNDLE_MAX_TABLE=0", "PGCONVOY_PG_BINDIR="+o.Config.PGBindir, "PGCONVOY_LOG_LEVEL=debug")
	environment = append(environment, other.environment()...)

	worker := &process{Cmd: command(t, build(t, "worker"), environment)}
	worker.launch(t)
	plan := func(verb string, more ...string) (exit int) {
		cmd := command(t, build(t, "planner"), append(slices.Clone(environment), more...), verb)
		cmd.Dir = t.TempDir()
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		_ = cmd.Run()
		other.add("output", out.Bytes())
		return cmd.ProcessState.ExitCode()
	}
	require.Equal(t, 3, plan("run"), other.of(t, "output"))
	dst.Exec(t, "CREATE OR REPLACE FUNCTION fine(t text) RETURNS bool LANGUAGE sql AS 'SELECT true'")
	require.Equal(t, 0, plan("resume"))
	require.NoError(t, worker.Process.Signal(syscall.SIGTERM)) // it sends what it has
	_ = worker.Wait()
	other.add("output", []byte(worker.String()))
	require.Equal(t, 0, plan("verify", "PGCONVOY_WORKERS=yes", "OTEL_SDK_DISABLED=true"), "it is a trace of its own")
	other.requireWithout(t, "", hookSecret)
	other.requireWithout(t, "traces", rowSecret, "a-literal", string(o.Config.Source.URI), "CREATE TABLE")

	other.mu.Lock()
	defer other.mu.Unlock()
	var told []tasks.EventType
	for _, e := range other.posts {
		told = append(told, e.Type)
	}
	require.Equal(t, []tasks.EventType{tasks.EventRunFailed, tasks.EventRunDone, tasks.EventVerifyDone}, told)

	uid := dst.Query(t, "SELECT uid FROM pgconvoy.run")
	found := map[string]int{}
	for _, s := range other.spans {
		require.Equal(t, strings.ReplaceAll(uid, "-", ""), hex.EncodeToString(s.TraceId), "%s is in another trace", s.Name)
		require.LessOrEqual(t, s.StartTimeUnixNano, s.EndTimeUnixNano)
		parent, inside := other.spans[hex.EncodeToString(s.ParentSpanId)]
		require.Equal(t, s.Name != "run", inside, "parent of %s", s.Name)
		if s.Name == "run" {
			require.Empty(t, s.ParentSpanId)
			require.Equal(t, "failed", attribute(s.Attributes, "pgconvoy.state"))
			require.Equal(t, spans.Status_STATUS_CODE_ERROR, s.Status.Code)
		}
		found[s.service+": "+parent.name()+" > "+s.Name]++
		if id := attribute(s.Attributes, "pgconvoy.task"); id != "" {
			found[id]++
		}
	}
	for _, want := range []string{
		"pgconvoy-planner:  > run", "pgconvoy-planner: run > check and plan", "pgconvoy-planner: run > resume", "pgconvoy-worker: run > copy", "pgconvoy-worker: run > index",
		"pgconvoy-worker: copy > BEGIN in the snapshot", `pgconvoy-worker: copy > COPY "public"."a"`, "pgconvoy-worker: copy > COMMIT",
		`pgconvoy-worker: index > CREATE INDEX "public"."a"`, "pgconvoy-worker: sequences > SETVAL of 1 sequences",
	} {
		require.Positive(t, found[want], "%s: %v", want, found)
	}
	for _, id := range dst.Column(t, "SELECT id FROM pgconvoy.task WHERE state = 'done'") {
		require.Positive(t, found[id], "no span of task %s", id)
	}
	refused := 0
	for _, s := range other.spans {
		if attribute(s.Attributes, "pgconvoy.task") == "copy.public.strict.all" && s.Status.GetCode() == spans.Status_STATUS_CODE_ERROR {
			refused++
			require.Equal(t, "SQLSTATE 23514, table strict, constraint is_fine; planner status says more", s.Status.Message)
		}
	}
	require.Equal(t, 1, refused)
}

// command is a process with an environment.
func command(t *testing.T, program string, environment []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), program, args...)
	cmd.Env = environment
	return cmd
}

// name returns that of a span, "" if there is none.
func (s span) name() string {
	if s.Span == nil {
		return ""
	}
	return s.Name
}
