package main

import (
	"github.com/spf13/cobra"

	"github.com/pgconvoy/pgconvoy/internal/cli"
	"github.com/pgconvoy/pgconvoy/internal/config"
)

// configCommand returns the verb config.
func configCommand(app *cli.App) *cobra.Command {
	return &cobra.Command{
		Use:   "config",
		Short: "Print the effective configuration, secrets masked",
		Long: `config prints the configuration that the other verbs would use, as YAML, with
secrets masked, and then says what is wrong with it.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, _, err := app.Load(config.Config.Validate)
			if err != nil {
				return err
			}
			return cfg.Print(app.Out)
		},
	}
}
