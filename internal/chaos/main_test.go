package chaos_test

import (
	"os"
	"testing"

	"github.com/pgconvoy/pgconvoy/internal/natstest"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

// TestMain lets the test binary play every part: nats-server, planner, worker,
// and the tests themselves.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv("NATSTEST_CHILD") != "":
		os.Exit(natstest.Main(m))
	case os.Getenv(childEnv) != "":
		os.Exit(playChild(os.Getenv(childEnv)))
	}
	os.Exit(pgtest.Main(m))
}
