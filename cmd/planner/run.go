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

// endInstance prints the summary of a run of several databases.
func endInstance(app *cli.App, output cli.Output, report tasks.InstanceReport, err error) error {
	if report.UID == "" { // nothing was begun
		return err
	}
	return errors.Join(err, ui.InstanceReport(app.Out, string(output), report))
}

// runCommand returns the verb run.
func runCommand(app *cli.App) *cobra.Command {
	var output cli.Output
	var plan string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Copy the source database into the empty target database",
		Long: `run copies the source database into the target database, which must be
empty: schema, rows, indexes, constraints, privileges, everything, as one
snapshot of the source shows it. At the end it prints a summary.

The first Ctrl-C drains: what runs is finished, for grace at most, and nothing
new begins. The second one stops at once. The target then holds part of a copy
and its ledger: planner resume goes on from there, planner cleanup removes both.`,
		SuggestFor: []string{"clone", "copy", "migrate"},
		Args:       cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, logger, err := app.Load(config.Config.Validate, run.ValidateChoice)
			if err != nil {
				return err
			}
			app.Drains()
			var follow *run.PlanFile
			if plan != "" {
				if follow, err = run.ReadPlanFile(plan); err != nil {
					return err
				}
			}
			if cfg.Several() {
				if follow != nil {
					return tasks.WithHint(errors.New("--plan is about one database, and databases is set"), "leave databases out, and name its database in source.uri and target.uri")
				}
				report, err := attend(cmd.Context(), app, cfg, logger, func(o run.Options) (tasks.InstanceReport, error) { return run.CopyInstance(cmd.Context(), o) })
				return endInstance(app, output, report, err)
			}
			report, err := attend(cmd.Context(), app, cfg, logger, func(o run.Options) (tasks.Report, error) {
				o.Follow = follow
				return run.Run(cmd.Context(), o)
			})
			if report.RunUID == "" { // nothing was begun
				return err
			}
			return errors.Join(err, ui.Report(app.Out, string(output), report))
		},
	}
	cli.OutputFlag(cmd, &output)
	app.SettingFlag(cmd.Flags(), "only", "only", "`sections` that alone are made, such as schema,data; see docs/choosing.md")
	app.SettingFlag(cmd.Flags(), "http", "http.listen", "`host:port` to serve a page on that shows how far the run is")
	cmd.Flags().StringVar(&plan, "plan", "", "follow the plan in a `file` that planner plan --save wrote; refuse if the source or the settings have changed")
	app.SettingFlag(cmd.Flags(), "verify", "verify", "`level` of the comparison after the copy: rows, digest or none")
	app.SettingFlag(cmd.Flags(), "workers", "workers", "`whether` this process does tasks, too: auto (if the queue is embedded), yes or no")
	return cmd
}
