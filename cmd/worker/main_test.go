package main

import (
	"testing"

	"github.com/pgconvoy/pgconvoy/internal/cli/clitest"
)

func TestMain(m *testing.M) { clitest.Main(m, "worker", execute) }

func TestScripts(t *testing.T) { clitest.Run(t) }
