// Command planner copies a Postgres database to another server: it plans the
// run, publishes its tasks and watches over them.
//
// Each verb has a file of its own with a function that returns its
// *cobra.Command; root.go lists them.
package main

import (
	"io"
	"os"
	"runtime/debug"

	"github.com/pgconvoy/pgconvoy/internal/cli"
)

func main() {
	if os.Getenv("GOGC") == "" {
		// Most of what a planner has is the plan, which stays: the usual reserve for the collector would be as large.
		debug.SetGCPercent(50)
	}
	os.Exit(execute(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// execute runs one command line and returns the exit status.
func execute(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	app := cli.New(stdin, stdout, stderr)
	return app.Run(newRoot(app), args)
}
