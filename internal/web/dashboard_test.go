package web

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// event is one server-sent event.
type event struct{ name, data string }

// read returns the events of a stream until it ends or there are so many.
func read(t *testing.T, url string, n int) []event {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/events", nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	require.Equal(t, "text/event-stream", resp.Header.Get("Content-Type"))
	var events []event
	lines := bufio.NewScanner(resp.Body)
	for len(events) < n && lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			events = append(events, event{name: name})
		} else if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			events[len(events)-1].data = data
		}
	}
	return events
}

func serve(t *testing.T, d Dashboard) string {
	t.Helper()
	h, err := d.Handler()
	require.NoError(t, err)
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func TestDashboardStreamsUntilTheEnd(t *testing.T) {
	t.Parallel()
	var asked, reports atomic.Int32
	d := Dashboard{
		Status: func(context.Context) (tasks.RunStatus, error) {
			s := tasks.RunStatus{Run: "r", State: tasks.RunRunning, At: time.Now()}
			if asked.Add(1) > 2 {
				s.State = tasks.RunComplete
			}
			return s, nil
		},
		Report: func(context.Context) (tasks.Report, error) {
			reports.Add(1)
			return tasks.Report{Rows: 1, Timeline: []tasks.Span{{Task: "copy.public.a.all", Kind: tasks.KindCopy, Worker: "w", Took: 1}}}, nil
		},
	}
	url := serve(t, d)
	events := read(t, url, 100)
	names := make([]string, len(events))
	for i, e := range events {
		names[i] = e.name
	}
	// Details are read anew once they are old, which on a slow machine may be before the end.
	require.Regexp(t, "^status detail status (detail )?status detail$", strings.Join(names, " "), "what has happened since is sent at the end, too")
	var last statusEvent
	require.NoError(t, json.Unmarshal([]byte(events[len(events)-2].data), &last))
	require.Equal(t, tasks.RunComplete, last.Status.State)
	var shown detailEvent
	require.NoError(t, json.Unmarshal([]byte(events[1].data), &shown))
	require.Equal(t, []string{"w"}, shown.Timeline.Lanes)
	require.NotNil(t, shown.Tables)
	require.EqualValues(t, 3, asked.Load())
	require.GreaterOrEqual(t, reports.Load(), int32(2))
}

// TestDashboardAsksOnceForAll: many pages cost the databases no more than one.
func TestDashboardAsksOnceForAll(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	url := serve(t, Dashboard{Status: func(context.Context) (tasks.RunStatus, error) {
		asked.Add(1)
		return tasks.RunStatus{State: tasks.RunRunning, At: time.Now()}, nil
	}})
	done := make(chan []event, 10)
	began := time.Now()
	for range cap(done) {
		go func() { done <- read(t, url, 2) }()
	}
	for range cap(done) {
		require.Len(t, <-done, 2)
	}
	require.LessOrEqual(t, int(asked.Load()), int(time.Since(began)/statusEvery)+1)
}

func TestDashboardHidesErrors(t *testing.T) {
	t.Parallel()
	url := serve(t, Dashboard{Status: func(context.Context) (tasks.RunStatus, error) {
		return tasks.RunStatus{}, errors.New("row (1, secret)")
	}})
	require.Equal(t, []event{{"gone", "no run: it has ended, has not begun, or cannot be reached"}}, read(t, url, 10))
}

func TestDashboardControl(t *testing.T) {
	t.Parallel()
	var did []string
	do := func(what string) func(context.Context) error {
		return func(context.Context) error {
			did = append(did, what)
			return nil
		}
	}
	d := Dashboard{
		Token: "right", Status: func(context.Context) (tasks.RunStatus, error) { return tasks.RunStatus{}, nil },
		Control: Control{
			Pause: do("pause"), Unpause: do("unpause"), Retry: do("retry"),
			Cancel: func(context.Context) error { return errors.New("run r is complete") },
			Scale: func(_ context.Context, caps map[tasks.Stage]int) error {
				require.Equal(t, map[tasks.Stage]int{tasks.StageCopy: 8}, caps)
				did = append(did, "scale")
				return nil
			},
		},
	}
	post := func(url, verb, token, body string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/control/"+verb, strings.NewReader(body))
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer func() { _ = resp.Body.Close() }()
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, strings.TrimSpace(string(text))
	}
	url := serve(t, d)
	for _, c := range []struct {
		verb, token, body string
		status            int
		text              string
	}{
		{"pause", "wrong", "{}", 401, "wrong token"},
		{"pause", "", "{}", 401, "wrong token"},
		{"pause", "right", "{}", 200, ""},
		{"unpause", "right", "{}", 200, ""},
		{"retry", "right", "{}", 200, ""},
		{"scale", "right", `{"copy": 8}`, 200, ""},
		{"scale", "right", `{"copies": 8}`, 409, `cap 8 of stage "copies": a stage has a cap of 0 to 1000`},
		{"scale", "right", `{"copy": -1}`, 409, `cap -1 of stage "copy": a stage has a cap of 0 to 1000`},
		{"cancel", "right", "{}", 409, "run r is complete"},
		{"drop", "right", "{}", 404, "no such verb"},
	} {
		status, text := post(url, c.verb, c.token, c.body)
		require.Equal(t, c.status, status, c.verb)
		require.Equal(t, c.text, text, c.verb)
	}
	require.Equal(t, []string{"pause", "unpause", "retry", "scale"}, did)
	d.Token = ""
	status, _ := post(serve(t, d), "pause", "", "{}")
	require.Equal(t, 404, status, "without a token nobody controls")
}
