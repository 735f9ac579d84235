package main

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// The worker stays small: the embedded queue, like the test helpers, belongs to
// the planner alone.
func TestBinaryLinksNoServer(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	require.NoError(t, err)
	for _, unwanted := range []string{"nats-server", "internal/pgtest", "internal/natstest", "pgconvoy/internal/run\n", "stretchr"} {
		require.NotContains(t, string(out), unwanted)
	}
}
