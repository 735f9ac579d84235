package queue_test

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/natstest"
	"github.com/pgconvoy/pgconvoy/internal/queue"
)

// use shows that a client may do what planners and workers do.
func use(t *testing.T, o queue.Options) {
	t.Helper()
	b := newBundle(t, o)
	q := b.create(t, 1)
	require.NoError(t, q.Publish(t.Context(), copies(2)))
	require.NoError(t, fetch(t, q).Ack(t.Context()))
	require.NoError(t, q.RegisterKeeper(t.Context(), keeper("a")))
	require.Len(t, keepers(t, q), 1)
}

// overTLS makes the server want TLS and a certificate of every client, and
// returns how a client gives it.
func overTLS(t *testing.T) (edit func(*server.Options), client queue.Options) {
	t.Helper()
	cert, key, pair := certificate(t)
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return func(o *server.Options) {
		o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
		o.TLSTimeout = 10
	}, queue.Options{CA: cert, Cert: cert, Key: key}
}

// keyPair is a key, its public half and its seed.
func keyPair(t *testing.T, create func() (nkeys.KeyPair, error)) (pair nkeys.KeyPair, public string, seed []byte) {
	t.Helper()
	pair, err := create()
	require.NoError(t, err)
	public, err = pair.PublicKey()
	require.NoError(t, err)
	seed, err = pair.Seed()
	require.NoError(t, err)
	return pair, public, seed
}

// operator is what signs the accounts of a server, and an account that may
// keep streams.
type operator struct {
	pair, account nkeys.KeyPair
}

// trustOperator makes an operator with an account and lets the server trust
// it, with all accounts in memory.
func trustOperator(t *testing.T, o *server.Options) operator {
	t.Helper()
	pair, public, _ := keyPair(t, nkeys.CreateOperator)
	claims := jwt.NewOperatorClaims(public)
	o.TrustedOperators = []*jwt.OperatorClaims{claims}
	resolver := &server.MemAccResolver{}
	o.AccountResolver = resolver
	store := func(edit func(*jwt.AccountClaims)) (nkeys.KeyPair, string) {
		account, name, _ := keyPair(t, nkeys.CreateAccount)
		claims := jwt.NewAccountClaims(name)
		edit(claims)
		token, err := claims.Encode(pair)
		require.NoError(t, err)
		require.NoError(t, resolver.Store(name, token))
		return account, name
	}
	_, o.SystemAccount = store(func(*jwt.AccountClaims) {})
	account, _ := store(func(c *jwt.AccountClaims) {
		c.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: jwt.NoLimit, DiskStorage: jwt.NoLimit, Streams: jwt.NoLimit, Consumer: jwt.NoLimit}
	})
	return operator{pair: pair, account: account}
}

// credentials writes a credentials file of a user of the account.
func (o operator) credentials(t *testing.T, expires time.Time) string {
	t.Helper()
	_, public, seed := keyPair(t, nkeys.CreateUser)
	claims := jwt.NewUserClaims(public)
	claims.Expires = expires.Unix()
	token, err := claims.Encode(o.account)
	require.NoError(t, err)
	text, err := jwt.FormatUserConfig(token, seed)
	require.NoError(t, err)
	return writeFile(t, text)
}

func writeFile(t *testing.T, text []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(file, text, 0o600))
	return file
}

func TestCredentialsFileOverTLS(t *testing.T) {
	t.Parallel()
	edit, client := overTLS(t)
	var known operator
	s := natstest.Start(t, edit, func(o *server.Options) { known = trustOperator(t, o) })
	client.URL = s.URL()
	next := time.Now().Add(time.Hour)

	good := client
	good.Creds = known.credentials(t, next)
	use(t, good)

	stranger := trustOperator(t, &server.Options{})
	for name, file := range map[string]string{
		"none": "", "of another operator": stranger.credentials(t, next), "expired": known.credentials(t, time.Now().Add(-time.Hour)),
		"nonsense": writeFile(t, []byte("SUAnonsense")),
	} {
		bad := client
		bad.Creds = file
		message, advice := refuse(t, bad)
		require.Contains(t, advice, "credentials", name)
		require.NotContains(t, message+advice, "nonsense", name)
	}
	noTLS := queue.Options{URL: s.URL(), Creds: good.Creds}
	_, advice := refuse(t, noTLS)
	require.Contains(t, advice, "TLS")
}

func TestNKeyOverTLS(t *testing.T) {
	t.Parallel()
	edit, client := overTLS(t)
	_, public, seed := keyPair(t, nkeys.CreateUser)
	_, _, other := keyPair(t, nkeys.CreateUser)
	s := natstest.Start(t, edit, func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public}} })
	client.URL, client.NKey = s.URL(), writeFile(t, seed)
	use(t, client)

	client.NKey = writeFile(t, other)
	message, advice := refuse(t, client)
	require.Contains(t, advice, "NKey")
	require.NotContains(t, message+advice, string(other))
}

// The certificate alone tells who a client is.
func TestCertificateAsUser(t *testing.T) {
	t.Parallel()
	edit, client := overTLS(t)
	for user, welcome := range map[string]bool{"CN=natstest": true, "CN=another": false} {
		s := natstest.Start(t, edit, func(o *server.Options) {
			o.TLSMap = true
			o.Users = []*server.User{{Username: user}}
		})
		client.URL = s.URL()
		if welcome {
			use(t, client)
			continue
		}
		_, advice := refuse(t, client)
		require.Contains(t, advice, "credentials")
	}
}

func TestServerWithAnUnknownCertificate(t *testing.T) {
	t.Parallel()
	edit, _ := overTLS(t)
	_, another := overTLS(t)
	another.URL = natstest.Start(t, edit).URL()
	_, advice := refuse(t, another)
	require.Contains(t, advice, "CA")
}
