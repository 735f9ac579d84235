package main

import (
	"io"
	"strings"
	"testing"

	"github.com/pgconvoy/pgconvoy/internal/cli"
	"github.com/pgconvoy/pgconvoy/internal/cli/clitest"
)

func TestMain(m *testing.M) { clitest.Main(m, "worker", execute) }

func TestScripts(t *testing.T) { clitest.Run(t) }

func TestManPages(t *testing.T) {
	clitest.ManPages(t, newRoot(cli.New(strings.NewReader(""), io.Discard, io.Discard)))
}
