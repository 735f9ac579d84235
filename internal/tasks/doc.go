// Package tasks holds the domain words of pgconvoy: a run, its plan, the tasks
// of the plan and what each of them needs. It is the leaf that every other
// package adapts a technology to, so it imports the standard library only and
// does no I/O. A new kind of task begins here: its [Kind], the [Stage] it is
// dispatched on and the spec that the ledger stores for it.
package tasks
