//go:build unix

package pg_test

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// chownLike gives a file the owner of another.
func chownLike(t *testing.T, file, like string) {
	t.Helper()
	info, err := os.Stat(like)
	require.NoError(t, err)
	stat, ok := info.Sys().(*syscall.Stat_t)
	require.True(t, ok)
	require.NoError(t, os.Chown(file, int(stat.Uid), int(stat.Gid)))
}
