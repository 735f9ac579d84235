// Package clitest runs the command lines of the two commands in txtar
// scripts, as users type them, builds them for tests of the processes, and makes
// their manual pages. It is for tests only; a new verb in scripts (such as exits)
// goes here, what a script says goes beside its command.
package clitest

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// Main runs the tests of a command; TestMain calls it and nothing else. It
// lets scripts run the command under its name in a process of its own.
func Main(m *testing.M, name string, run func(args []string, stdin io.Reader, stdout, stderr io.Writer) int) {
	testscript.Main(m, map[string]func(){
		name: func() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }, //nolint:forbidigo // this is main
	})
}

// Run runs the scripts in testdata. Besides testscript's own verbs they have
// "exits STATUS COMMAND [ARG...]", which expects that exit status and leaves
// stdout and stderr to the verbs that look at them.
func Run(t *testing.T) {
	t.Helper()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// exits is the verb exits.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits status command [arg...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}
