package main

import (
	"log/slog"

	"github.com/pgconvoy/pgconvoy/internal/cli"
	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/run"
)

// attend does a run while people look: it shows how far it is on the terminal, or
// in the log, and over HTTP if that is served, and keeps its report.
func attend[R any](app *cli.App, cfg config.Config, logger *slog.Logger, do func(run.Options) (R, error)) (report R, err error) {
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
	return do(o)
}
