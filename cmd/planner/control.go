package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pgconvoy/pgconvoy/internal/cli"
	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/run"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// controlCommand returns a verb that changes how a run goes on, and logs done then.
func controlCommand(app *cli.App, use, short, long, done string, do func(context.Context, run.Options) error) *cobra.Command {
	return &cobra.Command{
		Use:   use + " [RUN]",
		Short: short,
		Long:  long,
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			app.SetRun(args)
			cfg, logger, err := app.Load(config.Config.ValidateTarget)
			if err != nil {
				return err
			}
			if err := do(cmd.Context(), run.Options{Config: cfg, Version: cli.Version(), Log: logger}); err != nil {
				return err
			}
			logger.Info(done, "run", cfg.Run)
			return nil
		},
	}
}

// pauseCommand returns the verb pause.
func pauseCommand(app *cli.App) *cobra.Command {
	return controlCommand(app, "pause", "Give out no more tasks of a run",
		`pause stops the dispatch of tasks; those that workers have in hand are finished.
planner unpause goes on.`, "run is paused", run.Pause)
}

// unpauseCommand returns the verb unpause.
func unpauseCommand(app *cli.App) *cobra.Command {
	return controlCommand(app, "unpause", "Give out tasks of a paused run again", `unpause undoes pause.`, "run is not paused", run.Unpause)
}

// scaleCommand returns the verb scale.
func scaleCommand(app *cli.App) *cobra.Command {
	return &cobra.Command{
		Use:   "scale STAGE=N …",
		Short: "Change how many tasks of a stage run at once",
		Long: `scale changes, while the run goes on, how many tasks of a stage run at once in
all workers together: planner scale copy=8 index=4. It does not start workers:
what runs is bounded by their slots, too. A cap that was changed with
nats consumer edit --max-pending stays until scale changes it.`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeStages,
		RunE: func(cmd *cobra.Command, args []string) error {
			caps, err := parseCaps(args)
			if err != nil {
				return &cli.UsageError{Err: err, Help: fmt.Sprintf("write for example planner scale copy=8 index=4; the stages are %v", tasks.Stages())}
			}
			cfg, logger, err := app.Load(config.Config.ValidateTarget)
			if err != nil {
				return err
			}
			if err := run.Scale(cmd.Context(), run.Options{Config: cfg, Version: cli.Version(), Log: logger}, caps); err != nil {
				return err
			}
			logger.Info("caps are set", "run", cfg.Run)
			return nil
		},
	}
}

func completeStages(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var words []string
	for _, s := range tasks.Stages() {
		words = append(words, string(s)+"=")
	}
	return words, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

func parseCaps(args []string) (map[tasks.Stage]int, error) {
	caps := map[tasks.Stage]int{}
	for _, arg := range args {
		stage, number, _ := strings.Cut(arg, "=")
		n, err := strconv.Atoi(number)
		switch {
		case !tasks.Stage(stage).Valid():
			return nil, fmt.Errorf("%q names no stage", arg)
		case err != nil || n < 1 || n > config.MaxCap:
			return nil, fmt.Errorf("%q: the number must be between 1 and %d", arg, config.MaxCap)
		}
		caps[tasks.Stage(stage)] = n
	}
	return caps, nil
}

// limitCommand returns the verb limit.
func limitCommand(app *cli.App) *cobra.Command {
	return &cobra.Command{
		Use:   "limit NAME=VALUE …",
		Short: "Change limits of a run",
		Long: `limit changes, while the run goes on, what it may ask of the servers and do to them:
planner limit source.bytes_per_second=50MB target.max_replica_lag=1GB. The names
are those of the settings below limits; 0 lifts a limit, and automatic=true or
false changes the automatic mode. Workers know of it within some seconds.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			given, err := config.ParseLimits(args)
			if err != nil {
				return err
			}
			cfg, logger, err := app.Load(config.Config.ValidateTarget)
			if err != nil {
				return err
			}
			limits := tasks.Limits{}
			for name, n := range given {
				limits[tasks.Limit(name)] = n
			}
			if err := run.Limit(cmd.Context(), run.Options{Config: cfg, Version: cli.Version(), Log: logger}, limits); err != nil {
				return err
			}
			logger.Info("limits are set", "run", cfg.Run)
			return nil
		},
	}
}

// retryCommand returns the verb retry.
func retryCommand(app *cli.App) *cobra.Command {
	return &cobra.Command{
		Use:   "retry [TASK …]",
		Short: "Try failed tasks of a run again",
		Long: `retry makes tasks that failed ready to be tried again, all of them or those named:
after what made them fail was mended. A running planner takes them up at once;
if none runs, planner resume does.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, logger, err := app.Load(config.Config.ValidateTarget)
			if err != nil {
				return err
			}
			ids := make([]tasks.ID, len(args))
			for i, arg := range args {
				ids[i] = tasks.ID(arg)
			}
			n, err := run.Retry(cmd.Context(), run.Options{Config: cfg, Version: cli.Version(), Log: logger}, ids)
			if err != nil {
				return err
			}
			fmt.Fprintf(app.Out, "ready to be tried again: %s\n", tasks.Plural(n, "task"))
			return nil
		},
	}
}

// cancelCommand returns the verb cancel.
func cancelCommand(app *cli.App) *cobra.Command {
	var how run.Cancellation
	cmd := &cobra.Command{
		Use:   "cancel [RUN]",
		Short: "End a run and drop what it made",
		Long: `cancel ends a run for good: nothing new is given out, what workers have in hand
is finished, or with --now ended at once, and then everything that the run made
in the target is dropped, with its ledger and its stream. With --keep it all
stays but the stream, and planner resume can go on.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			app.SetRun(args)
			cfg, logger, err := app.Load(config.Config.Validate)
			if err != nil {
				return err
			}
			return run.Cancel(cmd.Context(), run.Options{Config: cfg, Version: cli.Version(), Log: logger}, how)
		},
	}
	cmd.Flags().BoolVar(&how.Now, "now", false, "do not wait for the tasks that workers have in hand")
	cmd.Flags().BoolVar(&how.Keep, "keep", false, "keep what was copied, and the ledger")
	return cmd
}
