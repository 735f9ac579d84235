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

// planOptions are the flags of the verb plan.
type planOptions struct {
	output    cli.Output
	calibrate bool
	save      string
}

// planCommand returns the verb plan.
func planCommand(app *cli.App) *cobra.Command {
	var o planOptions
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Print what a run would do, and do nothing",
		Long: `plan makes the same checks and the same plan as planner run and prints it:
tables with their parts and bundles, all tasks with what they wait for, what the
copy will take on the target, the connections that it needs, and how long it
takes. Nothing is changed on either side; with --calibrate, some rows are copied
to the target in transactions that are rolled back.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runPlan(cmd, app, o) },
	}
	cli.OutputFlag(cmd, &o.output)
	cmd.Flags().BoolVar(&o.calibrate, "calibrate", false, "copy some rows of the largest tables for some seconds, to estimate how long a run takes")
	cmd.Flags().StringVar(&o.save, "save", "", "write the plan to a `file`, for planner run --plan")
	app.SettingFlag(cmd.Flags(), "verify", "verify", "`level` of the comparison after the copy: rows, digest or none")
	app.SettingFlag(cmd.Flags(), "only", "only", "`sections` that alone are made, such as schema,data")
	return cmd
}

func runPlan(cmd *cobra.Command, app *cli.App, o planOptions) error {
	cfg, logger, err := app.Load(config.Config.Validate, run.ValidateChoice)
	if err != nil {
		return err
	}
	options := run.Options{Config: cfg, Version: cli.Version(), Log: logger, Shaped: o.save != ""}
	if cfg.Several() {
		return planSeveral(cmd, app, o, options)
	}
	p, err := run.Plan(cmd.Context(), options)
	if err != nil {
		return err
	}
	defer p.Close()
	if err := p.Estimate(cmd.Context(), o.calibrate); err != nil {
		return err
	}
	if o.save != "" {
		if err := p.Save(o.save); err != nil {
			return err
		}
	}
	return ui.Plan(app.Out, string(o.output), p.Plan, p.Outlook)
}

// planSeveral prints the plans of several databases.
func planSeveral(cmd *cobra.Command, app *cli.App, o planOptions, options run.Options) error {
	if o.calibrate || o.save != "" {
		return tasks.WithHint(errors.New("--calibrate and --save are about one database, and databases is set"), "leave databases out, and name one of them in source.uri and target.uri")
	}
	printer := ui.NewInstancePlan(app.Out, string(o.output))
	if err := run.PlanInstance(cmd.Context(), options, printer.Add); err != nil {
		return err
	}
	return printer.End()
}
