package main

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgconvoy/pgconvoy/internal/cli"
	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/httpd"
	"github.com/pgconvoy/pgconvoy/internal/ledger"
	"github.com/pgconvoy/pgconvoy/internal/metrics"
	"github.com/pgconvoy/pgconvoy/internal/run"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
	"github.com/pgconvoy/pgconvoy/internal/web"
)

// serveRun serves the page of the run and what the process says of itself, if the
// configuration names where. The options then tell both how the run goes.
func serveRun(o *run.Options) (stop func(), err error) {
	if o.Config.HTTP.Listen == "" {
		return func() {}, nil
	}
	var b board
	page, err := b.dashboard(*o).Handler()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/", page)
	planner := metrics.NewPlanner()
	process := metrics.Process{Run: o.Config.Run, Version: o.Version, Planner: planner, Log: o.Log}
	if o.Config.RunsWorkers() {
		process.Worker = metrics.NewWorker(nil)
	}
	if err := process.Register(mux); err != nil {
		return nil, err
	}
	if _, stop, err = httpd.Serve(o.Config.HTTP.Listen, mux, o.Log); err != nil {
		return nil, err
	}
	show := o.Progress
	o.Progress = b.watch(func(s tasks.RunStatus) {
		planner.Look(s)
		show(s)
	})
	o.KeepReport = b.keep(o.KeepReport)
	o.Beat, o.Meter = planner.Beat, process.Worker
	return stop, nil
}

// dashboardOf returns the dashboard of a run that others plan.
func dashboardOf(o run.Options) web.Dashboard {
	follower := run.Follow(o)
	d := web.Dashboard{
		Status: follower.Status,
		Token:  string(o.Config.HTTP.Token),
		Control: web.Control{
			Pause:   func(ctx context.Context) error { return run.Pause(ctx, o) },
			Unpause: func(ctx context.Context) error { return run.Unpause(ctx, o) },
			Scale:   func(ctx context.Context, caps map[tasks.Stage]int) error { return run.Scale(ctx, o, caps) },
			Retry: func(ctx context.Context) error {
				_, err := run.Retry(ctx, o, nil)
				return err
			},
			Cancel: func(ctx context.Context) error { return run.Cancel(ctx, o, run.Cancellation{Keep: true}) },
		},
	}
	if o.Config.Target.URI != "" {
		d.Report = follower.Report
		if o.Config.Several() {
			d.Databases = follower.Databases
		}
	}
	return d
}

// board is what the planner of a run knows of it for a dashboard.
type board struct {
	mu     sync.Mutex
	status tasks.RunStatus
	final  *tasks.Report
}

// watch notes every status, and passes it on.
func (b *board) watch(next func(tasks.RunStatus)) func(tasks.RunStatus) {
	return func(s tasks.RunStatus) {
		b.mu.Lock()
		if s.RunUID != b.status.RunUID {
			b.final = nil // that was of another database
		}
		b.status = s
		b.mu.Unlock()
		next(s)
	}
}

// keep notes the report at the end, and passes it on.
func (b *board) keep(next func(tasks.Report) error) func(tasks.Report) error {
	return func(r tasks.Report) error {
		b.mu.Lock()
		b.final = &r
		b.mu.Unlock()
		return next(r)
	}
}

// dashboard returns the one of the planner's own run.
func (b *board) dashboard(o run.Options) web.Dashboard {
	d := dashboardOf(o)
	b.status = tasks.RunStatus{Run: o.Config.Run, State: tasks.RunPlanning, Started: time.Now(), Tasks: map[tasks.State]int{}}
	d.Status = func(context.Context) (tasks.RunStatus, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.status.State == tasks.RunPlanning {
			b.status.At = time.Now() // nobody has said anything yet
		}
		return b.status, nil
	}
	fromLedger := d.Report
	d.Report = func(ctx context.Context) (tasks.Report, error) {
		b.mu.Lock()
		final, planning := b.final, b.status.State == tasks.RunPlanning
		b.mu.Unlock()
		switch {
		case final != nil:
			return *final, nil
		case planning: // there may be no target database yet
			return tasks.Report{}, nil
		}
		r, err := fromLedger(ctx)
		if errors.Is(err, ledger.ErrNoRun) { // not yet
			err = nil
		}
		return r, err
	}
	return d
}

// dashboardCommand returns the verb dashboard.
func dashboardCommand(app *cli.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dashboard [RUN]",
		Short: "Serve the live page of a run, until interrupted",
		Long: `dashboard serves a page that shows how far a run is, on any host that reaches the
target or NATS: with NATS alone it shows what the planner told last, with the
target also the tables and a timeline of all tasks. Whoever reaches the page may
look; with http.token, those who know it can pause, scale, retry and cancel.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			app.SetRun(args)
			cfg, logger, err := app.Load(config.Config.ValidateObserver)
			if err != nil {
				return err
			}
			if cfg.HTTP.Listen == "" {
				cfg.HTTP.Listen = "127.0.0.1:8080"
			}
			page, err := dashboardOf(run.Options{Config: cfg, Version: cli.Version(), Log: logger}).Handler()
			if err != nil {
				return err
			}
			_, stop, err := httpd.Serve(cfg.HTTP.Listen, page, logger)
			if err != nil {
				return err
			}
			<-cmd.Context().Done()
			stop()
			return nil
		},
	}
	app.SettingFlag(cmd.Flags(), "http", "http.listen", "`host:port` to serve the page on; 127.0.0.1:8080 unless set")
	return cmd
}
