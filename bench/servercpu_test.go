package bench_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// clockTick is the unit of CPU time in /proc, on every Linux that Go runs on.
const clockTick = 10 * time.Millisecond

// serverCPU is the CPU that a server has used so far: its postmaster, the
// processes that it has, and those that it had. It reads /proc.
func serverCPU(b *testing.B, postmaster int) time.Duration {
	total := processCPU(b, postmaster)
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", postmaster, postmaster))
	require.NoError(b, err)
	for _, child := range strings.Fields(string(children)) {
		var pid int
		_, err := fmt.Sscan(child, &pid)
		require.NoError(b, err)
		total += processCPU(b, pid)
	}
	return total
}

// processCPU is the CPU of a process and of the children that it has waited for.
func processCPU(b *testing.B, pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	require.NoError(b, err)
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]) // the first of them is the third of proc(5)
	var total time.Duration
	for _, field := range fields[11:15] { // utime, stime, cutime, cstime
		var ticks int64
		_, err := fmt.Sscan(string(field), &ticks)
		require.NoError(b, err)
		total += time.Duration(ticks) * clockTick
	}
	return total
}
