package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pgconvoy/pgconvoy/internal/obs"
)

// The exit statuses of both commands.
const (
	ExitOK          = 0
	ExitError       = 1
	ExitUsage       = 2
	ExitIncomplete  = 3
	ExitDiffers     = 4
	ExitCheck       = 5
	ExitInterrupted = 130
)

// ExitStatus is the end of every help page.
const ExitStatus = `EXIT STATUS
  0    done
  1    an error
  2    wrong command line or configuration; nothing was done
  3    the run is incomplete: tasks failed, the rest stands in the ledger
  4    verify found a difference between source and target
  5    a preflight check failed; nothing was changed
  130  interrupted by SIGINT or SIGTERM
`

const helpTemplate = `{{with or .Long .Short}}{{. | trimTrailingWhitespaces}}

{{end}}{{if or .Runnable .HasSubCommands}}{{.UsageString}}
{{end}}` + ExitStatus

// UsageError is a command line that cannot be understood.
type UsageError struct {
	Err  error
	Help string // what to do about it
}

// Error returns what is wrong.
func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the error beneath.
func (e *UsageError) Unwrap() error { return e.Err }

// Hint says where the right usage is described.
func (e *UsageError) Hint() string { return e.Help }

// usageError makes an error that came before the verb one about the usage.
func usageError(cmd *cobra.Command, err error) error {
	hint := fmt.Sprintf("see %s --help", cmd.CommandPath())
	if args := cmd.Flags().Args(); len(args) > 0 {
		near := cmd.SuggestionsFor(args[0])
		switch extension := filepath.Ext(args[0]); {
		case len(near) > 0:
			hint = fmt.Sprintf("did you mean %s?", strings.Join(near, " or "))
		case extension == ".yaml" || extension == ".yml":
			hint = "did you mean --config " + args[0] + "?"
		case len(cmd.ValidArgs) > 0 && !slices.Contains(cmd.ValidArgs, args[0]):
			hint = "one of " + strings.Join(cmd.ValidArgs, ", ")
		}
	}
	return &UsageError{Err: err, Help: hint}
}

// exitCode is the one place where an error becomes an exit status. The
// outermost error that has an opinion decides.
func exitCode(err error) int {
	var coded interface{ ExitCode() int }
	var usage *UsageError
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &coded):
		return coded.ExitCode()
	case errors.As(err, &usage):
		return ExitUsage
	case errors.Is(err, context.Canceled):
		return ExitInterrupted
	default:
		return ExitError
	}
}

// printError is the one place where an error becomes text for people.
func printError(w io.Writer, err error) {
	if joined := parts(err); joined != nil {
		for _, part := range joined {
			printError(w, part)
		}
		return
	}
	var several interface {
		Lines() iter.Seq2[string, string]
	}
	var hinted interface{ Hint() string }
	switch {
	case err == nil:
	case errors.As(err, &several):
		for message, hint := range several.Lines() {
			printLine(w, message, hint)
		}
	case errors.As(err, &hinted):
		printLine(w, err.Error(), hinted.Hint())
	default:
		printLine(w, err.Error(), "")
	}
}

// parts returns the errors that errors.Join put together, so that each is
// printed with its own hint, and nil for any other error: one whose text says
// more than that of its parts must stay whole.
func parts(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error }) //nolint:errorlint // the outermost error alone
	if !ok {
		return nil
	}
	var texts []string
	for _, part := range joined.Unwrap() {
		texts = append(texts, part.Error())
	}
	if strings.Join(texts, "\n") != err.Error() {
		return nil
	}
	return joined.Unwrap()
}

// printLine writes one message, and its hint if there is one, as psql does;
// further lines of a message are indented under the first.
func printLine(w io.Writer, message, hint string) {
	print1 := func(label, text string) {
		text = strings.TrimRight(obs.MaskText(text), "\n")
		indent := "\n" + strings.Repeat(" ", len(label)+2)
		fmt.Fprintf(w, "%s: %s\n", label, strings.ReplaceAll(text, "\n", indent))
	}
	print1("error", message)
	if hint != "" {
		print1("hint", hint)
	}
}
