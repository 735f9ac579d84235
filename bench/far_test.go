package bench_test

import (
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// far returns a connection string that leads to the server of uri through an
// address of this host, with a delay in either direction, until the end of the
// benchmark. The bandwidth is not limited: what is under way at once is some
// megabytes at most.
func far(b *testing.B, host, uri string, delay time.Duration) string {
	u, err := url.Parse(uri)
	require.NoError(b, err)
	near := u.Host
	var config net.ListenConfig
	listener, err := config.Listen(b.Context(), "tcp", net.JoinHostPort(host, "0"))
	require.NoError(b, err)
	b.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", near)
			if err != nil {
				_ = client.Close()
				continue
			}
			go carry(server, client, delay)
			go carry(client, server, delay)
		}
	}()
	u.Host = listener.Addr().String()
	return u.String()
}

// parcel is what was read at once, and when it arrives.
type parcel struct {
	bytes []byte
	due   time.Time
}

// carry passes bytes on after the delay, and then the end of the stream.
func carry(to, from net.Conn, delay time.Duration) {
	under, done := make(chan parcel, 1024), make(chan struct{})
	defer close(done)
	go func() {
		defer close(under)
		for {
			bytes := make([]byte, 16<<10)
			n, err := from.Read(bytes)
			if n > 0 {
				select {
				case under <- parcel{bytes[:n], time.Now().Add(delay)}:
				case <-done:
					return
				}
			}
			if err != nil {
				return
			}
		}
	}()
	for p := range under {
		<-time.After(time.Until(p.due))
		if _, err := to.Write(p.bytes); err != nil {
			break
		}
	}
	<-time.After(delay)
	_ = to.Close()
	_ = from.Close() // ends the reader, if it still reads
}
