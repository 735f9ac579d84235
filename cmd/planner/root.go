package main

import (
	"github.com/spf13/cobra"

	"github.com/pgconvoy/pgconvoy/internal/cli"
)

const about = `planner copies a whole Postgres database, schema and data, to another server.

It reads the source's catalog, writes a plan into a ledger in the target
database and publishes the tasks to a NATS JetStream queue, from which workers
take them. Without a NATS URL the queue is embedded and the workers run in the
planner's own process.

With databases, a run is of several databases of a server, or of all of them, one
after the other.

Settings come from defaults, then the YAML file, then the environment
(PGCONVOY_ and the setting's path: PGCONVOY_SOURCE_URI), then flags.`

// newRoot returns the command with all its verbs.
func newRoot(app *cli.App) *cobra.Command {
	root := &cobra.Command{
		Use:   "planner",
		Short: "Copy a whole Postgres database to another server",
		Long:  about,
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	flags := root.PersistentFlags()
	app.ConfigFlag(flags)
	app.SettingFlag(flags, "run", "run", "`name` of the run")
	app.SettingFlag(flags, "source", "source.uri", "connection `string` of the source database")
	app.SettingFlag(flags, "target", "target.uri", "connection `string` of the target database")
	app.SettingFlag(flags, "databases", "databases", "`names` of the databases of the run, with commas between, or all; without it the one that the connection string names")
	app.SettingFlag(flags, "nats-url", "nats.url", "`URL` of the NATS server; without one the queue is embedded")
	app.LogFlags(flags)
	root.AddCommand(
		checkCommand(app),
		listCommand(app),
		planCommand(app),
		runCommand(app),
		resumeCommand(app),
		statusCommand(app),
		watchCommand(app),
		reportCommand(app),
		dashboardCommand(app),
		runsCommand(app),
		pauseCommand(app),
		unpauseCommand(app),
		scaleCommand(app),
		limitCommand(app),
		retryCommand(app),
		cancelCommand(app),
		verifyCommand(app),
		cleanupCommand(app),
		configCommand(app),
		app.VersionCommand(),
	)
	return root
}
