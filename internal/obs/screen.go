package obs

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/term"
	"golang.org/x/text/width"
)

// Screen keeps some lines at the bottom of a terminal while others are written
// above them: give it to [NewLogger]. It does not take over the terminal: what
// scrolls off stays to be read, and without lines it is the terminal itself. It is
// safe for concurrent use.
type Screen struct {
	mu     sync.Mutex
	w      io.Writer
	size   func() (columns, rows int)
	lines  []string // as they were last given
	drawn  []string // as they stand on the terminal
	closed bool
}

// NewScreen returns a Screen on the terminal f.
func NewScreen(f *os.File) *Screen {
	return newScreen(f, func() (int, int) {
		columns, rows, err := term.GetSize(int(f.Fd()))
		if err != nil || columns <= 0 || rows <= 0 {
			return 80, 24
		}
		return columns, rows
	})
}

func newScreen(w io.Writer, size func() (int, int)) *Screen { return &Screen{w: w, size: size} }

// Size returns the terminal's columns and rows as they are now.
func (s *Screen) Size() (columns, rows int) { return s.size() }

// Write writes whole lines above those that stay.
func (s *Screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.lines) == 0 {
		return s.w.Write(p)
	}
	if err := s.draw(string(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Show replaces the lines that stay. They may hold colours, and nothing else that
// moves the cursor. What does not fit is cut off; the others are the first ones.
func (s *Screen) Show(lines []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.lines = lines
	return s.draw("")
}

// Close removes the lines; nothing that is shown afterwards appears. It may be
// called again.
func (s *Screen) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed, s.lines = true, nil
	return s.draw("")
}

// draw writes text where the lines stand now, and the lines below it.
func (s *Screen) draw(text string) error {
	columns, rows := s.size()
	var out strings.Builder
	if up := s.height(columns, rows); up > 0 {
		fmt.Fprintf(&out, "\x1b[%dA\r\x1b[J", up)
	}
	out.WriteString(text)
	s.drawn = s.drawn[:0]
	for i, line := range s.lines {
		if i == rows-1 { // the cursor stands in the last row
			break
		}
		line = cut(line, columns-1) // a full row would wrap on some terminals
		s.drawn = append(s.drawn, line)
		out.WriteString(line + "\n")
	}
	if _, err := io.WriteString(s.w, out.String()); err != nil {
		return fmt.Errorf("write to the terminal: %w", err)
	}
	return nil
}

// height is how many rows the drawn lines take by now: a terminal that was made
// narrower has wrapped them.
func (s *Screen) height(columns, rows int) int {
	n := 0
	for _, line := range s.drawn {
		n += max(1, (visible(line)+columns-1)/columns)
	}
	return min(n, rows-1)
}

// cut shortens the line to so many columns; colours take none, and are put back in
// the end.
func cut(line string, columns int) string {
	if visible(line) <= columns {
		return line
	}
	var out strings.Builder
	taken, coloured := 0, false
	for i := 0; i < len(line); {
		if n := escape(line[i:]); n > 0 {
			out.WriteString(line[i : i+n])
			i += n
			coloured = true
			continue
		}
		r, size := utf8.DecodeRuneInString(line[i:])
		if taken += cells(r); taken > columns {
			break
		}
		out.WriteString(line[i : i+size])
		i += size
	}
	if coloured {
		out.WriteString("\x1b[0m")
	}
	return out.String()
}

// visible returns how many columns the line takes.
func visible(line string) int {
	n := 0
	for i := 0; i < len(line); {
		if skip := escape(line[i:]); skip > 0 {
			i += skip
			continue
		}
		r, size := utf8.DecodeRuneInString(line[i:])
		n += cells(r)
		i += size
	}
	return n
}

// escape returns the length of the colour that s begins with, 0 if it begins with
// something else.
func escape(s string) int {
	if !strings.HasPrefix(s, "\x1b[") {
		return 0
	}
	return strings.IndexByte(s, 'm') + 1
}

// cells returns how many columns a character takes. Those that combine with the one
// before are counted as one: a line is cut too early then, and not too late.
func cells(r rune) int {
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}
