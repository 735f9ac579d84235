// Package cli is what the commands planner and worker share: streams, global
// flags, the way to the configuration and the logger, signals, and how an
// error becomes text and an exit status. A verb itself lives in cmd; a flag
// that only one verb has is defined there.
//
// Other packages need not import this one for their errors to be understood:
// a method ExitCode() int gives the exit status, Hint() string a hint, and
// Lines() iter.Seq2[string, string] several messages with their hints.
package cli

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/obs"
)

// App is one invocation of a command. Verbs get it when they are built and
// use it when they run.
type App struct {
	// In, Out and Err are the standard streams: data goes to Out, everything
	// else to Err.
	In  io.Reader
	Out io.Writer
	Err io.Writer

	configPath string
	overrides  []config.Override
	started    bool // a verb began: from then on errors are not about usage
	drains     atomic.Bool
	log        atomic.Pointer[slog.Logger]
	screen     *obs.Screen // on Err, if that is a terminal
}

// New returns an App on the given streams.
func New(in io.Reader, out, errOut io.Writer) *App {
	a := &App{In: in, Out: out, Err: errOut}
	if f, ok := errOut.(*os.File); ok && IsTerminal(f) {
		a.screen = obs.NewScreen(f)
	}
	a.log.Store(a.newLogger(config.Default().Log))
	return a
}

// Load returns the effective configuration and a logger made after it. The
// rules are config.Config.Validate, its ValidateWorker, or none. Unknown
// PGCONVOY_* variables are logged as warnings, also if the configuration is
// wrong, since a misspelt variable may be why. Beside an error the
// configuration is good for display only.
func (a *App) Load(rules ...func(config.Config) error) (config.Config, *slog.Logger, error) {
	cfg, err := config.Load(a.configPath, a.overrides, rules...)
	logger := a.newLogger(cfg.Log)
	a.log.Store(logger)
	for _, p := range config.UnknownVariables(os.Environ()) {
		logger.Warn("unknown environment variable, ignored", "name", p.Where, "hint", p.Hint)
	}
	return cfg, logger, err
}

// Drains tells that from now on the first interrupt has the verb finish what it
// has in hand, so that somebody who waits for that is told. Other verbs just end.
func (a *App) Drains() { a.drains.Store(true) }

// newLogger returns a logger on Err.
func (a *App) newLogger(l config.Log) *slog.Logger {
	w := a.Err
	if a.screen != nil {
		w = a.screen
	}
	return obs.NewLogger(w, obs.Options{
		Format:   obs.Format(l.Format),
		Level:    l.Level.Slog(),
		Terminal: IsTerminal(a.Err),
		NoColor:  NoColor(),
	})
}

// NoColor reports whether the user wants no colours: https://no-color.org.
func NoColor() bool { return os.Getenv("NO_COLOR") != "" }

// Screen returns the lines that stay below the log, nil if the log is not for
// people at a terminal that can move its cursor.
func (a *App) Screen(l config.Log) *obs.Screen {
	if obs.Format(l.Format) == obs.JSON || os.Getenv("TERM") == "dumb" {
		return nil
	}
	return a.screen
}

// IsTerminal reports whether a stream (a reader or a writer) is a terminal.
func IsTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Run executes a command line (without the program's name), prints the error
// if there is one, and returns the exit status.
//
// The first SIGINT or SIGTERM cancels the verb's context with an
// *InterruptError as its cause, which means drain. The second makes Run
// return at once, with the verb still running; the caller exits then.
func (a *App) Run(root *cobra.Command, args []string) int {
	a.prepare(root)
	root.SetArgs(args)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)

	done := make(chan error, 1)
	go func() {
		cmd, err := root.ExecuteContextC(ctx)
		if err != nil && !a.started {
			err = usageError(cmd, err)
		}
		done <- err
	}()
	select {
	case err := <-done:
		return a.finish(err)
	case s := <-signals:
		cancel(&InterruptError{Signal: s})
		if a.drains.Load() {
			a.log.Load().Warn("interrupted, finishing what runs; interrupt again to stop at once")
		}
	}
	select {
	case err := <-done:
		return a.finish(err)
	case s := <-signals:
		return a.finish(&InterruptError{Signal: s})
	}
}

// finish prints err and returns the exit status.
func (a *App) finish(err error) int {
	printError(a.Err, err)
	return exitCode(err)
}

// prepare gives the tree of commands the behaviour that all verbs share.
func (a *App) prepare(root *cobra.Command) {
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.SilenceErrors = true
	root.SilenceUsage = true
	root.SuggestionsMinimumDistance = 2
	root.SetHelpTemplate(helpTemplate)
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	complete(root)
	a.noteStart(root)
}

// noteStart makes every verb note that it began.
func (a *App) noteStart(cmd *cobra.Command) {
	if do := cmd.RunE; do != nil {
		cmd.RunE = func(c *cobra.Command, args []string) error {
			a.started = true
			return do(c, args)
		}
	}
	for _, sub := range cmd.Commands() {
		a.noteStart(sub)
	}
}

// InterruptError says that a signal ended the command; it is the cause of the
// cancelled context too.
type InterruptError struct {
	Signal os.Signal
}

// Error names the signal.
func (e *InterruptError) Error() string { return "stopped by signal: " + e.Signal.String() }

// ExitCode returns 130.
func (e *InterruptError) ExitCode() int { return ExitInterrupted }

// Is makes an interrupt count as a cancelled context.
func (e *InterruptError) Is(target error) bool { return target == context.Canceled }
