package check_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/check"
)

func TestFindingsErr(t *testing.T) {
	t.Parallel()
	warning := check.Finding{Check: "w", Level: check.Warning, What: "a thing", Hint: "look"}
	block := check.Finding{Check: "b", Level: check.Blocker, What: "another", Hint: "one;\ntwo;"}
	ledger := check.Finding{Check: check.UnfinishedLedger, Level: check.Blocker, What: "unfinished", Hint: "planner cleanup"}
	require.NoError(t, check.Findings(nil).Err())
	require.NoError(t, check.Findings{warning}.Err())

	err := check.Findings{warning, block}.Err()
	require.EqualError(t, err, "preflight found 1 blocker and 1 warning\nblocker b: another\n  hint: one;\n    two;\nwarning w: a thing\n  hint: look")
	for _, c := range []struct {
		found check.Findings
		code  int
	}{
		{check.Findings{warning, block}, 5},
		{check.Findings{ledger, block}, 5},
		{check.Findings{ledger, warning}, 3},
	} {
		var failed *check.FailedError
		require.True(t, errors.As(c.found.Err(), &failed))
		require.Equal(t, c.code, failed.ExitCode())
	}
	var lines []string
	for what, hint := range (&check.FailedError{Findings: check.Findings{warning, block, ledger}}).Lines() {
		lines = append(lines, what, hint)
	}
	require.Equal(t, []string{"another", "one;\ntwo;", "unfinished", "planner cleanup"}, lines)
}
