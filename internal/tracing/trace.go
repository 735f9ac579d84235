package tracing

import (
	"context"
	"crypto/rand"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/trace"
)

// Root prepares a context for the span of a run itself: the first span that is begun
// in it is the root of the run's trace.
func Root(ctx context.Context, runUID string) context.Context {
	return context.WithValue(ctx, rootKey{}, runUID)
}

type rootKey struct{}

// Join returns a context in which spans are children of the run's own. The run's
// identifier says which trace that is, so a task is in it whoever has published its
// message, and so is what another planner does that goes on with the run. A run
// whose identifier is no UUID has no trace in common.
func Join(ctx context.Context, runUID string) context.Context {
	traceID, spanID := identifiers(runUID)
	return trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: traceID, SpanID: spanID, TraceFlags: trace.FlagsSampled, Remote: true,
	}))
}

// identifiers returns those of a run's trace and of its root: the run's UUID, and the
// half of it that is random.
func identifiers(runUID string) (traceID trace.TraceID, root trace.SpanID) {
	if id, err := uuid.Parse(runUID); err == nil {
		traceID = trace.TraceID(id)
		copy(root[:], id[8:])
	}
	return traceID, root
}

// generator gives the root of a run its identifiers, and all others random ones.
type generator struct{}

// NewIDs is called for a span without a parent.
func (generator) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	if uid, ok := ctx.Value(rootKey{}).(string); ok {
		if traceID, root := identifiers(uid); traceID.IsValid() && root.IsValid() {
			return traceID, root
		}
	}
	var traceID trace.TraceID
	_, _ = rand.Read(traceID[:]) // never fails
	return traceID, generator{}.NewSpanID(ctx, traceID)
}

// NewSpanID is called for every other span.
func (generator) NewSpanID(context.Context, trace.TraceID) trace.SpanID {
	var id trace.SpanID
	_, _ = rand.Read(id[:])
	return id
}
