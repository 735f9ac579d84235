package ui_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
	"github.com/pgconvoy/pgconvoy/internal/ui"
)

// copying is a run of two tables of 1 MB, after some time: one table is done, of
// the other one so many bytes, and an index is at work.
func copying(after time.Duration, bytes int64) tasks.RunStatus {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return tasks.RunStatus{
		Run: "r", State: tasks.RunRunning, Started: began, At: began.Add(after), Bytes: 1 << 20, TableBytes: 2 << 20,
		Tasks: map[tasks.State]int{tasks.Done: 1, tasks.Ready: 2},
		Kinds: []tasks.KindStatus{
			{Kind: tasks.KindCopy, Tasks: map[tasks.State]int{tasks.Done: 1, tasks.Ready: 1}, Weight: map[tasks.State]int64{tasks.Done: 1 << 20, tasks.Ready: 1 << 20}},
			{Kind: tasks.KindIndex, Tasks: map[tasks.State]int{tasks.Ready: 1}, Weight: map[tasks.State]int64{tasks.Ready: 2 << 20}},
		},
		Running: []tasks.RunningTask{
			{Task: "copy.public.b.all", Kind: tasks.KindCopy, Worker: "host/1", Since: began, Bytes: bytes, Weight: 1 << 20},
			{Task: "index.public.a.i", Kind: tasks.KindIndex, Worker: "host/2", Since: began, Weight: 2 << 20,
				Phase: "building index: scanning table", Done: 30, Total: 120},
		},
	}
}

func TestProgressFrame(t *testing.T) {
	t.Parallel()
	p := &ui.Progress{}
	lines := p.Frame(copying(10*time.Second, 0), 80, 24)
	require.Equal(t, "copy 1/2 (1)  index 0/1 (1)", lines[1])
	require.Contains(t, lines[0], "31 %", "1 MB, and a quarter of half of the index, of 4 MB")
	require.NotContains(t, lines[0], "left", "nothing can be said of the rate yet")
	require.Equal(t, "  index.public.a.i   scanning table  25 %    host/2", lines[2], "the largest first")

	lines = p.Frame(copying(20*time.Second, 512<<10), 80, 24)
	require.Contains(t, lines[0], "[###########---------------]")
	require.Contains(t, lines[0], "r  20s  43 %  1.50 MB  51.2 kB/s")
	require.Contains(t, lines[0], "25s … 45s left", "of 2.25 MB at 90 kB/s, as on the whole, or 51 kB/s, as lately")
	require.Equal(t, "  copy.public.b.all                  ~50 %  25.6 kB/s  host/1", lines[3])
	for _, line := range lines {
		require.Less(t, utf8.RuneCountInString(line), 80)
	}

	lines = p.Frame(copying(21*time.Second, 512<<10), 30, 24)
	require.False(t, strings.HasPrefix(lines[0], "["), "a bar has no room: %s", lines[0])
}

// TestProgressFits cuts the list of tasks to the terminal, and leaves room for what
// a person must see.
func TestProgressFits(t *testing.T) {
	t.Parallel()
	s := copying(10*time.Second, 0)
	for range 100 {
		s.Running = append(s.Running, s.Running[0])
	}
	s.Warnings = []string{"one\nline", "two", "three", "four"}
	s.Tasks[tasks.Failed] = 2
	for _, rows := range []int{12, 24, 50} {
		lines := (&ui.Progress{}).Frame(s, 80, rows)
		require.LessOrEqual(t, len(lines), rows-1)
		text := strings.Join(lines, "\n")
		require.Contains(t, text, "more")
		require.Contains(t, text, "! 2 failed")
		require.Contains(t, text, `! one\nline`)
		require.NotContains(t, text, "four")
	}
	colored := strings.Join((&ui.Progress{Color: true}).Frame(s, 80, 24), "\n")
	require.Contains(t, colored, "\x1b[31m! 2 failed")
}

// TestProgressForgets looks at the rate of the last half minute alone.
func TestProgressForgets(t *testing.T) {
	t.Parallel()
	p := &ui.Progress{}
	require.EqualValues(t, 1<<20, p.Add(copying(0, 0)).BytesPerSecond, "of the first look there is nothing but the whole")
	require.EqualValues(t, 10<<10, p.Add(copying(10*time.Second, 100<<10)).BytesPerSecond)
	for i := range 60 {
		p.Add(copying(time.Duration(11+i)*time.Second, 100<<10))
	}
	o := p.Add(copying(71*time.Second, 100<<10))
	require.Zero(t, o.BytesPerSecond)
	require.Zero(t, o.Left, "at this rate it never ends")
}

func TestProgressLog(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p := &ui.Progress{}
	p.Add(copying(10*time.Second, 0))
	p.Log(slog.New(slog.NewJSONHandler(&out, nil)), copying(20*time.Second, 512<<10))
	require.Contains(t, out.String(), `"msg":"progress","percent":43,"tasks_done":1,"tasks":3,"bytes":1572864,"bytes_per_second":52428,"running":2,"left":"25s … 45s left"`)
}
