package web

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"sync"
	"time"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
	"github.com/pgconvoy/pgconvoy/internal/ui"
)

// How old what a dashboard shows may be. Nobody is asked while nobody looks.
const (
	statusEvery    = time.Second
	detailEvery    = 5 * time.Second
	databasesEvery = 10 * time.Second // each of which is asked
)

// Dashboard is the live page of a run.
type Dashboard struct {
	// Status says how far the run is.
	Status func(context.Context) (tasks.RunStatus, error)
	// Report reads what the run has done so far; nil if only the queue can be reached.
	Report func(context.Context) (tasks.Report, error)
	// Databases lists those of a run of several, nil for any other. Status and Report
	// are about the one that is being copied then.
	Databases func(context.Context) (tasks.InstanceStatus, error)
	// Token lets those who know it use Control; "" lets nobody.
	Token   string
	Control Control
}

// Control is what a dashboard may do to its run.
type Control struct {
	Pause, Unpause func(context.Context) error
	Scale          func(context.Context, map[tasks.Stage]int) error
	Retry          func(context.Context) error
	Cancel         func(context.Context) error
}

// Handler serves the page at /, what it shows at /events, as server-sent events,
// and what it may do under /control/. Whoever can reach it may look.
func (d Dashboard) Handler() (http.Handler, error) {
	page, err := d.page()
	if err != nil {
		return nil, err
	}
	var progress ui.Progress
	status := &cached[statusEvent]{every: statusEvery, read: func(ctx context.Context) (statusEvent, error) {
		s, err := d.Status(ctx)
		if err != nil {
			return statusEvent{}, err
		}
		o := progress.Add(s)
		return statusEvent{Status: s, Outlook: outlook{o.Fraction, o.Bytes, o.BytesPerSecond, o.LeftText()}, Stages: ui.StageCounts(s)}, nil
	}}
	detail := &cached[detailEvent]{every: detailEvery, read: func(ctx context.Context) (detailEvent, error) {
		r, err := d.Report(ctx)
		return detailEvent{Tables: append([]tasks.TableReport{}, r.Tables...), Timeline: timelineOf(r.Timeline)}, err
	}}
	databases := &cached[databasesEvent]{every: databasesEvery, read: func(ctx context.Context) (databasesEvent, error) {
		s, err := d.Databases(ctx)
		return databasesEvent{append([]tasks.DatabaseStatus{}, s.Databases...)}, err
	}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; connect-src 'self'; frame-ancestors 'none'")
		_, _ = w.Write(page)
	})
	mux.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) { d.events(w, r, status, detail, databases) })
	if d.Token != "" {
		mux.HandleFunc("POST /control/{verb}", d.control)
	}
	return mux, nil
}

func (d Dashboard) page() ([]byte, error) {
	css, err := style()
	if err != nil {
		return nil, err
	}
	js, err := script("dashboard.js")
	if err != nil {
		return nil, err
	}
	source, err := asset("dashboard.html")
	if err != nil {
		return nil, err
	}
	t, err := template.New("dashboard").Parse(source)
	if err != nil {
		return nil, fmt.Errorf("parse the dashboard: %w", err)
	}
	var page bytes.Buffer
	err = t.Execute(&page, struct {
		CSS                        template.CSS
		JS                         template.JS
		Control, Detail, Databases bool
		Stages                     []tasks.Stage
	}{css, js, d.Token != "", d.Report != nil, d.Databases != nil, tasks.Stages()})
	if err != nil {
		return nil, fmt.Errorf("write the dashboard: %w", err)
	}
	return page.Bytes(), nil
}

type statusEvent struct {
	Status  tasks.RunStatus `json:"status"`
	Outlook outlook         `json:"outlook"`
	Stages  []ui.StageCount `json:"stages"`
}

type outlook struct {
	Fraction       float64 `json:"fraction"`
	Bytes          int64   `json:"bytes"`
	BytesPerSecond int64   `json:"bytes_per_second"`
	Left           string  `json:"left"`
}

type detailEvent struct {
	Tables   []tasks.TableReport `json:"tables"`
	Timeline timeline            `json:"timeline"`
}

type databasesEvent struct {
	Databases []tasks.DatabaseStatus `json:"databases"`
}

// cached is a value that is read anew when it is asked for and too old, once for
// all who ask.
type cached[T any] struct {
	every time.Duration
	read  func(context.Context) (T, error)

	mu    sync.Mutex
	at    time.Time
	value T
	text  []byte // the value as JSON
	err   error
}

// get returns the value, and when it was read.
func (c *cached[T]) get(ctx context.Context) (value T, text []byte, at time.Time, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.at) >= c.every {
		value, err := c.read(ctx)
		if ctx.Err() != nil {
			return value, nil, c.at, ctx.Err() // whoever asked is gone, and the others ask again
		}
		c.at, c.value, c.err = time.Now(), value, err
		if err == nil {
			c.text, c.err = json.Marshal(value)
		}
	}
	return c.value, c.text, c.at, c.err
}

// expire has the value read anew when it is asked for next.
func (c *cached[T]) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = time.Time{}
}

// reader is a page that looks.
type reader struct {
	w     http.ResponseWriter
	flush *http.ResponseController
	sent  map[string]time.Time
}

// send sends the value, unless the reader has it.
func send[T any](ctx context.Context, r reader, name string, c *cached[T]) (T, error) {
	value, text, at, err := c.get(ctx)
	if err != nil || at.Equal(r.sent[name]) {
		return value, err
	}
	r.sent[name] = at
	if _, err := fmt.Fprintf(r.w, "event: %s\ndata: %s\n\n", name, text); err != nil {
		return value, fmt.Errorf("send to a page: %w", err)
	}
	if err := r.flush.Flush(); err != nil {
		return value, fmt.Errorf("send to a page: %w", err)
	}
	return value, nil
}

// events sends what is new until the reader goes, or the run has ended.
func (d Dashboard) events(w http.ResponseWriter, req *http.Request, status *cached[statusEvent], detail *cached[detailEvent], databases *cached[databasesEvent]) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	r := reader{w, http.NewResponseController(w), map[string]time.Time{}}
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	for {
		s, err := send(req.Context(), r, "status", status)
		over := err == nil && ended(s.Status.State)
		if over {
			detail.expire() // as it is in the end
			databases.expire()
		}
		if err == nil && d.Report != nil {
			_, err = send(req.Context(), r, "detail", detail)
		}
		if err == nil && d.Databases != nil {
			_, err = send(req.Context(), r, "databases", databases)
		}
		if err != nil {
			// The reason may quote what only the databases should know.
			_, _ = fmt.Fprint(w, "event: gone\ndata: no run: it has ended, has not begun, or cannot be reached\n\n")
			return
		}
		if over {
			return
		}
		select {
		case <-req.Context().Done():
			return
		case <-tick.C:
		}
	}
}

func ended(s tasks.RunState) bool { return s != tasks.RunRunning && s != tasks.RunPlanning }

// errNoVerb says that there is nothing of that name to do.
var errNoVerb = errors.New("no such verb")

func (d Dashboard) control(w http.ResponseWriter, r *http.Request) {
	given := []byte(r.Header.Get("Authorization"))
	if subtle.ConstantTimeCompare(given, []byte("Bearer "+d.Token)) != 1 {
		http.Error(w, "wrong token", http.StatusUnauthorized)
		return
	}
	err := d.do(r)
	switch {
	case errors.Is(err, errNoVerb):
		http.Error(w, err.Error(), http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusConflict)
	}
}

func (d Dashboard) do(r *http.Request) error {
	switch r.PathValue("verb") {
	case "pause":
		return d.Control.Pause(r.Context())
	case "unpause":
		return d.Control.Unpause(r.Context())
	case "retry":
		return d.Control.Retry(r.Context())
	case "cancel":
		return d.Control.Cancel(context.WithoutCancel(r.Context()))
	case "scale":
		var caps map[tasks.Stage]int
		if err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, 1<<10)).Decode(&caps); err != nil {
			return fmt.Errorf("read the caps: %w", err)
		}
		for stage, n := range caps {
			if !stage.Valid() || n < 0 || n > 1000 {
				return fmt.Errorf("cap %d of stage %q: a stage has a cap of 0 to 1000", n, stage)
			}
		}
		return d.Control.Scale(r.Context(), caps)
	}
	return errNoVerb
}
