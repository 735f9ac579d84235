package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/pgconvoy/pgconvoy/internal/cli"
	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/run"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
	"github.com/pgconvoy/pgconvoy/internal/ui"
)

// resumeCommand returns the verb resume.
func resumeCommand(app *cli.App) *cobra.Command {
	var output cli.Output
	var how run.Resumption
	cmd := &cobra.Command{
		Use:   "resume [RUN]",
		Short: "Go on with a run that its planner has left, from the ledger",
		Long: `resume goes on with an unfinished run, on any host: the ledger in the target has
all that is needed. What failed is tried again. Rows are read in the snapshot of
the run if any process still holds it, a worker or a planner that stands by.

If nobody does, and the source cannot be proven not to have changed since,
resume lists the tables that were read in the lost snapshot and stops.
--recopy copies those again, with the rest, in a new snapshot; --not-consistent
goes on with the rest alone, so that tables may be of different moments, which
the report then says.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			app.SetRun(args)
			cfg, logger, err := app.Load(config.Config.Validate)
			if err != nil {
				return err
			}
			app.Drains()
			if cfg.Several() {
				report, err := attend(cmd.Context(), app, cfg, logger, func(o run.Options) (tasks.InstanceReport, error) {
					return run.ResumeInstance(cmd.Context(), o, how)
				})
				return endInstance(app, output, report, err)
			}
			report, err := attend(cmd.Context(), app, cfg, logger, func(o run.Options) (tasks.Report, error) { return run.Resume(cmd.Context(), o, how) })
			if report.RunUID == "" { // nothing was done
				return err
			}
			return errors.Join(err, ui.Report(app.Out, string(output), report))
		},
	}
	cli.OutputFlag(cmd, &output)
	cmd.Flags().BoolVar(&how.Recopy, "recopy", false, "copy what was read in a lost snapshot again, in a new one")
	cmd.Flags().BoolVar(&how.NotConsistent, "not-consistent", false, "go on in a new snapshot without copying anything again")
	cmd.Flags().BoolVar(&how.Standby, "standby", false, "wait until no other planner owns the run, and keep its snapshot alive meanwhile")
	cmd.MarkFlagsMutuallyExclusive("recopy", "not-consistent")
	app.SettingFlag(cmd.Flags(), "http", "http.listen", "`host:port` to serve a page on that shows how far the run is")
	app.SettingFlag(cmd.Flags(), "workers", "workers", "`whether` this process does tasks, too: auto (if the queue is embedded), yes or no")
	return cmd
}
