package run_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/ledger"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/run"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// TestProgress looks at a run whose copies wait, as the planner's terminal does and
// as another host does.
func TestProgress(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	release := gated(t, src, dst, 10_000)
	o := options(t, src, dst)
	var mu sync.Mutex
	var seen []tasks.RunStatus
	o.Progress = func(s tasks.RunStatus) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, s)
	}
	wait := start(t.Context(), o)
	awaitGate(t, dst, 2)
	watched := make(chan tasks.RunStatus, 100)
	watching := make(chan error, 1)
	go func() { watching <- run.Watch(t.Context(), o, func(s tasks.RunStatus) { watched <- s }) }()
	require.Eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(seen) > 1 && len(seen[len(seen)-1].Running) > 0
	}, 20*time.Second, 50*time.Millisecond)
	mu.Lock()
	last := seen[len(seen)-1]
	mu.Unlock()
	done, all := last.Work()
	require.Positive(t, all)
	require.Less(t, done, all)
	require.Positive(t, last.TableBytes)
	require.Positive(t, last.Running[0].Weight)
	require.Equal(t, last.Run, (<-watched).Run)
	release()
	_, err := wait()
	require.NoError(t, err)
	if err := <-watching; err != nil { // nil if it looked between the end of the run and that of its ledger
		require.ErrorIs(t, err, run.ErrEnded)
	}
}

// TestReportBeforeTheLedgerGoes: what keeps the report gets all of it while the
// ledger is there, and if it cannot, the ledger stays to be read again.
func TestReportBeforeTheLedgerGoes(t *testing.T) {
	t.Parallel()
	src := pgtest.Source(t).Database(t)
	src.Exec(t, "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a SELECT generate_series(1, 100)")
	for name, fails := range map[string]error{"kept": nil, "not kept": errors.New("the disk is full")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dst := pgtest.Target(t).Database(t)
			target, err := pg.Connect(t.Context(), pg.Options{Side: pg.Target, URI: dst.URI()})
			require.NoError(t, err)
			defer target.Discard()
			o := options(t, src, dst)
			var kept tasks.Report
			o.KeepReport = func(r tasks.Report) error {
				kept = r
				names, err := ledger.Runs(t.Context(), target)
				require.NoError(t, err)
				require.NotEmpty(t, names, "the ledger is there")
				return fails
			}
			report, err := run.Run(t.Context(), o)
			require.NoError(t, err)
			require.Equal(t, report, kept)
			n := 0
			for _, s := range kept.Stages {
				n += s.Tasks
			}
			require.Len(t, kept.Timeline, n)
			for _, s := range kept.Timeline {
				require.NotEmpty(t, s.Worker, s.Task)
				require.Positive(t, s.Took, s.Task)
				require.LessOrEqual(t, s.Start+s.Took, kept.Elapsed, s.Task)
			}
			again, err := run.Report(t.Context(), o)
			if fails == nil {
				require.ErrorIs(t, err, ledger.ErrNoRun)
				return
			}
			require.NoError(t, err)
			again.Snapshots = kept.Snapshots // which age
			require.Equal(t, kept, again)
		})
	}
}
