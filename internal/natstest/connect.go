package natstest

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// patience is how long either side waits for the other when a client connects, in
// place of two seconds: a machine that is busy may stand still for longer.
const patience = 30 * time.Second

// Connect connects to a server, until the test ends.
func Connect(t testing.TB, url string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, append([]nats.Option{nats.Timeout(patience)}, opts...)...)
	if err != nil {
		t.Fatalf("connect to nats-server: %v", err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// wait makes a server wait for its clients.
func wait(o *server.Options) {
	o.AuthTimeout = patience.Seconds()
	o.TLSTimeout = patience.Seconds()
}
