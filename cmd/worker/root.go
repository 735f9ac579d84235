package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/pgconvoy/pgconvoy/internal/cli"
	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/fleet"
	"github.com/pgconvoy/pgconvoy/internal/httpd"
	"github.com/pgconvoy/pgconvoy/internal/metrics"
	"github.com/pgconvoy/pgconvoy/internal/queue"
)

const about = `worker takes tasks of a run from the queue and does them.

It is configured by the environment: PGCONVOY_SOURCE_URI, PGCONVOY_TARGET_URI
and PGCONVOY_NATS_URL are needed, PGCONVOY_RUN names the run (main unless it is
set), PGCONVOY_SLOTS_COPY and the like say how many tasks of a stage it takes
at once. In Kubernetes set enableServiceLinks: false, or its own PGCONVOY_*
variables cause warnings.

For batch jobs, --exit-when-idle ends it when there was nothing to do for a time:
with status 0 when nothing is left that it could do, or the run was complete before
it came, with status 3 when it gave up, because no run began, or tasks are queued
and none was given out. Where nothing replaces workers that end, --linger keeps
them until the run has ended.

SIGTERM drains: what runs is finished (for PGCONVOY_GRACE at most), nothing new
is taken, and the exit status is 0. A second signal stops at once.`

// newRoot returns the command.
func newRoot(app *cli.App) *cobra.Command {
	root := &cobra.Command{
		Use:   "worker",
		Short: "Do the tasks of a run",
		Long:  about,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, logger, err := app.Load(config.Config.ValidateWorker)
			if err != nil {
				return err
			}
			app.Drains()
			return runWorker(cmd.Context(), cfg, logger)
		},
	}
	app.SettingFlag(root.Flags(), "exit-when-idle", "exit_when_idle", "end when there was nothing to do for this `time`; 0s is never")
	app.SettingFlag(root.Flags(), "http", "http.listen", "`host:port` to serve metrics on, and whether this worker is alive and ready")
	app.ToggleFlag(root.Flags(), "linger", "linger", "with --exit-when-idle: stay until the run has ended")
	app.LogFlags(root.PersistentFlags())
	root.AddCommand(app.VersionCommand())
	return root
}

// runWorker connects the worker's parts and blocks until ctx is cancelled and
// what runs is finished, or until it has been idle for cfg.ExitWhenIdle.
func runWorker(ctx context.Context, cfg config.Config, logger *slog.Logger) error {
	conn, err := queue.Connect(ctx, fleet.QueueOptions(cfg, "worker", logger))
	if err != nil {
		return err
	}
	o := fleet.FromConfig(cfg, cli.Version(), logger)
	stop, err := serve(cfg, conn, &o)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	defer stop() // when what runs is finished
	tracer, stopTraces := cli.Tracer(ctx, "pgconvoy-worker", fleet.Name(), logger)
	defer stopTraces()
	o.Tracer = tracer
	return errors.Join(fleet.Serve(ctx, conn, o), conn.Close())
}

// serve serves what the process says of itself, if the configuration names where. The
// options then have what measures.
func serve(cfg config.Config, conn *queue.Conn, o *fleet.Options) (stop func(), err error) {
	if cfg.HTTP.Listen == "" {
		return func() {}, nil
	}
	o.Meter = metrics.NewWorker(conn.Up)
	mux := http.NewServeMux()
	if err := (metrics.Process{Run: o.Run, Version: o.Version, Worker: o.Meter, Log: o.Log}).Register(mux); err != nil {
		return nil, err
	}
	_, stop, err = httpd.Serve(cfg.HTTP.Listen, mux, o.Log)
	return stop, err
}
