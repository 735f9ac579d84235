package main

import (
	"errors"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgconvoy/pgconvoy/internal/cli"
	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/run"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
	"github.com/pgconvoy/pgconvoy/internal/ui"
)

// logProgressEvery is how often the log tells how far a run is where nobody sees a
// terminal.
const logProgressEvery = 10 * time.Second

// progressOf returns what shows how far a run is: below the log on a terminal, in
// the log elsewhere. The other function ends that.
func progressOf(app *cli.App, cfg config.Config, logger *slog.Logger) (show func(tasks.RunStatus), stop func()) {
	screen := app.Screen(cfg.Log)
	p := &ui.Progress{Color: !cli.NoColor()}
	if screen == nil {
		next := time.Now().Add(logProgressEvery)
		return func(s tasks.RunStatus) {
			if now := time.Now(); now.After(next) {
				next = now.Add(logProgressEvery)
				p.Log(logger, s)
			}
		}, func() {}
	}
	return func(s tasks.RunStatus) {
		columns, rows := screen.Size()
		_ = screen.Show(p.Frame(s, columns, rows)) // the log goes the same way, and would not tell either
	}, func() { _ = screen.Close() }
}

// watchCommand returns the verb watch.
func watchCommand(app *cli.App) *cobra.Command {
	return &cobra.Command{
		Use:   "watch [RUN]",
		Short: "Show how far a run is, until it ends",
		Long: `watch shows on a terminal what planner run shows there, on any host: the work done
and left, the stages, and what runs at the moment. Where there is no terminal, it
logs a line every ten seconds. It needs what planner status needs, the target or
NATS, and changes nothing. When the run has ended, planner status says how, if
its ledger was kept.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			app.SetRun(args)
			cfg, logger, err := app.Load(config.Config.ValidateObserver)
			if err != nil {
				return err
			}
			progress, stop := progressOf(app, cfg, logger)
			var last tasks.RunStatus
			err = run.Watch(cmd.Context(), run.Options{Config: cfg, Version: cli.Version(), Log: logger}, func(s tasks.RunStatus) {
				last = s
				progress(s)
			})
			stop()
			if errors.Is(err, run.ErrEnded) {
				logger.Info("run has ended: it is complete, or it was cancelled or cleaned up", "run", cfg.Run)
				return nil
			}
			if err != nil {
				return err
			}
			return ui.Status(app.Out, "", last)
		},
	}
}
