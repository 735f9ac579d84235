package obs

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/width"
)

// terminal is as much of one as Screen makes use of: it wraps, scrolls, and lays
// lines out anew when it changes its size, as those of our days do.
type terminal struct {
	columns, rows int
	lines         []string // logical ones, from the first that was ever written
	row           int      // physical, of the cursor, from the end: 0 is the last
}

func (m *terminal) size() (int, int) { return m.columns, m.rows }

func (m *terminal) Write(p []byte) (int, error) {
	rest := string(p)
	for rest != "" {
		switch {
		case strings.HasPrefix(rest, "\x1b["):
			end := strings.IndexAny(rest, "AJm")
			var n int
			if rest[end] == 'A' {
				_, _ = fmt.Sscanf(rest[2:], "%d", &n)
				m.row += n
			}
			if rest[end] == 'J' {
				m.eraseBelow()
			}
			rest = rest[end+1:]
		case rest[0] == '\r':
			rest = rest[1:]
		case rest[0] == '\n':
			m.lines = append(m.lines, "")
			rest = rest[1:]
		default:
			r, n := utf8.DecodeRuneInString(rest)
			if len(m.lines) == 0 {
				m.lines = []string{""}
			}
			m.lines[len(m.lines)-1] += string(r)
			rest = rest[n:]
		}
	}
	return len(p), nil
}

// eraseBelow removes everything from the cursor, which stands at the start of a row.
func (m *terminal) eraseBelow() {
	m.lines = m.lines[:len(m.lines)-1] // the row of the cursor before, which is empty
	for ; m.row > 0; m.row-- {
		last := len(m.lines) - 1
		if cellsOf(m.lines[last]) > m.columns { // one row of a wrapped line
			wrapped := wrap(m.lines[last], m.columns)
			m.lines[last] = strings.Join(wrapped[:len(wrapped)-1], "")
			continue
		}
		m.lines = m.lines[:last]
	}
	m.lines = append(m.lines, "")
}

func cellsOf(s string) (n int) {
	for _, r := range s {
		n++
		if k := width.LookupRune(r).Kind(); k == width.EastAsianWide || k == width.EastAsianFullwidth {
			n++
		}
	}
	return n
}

func wrap(s string, columns int) []string {
	rows := []string{""}
	for _, r := range s {
		if cellsOf(rows[len(rows)-1]+string(r)) > columns {
			rows = append(rows, "")
		}
		rows[len(rows)-1] += string(r)
	}
	return rows
}

// shown returns the rows that can be seen.
func (m *terminal) shown() []string {
	var rows []string
	for _, line := range m.lines {
		rows = append(rows, wrap(line, m.columns)...)
	}
	return rows[max(len(rows)-m.rows, 0):]
}

func TestScreenKeepsItsLinesBelowTheLog(t *testing.T) {
	t.Parallel()
	m := &terminal{columns: 40, rows: 10}
	s := newScreen(m, m.size)
	log := slog.New(slog.NewTextHandler(s, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	log.Info("one")
	require.NoError(t, s.Show([]string{"first", "second"}))
	require.Equal(t, []string{"level=INFO msg=one", "first", "second", ""}, m.shown())
	log.Info("two")
	require.Equal(t, []string{"level=INFO msg=one", "level=INFO msg=two", "first", "second", ""}, m.shown())
	require.NoError(t, s.Show([]string{"third"}))
	require.Equal(t, []string{"level=INFO msg=one", "level=INFO msg=two", "third", ""}, m.shown())
	require.NoError(t, s.Close())
	require.NoError(t, s.Show([]string{"late"}))
	log.Info("three")
	require.Equal(t, []string{"level=INFO msg=one", "level=INFO msg=two", "level=INFO msg=three", ""}, m.shown())
}

// TestScreenSurvivesResize makes the terminal narrower, which wraps what stands on
// it, and lower.
func TestScreenSurvivesResize(t *testing.T) {
	t.Parallel()
	m := &terminal{columns: 60, rows: 10}
	s := newScreen(m, m.size)
	_, err := s.Write([]byte("log\n"))
	require.NoError(t, err)
	long := strings.Repeat("x", 100)
	require.NoError(t, s.Show([]string{long, "\x1b[32m" + long + "\x1b[0m", "表" + strings.Repeat("表", 40)}))
	require.Equal(t, []string{"log", long[:59], long[:59], strings.Repeat("表", 29), ""}, m.shown())
	m.columns = 25
	require.NoError(t, s.Show([]string{long, "short"}))
	require.Equal(t, []string{"log", long[:24], "short", ""}, m.shown())
	m.columns, m.rows = 60, 3
	require.NoError(t, s.Show([]string{"a", "b", "c", "d"}))
	require.Equal(t, []string{"a", "b", ""}, m.shown(), "the first ones are shown where not all fit")
	require.NoError(t, s.Close())
	require.Equal(t, []string{"log", ""}, m.shown())
}

func TestCut(t *testing.T) {
	t.Parallel()
	require.Equal(t, "abc", cut("abc", 3))
	require.Equal(t, "ab", cut("abc", 2))
	require.Equal(t, "表", cut("表表", 3), "half a character is none")
	require.Equal(t, "\x1b[31mab\x1b[0m", cut("\x1b[31mabc\x1b[0m", 2))
	require.Equal(t, 4, visible("\x1b[31mab\x1b[0mcd"))
}
