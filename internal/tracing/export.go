package tracing

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Process says who makes the spans.
type Process struct {
	Service string // unless OTEL_SERVICE_NAME names another
	Version string
	Name    string // of the process, as ledger and log have it
}

// stopFor bounds how long the end of a process waits for a collector that is slow, or
// away.
const stopFor = 5 * time.Second

// Start returns a tracer whose spans are sent to the collector that the standard
// environment variables name (OTEL_EXPORTER_OTLP_ENDPOINT and its kin, which the
// library reads), by HTTP. Spans are sent in the background: when the collector is
// slow or away they are lost, and the first time that is logged. stop sends what is
// left, for five seconds at most.
func Start(ctx context.Context, p Process, log *slog.Logger) (tracer trace.Tracer, stop func(), err error) {
	client, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("start traces: %w", err)
	}
	about, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", p.Service), attribute.String("service.version", p.Version),
			attribute.String("service.instance.id", p.Name)),
		resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return nil, nil, fmt.Errorf("start traces: %w", err)
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(&exporter{SpanExporter: client, log: log}), sdktrace.WithResource(about), sdktrace.WithIDGenerator(generator{}))
	return provider.Tracer("github.com/pgconvoy/pgconvoy"), func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopFor)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			log.Warn("traces are not complete", "err", err)
		}
	}, nil
}

// exporter logs what goes wrong, once: the library would write it to stderr, every
// few seconds.
type exporter struct {
	sdktrace.SpanExporter
	log  *slog.Logger
	told atomic.Bool
}

// ExportSpans never fails, for whoever calls it.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	if err := e.SpanExporter.ExportSpans(ctx, spans); err != nil && !e.told.Swap(true) {
		e.log.Warn("traces are lost", "err", err, "hint", "the collector of OTEL_EXPORTER_OTLP_ENDPOINT must take OTLP over HTTP, mostly on port 4318")
	}
	return nil
}
