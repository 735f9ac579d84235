package queue_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/pgconvoy/pgconvoy/internal/leaktest"
	"github.com/pgconvoy/pgconvoy/internal/natstest"
	"github.com/pgconvoy/pgconvoy/internal/queue"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// refuse connects, which must fail, and returns the error and its advice.
func refuse(t *testing.T, o queue.Options) (message, advice string) {
	t.Helper()
	c, err := queue.Connect(within(t, soon), o)
	require.Error(t, err)
	require.Nil(t, c)
	return err.Error(), hint(t, err)
}

func TestConnectRefused(t *testing.T) {
	t.Parallel()
	const addr = "127.0.0.1:1" // nobody listens there
	message, advice := refuse(t, queue.Options{URL: "nats://me:secret@" + addr})
	require.Contains(t, message, addr)
	require.NotContains(t, message+advice, "secret")
	require.Contains(t, advice, "nats-server")
}

func TestConnectGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	// It accepts in the kernel and never says a word.
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	_, err = queue.Connect(within(t, later), queue.Options{URL: l.Addr().String()})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Contains(t, hint(t, err), "did not answer")
}

func TestConnectWithPassword(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, func(o *server.Options) { o.Username, o.Password = "me", "secret" })
	_, advice := refuse(t, queue.Options{URL: s.URL()})
	require.Contains(t, advice, "credentials")
	message, advice := refuse(t, queue.Options{URL: s.URL(), User: "me", Password: "wrong-one"})
	require.Contains(t, advice, "credentials")
	require.NotContains(t, message, "wrong-one")
	connect(t, queue.Options{URL: s.URL(), User: "me", Password: "secret"})
	connect(t, queue.Options{InProcess: s.InProcess(), User: "me", Password: "secret"})
}

func TestConnectWithTokenAndInboxPrefix(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, func(o *server.Options) { o.Authorization = "open sesame" })
	_, advice := refuse(t, queue.Options{URL: s.URL(), Token: "no"})
	require.Contains(t, advice, "credentials")
	b := newBundle(t, queue.Options{URL: s.URL(), Token: "open sesame", InboxPrefix: "_INBOX_worker"})
	_, err := b.conn.Create(t.Context(), run, caps(1))
	require.NoError(t, err)
}

func TestConnectWithNKey(t *testing.T) {
	t.Parallel()
	_, public, seed := keyPair(t, nkeys.CreateUser)
	s := natstest.Start(t, func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public}} })
	connect(t, queue.Options{URL: s.URL(), NKey: writeFile(t, seed)})

	_, advice := refuse(t, queue.Options{URL: s.URL(), NKey: writeFile(t, []byte("nonsense"))})
	require.Contains(t, advice, "seed")
}

func TestConnectWithTLS(t *testing.T) {
	t.Parallel()
	edit, client := overTLS(t)
	s := natstest.Start(t, edit)
	client.URL = s.URL()
	connect(t, client)
	_, advice := refuse(t, queue.Options{URL: s.URL()})
	require.Contains(t, advice, "TLS")
	_, advice = refuse(t, queue.Options{URL: s.URL(), CA: client.CA})
	require.Contains(t, advice, "TLS")
	_, advice = refuse(t, queue.Options{URL: natstest.Start(t).URL(), CA: client.CA})
	require.Contains(t, advice, "TLS")
}

// certificate makes a self-signed one for both sides.
func certificate(t *testing.T) (certFile, keyFile string, pair tls.Certificate) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "natstest"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	certFile, keyFile = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	require.NoError(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
	pair, err = tls.LoadX509KeyPair(certFile, keyFile)
	require.NoError(t, err)
	return certFile, keyFile, pair
}

func TestConnectWithoutJetStream(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, func(o *server.Options) { o.JetStream = false })
	for name, o := range map[string]queue.Options{"tcp": {URL: s.URL()}, "in-process": {InProcess: s.InProcess()}} {
		_, advice := refuse(t, o)
		require.Contains(t, advice, "JetStream is not enabled", name)
	}
}

func TestAccountWithoutJetStream(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, func(o *server.Options) {
		poor, rich := server.NewAccount("POOR"), server.NewAccount("RICH")
		o.Accounts = []*server.Account{poor, rich}
		o.Users = []*server.User{{Username: "poor", Password: "p", Account: poor}, {Username: "rich", Password: "r", Account: rich}}
	})
	c := connect(t, queue.Options{URL: s.URL(), User: "poor", Password: "p"})
	_, err := c.Create(t.Context(), run, caps(1))
	require.Contains(t, hint(t, err), "account")
	_, err = c.Open(within(t, soon), run.Name)
	require.Contains(t, hint(t, err), "account")
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]queue.Options{
		"scheme":    {URL: "http://127.0.0.1:4222"},
		"no host":   {URL: "nats://"},
		"bad URL":   {URL: "nats://me:sec%ret@127.0.0.1:4222"},
		"second":    {URL: "nats://127.0.0.1:4222, http://x"},
		"cert":      {Cert: "/etc/hostname"},
		"creds":     {Creds: "/does/not/exist"},
		"ca":        {CA: "/does/not/exist"},
		"nkey seed": {NKey: "/does/not/exist"},
	} {
		message, advice := refuse(t, o)
		require.NotEmpty(t, advice, name)
		require.NotContains(t, message, "sec%ret", name)
	}
}

func TestServerCannotHoldTheStream(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, func(o *server.Options) { o.JetStreamMaxStore = 1 << 20 })
	_, err := connect(t, queue.Options{URL: s.URL()}).Create(t.Context(), run, caps(1))
	require.Contains(t, hint(t, err), "storage")
}

// Not parallel: it looks at all goroutines. The server has its own process.
func TestCloseLeavesNothingBehind(t *testing.T) {
	s := natstest.StartProcess(t)
	before := goleak.IgnoreCurrent()
	var told bytes.Buffer
	c, err := queue.Connect(t.Context(), queue.Options{URL: s.URL(), Log: slog.New(slog.NewTextHandler(&told, nil))})
	require.NoError(t, err)
	q, err := c.Create(t.Context(), run, caps(10))
	require.NoError(t, err)
	require.NoError(t, q.Publish(t.Context(), copies(10)))
	ends, _, err := q.Ends(t.Context())
	require.NoError(t, err)
	require.NoError(t, fetch(t, q).Ack(t.Context()))
	waiting := make(chan error, 1)
	go func() {
		_, err := q.Fetch(t.Context(), tasks.StageIndex, time.Minute)
		waiting <- err
	}()
	require.NoError(t, c.Close())
	require.NoError(t, c.Close(), "a second time")
	require.ErrorIs(t, <-waiting, queue.ErrClosed)
	for range ends {
		t.Error("an end came")
	}
	require.NoError(t, leaktest.Find(before))
	require.Empty(t, told.String(), "closing is no news")
}

func TestCloseWhileTheServerIsAway(t *testing.T) {
	t.Parallel()
	s := natstest.StartProcess(t)
	c, err := queue.Connect(t.Context(), queue.Options{URL: s.URL()})
	require.NoError(t, err)
	q, err := c.Create(t.Context(), run, caps(1))
	require.NoError(t, err)
	s.Kill()
	require.Eventually(t, func() bool {
		_, err := q.Fetch(t.Context(), tasks.StageCopy, time.Millisecond)
		return err != nil
	}, soon, time.Millisecond)
	require.NoError(t, c.Close())
	_, err = c.Open(t.Context(), run.Name)
	require.Error(t, err)
	_, err = q.Outstanding(t.Context())
	require.ErrorIs(t, err, queue.ErrClosed, fmt.Sprint(err))
}
