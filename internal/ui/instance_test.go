package ui_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
	"github.com/pgconvoy/pgconvoy/internal/ui"
)

func TestInstanceReport(t *testing.T) {
	t.Parallel()
	r := tasks.InstanceReport{
		Run: "main", UID: "u", State: tasks.RunFailed, Elapsed: time.Minute, Rows: 1500, Bytes: 3 << 20,
		Databases: []tasks.DatabaseReport{
			{Database: "shop", State: tasks.RunComplete, Report: &tasks.Report{
				State: tasks.RunComplete, Rows: 1500, Bytes: 3 << 20, Elapsed: 2 * time.Second, Verified: "rows", Tables: make([]tasks.TableReport, 2)}},
			{Database: "Big One", State: tasks.RunFailed, Error: "run main is not complete", Report: &tasks.Report{
				State: tasks.RunFailed, Elapsed: time.Second, Failures: []tasks.Failure{{Task: "copy.x", Attempts: 1, Reason: "disk full"}}}},
			{Database: "crm", Error: "the target is not empty"},
			{Database: "last"},
		},
		LeftOut: []tasks.LeftOut{{Database: "template1", Reason: "it is a template"}},
	}
	requireText(t, `
database  state      tables   rows    bytes  in  compared
shop      complete        2  1 500  3.00 MB  2s  rows compared: equal
Big One   failed          0      0      0 B  1s  not compared
crm       not begun
last      not begun

database "Big One"
failed:
  copy.x (attempts: 1): disk full

database "crm": the target is not empty

left out:
  "template1": it is a template

run main is failed: 1 of 4 databases complete, 1 500 rows, 3.00 MB in 1m0s
`, func(w *strings.Builder) error { return ui.InstanceReport(w, "table", r) })
	var out strings.Builder
	require.NoError(t, ui.InstanceReport(&out, ui.JSON, tasks.InstanceReport{Run: "main"}))
	require.Contains(t, out.String(), `"databases": [],`)
	require.Contains(t, out.String(), `"left_out": []`)
}

func TestInstanceStatus(t *testing.T) {
	t.Parallel()
	s := tasks.InstanceStatus{Run: "main", State: tasks.RunFailed, Databases: []tasks.DatabaseStatus{
		{Database: "shop", Status: &tasks.RunStatus{State: tasks.RunComplete, Tasks: map[tasks.State]int{tasks.Done: 7}, Rows: 10, Bytes: 100}},
		{Database: "crm", Status: &tasks.RunStatus{State: tasks.RunFailed, Tasks: map[tasks.State]int{tasks.Done: 3, tasks.Failed: 1}}},
		{Database: "last"},
	}}
	requireText(t, `
database  state      tasks  done  failed  rows  bytes
shop      complete       7     7       0    10  100 B
crm       failed         4     3       1     0    0 B
last      not begun

warning: no planner owns the run: planner resume goes on with it

run main is failed; 1 of 3 databases complete
`, func(w *strings.Builder) error { return ui.InstanceStatus(w, "table", s) })
}

// TestProgressOfTheNextDatabase: what was copied of the one before does not count.
func TestProgressOfTheNextDatabase(t *testing.T) {
	t.Parallel()
	p, began := &ui.Progress{}, time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	var rates []int64
	for i, s := range []tasks.RunStatus{{RunUID: "a", Bytes: 1000}, {RunUID: "a", Bytes: 2000}, {RunUID: "b"}, {RunUID: "b", Bytes: 500}} {
		s.At = began.Add(time.Duration(i) * 10 * time.Second)
		rates = append(rates, p.Add(s).BytesPerSecond)
	}
	require.Equal(t, []int64{0, 100, 0, 50}, rates)
}
