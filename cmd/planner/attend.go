package main

import (
	"context"
	"log/slog"

	"github.com/pgconvoy/pgconvoy/internal/cli"
	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/fleet"
	"github.com/pgconvoy/pgconvoy/internal/run"
	"github.com/pgconvoy/pgconvoy/internal/webhook"
)

// service is what traces call the planner.
const service = "pgconvoy-planner"

// attend does a run while people look: it shows how far it is on the terminal, or
// in the log, and over HTTP if that is served, keeps its report, and tells a webhook
// and a collector of traces if there are such.
func attend[R any](ctx context.Context, app *cli.App, cfg config.Config, logger *slog.Logger, do func(run.Options) (R, error)) (report R, err error) {
	o := run.Options{Config: cfg, Version: cli.Version(), Log: logger}
	keep, err := keepReports(cfg.Reports, logger)
	if err != nil {
		return report, err
	}
	progress, stopShowing := progressOf(app, cfg, logger)
	defer stopShowing()
	o.Progress, o.KeepReport = progress, keep
	stopServing, err := serveRun(&o)
	if err != nil {
		return report, err
	}
	defer stopServing()
	defer tellOthers(ctx, &o)()
	return do(o)
}

// tellOthers has the planner tell a webhook, and a collector of traces, if there are
// such. The returned function waits, within bounds, for what they were not told yet.
func tellOthers(ctx context.Context, o *run.Options) (stop func()) {
	hook := webhook.New(string(o.Config.Webhook.URL), o.Version, o.Log)
	tracer, stopTraces := cli.Tracer(ctx, service, fleet.Name(), o.Log)
	o.Alert, o.Tracer = hook.Send, tracer
	return func() {
		stopTraces()
		hook.Close()
	}
}
