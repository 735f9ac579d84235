package check_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/check"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

func TestLimitsThatNobodyCouldKeep(t *testing.T) {
	t.Parallel()
	role := newRole(t, pgtest.Source(t), "LOGIN")
	b := setup(t)
	b.sourceRole = role
	b.edit = func(in *check.Input) {
		in.Limits = tasks.Limits{tasks.SourceRate: 1 << 20, tasks.SourceLockWaits: 3, tasks.Automatic: 1}
	}
	require.Empty(t, b.run(t), "for these it sees enough")
	b.edit = func(in *check.Input) {
		in.Limits = tasks.Limits{tasks.SourceActiveSessions: 7, tasks.SourceReplicaLag: 1, tasks.TargetReplicaLag: 1}
	}
	f := requireOnly(t, b.run(t), check.Blocker, "limits")
	require.Contains(t, f.What, "limits.source.max_replica_lag and limits.source.max_active_sessions cannot be kept")
	runHint(t, b.source, f.Hint)
	require.Empty(t, b.run(t))
}
