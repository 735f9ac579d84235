// Package tracing makes a run into one OpenTelemetry trace, in which planner and
// workers meet without telling each other: trace.go derives the trace's identifier
// from that of the run, export.go sends spans to a collector. What gets a span is
// said where the work is done, in internal/run and internal/worker.
package tracing
