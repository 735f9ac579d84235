package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/config"
)

// codedError has an exit status and a hint, as errors of other packages do.
type codedError struct{ code int }

func (e codedError) Error() string { return "coded" }
func (e codedError) ExitCode() int { return e.code }
func (e codedError) Hint() string  { return "look it up" }

// listError is several messages.
type listError struct{ pairs [][2]string }

func (e listError) Error() string { return "list" }
func (e listError) Lines() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, p := range e.pairs {
			if !yield(p[0], p[1]) {
				return
			}
		}
	}
}

// syncBuffer is a buffer that a test reads while a verb may still write.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// newTestApp returns an App, a root whose verb "do" is the given function,
// and what is written to the two streams.
func newTestApp(do func(context.Context) error) (app *App, root *cobra.Command, out, errOut *syncBuffer) {
	out, errOut = &syncBuffer{}, &syncBuffer{}
	app = New(strings.NewReader(""), out, errOut)
	root = &cobra.Command{Use: "tool", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	root.AddCommand(&cobra.Command{
		Use: "do", Short: "Do it", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return do(c.Context()) },
	}, app.VersionCommand())
	app.LogFlags(root.PersistentFlags())
	return app, root, out, errOut
}

func TestErrorsAndExitStatus(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		code int
		text string
	}{
		{"none", nil, 0, ""},
		{"plain", errors.New("broken"), 1, "error: broken\n"},
		{"coded within", fmt.Errorf("run main: %w", codedError{3}), 3, "error: run main: coded\nhint: look it up\n"},
		{"the first coded one decides", errors.Join(errors.New("a"), codedError{5}, codedError{3}), 5, "error: a\nerror: coded\nhint: look it up\nerror: coded\nhint: look it up\n"},
		{"joined beside a list", errors.Join(listError{[][2]string{{"a", ""}}}, errors.New("b")), 1, "error: a\nerror: b\n"},
		{"two wrapped in one text", fmt.Errorf("x: %w, y: %w", errors.New("a"), codedError{4}), 4, "error: x: a, y: coded\nhint: look it up\n"},
		{"two lines", errors.New("a\nb"), 1, "error: a\n       b\n"},
		{"several", fmt.Errorf("x: %w", listError{[][2]string{{"a", "do b"}, {"c\nd", ""}}}), 1, "error: a\nhint: do b\nerror: c\n       d\n"},
		{"cancelled", fmt.Errorf("copy: %w", context.Canceled), 130, "error: copy: context canceled\n"},
		{"signal", fmt.Errorf("copy: %w", &InterruptError{syscall.SIGINT}), 130, "error: copy: stopped by signal: interrupt\n"},
		{"password", errors.New("dial postgres://me:pw@h/d: no"), 1, "error: dial postgres://me:***@h/d: no\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			app, root, out, errOut := newTestApp(func(context.Context) error { return tt.err })
			require.Equal(t, tt.code, app.Run(root, []string{"do"}))
			require.Equal(t, tt.text, errOut.String())
			require.Empty(t, out.String())
		})
	}
	require.ErrorIs(t, &InterruptError{syscall.SIGINT}, context.Canceled)
}

func TestUsage(t *testing.T) {
	for args, want := range map[string]string{
		"xyzzy":           "error: unknown command \"xyzzy\" for \"tool\"\nhint: see tool --help\n",
		"vrsion":          "error: unknown command \"vrsion\" for \"tool\"\nhint: did you mean version?\n",
		"do --odd":        "error: unknown flag: --odd\nhint: see tool do --help\n",
		"do more":         "error: unknown command \"more\" for \"tool do\"\nhint: see tool do --help\n",
		"version -o yaml": "error: invalid argument \"yaml\" for \"-o, --output\" flag: \"yaml\" is none of table, json\nhint: see tool version --help\n",
		"do --log-level":  "error: flag needs an argument: --log-level\nhint: see tool do --help\n",
	} {
		app, root, out, errOut := newTestApp(func(context.Context) error { return nil })
		require.Equal(t, ExitUsage, app.Run(root, strings.Fields(args)), args)
		require.Equal(t, want, errOut.String())
		require.Empty(t, out.String())
	}
}

func TestHelpListsExitStatus(t *testing.T) {
	for _, args := range [][]string{nil, {"--help"}, {"do", "--help"}, {"help", "version"}, {"completion", "--help"}} {
		app, root, out, errOut := newTestApp(func(context.Context) error { return nil })
		require.Equal(t, ExitOK, app.Run(root, args))
		require.Contains(t, out.String(), "EXIT STATUS", args)
		require.Contains(t, out.String(), "Usage:", args)
		require.Empty(t, errOut.String())
	}
}

func TestSignals(t *testing.T) {
	kill := func(s syscall.Signal) {
		if err := syscall.Kill(syscall.Getpid(), s); err != nil {
			panic(err)
		}
	}
	t.Run("the first drains", func(t *testing.T) {
		app, root, _, errOut := newTestApp(func(ctx context.Context) error {
			kill(syscall.SIGTERM)
			<-ctx.Done()
			var interrupt *InterruptError
			if !errors.As(context.Cause(ctx), &interrupt) || interrupt.Signal != syscall.SIGTERM {
				return errors.New("the cause is not the signal")
			}
			return nil // drained: a worker has done what it was asked for
		})
		app.Drains()
		require.Equal(t, ExitOK, app.Run(root, []string{"do"}))
		require.Contains(t, errOut.String(), "interrupt again to stop at once")
	})
	t.Run("an aborted verb exits 130", func(t *testing.T) {
		app, root, _, errOut := newTestApp(func(ctx context.Context) error {
			kill(syscall.SIGINT)
			<-ctx.Done()
			return fmt.Errorf("run main: %w", context.Cause(ctx))
		})
		require.Equal(t, ExitInterrupted, app.Run(root, []string{"do"}))
		require.NotContains(t, errOut.String(), "finishing", "whoever only watches finishes nothing")
	})
	t.Run("the second stops at once", func(t *testing.T) {
		release := make(chan struct{})
		ended := make(chan struct{})
		app, root, _, errOut := newTestApp(func(ctx context.Context) error {
			defer close(ended)
			kill(syscall.SIGINT)
			<-ctx.Done()
			kill(syscall.SIGINT)
			<-release // a verb that does not come to an end by itself
			return nil
		})
		require.Equal(t, ExitInterrupted, app.Run(root, []string{"do"}))
		require.Contains(t, errOut.String(), "error: stopped by signal: interrupt")
		close(release)
		<-ended
	})
}

func TestLoad(t *testing.T) {
	t.Setenv("PGCONVOY_SOURCE_URL", "postgres://me:hunter2@h/d")
	var app *App
	app, root, _, errOut := newTestApp(func(context.Context) error {
		cfg, logger, err := app.Load(config.Config.Validate)
		if cfg.Log.Format != config.FormatText {
			return errors.New("the flag was not applied")
		}
		logger.Info("not shown")
		return err
	})
	require.Equal(t, ExitUsage, app.Run(root, []string{"do", "--log-format", "text", "--log-level=warn"}))
	require.Contains(t, errOut.String(), "did you mean PGCONVOY_SOURCE_URI?")
	require.Contains(t, errOut.String(), "error: source.uri: not set\nhint: set source.uri")
	require.Contains(t, errOut.String(), "error: target.uri: not set\n")
	require.NotContains(t, errOut.String(), "not shown")
	require.NotContains(t, errOut.String(), "hunter2")
	require.NotContains(t, errOut.String(), "\x1b[", "no colours without a terminal")
}

func TestReadVersion(t *testing.T) {
	t.Parallel()
	v := readVersion(&debug.BuildInfo{
		GoVersion: "go1.26.8",
		Main:      debug.Module{Version: "v1.2.3"},
		Settings:  []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "CGO_ENABLED", Value: "0"}},
		Deps: []*debug.Module{
			{Path: "github.com/jackc/pgx/v5", Version: "v5.12.0"},
			{Path: "github.com/nats-io/nats-server/v2", Version: "v2.15.2"},
			{Path: "github.com/spf13/cobra", Version: "v1.10.2"},
		},
	})
	require.Equal(t, "v1.2.3", v.Version)
	require.Equal(t, "abc", v.Commit)
	require.Len(t, v.Modules, 2)

	app, _, out, _ := newTestApp(nil)
	require.NoError(t, app.printVersion("tool", v, Table))
	require.Equal(t, "tool         v1.2.3 abc\ngo           go1.26.8\npgx          v5.12.0\nnats-server  v2.15.2\n", out.String())
	require.Equal(t, "(devel)", readVersion(&debug.BuildInfo{}).Version)
}
