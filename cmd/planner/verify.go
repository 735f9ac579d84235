package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/pgconvoy/pgconvoy/internal/cli"
	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/run"
	"github.com/pgconvoy/pgconvoy/internal/ui"
)

// verifyCommand returns the verb verify.
func verifyCommand(app *cli.App) *cobra.Command {
	var output cli.Output
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Compare the rows of source and target",
		Long: `verify compares every table of the source with the one of the same name on the
target, as both are now: by the number of rows, or with --verify digest by
their contents; then it names rows that differ. It is a run of its own, which
the same workers do as the copy; its ledger in the target is gone when it ends,
and nothing else is changed. Rows that were written to the source after the
copy's snapshot are differences, too.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, logger, err := app.Load(config.Config.Validate)
			if err != nil {
				return err
			}
			result, err := run.Verify(cmd.Context(), run.Options{Config: cfg, Version: cli.Version(), Log: logger})
			var differ *run.DifferenceError
			if err != nil && !errors.As(err, &differ) {
				return err
			}
			return errors.Join(err, ui.Comparison(app.Out, string(output), result))
		},
	}
	cli.OutputFlag(cmd, &output)
	app.SettingFlag(cmd.Flags(), "verify", "verify", "`level` of the comparison: rows or digest")
	return cmd
}
