package worker

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// traceTask begins the span of one delivery, in the trace that ctx is in.
func (w *Worker) traceTask(ctx context.Context, d Delivery, e tasks.Envelope) (context.Context, trace.Span) {
	ctx, span := w.o.Tracer.Start(ctx, string(e.Kind), trace.WithSpanKind(trace.SpanKindConsumer))
	if span.IsRecording() {
		span.SetAttributes(
			attribute.String("pgconvoy.run", e.Run), attribute.String("pgconvoy.task", string(e.Task)),
			attribute.String("pgconvoy.stage", string(e.Kind.Stage())), attribute.Int("pgconvoy.delivery", d.Attempt()),
		)
	}
	return ctx, span
}

// endTask says in the span of a delivery what came of it.
func endTask(span trace.Span, j *Job, err error) {
	if span.IsRecording() && err == nil {
		span.SetAttributes(attribute.Int64("pgconvoy.rows", j.result.Rows), attribute.Int64("pgconvoy.bytes", j.result.Bytes))
	}
	mark(span, err)
}

// trace begins a span for what the task asks of a server; end ends it, with what
// came of it. The name says what is done to what: anybody who sees traces may read
// it, so it holds names, and neither values nor definitions, which may quote some.
func (j *Job) trace(ctx context.Context, side pg.Side, name string) (_ context.Context, end func(error)) {
	ctx, span := j.worker.o.Tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindClient))
	if !span.IsRecording() {
		return ctx, func(error) {}
	}
	span.SetAttributes(attribute.String("db.system.name", "postgresql"), attribute.String("pgconvoy.side", string(side)))
	return ctx, func(err error) {
		mark(span, err)
		span.End()
	}
}

// mark says in a span why something failed, in words that the queue may see, too.
func mark(span trace.Span, err error) {
	switch {
	case err == nil:
	case errors.Is(err, tasks.ErrBusy), errors.Is(err, errNotReady): // nothing is wrong: somebody else has it, or had
		span.SetAttributes(attribute.Bool("pgconvoy.not_taken", true))
	default:
		span.SetStatus(codes.Error, brief(err))
	}
}

// operation names what a task of a kind that runs statements does, and to what.
func operation(kind tasks.Kind, on *tasks.Name) string {
	name := map[tasks.Kind]string{
		tasks.KindSchema:       "entries of the archive",
		tasks.KindIndex:        "CREATE INDEX",
		tasks.KindAttach:       "ALTER TABLE",
		tasks.KindAnalyze:      "ANALYZE",
		tasks.KindFKeyAdd:      "ADD FOREIGN KEY",
		tasks.KindFKeyValidate: "VALIDATE CONSTRAINT",
		tasks.KindRefresh:      "REFRESH MATERIALIZED VIEW",
	}[kind]
	if on != nil {
		name += " " + on.String()
	}
	return name
}
