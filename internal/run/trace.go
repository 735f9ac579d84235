package run

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
	"github.com/pgconvoy/pgconvoy/internal/tracing"
)

// trace begins the span of the run, which began before it had the identifier that its
// trace is called after: the root of the trace, or a child of it if another planner
// had begun the run.
func (r *running) trace(ctx context.Context, name string, began time.Time) (context.Context, trace.Span) {
	id := r.ledger.Run()
	if r.began {
		ctx = tracing.Root(ctx, id.UID)
	} else {
		ctx = tracing.Join(ctx, id.UID)
	}
	ctx, span := r.tracer().Start(ctx, name, trace.WithTimestamp(began))
	if span.IsRecording() {
		span.SetAttributes(attribute.String("pgconvoy.run", id.Name), attribute.String("pgconvoy.run_uid", id.UID))
		if r.member != nil {
			span.SetAttributes(attribute.String("pgconvoy.database", r.member.database()))
		}
	}
	return ctx, span
}

// tracer returns one that does nothing if nobody wants a trace.
func (o Options) tracer() trace.Tracer {
	if o.Tracer == nil {
		return noop.Tracer{}
	}
	return o.Tracer
}

// traceUntil makes a span of what has ended already, in the run's.
func (r *running) traceUntil(ctx context.Context, name string, began, ended time.Time) {
	_, span := r.tracer().Start(ctx, name, trace.WithTimestamp(began))
	span.End(trace.WithTimestamp(ended))
}

// endTrace ends the span of a run with what became of it. Why it failed is not said:
// the error may quote a row.
func endTrace(span trace.Span, report tasks.Report, err error) {
	if span.IsRecording() {
		span.SetAttributes(attribute.String("pgconvoy.state", string(report.State)), attribute.Int64("pgconvoy.rows", report.Rows),
			attribute.Int64("pgconvoy.bytes", report.Bytes), attribute.Int("pgconvoy.failed", len(report.Failures)))
		if err != nil {
			span.SetStatus(codes.Error, "planner status says why")
		}
	}
	span.End()
}
