package ledger_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/ledger"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// large is a plan of four tasks per table: copy, two indexes and attach.
func large(tb testing.TB, tables int) []tasks.Task {
	tb.Helper()
	schema := task(tb, tasks.KindSchema, "chunk", "chunk")
	schema.Wave = tasks.WaveSchema
	late := task(tb, tasks.KindSequences, "late", "", tasks.WaveSchema, tasks.WaveData)
	late.Wave = tasks.WaveLate
	list := []tasks.Task{schema}
	for _, kind := range []tasks.Kind{tasks.KindCopy, tasks.KindIndex, tasks.KindFKeyAdd, tasks.KindAttach} {
		for i := range tables {
			table := fmt.Sprintf("t%06d", i)
			group, needs := tasks.Group("copy:"+table), tasks.WaveSchema
			switch kind {
			case tasks.KindIndex, tasks.KindFKeyAdd:
				group, needs = tasks.Group("index:"+table), tasks.Group("copy:"+table)
			case tasks.KindAttach:
				group, needs = tasks.Group("attach:"+table), tasks.Group("index:"+table)
			}
			t := task(tb, kind, table, group, needs)
			t.Weight = int64(tables - i)
			list = append(list, t)
		}
	}
	return append(list, late)
}

// BenchmarkLedger measures the steps of a run with 100,000 tasks while an old
// transaction on the target keeps every dead version of their rows.
func BenchmarkLedger(b *testing.B) {
	const tables = 25_000
	db := pgtest.Target(b).Database(b)
	c := connect(b, db)
	list := large(b, tables)
	start := time.Now()
	l := create(b, c, list...)
	b.Logf("create %d tasks: %s", len(list), time.Since(start))
	old := db.Connect(b)
	_, err := old.Exec(b.Context(), "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT txid_current()")
	require.NoError(b, err)
	do(b, l, c, list[0].ID)
	start = time.Now()
	require.Len(b, unblocked(b, l, c, list[0]), tables)
	b.Logf("promote the copies after the schema: %s", time.Since(start))

	for done := range 4 {
		b.Run(fmt.Sprintf("%d-tables-done", done*8000), func(b *testing.B) { benchSteps(b, l, c, done*8000) })
		finishTables(b, db, done*8000, (done+1)*8000)
	}
}

// finishTables does in few statements what workers do in many: the same row
// versions, in the order of the plan.
func finishTables(b *testing.B, db *pgtest.Database, from, to int) {
	b.Helper()
	for _, kind := range []tasks.Kind{tasks.KindCopy, tasks.KindIndex, tasks.KindFKeyAdd, tasks.KindAttach} {
		for _, state := range []tasks.State{tasks.Ready, tasks.Done} {
			db.Exec(b, fmt.Sprintf(`UPDATE pgconvoy.task SET state = '%s' WHERE kind = '%s' AND state NOT IN ('%s', 'done')
				AND id >= '%s.public.t%06d' AND id < '%s.public.t%06d'`, state, kind, state, kind.Stage(), from, kind.Stage(), to))
		}
	}
}

func benchSteps(b *testing.B, l *ledger.Ledger, c *pg.Conn, next int) {
	b.Helper()
	measure := func(name string, step func()) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				step()
			}
		})
	}
	table := fmt.Sprintf("t%06d", min(next, 24_999))
	copied := task(b, tasks.KindCopy, table, tasks.Group("copy:"+table))
	measure("take", func() {
		_, _, err := l.Take(b.Context(), c, copied.ID)
		require.NoError(b, err)
		rollback(b, c)
	})
	measure("unblocked-open", func() {
		_, err := l.Unblocked(b.Context(), c, copied)
		require.NoError(b, err)
	})
	if next > 0 {
		finished := task(b, tasks.KindIndex, "t000001", "index:t000001")
		measure("unblocked-bucket-done", func() {
			_, err := l.Unblocked(b.Context(), c, finished)
			require.NoError(b, err)
		})
	}
	measure("ready", func() {
		_, err := l.Ready(b.Context(), c)
		require.NoError(b, err)
	})
	measure("counts", func() {
		_, err := l.Counts(b.Context(), c)
		require.NoError(b, err)
	})
	measure("stuck", func() {
		_, err := l.Stuck(b.Context(), c)
		require.NoError(b, err)
	})
}
