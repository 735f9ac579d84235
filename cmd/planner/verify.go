package main

import (
	"context"
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
	var definitions bool
	cmd := &cobra.Command{
		Use:        "verify",
		Short:      "Compare source and target: rows, or definitions",
		SuggestFor: []string{"compare"},
		Long: `verify compares every table of the source with the one of the same name on the
target, as both are now: by the number of rows, or with --verify digest by
their contents; then it names rows that differ. It is a run of its own, which
the same workers do as the copy; its ledger in the target is gone when it ends,
and nothing else is changed. Rows that were written to the source after the
copy's snapshot are differences, too.

With --schema it compares the definitions of all objects instead, and values of
sequences, and says what only one side has and which properties differ, but for
what the settings leave out or rename. That needs a session on each side and
nothing else. --schema and --verify on the same
command line compare definitions first and then rows.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, logger, err := app.Load(config.Config.Validate, run.ValidateChoice)
			if err != nil {
				return err
			}
			app.Drains()
			rows := !definitions || cmd.Flags().Changed("verify")
			o := run.Options{Config: cfg, Version: cli.Version(), Log: logger}
			defer tellOthers(cmd.Context(), &o)()
			if cfg.Several() {
				var all []ui.DatabaseCompared
				err := run.VerifyInstance(cmd.Context(), o, func(ctx context.Context, name string, o run.Options) error {
					found, err := compare(ctx, o, definitions, rows)
					if found != (ui.Compared{}) {
						all = append(all, ui.DatabaseCompared{Database: name, Compared: found})
					}
					return err
				})
				if len(all) == 0 {
					return err
				}
				return errors.Join(err, ui.InstanceComparison(app.Out, string(output), all))
			}
			found, err := compare(cmd.Context(), o, definitions, rows)
			if found == (ui.Compared{}) {
				return err
			}
			return errors.Join(err, ui.Comparison(app.Out, string(output), found))
		},
	}
	cli.OutputFlag(cmd, &output)
	cmd.Flags().BoolVar(&definitions, "schema", false, "compare definitions; rows, too, only if --verify is given")
	app.SettingFlag(cmd.Flags(), "verify", "verify", "`level` of the comparison: rows or digest")
	return cmd
}

// compare compares definitions, rows, or both. What could be compared is in the
// result; the error says, too, if the sides differ.
func compare(ctx context.Context, o run.Options, definitions, rows bool) (found ui.Compared, err error) {
	if definitions {
		var differ *run.SchemaDifferenceError
		result, schemaErr := run.VerifySchema(ctx, o)
		if schemaErr != nil && !errors.As(schemaErr, &differ) {
			return found, schemaErr
		}
		found.Schema, err = &result, schemaErr
	}
	if rows {
		var differ *run.DifferenceError
		result, rowErr := run.Verify(ctx, o)
		if rowErr == nil || errors.As(rowErr, &differ) {
			found.Comparison = &result
		}
		err = errors.Join(err, rowErr)
	}
	return found, err
}
