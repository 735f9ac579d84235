package httpd

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestLocalServer: a page from elsewhere whose name points to the loopback
// interface gets nothing.
func TestLocalServer(t *testing.T) {
	t.Parallel()
	url, stop, err := Serve("127.0.0.1:0", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer stop()
	for host, status := range map[string]int{"": 200, "localhost:99": 200, "[::1]:99": 200, "evil.example": 403, "evil.example:80": 403, "10.0.0.1": 403} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		require.NoError(t, err)
		req.Host = host
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, status, resp.StatusCode, host)
	}
	_, _, err = Serve(strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/"), nil, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "listen for HTTP")
}
