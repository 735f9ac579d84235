package queue

import (
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Options says where the queue is and how to use it. The zero value connects
// to a server on this host without credentials.
type Options struct {
	URL      string // one or more nats:// or tls:// URLs, separated by commas; default nats://127.0.0.1:4222
	Creds    string // path of a credentials file (user JWT and seed)
	NKey     string // path of a file with an NKey seed
	User     string
	Password string
	Token    string
	CA       string // path of the certificates that the server's one must be signed by; asks for TLS
	Cert     string // path of the client's certificate
	Key      string // path of the client's private key

	// Name is the client's name in the server's lists, for example
	// pgconvoy-worker/<run>/<host>/<pid>.
	Name string

	// InboxPrefix is the prefix of the subjects that answers come back on, for
	// accounts that restrict it. Default: _INBOX.
	InboxPrefix string

	// InProcess is a server in this process, which URL is then not used for.
	InProcess nats.InProcessConnProvider

	// Log is told when the connection is lost and when it is back. Default:
	// discarded.
	Log *slog.Logger

	// The rest is used by Create alone.

	Replicas int           // copies of the stream in a cluster; default 1
	Memory   bool          // keep the stream in memory, for a server that ends with the run
	AckWait  time.Duration // lease of a task without a heartbeat; default DefaultAckWait
	MaxBytes int64         // bound of the stream; default DefaultMaxBytes
	Version  string        // of this build, shown in the stream's metadata
}

// withDefaults returns the options with every default filled in.
func (o Options) withDefaults() Options {
	if o.URL == "" {
		o.URL = nats.DefaultURL
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Replicas == 0 {
		o.Replicas = 1
	}
	if o.AckWait == 0 {
		o.AckWait = DefaultAckWait
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	return o
}

// check finds mistakes that the client would report badly, or with a secret in
// the message.
func (o Options) check() error {
	if o.InProcess == nil {
		for one := range strings.SplitSeq(o.URL, ",") {
			if err := checkURL(strings.TrimSpace(one)); err != nil {
				return err
			}
		}
	}
	if (o.Cert == "") != (o.Key == "") {
		return tasks.WithHint(fmt.Errorf("a client certificate and its private key must be given together"), "set both, or neither")
	}
	for _, f := range []struct{ what, path string }{
		{"credentials", o.Creds}, {"NKey seed", o.NKey}, {"CA certificate", o.CA}, {"client certificate", o.Cert}, {"private key", o.Key},
	} {
		if f.path == "" {
			continue
		}
		if err := readable(f.path); err != nil {
			return tasks.WithHint(fmt.Errorf("open %s of NATS: %w", f.what, err), "check the path and the permissions of the file")
		}
	}
	return nil
}

// checkURL refuses what is not a URL of a NATS server. The message leaves the
// text out, which may hold a password.
func checkURL(text string) error {
	const hint = "write nats://host:4222 or tls://host:4222; percent-encode special characters of a password"
	if !strings.Contains(text, "://") {
		text = "nats://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return tasks.WithHint(fmt.Errorf("the NATS URL is not valid"), hint)
	}
	switch u.Scheme {
	case "nats", "tls", "ws", "wss":
		return nil
	}
	return tasks.WithHint(fmt.Errorf("the NATS URL has the unknown scheme %q", u.Scheme), hint)
}

func readable(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return f.Close()
}

// natsOptions translates the options for the client. A lost connection is
// sought again for ever. Nothing is buffered meanwhile: a heartbeat or an
// answer that is replayed later would act on a delivery that has moved on.
func (o Options) natsOptions() ([]nats.Option, error) {
	opts := []nats.Option{
		nats.Name(o.Name),
		nats.Timeout(connectTimeout),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.IgnoreAuthErrorAbort(),
		nats.ReconnectBufSize(-1),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(maxPingsOut),
		nats.DrainTimeout(drainTimeout),
	}
	if o.InProcess != nil {
		opts = append(opts, nats.InProcessServer(o.InProcess))
	}
	if o.InboxPrefix != "" {
		opts = append(opts, nats.CustomInboxPrefix(o.InboxPrefix))
	}
	if o.User != "" || o.Password != "" {
		opts = append(opts, nats.UserInfo(o.User, o.Password))
	}
	if o.Token != "" {
		opts = append(opts, nats.Token(o.Token))
	}
	if o.Creds != "" {
		opts = append(opts, nats.UserCredentials(o.Creds))
	}
	if o.NKey != "" {
		nkey, err := nats.NkeyOptionFromSeed(o.NKey)
		if err != nil {
			return nil, tasks.WithHint(fmt.Errorf("read NKey seed of NATS: %w", err), "the file must hold a seed that begins with SU")
		}
		opts = append(opts, nkey)
	}
	if o.CA != "" {
		opts = append(opts, nats.RootCAs(o.CA))
	}
	if o.Cert != "" {
		opts = append(opts, nats.ClientCert(o.Cert, o.Key))
	}
	return opts, nil
}

// address returns where the server is, without credentials.
func (o Options) address() string {
	if o.InProcess != nil {
		return "in-process"
	}
	var hosts []string
	for one := range strings.SplitSeq(o.URL, ",") {
		_, rest, found := strings.Cut(strings.TrimSpace(one), "://")
		if !found {
			rest = strings.TrimSpace(one)
		}
		hosts = append(hosts, rest[strings.LastIndex(rest, "@")+1:])
	}
	return strings.Join(hosts, ",")
}
