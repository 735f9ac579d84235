//go:build unix

package check_test

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// chownLike gives a file the owner of another.
func chownLike(t *testing.T, path string, like os.FileInfo) {
	t.Helper()
	stat, ok := like.Sys().(*syscall.Stat_t)
	require.True(t, ok)
	require.NoError(t, os.Chown(path, int(stat.Uid), int(stat.Gid)))
}
