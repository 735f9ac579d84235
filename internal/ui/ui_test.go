package ui_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
	"github.com/pgconvoy/pgconvoy/internal/ui"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func TestBytes(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.00 kB", 10_000: "9.77 kB", 102_400: "100 kB", 1_022_976: "999 kB", 1_023_999: "0.98 MB",
		1 << 20: "1.00 MB", 15 << 20: "15.0 MB", 1_300_000_000: "1.21 GB", 1 << 40: "1.00 TB", 1 << 50: "1.00 PB", math.MaxInt64: "8192 PB",
	} {
		require.Equal(t, want, ui.Bytes(n))
	}
}

func TestCount(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{
		0: "0", 999: "999", 1000: "1 000", 1_234_567: "1 234 567", -1: "-1", -1000: "-1 000", math.MinInt64: "-9 223 372 036 854 775 808",
	} {
		require.Equal(t, want, ui.Count(n))
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "-", time.Microsecond: "<1ms", 1499 * time.Microsecond: "1ms", 250 * time.Millisecond: "250ms",
		1234 * time.Millisecond: "1.23s", 59 * time.Second: "59s", 90500 * time.Millisecond: "1m31s", 3 * time.Hour: "3h0m0s",
	} {
		require.Equal(t, want, ui.Duration(d))
	}
}

func name(s string) tasks.Name { return tasks.Name{Schema: "public", Name: s} }

func requireText(t *testing.T, want string, print func(w *strings.Builder) error) {
	t.Helper()
	var out strings.Builder
	require.NoError(t, print(&out))
	if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), out.String()); diff != "" {
		t.Fatal(diff)
	}
}

func report() tasks.Report {
	return tasks.Report{
		Run: "main", RunUID: "0198", State: tasks.RunFailed, Snapshot: "700:701:", Elapsed: 95 * time.Second, Rows: 1_000_005, Bytes: 50 << 20, Pending: 1,
		Tables: []tasks.TableReport{
			{Name: name("orders"), Rows: 1_000_000, Bytes: 50 << 20, Parts: 16, CopyTime: 12340 * time.Millisecond, Indexes: 3, IndexTime: 2 * time.Second},
			{Name: name("größe\nx\x1b[31m"), Rows: 5, Bytes: 10, Parts: 1, Bundle: "copy.bundle.b0001"},
		},
		Stages: []tasks.StageReport{
			{Kind: tasks.KindCopy, Stage: tasks.StageCopy, Tasks: 16, Wall: 4 * time.Second, Cumulative: 12340 * time.Millisecond},
			{Kind: tasks.KindFKeyAdd, Stage: tasks.StageFKey, Tasks: 1, Wall: time.Millisecond, Cumulative: time.Millisecond},
		},
		Skipped:  []tasks.Skipped{{Object: "index x", Reason: "pg_dump leaves it out"}},
		Failures: []tasks.Failure{{Task: "fkey.public.orders.fk.validate", Kind: tasks.KindFKeyValidate, Attempts: 1, Reason: "orphans\nin the table"}},
		Notes:    []tasks.Note{{Task: "analyze.public.x.all", Text: "no statistics"}},
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	requireText(t, `
table                             rows    bytes  parts    copy  indexes  index time
"public"."orders"            1 000 000  50.0 MB     16  12.34s        3          2s
"public"."größe\nx\x1b[31m"          5     10 B      1  bundle        0           -

kind of task  stage  tasks  wall  cumulative
copy          copy      16    4s      12.34s
fkey-add      fkey       1   1ms         1ms

skipped:
  index x: pg_dump leaves it out

failed:
  fkey.public.orders.fk.validate (attempts: 1): orphans\nin the table

notes:
  analyze.public.x.all: no statistics

run main is failed: 1 000 005 rows, 50.0 MB of 2 tables in 1m35s; not compared
`, func(w *strings.Builder) error { return ui.Report(w, "table", report()) })
}

func TestReportOfManyTables(t *testing.T) {
	t.Parallel()
	r := tasks.Report{Run: "main", State: tasks.RunComplete, Verified: "digest"}
	for i := range 50 {
		r.Tables = append(r.Tables, tasks.TableReport{Name: name(fmt.Sprintf("t%02d", i))})
	}
	var out strings.Builder
	require.NoError(t, ui.Report(&out, "table", r))
	require.Contains(t, out.String(), `"public"."t39"`)
	require.NotContains(t, out.String(), `"public"."t40"`)
	require.Contains(t, out.String(), "… and 10 smaller tables (-o json lists all)")
	require.Contains(t, out.String(), "run main is complete: 0 rows, 0 B of 50 tables in -; digest compared: equal")
}

func TestReportAsJSON(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	require.NoError(t, ui.Report(&out, ui.JSON, report()))
	var back tasks.Report
	require.NoError(t, json.Unmarshal([]byte(out.String()), &back))
	require.Equal(t, report(), back)
	require.True(t, strings.HasPrefix(out.String(), "{\n  \"run\": \"main\",\n"))
	require.Contains(t, out.String(), `"elapsed_ns": 95000000000`)
}

func TestPlan(t *testing.T) {
	t.Parallel()
	p := tasks.Plan{
		Tables: []tasks.PlannedTable{
			{Name: name("orders"), Bytes: 3 << 30, HeapBytes: 2 << 30, Rows: 12_000_000, Parts: 3, Indexes: 2, IndexBytes: 1 << 30, Binary: true, SplitBy: "ctid", Bounds: []string{"100", "200"}},
			{Name: name("tiny"), Bytes: 8192, HeapBytes: 8192, Rows: -1, Parts: 1, Bundle: "copy.bundle.b0001", WhyText: "digests are of text", Into: &tasks.Name{Schema: "public", Name: "whole"}},
		},
		Tasks: []tasks.Task{
			{ID: "copy.public.orders.p0001", Kind: tasks.KindCopy, Group: "copy:1", Wave: tasks.WaveData, Needs: []tasks.Group{tasks.WaveSchema}, Weight: 7, Spec: json.RawMessage(`{"a":"<"}`)},
			{ID: "copy.public.orders.p0002", Kind: tasks.KindCopy},
			{ID: "copy.bundle.b0001", Kind: tasks.KindBundle},
			{ID: "misc.pre-data.c0001", Kind: tasks.KindSchema},
		},
		Skipped:  []tasks.Skipped{{Object: "table x", Reason: "it is not\nthere"}},
		Critical: []tasks.CriticalTask{{ID: "misc.pre-data.c0001"}, {ID: "copy.public.orders.p0001", Weight: 7}},
		Expected: tasks.Expected{Tables: 3 << 30, Indexes: 1 << 30, Catalog: 20 << 10, WAL: 3 << 30, MostWAL: 4 << 30},
	}
	o := tasks.Outlook{
		Sessions: []tasks.Sessions{
			{Side: "source", Planner: 2, Tasks: 7, Process: 8, Limits: []tasks.SessionLimit{{Of: "server", Max: 100, Reserved: 3, Used: 5, Needed: 9}}},
			{Side: "target", Planner: 2, Tasks: 17, Process: 18, Limits: []tasks.SessionLimit{{Of: "server", Max: 100, Used: 50, Needed: 19}, {Of: "role", Max: 40, Needed: 19}}},
		},
		Estimate: tasks.Estimate{
			Planning: time.Second,
			Rates:    tasks.Rates{Copy: tasks.Rate{Slow: 25 << 20, Fast: 120 << 20}, Index: tasks.Rate{Slow: 12 << 20, Fast: 60 << 20}, Scan: tasks.Rate{Slow: 150 << 20, Fast: 1 << 30}, Carried: tasks.Rate{Slow: 2, Fast: 16}},
			Crews:    []tasks.CrewTime{{Shortest: 40 * time.Second, Longest: 4 * time.Minute, Bound: "stage copy"}, {Workers: 16, Shortest: 31 * time.Second, Longest: 3 * time.Minute, Bound: "critical path"}},
		},
	}
	requireText(t, `
table                 heap    TOAST  rows (estimate)  parts  indexes  their size  format  travels in
"public"."orders"  2.00 GB  1.00 GB       12 000 000      3        2     1.00 GB  binary
"public"."tiny"    8.00 kB      0 B                ?      1        0         0 B  text    b0001
parts of "public"."orders" by ctid: … 100 … 200 …

kind of task  stage  tasks
copy          copy       2
bundle        copy       1
schema        misc       1
skipped: table x: it is not\nthere
into "public"."whole": the rows of 1 table
as text: 1 table: digests are of text
critical path: misc.pre-data.c0001 → copy.public.orders.p0001

connections to  limit of  needed  limit  reserved  used  free
source          server         9    100         3     5    92
target          server        19    100         0    50    50
target          role          19     40         0     0    40
a worker process keeps at most 8 on the source and 18 on the target; there is room for 2

workers      at least  at most  no faster because of
caps as set       40s     4m0s  stage copy
16                31s     3m0s  critical path
with 1s of planning; assumed: a COPY takes 25.0 MB to 120 MB/s, an index 12.0 MB to 60.0 MB/s, reading 150 MB to 1.00 GB/s, 2.0 to 16.0 tasks at once are as fast as one; --calibrate measures

4 tasks for 2 tables, 3.00 GB
expected on the target: at most 4.00 GB (tables 3.00 GB, indexes 1.00 GB, large objects 0 B, catalog 20.0 kB), and WAL of 3.00 GB, at most 4.00 GB
`, func(w *strings.Builder) error { return ui.Plan(w, "table", p, o) })

	p.Tasks, p.Tables, p.Skipped, p.Critical = p.Tasks[:1], p.Tables[:1], nil, p.Critical[1:]
	o.Sessions, o.Estimate.Crews = o.Sessions[:1], o.Estimate.Crews[:1]
	requireText(t, `
{
  "steps": [],
  "tables": [
    {
      "table": {
        "schema": "public",
        "name": "orders"
      },
      "bytes": 3221225472,
      "rows": 12000000,
      "parts": 3,
      "indexes": 2,
      "split_by": "ctid",
      "bounds": [
        "100",
        "200"
      ],
      "heap_bytes": 2147483648,
      "index_bytes": 1073741824,
      "binary": true
    }
  ],
  "tasks": [
    {
      "task": "copy.public.orders.p0001",
      "kind": "copy",
      "stage": "copy",
      "group": "copy:1",
      "wave": "wave:data",
      "needs": [
        "wave:schema"
      ],
      "weight": 7,
      "spec": {
        "a": "<"
      }
    }
  ],
  "skipped": [],
  "critical_path": [
    {
      "task": "copy.public.orders.p0001",
      "weight": 7
    }
  ],
  "expected": {
    "table_bytes": 3221225472,
    "index_bytes": 1073741824,
    "large_object_bytes": 0,
    "catalog_bytes": 20480,
    "wal_bytes": 3221225472,
    "most_wal_bytes": 4294967296
  },
  "connections": [
    {
      "side": "source",
      "planner": 2,
      "tasks": 7,
      "per_worker": 8,
      "limits": [
        {
          "of": "server",
          "max": 100,
          "reserved": 3,
          "used": 5,
          "needed": 9
        }
      ]
    }
  ],
  "estimate": {
    "rates": {
      "measured": false,
      "copy_bytes_per_s": {
        "slow": 26214400,
        "fast": 125829120
      },
      "index_bytes_per_s": {
        "slow": 12582912,
        "fast": 62914560
      },
      "scan_bytes_per_s": {
        "slow": 157286400,
        "fast": 1073741824
      },
      "carried": {
        "slow": 2,
        "fast": 16
      }
    },
    "planning_ns": 1000000000,
    "workers": [
      {
        "shortest_ns": 40000000000,
        "longest_ns": 240000000000,
        "bound": "stage copy"
      }
    ]
  }
}
`, func(w *strings.Builder) error { return ui.Plan(w, ui.JSON, p, o) })
}

func TestEmptyPlanHasListsNotNull(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	require.NoError(t, ui.Plan(&out, ui.JSON, tasks.Plan{}, tasks.Outlook{}))
	var have map[string]any
	require.NoError(t, json.Unmarshal([]byte(out.String()), &have))
	for _, list := range []string{"steps", "tables", "tasks", "skipped", "critical_path", "connections"} {
		require.Equal(t, []any{}, have[list], list)
	}
	require.Equal(t, []any{}, have["estimate"].(map[string]any)["workers"])
}

func TestComparison(t *testing.T) {
	t.Parallel()
	c := tasks.Comparison{Level: "digest", Tables: 3, Rows: 1500, Differences: []tasks.Difference{
		{
			Table: name("a"), Source: "5 rows", Target: "4 rows", Key: []string{"id", "na\"me"}, More: true,
			Rows: []tasks.RowDifference{
				{Finding: tasks.RowMissing, Key: []string{"7", "it's\n"}}, {Finding: tasks.RowExtra, Key: []string{"8", `x\`}}, {Finding: tasks.RowDifferent, Key: []string{"9", ""}},
			},
		},
		{Table: name("b"), Source: "5 rows", Target: "4 rows", Rows: []tasks.RowDifference{{Finding: tasks.RowMissing, CTID: "(3,4)"}}},
	}}
	requireText(t, `
"public"."a": source has 5 rows, target has 4 rows
  only on the source: "id" = '7' AND "na""me" = 'it''s\n'
  only on the target: "id" = '8' AND "na""me" = E'x\\'
  different: "id" = '9' AND "na""me" = ''
  … and more rows
"public"."b": source has 5 rows, target has 4 rows
  only on the source: the row at ctid (3,4)
digest of 3 tables compared, 1 500 rows: 2 differ
`, func(w *strings.Builder) error { return ui.Comparison(w, "table", ui.Compared{Comparison: &c}) })
	var out strings.Builder
	require.NoError(t, ui.Comparison(&out, ui.JSON, ui.Compared{Comparison: &tasks.Comparison{Level: "rows"}}))
	require.JSONEq(t, `{"level": "rows", "tables": 0, "rows": 0, "differences": []}`, out.String())
	out.Reset()
	c.Differences = c.Differences[1:]
	require.NoError(t, ui.Comparison(&out, ui.JSON, ui.Compared{Comparison: &c}))
	require.JSONEq(t, `{"level": "digest", "tables": 3, "rows": 1500, "differences": [{"table": {"schema": "public", "name": "b"},
		"source": "5 rows", "target": "4 rows", "rows": [{"finding": "missing", "ctid": "(3,4)"}]}]}`, out.String())
}

// full is an output that takes no more.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestOutputErrorsAreReported(t *testing.T) {
	t.Parallel()
	for _, form := range []string{ui.JSON, "table"} {
		require.ErrorContains(t, ui.Report(full{}, form, report()), "disk full")
		require.ErrorContains(t, ui.Plan(full{}, form, tasks.Plan{}, tasks.Outlook{}), "disk full")
		require.ErrorContains(t, ui.Comparison(full{}, form, ui.Compared{Comparison: &tasks.Comparison{}}), "disk full")
	}
}
