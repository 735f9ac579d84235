package pgtest

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
)

const (
	memoryFolder = "/dev/shm"
	memoryRoom   = 8 << 30 // bytes; some packages' tests run at a time, each with up to two
	noExecute    = 0x8     // ST_NOEXEC of statfs(2)
)

// inMemory returns a folder of a file system in memory if there is one that has
// room for clusters and may hold programs, else nothing. A database is 300 files:
// making and removing them on a disk is half of what a small test costs.
func inMemory() string {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(memoryFolder, &fs); err != nil || fs.Flags&noExecute != 0 {
		return ""
	}
	if fs.Bavail*uint64(fs.Bsize) < memoryRoom || availableMemory() < memoryRoom {
		return ""
	}
	return memoryFolder
}

// availableMemory is how many bytes programs could have without swapping, 0 if
// that is not known.
func availableMemory() int64 {
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(info, []byte("MemAvailable:"))
	var kilobytes int64
	if _, err := fmt.Sscan(string(rest), &kilobytes); err != nil {
		return 0
	}
	return kilobytes << 10
}
