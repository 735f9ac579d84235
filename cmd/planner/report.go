package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/pgconvoy/pgconvoy/internal/cli"
	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/run"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
	"github.com/pgconvoy/pgconvoy/internal/ui"
	"github.com/pgconvoy/pgconvoy/internal/web"
)

// keepReports returns what writes the reports of a run to the directory, nothing if
// that is empty. It fails at once if that is no place to write to.
func keepReports(dir string, logger *slog.Logger) (func(tasks.Report) error, error) {
	if dir == "" {
		return func(tasks.Report) error { return nil }, nil
	}
	probe, err := os.CreateTemp(dir, ".pgconvoy-*")
	if err == nil {
		err = errors.Join(probe.Close(), os.Remove(probe.Name()))
	}
	if err != nil {
		return nil, tasks.WithHint(fmt.Errorf("reports cannot be written: %w", err), "set reports to a folder that can be written, or to nothing")
	}
	return func(r tasks.Report) error {
		files := map[string]func(io.Writer) error{
			"html": func(w io.Writer) error { return web.Report(w, r) },
			"json": func(w io.Writer) error { return ui.Report(w, ui.JSON, r) },
		}
		for _, form := range []string{"json", "html"} {
			name := r.Run
			if r.Database != "" {
				name += "." + tasks.Token(r.Database)
			}
			name = filepath.Join(dir, name+".report."+form)
			if err := replaceFile(name, files[form]); err != nil {
				return fmt.Errorf("write the report: %w", err)
			}
			logger.Info("report is written", "file", name)
		}
		return nil
	}, nil
}

// replaceFile writes a file as a whole or not at all. Only its owner may read it: a
// failure may quote a row.
func replaceFile(name string, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*") // made with mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	err = write(f)
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// reportCommand returns the verb report.
func reportCommand(app *cli.App) *cobra.Command {
	var output cli.Output
	cmd := &cobra.Command{
		Use:   "report [RUN]",
		Short: "Write the reports of a run anew, from its ledger",
		Long: `report reads what a run did from its ledger, which is there as long as the run is
unfinished, or if it was kept, writes RUN.report.html and RUN.report.json as the
run itself does at its end, and prints the summary. It changes neither database.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			app.SetRun(args)
			cfg, logger, err := app.Load(config.Config.ValidateTarget)
			if err != nil {
				return err
			}
			keep, err := keepReports(cfg.Reports, logger)
			if err != nil {
				return err
			}
			o := run.Options{Config: cfg, Version: cli.Version(), Log: logger}
			if cfg.Several() {
				report, err := run.ReportInstance(cmd.Context(), o)
				for _, d := range report.Databases {
					if d.Report != nil {
						err = errors.Join(err, keep(*d.Report))
					}
				}
				return endInstance(app, output, report, err)
			}
			report, err := run.Report(cmd.Context(), o)
			if err != nil {
				return err
			}
			if err := keep(report); err != nil {
				return err
			}
			return ui.Report(app.Out, string(output), report)
		},
	}
	cli.OutputFlag(cmd, &output)
	return cmd
}
