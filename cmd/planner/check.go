package main

import (
	"github.com/spf13/cobra"

	"github.com/pgconvoy/pgconvoy/internal/cli"
	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/run"
)

// checkCommand returns the verb check.
func checkCommand(app *cli.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Look for everything that would stop a run, and change nothing",
		Long: `check connects to both databases and reports everything that would keep a run
from succeeding, all at once, each with its fix. planner run begins with the
same checks. Nothing is changed on either side.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, logger, err := app.Load(config.Config.Validate, run.ValidateChoice)
			if err != nil {
				return err
			}
			p, err := run.Check(cmd.Context(), run.Options{Config: cfg, Version: cli.Version(), Log: logger})
			if err != nil {
				return err
			}
			p.Close()
			logger.Info("nothing stands in the way of a run")
			return nil
		},
	}
	app.SettingFlag(cmd.Flags(), "only", "only", "`sections` that a run shall make, such as schema,data")
	return cmd
}
