package pgtest

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Another process may bind the port that was free a moment ago: launch says so,
// and does not take the other server for its own.
func TestLaunchSeesATakenPort(t *testing.T) {
	t.Parallel()
	first := Start(t, Options{})
	second := Start(t, Options{})
	require.NoError(t, second.stop(syscall.SIGINT))
	own := second.Port
	second.Port = first.Port
	require.ErrorIs(t, second.launch(t.Context()), errPortTaken)
	require.Zero(t, second.Pid())
	second.Port = own
	require.NoError(t, second.launch(t.Context()))
}

func TestLayoutOfInstallations(t *testing.T) {
	t.Parallel()
	found, err := serverInstall(DefaultMajor(t))
	require.NoError(t, err)
	_, _, ok := findLayout(found)
	require.True(t, ok, "the museum's extension cannot be installed beside %s", found.bin)
}
