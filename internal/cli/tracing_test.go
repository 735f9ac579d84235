package cli

import (
	"bytes"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
)

// Not parallel: it is about environment variables.
func TestTracer(t *testing.T) {
	const here = "http://127.0.0.1:1"
	for name, test := range map[string]struct {
		variables map[string]string
		on        bool
		says      string
	}{
		"unless asked for":   {nil, false, ""},
		"endpoint":           {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": here}, true, ""},
		"endpoint of traces": {map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": here}, true, ""},
		"switched off":       {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": here, "OTEL_SDK_DISABLED": "true"}, false, ""},
		"no exporter":        {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": here, "OTEL_TRACES_EXPORTER": "none"}, false, ""},
		"gRPC":               {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": here, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, false, "http/protobuf"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, variable := range []string{"ENDPOINT", "TRACES_ENDPOINT", "PROTOCOL", "TRACES_PROTOCOL"} {
				t.Setenv("OTEL_EXPORTER_OTLP_"+variable, "")
			}
			for variable, value := range test.variables {
				t.Setenv(variable, value)
			}
			var log bytes.Buffer
			tracer, stop := Tracer(t.Context(), "pgconvoy-test", "here", slog.New(slog.NewTextHandler(&log, nil)))
			stop()
			require.Equal(t, test.on, tracer != nil)
			require.Contains(t, log.String(), test.says)
			require.Equal(t, test.says == "", log.Len() == 0, log.String())
		})
	}
}

// A collector that is away costs the log a line, and the end of the process nothing.
func TestCollectorIsAway(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	var log bytes.Buffer
	tracer, stop := Tracer(t.Context(), "pgconvoy-test", "here", slog.New(slog.NewTextHandler(&log, nil)))
	require.NotNil(t, tracer)
	for range 2000 { // several batches
		_, span := tracer.Start(t.Context(), "task")
		span.End()
	}
	stop()
	require.Equal(t, 1, bytes.Count(log.Bytes(), []byte("\n")), log.String())
	require.Contains(t, log.String(), "traces are lost")
}
