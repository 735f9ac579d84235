//go:build !linux

package pgtest

// inMemory returns nothing: no file system in memory is at a known place.
func inMemory() string { return "" }
