// Package ui prints what people and programs read on stdout: plans and
// summaries, as tables or as JSON. report.go has the summary of a run, plan.go
// the plan, progress.go how far a run is from moment to moment, and this file what
// they need to show sizes, times and tables.
package ui

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// JSON is the name of the output form that is for programs; every other name
// means tables for people.
const JSON = "json"

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false) // SQL is full of < and >
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}

// Bytes shows a number of bytes with three significant digits: 1.23 GB.
func Bytes(n int64) string { return tasks.Size(n) }

// Count shows a number with thousands apart: 1 234 567.
func Count(n int64) string {
	digits := strings.TrimPrefix(strconv.FormatInt(n, 10), "-")
	var groups []string
	for len(digits) > 3 {
		groups = append([]string{digits[len(digits)-3:]}, groups...)
		digits = digits[:len(digits)-3]
	}
	text := strings.Join(append([]string{digits}, groups...), " ")
	if n < 0 {
		return "-" + text
	}
	return text
}

// Duration shows a time with as many digits as matter.
func Duration(d time.Duration) string {
	switch {
	case d == 0:
		return "-"
	case d < time.Millisecond:
		return "<1ms"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// table lays out rows in columns; columns whose head begins with a blank are
// aligned to the right.
type table struct {
	head []string
	rows [][]string
}

func (t *table) add(cells ...string) {
	for i := range cells {
		cells[i] = oneLine(cells[i])
	}
	t.rows = append(t.rows, cells)
}

// oneLine writes control characters, which names may hold, as Go does: they
// must neither break a table nor reach a terminal.
func oneLine(s string) string {
	if strings.IndexFunc(s, unicode.IsControl) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unicode.IsControl(r) {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func (t *table) write(w io.Writer) error {
	widths := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(strings.TrimSpace(cell))))
		}
	}
	for _, row := range append([][]string{t.head}, t.rows...) {
		var line strings.Builder
		for i, cell := range row {
			cell = strings.TrimSpace(cell)
			padding := strings.Repeat(" ", widths[i]-len([]rune(cell)))
			if strings.HasPrefix(t.head[i], " ") {
				cell = padding + cell
			} else {
				cell += padding
			}
			line.WriteString(cell + "  ")
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(line.String(), " ")); err != nil {
			return fmt.Errorf("write table: %w", err)
		}
	}
	return nil
}
