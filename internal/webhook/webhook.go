// Package webhook posts events to an HTTP server, in the background. What cannot be
// delivered is a warning in the log: nothing waits for it but the end of the process,
// and that for a bounded time. The address may be a secret, so no message holds it.
package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

const (
	waiting = 64      // events that wait; a server that is slower misses some
	most    = 4       // tries of each
	drained = 1 << 16 // bytes of an answer that are read, for the next request on the connection
)

// pace is how long things may take.
type pace struct {
	answer time.Duration // of the server, to one try
	pause  time.Duration // before the second try; it doubles
	end    time.Duration // of the process, for what is still to be delivered
}

// Hook delivers events, in the order in which they come. A nil Hook delivers nothing.
type Hook struct {
	url, agent string
	log        *slog.Logger
	client     *http.Client
	pace       pace
	events     chan tasks.Event
	done       chan struct{} // closed when everything is delivered, or given up
	stop       context.CancelFunc
}

// New returns a hook that posts to the address, nil if that is empty. The caller
// closes it.
func New(address, version string, log *slog.Logger) *Hook {
	return start(address, version, log, pace{answer: 5 * time.Second, pause: 500 * time.Millisecond, end: 15 * time.Second})
}

func start(address, version string, log *slog.Logger, p pace) *Hook {
	if address == "" {
		return nil
	}
	ctx, stop := context.WithCancel(context.Background())
	h := &Hook{
		url: address, agent: "pgconvoy/" + version, log: log, pace: p,
		events: make(chan tasks.Event, waiting), done: make(chan struct{}), stop: stop,
		client: &http.Client{
			Transport: http.DefaultTransport.(*http.Transport).Clone(),
			// Another address would get to know this one, from the header Referer.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	go func() {
		defer close(h.done)
		for e := range h.events {
			if err := h.deliver(ctx, e); err != nil {
				h.log.Warn("webhook is not told", "event", string(e.Type), "err", err)
			}
		}
	}()
	return h
}

// Send delivers an event, later. It does not wait. It must not be called after Close.
func (h *Hook) Send(e tasks.Event) {
	if h == nil {
		return
	}
	select {
	case h.events <- e:
	default:
		h.log.Warn("webhook is not told: too many events wait for its server", "event", string(e.Type))
	}
}

// Close waits until everything is delivered, for some seconds at most.
func (h *Hook) Close() {
	if h == nil {
		return
	}
	close(h.events)
	timer := time.AfterFunc(h.pace.end, h.stop)
	<-h.done
	timer.Stop()
	h.stop()
	h.client.CloseIdleConnections()
}

// deliver tries to post the event, again if another try may help.
func (h *Hook) deliver(ctx context.Context, e tasks.Event) error {
	body, err := json.Marshal(e)
	if err != nil {
		return err
	}
	for pause, try := h.pace.pause, 1; ; pause, try = 2*pause, try+1 {
		again, err := h.post(ctx, body)
		if err == nil || !again || try == most {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// post posts once, and says whether it is worth another try if that fails.
func (h *Hook) post(ctx context.Context, body []byte) (again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, h.pace.answer)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(body))
	if err != nil {
		return false, errors.New("its address cannot be used")
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", h.agent)
	answer, err := h.client.Do(request)
	if err != nil {
		var wrapped *url.Error // its text begins with the address
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return true, err
	}
	defer func() { _ = answer.Body.Close() }()
	_, _ = io.CopyN(io.Discard, answer.Body, drained)
	switch code := answer.StatusCode; {
	case code < 300:
		return false, nil
	case code < 400:
		return false, fmt.Errorf("its server answers %s: set webhook.url to where that leads", answer.Status)
	default:
		again = code >= 500 || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout
		return again, fmt.Errorf("its server answers %s", answer.Status)
	}
}
