package chaos_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/fleet"
	"github.com/pgconvoy/pgconvoy/internal/queue"
	"github.com/pgconvoy/pgconvoy/internal/run"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
	"github.com/pgconvoy/pgconvoy/internal/worker"
)

// childEnv holds, as JSON, what a process started from the test binary is to be.
const childEnv = "CHAOS_CHILD"

// ackWait is the lease of the runs here: short, so that faults are noticed soon.
const ackWait = 2 * time.Second

// child is what a planner or a worker process needs to know.
type child struct {
	Verb           string // run, resume or work
	Source, Target string // URIs
	NATS           string // URL
	Replicas       int
	Run            string
	BinDir         string
	How            run.Resumption
	Settings       settings
	Crash          *crash // of a worker
}

// settings are what the seed chooses of the configuration.
type settings struct {
	PlannerWorks bool
	KeepLedger   bool
	Verify       config.VerifyLevel
	BundleTables int
	Slots        int
}

func (c child) config() config.Config {
	o := config.Default()
	o.Run = c.Run
	o.Source.URI, o.Target.URI, o.NATS.URL = config.Secret(c.Source), config.Secret(c.Target), config.Secret(c.NATS)
	o.NATS.Replicas = max(c.Replicas, 1)
	o.Split.LargerThan, o.Split.MaxParts = 256<<10, 6
	o.Bundle.MaxTable, o.Bundle.MaxTables = 64<<10, c.Settings.BundleTables
	o.Verify, o.KeepLedger = c.Settings.Verify, c.Settings.KeepLedger
	o.PGBindir = c.BinDir
	o.Workers = config.No
	if c.Settings.PlannerWorks {
		o.Workers = config.Yes
	}
	if c.Settings.Slots > 0 {
		o.Slots.Copy, o.Slots.Index = c.Settings.Slots, c.Settings.Slots
	}
	o.Grace = 5 * time.Second
	return o
}

// outcome is what a planner process says on stdout when it ends.
type outcome struct {
	State    tasks.RunState
	Error    string
	Lost     bool // nobody holds the snapshot any more
	Failures []tasks.Failure
}

// playChild runs in the process of a planner or a worker and returns its exit
// status.
func playChild(text string) int {
	var c child
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() { // whoever started this process is gone
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(9)
	}()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if c.Verb == "work" {
		err := c.work(ctx, log)
		if err != nil {
			log.Error("worker ends", "err", err)
			return 1
		}
		return 0
	}
	out := c.plan(ctx, log)
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		return 2
	}
	if out.Error != "" {
		log.Error("planner ends", "err", out.Error)
		return 3
	}
	return 0
}

func (c child) plan(ctx context.Context, log *slog.Logger) outcome {
	o := run.Options{Config: c.config(), Version: "chaos", Log: log, AckWait: ackWait}
	var report tasks.Report
	var err error
	if c.Verb == "run" {
		report, err = run.Run(ctx, o)
	} else {
		report, err = run.Resume(ctx, o, c.How)
	}
	out := outcome{State: report.State, Failures: report.Failures}
	if err != nil {
		out.Error = err.Error()
		var lost *run.LostError
		out.Lost = errors.As(err, &lost)
	}
	return out
}

func (c child) work(ctx context.Context, log *slog.Logger) error {
	cfg := c.config()
	conn, err := queue.Connect(ctx, fleet.QueueOptions(cfg, "worker", log))
	if err != nil {
		return err
	}
	o := fleet.FromConfig(cfg, "chaos", log)
	if c.Crash != nil {
		o.Wrap = func(q worker.Queue, l worker.Ledger) (worker.Queue, worker.Ledger) { return c.Crash.wrap(q, l) }
	}
	err = fleet.Serve(ctx, conn, o)
	return errors.Join(err, conn.Close())
}
