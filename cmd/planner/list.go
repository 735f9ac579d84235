package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/pgconvoy/pgconvoy/internal/cli"
	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/run"
	"github.com/pgconvoy/pgconvoy/internal/ui"
)

// listCommand returns the verb list.
func listCommand(app *cli.App) *cobra.Command {
	var output cli.Output
	cmd := &cobra.Command{
		Use:   "list WHAT",
		Short: "List what a run would see on the source",
		Long: `list shows what there is on the source, as a run would see it: ` + strings.Join(run.Listings(), ", ") + `.
Parts are those that each table would be copied in, with the settings of split.
It needs the source alone, uses one session, and changes nothing.`,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: run.Listings(),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, logger, err := app.Load(config.Config.ValidateSource)
			if err != nil {
				return err
			}
			list := run.List
			if cfg.Several() {
				list = run.ListInstance
			}
			listing, err := list(cmd.Context(), run.Options{Config: cfg, Version: cli.Version(), Log: logger}, args[0])
			if err != nil {
				return err
			}
			return ui.List(app.Out, string(output), listing)
		},
	}
	cli.OutputFlag(cmd, &output)
	return cmd
}
