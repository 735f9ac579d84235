package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/pgconvoy/pgconvoy/internal/cli"
	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/run"
)

// check runs the preflight, of one database or of several.
func check(ctx context.Context, o run.Options) error {
	if o.Config.Several() {
		return run.CheckInstance(ctx, o)
	}
	return run.Check(ctx, o)
}

// checkCommand returns the verb check.
func checkCommand(app *cli.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:        "check",
		Short:      "Look for everything that would stop a run, and change nothing",
		SuggestFor: []string{"ping"},
		Long: `check connects to both databases and reports everything that would keep a run
from succeeding, all at once, each with its fix. planner run begins with the
same checks. Nothing is changed on either side.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, logger, err := app.Load(config.Config.Validate, run.ValidateChoice)
			if err != nil {
				return err
			}
			o := run.Options{Config: cfg, Version: cli.Version(), Log: logger}
			if err := check(cmd.Context(), o); err != nil {
				return err
			}
			logger.Info("nothing stands in the way of a run")
			return nil
		},
	}
	app.SettingFlag(cmd.Flags(), "only", "only", "`sections` that a run shall make, such as schema,data")
	return cmd
}
