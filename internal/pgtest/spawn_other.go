//go:build !linux

package pgtest

import "syscall"

// dieWithParent does nothing where the kernel has no parent-death signal: there
// the servers of a killed test process have to be stopped by hand.
func dieWithParent(*syscall.SysProcAttr) {}
