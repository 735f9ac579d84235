package cli

import (
	"cmp"
	"context"
	"log/slog"
	"os"
	"strings"

	"go.opentelemetry.io/otel/trace"

	"github.com/pgconvoy/pgconvoy/internal/tracing"
)

// Tracer returns what makes spans of what the command does, the process of that name,
// and what sends the last of them. It is nil unless OpenTelemetry's environment
// variables name a collector. A trace that cannot be had is a warning and no error:
// these variables are often set for all programs of a host or cluster at once.
func Tracer(ctx context.Context, service, process string, log *slog.Logger) (tracer trace.Tracer, stop func()) {
	none := func() {}
	endpoint := cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT"))
	if endpoint == "" || strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") || os.Getenv("OTEL_TRACES_EXPORTER") == "none" {
		return nil, none
	}
	protocol := cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"), os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL"), "http/protobuf")
	if protocol != "http/protobuf" {
		log.Warn("no traces are sent: OTLP is spoken over HTTP only", "protocol", protocol, "hint", "set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, with the collector's port for HTTP, mostly 4318")
		return nil, none
	}
	tracer, stop, err := tracing.Start(ctx, tracing.Process{Service: service, Version: Version(), Name: process}, log)
	if err != nil {
		log.Warn("no traces are sent", "err", err)
		return nil, none
	}
	return tracer, stop
}
