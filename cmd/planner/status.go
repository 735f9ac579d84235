package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/pgconvoy/pgconvoy/internal/cli"
	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/run"
	"github.com/pgconvoy/pgconvoy/internal/ui"
)

// statusCommand returns the verb status.
func statusCommand(app *cli.App) *cobra.Command {
	var output cli.Output
	cmd := &cobra.Command{
		Use:   "status [RUN]",
		Short: "Say how far a run is, and what does not get on",
		Long: `status shows how far a run is: tasks by kind, rows and bytes, the snapshot and
what it costs the source, the stages and workers, what runs at the moment, and
why something stalls. It reads the ledger if the target is configured, and needs
nothing else then; with access to NATS alone it shows what the planner told last.
It changes nothing.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			app.SetRun(args)
			cfg, logger, err := app.Load(config.Config.ValidateObserver)
			if err != nil {
				return err
			}
			o := run.Options{Config: cfg, Version: cli.Version(), Log: logger}
			if cfg.Several() && cfg.Target.URI != "" {
				s, err := run.StatusInstance(cmd.Context(), o)
				if err != nil {
					return err
				}
				return ui.InstanceStatus(app.Out, string(output), s)
			}
			s, err := run.Status(cmd.Context(), o)
			if err != nil {
				return err
			}
			return ui.Status(app.Out, string(output), s)
		},
	}
	cli.OutputFlag(cmd, &output)
	return cmd
}

// runsCommand returns the verb runs.
func runsCommand(app *cli.App) *cobra.Command {
	var output cli.Output
	cmd := &cobra.Command{
		Use:   "runs",
		Short: "List the runs that the target and the queue know of",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, logger, err := app.Load(config.Config.ValidateObserver)
			if err != nil {
				return err
			}
			list, err := run.Runs(cmd.Context(), run.Options{Config: cfg, Version: cli.Version(), Log: logger})
			return errors.Join(err, ui.Runs(app.Out, string(output), list))
		},
	}
	cli.OutputFlag(cmd, &output)
	return cmd
}
