package main

import (
	"github.com/spf13/cobra"

	"github.com/pgconvoy/pgconvoy/internal/cli"
	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/run"
	"github.com/pgconvoy/pgconvoy/internal/ui"
)

// planCommand returns the verb plan.
func planCommand(app *cli.App) *cobra.Command {
	var output cli.Output
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Print what a run would do, and do nothing",
		Long: `plan makes the same checks and the same plan as planner run and prints it:
tables with their parts and bundles, and all tasks with what they wait for.
Nothing is changed on either side.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, logger, err := app.Load(config.Config.Validate, run.ValidateChoice)
			if err != nil {
				return err
			}
			o := run.Options{Config: cfg, Version: cli.Version(), Log: logger}
			if cfg.Several() {
				printer := ui.NewInstancePlan(app.Out, string(output))
				if err := run.PlanInstance(cmd.Context(), o, printer.Add); err != nil {
					return err
				}
				return printer.End()
			}
			p, err := run.Prepare(cmd.Context(), o)
			if err != nil {
				return err
			}
			defer p.Close()
			return ui.Plan(app.Out, string(output), p.Plan)
		},
	}
	cli.OutputFlag(cmd, &output)
	app.SettingFlag(cmd.Flags(), "only", "only", "`sections` that alone are made, such as schema,data")
	return cmd
}
