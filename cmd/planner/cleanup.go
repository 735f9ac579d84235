package main

import (
	"github.com/spf13/cobra"

	"github.com/pgconvoy/pgconvoy/internal/cli"
	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/run"
)

// cleanupCommand returns the verb cleanup.
func cleanupCommand(app *cli.App) *cobra.Command {
	return &cobra.Command{
		Use:   "cleanup",
		Short: "Drop from the target what an unfinished run made",
		Long: `cleanup drops what an unfinished run has made in the target database, by the
schema archive in its ledger, and then the ledger. What else is in the target
stays. The ledger of a complete run, kept by keep_ledger, is dropped without
touching the copy.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, logger, err := app.Load(config.Config.Validate)
			if err != nil {
				return err
			}
			return run.Cleanup(cmd.Context(), run.Options{Config: cfg, Version: cli.Version(), Log: logger})
		},
	}
}
