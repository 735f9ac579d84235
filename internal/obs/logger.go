// Package obs makes what an operator watches: the logger, and the lines that stay
// below it on a terminal. Nothing in here knows what a run does.
package obs

import (
	"io"
	"log/slog"
	"time"

	"github.com/lmittmann/tint"
)

// Format is the form of a log line.
type Format string

// The forms; auto is text on a terminal and JSON otherwise.
const (
	Auto Format = "auto"
	Text Format = "text"
	JSON Format = "json"
)

// Options says how a logger writes.
type Options struct {
	Format Format
	Level  slog.Level
	// Terminal says that the writer is a terminal.
	Terminal bool
	// NoColor turns colours off on a terminal too, as NO_COLOR asks for.
	NoColor bool
}

// NewLogger returns a logger that writes to w, safe for concurrent use. Text
// lines are for people and coloured on a terminal; JSON lines carry the full
// time and are for machines. As a net under the code that logs, passwords in
// the text of the key err are masked in both.
func NewLogger(w io.Writer, o Options) *slog.Logger {
	if o.Format == JSON || o.Format != Text && !o.Terminal {
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: o.Level, ReplaceAttr: maskErr}))
	}
	return slog.New(tint.NewTextHandler(w, &tint.Options{
		Level:       o.Level,
		TimeFormat:  time.TimeOnly,
		NoColor:     o.NoColor || !o.Terminal,
		ReplaceAttr: maskErr,
	}))
}
