package nettest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// Host is where the servers of the tests listen.
const Host = "127.0.0.1"

// Ports that tests choose from. They are below those that the system gives away
// itself, to whoever wants any port and to every outgoing connection.
const (
	lowestPort   = 20000
	highestPort  = 32000
	portAttempts = 1000
)

// Port is [Reserve] until the test ends.
func Port(t testing.TB) int {
	t.Helper()
	port, release, err := Reserve()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return port
}

// Reserve returns a TCP port of [Host] that nobody listens on. A server that is
// stopped finds it free when it is started again: no other test, of whatever process,
// gets it before it is released.
func Reserve() (port int, release func(), err error) {
	for range portAttempts {
		port = lowestPort + rand.IntN(highestPort-lowestPort)
		if release, err = reserve(port); err == nil {
			return port, release, nil
		}
	}
	return 0, nil, fmt.Errorf("there is no free port: %w", err)
}

// reserve holds the UDP port of the same number, which nobody else wants: it tells
// other processes that the TCP port is taken, in a way that ends with this one.
func reserve(port int) (release func(), err error) {
	address := fmt.Sprintf("%s:%d", Host, port)
	held, err := new(net.ListenConfig).ListenPacket(context.Background(), "udp4", address)
	if err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp4", address)
	if err == nil {
		err = l.Close()
	}
	if err != nil {
		_ = held.Close()
		return nil, err
	}
	return func() { _ = held.Close() }, nil
}
