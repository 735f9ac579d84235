package webhook

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// secret is the part of an address that nobody must see.
const secret = "T0KEN"

// quick is a pace that a test can wait for: only who fails is tried again soon, an
// answer may take its time.
var quick = pace{answer: 20 * time.Second, pause: time.Millisecond, end: time.Minute}

// receiver is a server that is told of events.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	bodies []string
	header http.Header
}

// receive starts a server that gives the answers, the last one again and again.
func receive(t *testing.T, answers ...int) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		code := answers[min(len(r.bodies), len(answers)-1)]
		r.bodies, r.header = append(r.bodies, string(body)), request.Header
		if code/100 == 3 {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, "an answer of "+secret)
	}))
	t.Cleanup(r.Close)
	return r
}

// send delivers events, and returns what is logged.
func send(address string, p pace, events ...tasks.Event) string {
	var log bytes.Buffer
	h := start(address, "test", slog.New(slog.NewTextHandler(&log, nil)), p)
	for _, e := range events {
		h.Send(e)
	}
	h.Close()
	return log.String()
}

var event = tasks.RunID{Name: "main", UID: "u"}.Event(tasks.EventRunDone, time.Unix(0, 0))

func TestDelivery(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		answers []int
		tries   int
		logs    string
	}{
		"taken":                  {[]int{200}, 1, ""},
		"taken, without content": {[]int{204}, 1, ""},
		"taken in the end":       {[]int{503, 429, 408, 200}, 4, ""},
		"out of order":           {[]int{500}, 4, "500 Internal Server Error"},
		"refused":                {[]int{404}, 1, "404 Not Found"},
		"elsewhere":              {[]int{308}, 1, "set webhook.url to where that leads"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := receive(t, test.answers...)
			said := send(r.URL+"/hook/"+secret, quick, event)
			require.Len(t, r.bodies, test.tries)
			want, err := json.Marshal(event)
			require.NoError(t, err)
			for _, body := range r.bodies {
				require.JSONEq(t, string(want), body)
			}
			require.Equal(t, "application/json", r.header.Get("Content-Type"))
			require.Equal(t, "pgconvoy/test", r.header.Get("User-Agent"))
			require.Contains(t, said, test.logs)
			require.Equal(t, test.logs == "", said == "", said)
			require.NotContains(t, said, secret)
		})
	}
}

func TestEventsComeInOrder(t *testing.T) {
	t.Parallel()
	r := receive(t, 503, 200)
	other := event
	other.Type = tasks.EventRunFailed
	require.Empty(t, send(r.URL, quick, other, event))
	require.Len(t, r.bodies, 3)
	require.Contains(t, r.bodies[1], "run.failed")
	require.Contains(t, r.bodies[2], "run.done")
}

func TestServerCannotBeReached(t *testing.T) {
	t.Parallel()
	said := send("http://127.0.0.1:1/hook/"+secret, quick, event)
	require.Contains(t, said, "connection refused")
	require.NotContains(t, said, secret)
}

// A server that never answers holds nothing up: neither who sends nor the end, for
// longer than it may.
func TestServerHangs(t *testing.T) {
	t.Parallel()
	hanging := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hanging:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(hanging) })
	began := time.Now()
	said := send(s.URL+"/hook/"+secret, pace{answer: time.Hour, pause: time.Hour, end: 300 * time.Millisecond}, make([]tasks.Event, 2*waiting)...)
	require.Less(t, time.Since(began), 10*time.Second)
	require.Contains(t, said, "too many events wait")
	require.Contains(t, said, "context canceled")
	require.NotContains(t, said, secret)
}

func TestWithoutAnAddress(t *testing.T) {
	t.Parallel()
	h := New("", "test", slog.New(slog.DiscardHandler))
	require.Nil(t, h)
	h.Send(event)
	h.Close()
}
