package nettest_test

import (
	"fmt"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/nettest"
)

func TestPortsAreFreeAndApart(t *testing.T) {
	t.Parallel()
	seen := map[int]bool{}
	for range 200 {
		port := nettest.Port(t)
		require.False(t, seen[port], "port %d comes twice", port)
		seen[port] = true
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", fmt.Sprintf("%s:%d", nettest.Host, port))
		require.NoError(t, err)
		require.NoError(t, l.Close())
	}
}
