// Package embedded runs a NATS server inside the planner, for runs that are
// given none. Everything else talks to it as to any other server: through
// [queue.Options.InProcess], or over TCP if it listens.
//
// It is a package of its own so that the worker, which always connects to a
// server somewhere else, does not link one.
package embedded
