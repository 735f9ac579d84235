package embedded

import (
	"fmt"
	"log/slog"
	"sync"
)

// logAdapter passes what the server reports to slog. Notices are of interest
// to somebody who runs a server, not to somebody who copies a database, so
// they are Debug.
type logAdapter struct {
	log *slog.Logger

	mu       sync.Mutex
	fatality string
}

const message = "nats-server reports"

func (a *logAdapter) Noticef(format string, v ...any) {
	a.log.Debug(message, "text", fmt.Sprintf(format, v...))
}

func (a *logAdapter) Warnf(format string, v ...any) {
	a.log.Warn(message, "text", fmt.Sprintf(format, v...))
}

func (a *logAdapter) Errorf(format string, v ...any) {
	a.log.Error(message, "text", fmt.Sprintf(format, v...))
}

// Fatalf is called when the server cannot start, such as for a port in use.
// It does not end the process; Start returns the text as its error.
func (a *logAdapter) Fatalf(format string, v ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fatality == "" {
		a.fatality = fmt.Sprintf(format, v...)
	}
}

func (a *logAdapter) fatal() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.fatality
}

func (a *logAdapter) Debugf(format string, v ...any) {
	a.log.Debug(message, "text", fmt.Sprintf(format, v...))
}

func (a *logAdapter) Tracef(format string, v ...any) { a.Debugf(format, v...) }
