package pgtest

import "syscall"

// dieWithParent makes the kernel end the server when the test process dies in a
// way that lets it tidy up nothing (kill -9, a panic, go test's timeout).
// SIGQUIT is Postgres' immediate shutdown: the postmaster takes its children
// along.
func dieWithParent(attr *syscall.SysProcAttr) {
	attr.Pdeathsig = syscall.SIGQUIT
}
