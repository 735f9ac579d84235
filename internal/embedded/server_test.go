package embedded_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/embedded"
	"github.com/pgconvoy/pgconvoy/internal/natstest"
)

func TestInProcessOnly(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s, err := embedded.Start(t.Context(), embedded.Options{})
	require.NoError(t, err)
	require.Empty(t, s.URL())
	user, password := s.Credentials()
	require.Empty(t, user+password)

	js, err := jetstream.New(natstest.Connect(t, "", nats.InProcessServer(s.InProcess())))
	require.NoError(t, err)
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "A", Storage: jetstream.MemoryStorage})
	require.NoError(t, err)

	require.NoError(t, s.Stop())
	require.NoError(t, s.Stop(), "a second time")
	left, err := os.ReadDir(os.TempDir())
	require.NoError(t, err)
	require.Empty(t, left, "its directory is removed")
}

func TestListen(t *testing.T) {
	t.Parallel()
	s, err := embedded.Start(t.Context(), embedded.Options{Listen: "127.0.0.1:0", User: "fleet", Password: "secret"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Stop()) })
	user, password := s.Credentials()
	require.Equal(t, "fleet", user)
	_, err = embedded.Start(t.Context(), embedded.Options{Listen: "127.0.0.1:0"})
	require.ErrorContains(t, err, "password")

	_, err = nats.Connect(s.URL())
	require.ErrorIs(t, err, nats.ErrAuthorization)
	for _, way := range []nats.Option{nats.Name("tcp"), nats.InProcessServer(s.InProcess())} {
		natstest.Connect(t, s.URL(), way, nats.UserInfo(user, password))
	}

	other, err := embedded.Start(t.Context(), embedded.Options{Listen: "127.0.0.1:0", User: "fleet", Password: "secret"})
	require.NoError(t, err, "two in one process")
	require.NoError(t, other.Stop())
}

func TestListenErrors(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"4222", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:99999", "127.0.0.1:-1"} {
		_, err := embedded.Start(t.Context(), embedded.Options{Listen: bad, User: "fleet", Password: "secret"})
		require.ErrorContains(t, err, "not an address", bad)
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err = embedded.Start(ctx, embedded.Options{Listen: l.Addr().String(), User: "fleet", Password: "secret"})
	require.ErrorContains(t, err, "address already in use")
	var hint interface{ Hint() string }
	require.ErrorAs(t, err, &hint)
	require.Contains(t, hint.Hint(), "port is free")
}

func TestLog(t *testing.T) {
	t.Parallel()
	var text buffer
	s, err := embedded.Start(t.Context(), embedded.Options{Log: slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	require.NoError(t, err)
	require.NoError(t, s.Stop())
	require.Contains(t, text.String(), "level=DEBUG")
	require.Contains(t, text.String(), "nats-server reports")
	require.NotContains(t, text.String(), "level=ERROR")
}

// buffer is written to by the goroutines of the server.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
