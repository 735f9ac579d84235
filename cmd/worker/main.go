// Command worker takes tasks of a run from the queue and does them until it
// is told to stop. It is a daemon: besides version it has no verbs.
package main

import (
	"io"
	"os"

	"github.com/pgconvoy/pgconvoy/internal/cli"
)

func main() { os.Exit(execute(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// execute runs one command line and returns the exit status.
func execute(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	app := cli.New(stdin, stdout, stderr)
	return app.Run(newRoot(app), args)
}
