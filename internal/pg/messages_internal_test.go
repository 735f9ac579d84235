package pg

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"
)

// script is what a source sends, and what a relay must make of it.
type backendScript struct {
	sent     []byte
	expected []byte // on the target's connection
	copies   []Copied
	text     []byte // all rows
}

func frame(kind byte, body []byte) []byte {
	message := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body)+4))
	return append(message, body...)
}

// randomScript makes some COPYs, with notices and parameters in between.
func randomScript(r *rand.Rand) backendScript {
	var s backendScript
	chatter := func() {
		switch r.IntN(4) {
		case 0:
			s.sent = append(s.sent, frame('N', bytes.Repeat([]byte{'n'}, r.IntN(2000)))...)
		case 1:
			s.sent = append(s.sent, frame('S', []byte("a\x00b\x00"))...)
		}
	}
	for range r.IntN(4) {
		s.sent = append(s.sent, frame('H', []byte{0, 0, 0})...)
		var c Copied
		for range r.IntN(20) {
			row := make([]byte, r.IntN(1+r.IntN(900)))
			for i := range row {
				row[i] = "dcCEZ\x00\x01N"[r.IntN(8)]
			}
			data := frame('d', row)
			s.sent = append(s.sent, data...)
			s.expected = append(s.expected, data...)
			s.text = append(s.text, row...)
			c.Rows++
			c.Bytes += int64(len(row))
			if r.IntN(5) == 0 {
				chatter()
			}
		}
		done := frame('c', nil)
		s.sent = append(s.sent, done...)
		s.expected = append(s.expected, done...)
		chatter()
		s.sent = append(s.sent, frame('C', fmt.Appendf(nil, "COPY %d\x00", c.Rows))...)
		s.copies = append(s.copies, c)
	}
	s.sent = append(s.sent, frame('Z', []byte{'T'})...)
	return s
}

// chunked writes the bytes in pieces of random sizes, and closes.
func chunked(conn net.Conn, sent []byte, r *rand.Rand) {
	defer func() { _ = conn.Close() }()
	for len(sent) > 0 {
		n := min(len(sent), 1+r.IntN(1+r.IntN(700)))
		if _, err := conn.Write(sent[:n]); err != nil {
			return
		}
		sent = sent[n:]
	}
}

// pumpThrough runs a pump with a source that sends the bytes, and returns it
// with what reached the target.
func pumpThrough(sent []byte, buffer int, r *rand.Rand, sinks ...RowSink) (*relay, []byte, error) {
	server, source := net.Pipe()
	sink, target := net.Pipe()
	received := make(chan []byte)
	go func() {
		all, _ := io.ReadAll(sink)
		received <- all
	}()
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		chunked(server, sent, r)
	}()
	p := &relay{source: &messageReader{conn: source, buf: make([]byte, buffer)}, target: target, moved: func(int) {}, sinks: sinks}
	err := p.pump()
	_ = source.Close()
	_ = target.Close()
	<-fed
	return p, <-received, err
}

type collected struct {
	text []byte
	rows int64
}

func (c *collected) Row(piece []byte, last bool) {
	c.text = append(c.text, piece...)
	if last {
		c.rows++
	}
}

// FuzzRelayChunks feeds a valid stream in pieces of any size into buffers of any
// size; the result must be the same.
func FuzzRelayChunks(f *testing.F) {
	for seed := range uint64(60) {
		f.Add(seed, uint16(seed*13))
	}
	ending := &pgproto3.CopyFail{Message: "the source has no data for it"}
	last, err := ending.Encode(nil)
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, seed uint64, buffer uint16) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := randomScript(r)
		p, received, err := pumpThrough(s.sent, 5+int(buffer)%1500, r)
		require.NoError(t, err)
		require.Equal(t, s.copies, p.copies)
		require.Equal(t, string(s.expected)+string(last), string(received))

		sinks := make([]RowSink, len(s.copies))
		for i := range sinks {
			sinks[i] = &collected{}
		}
		_, received, err = pumpThrough(s.sent, 5+int(buffer)%1500, r, sinks...)
		require.NoError(t, err)
		require.Len(t, received, len(s.expected)+len(last), "sinks change nothing")
		var seen []byte
		for i, c := range s.copies {
			require.Equal(t, c.Rows, sinks[i].(*collected).rows)
			require.Len(t, sinks[i].(*collected).text, int(c.Bytes))
			seen = append(seen, sinks[i].(*collected).text...)
		}
		require.Equal(t, string(s.text), string(seen))

		if len(s.copies) == 1 {
			server, client := net.Pipe()
			go func() { // takes the query, then answers
				_, _ = server.Read(make([]byte, 1000))
				chunked(server, s.sent, r)
			}()
			var to collected
			out := &relay{source: &messageReader{conn: client, buf: make([]byte, 5+int(buffer)%1500)}, moved: func(int) {}}
			rows, err := out.copyOut("COPY …", &to)
			require.NoError(t, err)
			require.Equal(t, s.copies[0].Rows, rows)
			require.Equal(t, rows, to.rows)
			require.Equal(t, string(s.text), string(to.text))
		}
	})
}

// FuzzRelayGarbage feeds any bytes: no panic, no endless loop, no large buffer.
func FuzzRelayGarbage(f *testing.F) {
	f.Add([]byte("d\x00\x00\x00\x00"), uint8(0))
	f.Add([]byte("C\xff\xff\xff\xffxxxxxxxxxxx"), uint8(1))
	f.Add([]byte("N\x7f\xff\xff\xffxxxxxxxxxxx"), uint8(2))
	f.Add([]byte("d\xff\xff\xff\xffxxxx"), uint8(3))
	f.Add([]byte("E\x00\x00\x00\x05x"), uint8(4))
	f.Add([]byte("E\x00\x00\x00\x04"), uint8(4))
	f.Add([]byte("C\x00\x00\x00\x03COPY 99999999999999999999\x00"), uint8(5))
	f.Add([]byte("c\x00\x00\x00\x09hello"), uint8(5))
	f.Add(bytes.Repeat([]byte{'C', 0, 0, 0, 1}, 1000), uint8(0))
	f.Fuzz(func(t *testing.T, sent []byte, buffer uint8) {
		r := rand.New(rand.NewPCG(uint64(len(sent)), 2))
		done := make(chan *relay, 1)
		go func() {
			p, _, _ := pumpThrough(sent, 5+int(buffer), r)
			done <- p
		}()
		select {
		case p := <-done:
			require.LessOrEqual(t, len(p.source.buf), maxMessage+5)
		case <-time.After(20 * time.Second):
			t.Fatal("the pump hangs")
		}
		server, client := net.Pipe()
		go chunked(server, sent, r)
		heard := &sink{in: &messageReader{conn: client, buf: make([]byte, 5+int(buffer))}}
		heard.run()
		_ = client.Close()
	})
}

func TestHeaderBounds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind   byte
		length uint32
		ok     bool
	}{
		{'d', 4, true}, {'d', 3, false}, {'d', 0, false}, {'d', 1<<31 - 1, true}, {'d', 1 << 31, false}, {'d', 1<<32 - 1, false},
		{'N', maxMessage, true}, {'N', maxMessage + 1, false}, {'E', 1<<32 - 1, false}, {'C', 2, false}, {'c', 4, true}, {'c', 5, false},
	} {
		m := &messageReader{buf: binary.BigEndian.AppendUint32([]byte{c.kind}, c.length), w: 5}
		_, size, ok := m.header()
		require.Equal(t, c.ok, ok, "%c %d", c.kind, c.length)
		if ok {
			require.Equal(t, int(c.length)-4, size)
			continue
		}
		require.ErrorContains(t, m.fill(), "protocol error")
	}
}

// TestLastWords has a target that says why it ends, and a write to it that fails
// before that is read.
func TestLastWords(t *testing.T) {
	t.Parallel()
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = listener.Close() }()
	target, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", listener.Addr().String())
	require.NoError(t, err)
	server, err := listener.Accept()
	require.NoError(t, err)

	feed, source := net.Pipe()
	go func() {
		_, _ = feed.Read(make([]byte, 1000)) // the query
		words := (&pgproto3.ErrorResponse{Severity: "FATAL", Code: "57P01", Message: "the end"})
		message, _ := words.Encode(nil)
		_, _ = server.Write(message)
		_ = server.Close() // with the query unread: a reset
		for {
			if _, err := feed.Write(frame('d', make([]byte, 8000))); err != nil {
				return
			}
		}
	}()
	r := &relay{source: &messageReader{conn: source, buf: make([]byte, relayBuffer)}, target: target}
	_, err = r.run("COPY", "COPY")
	var failed *RelayError
	require.ErrorAs(t, err, &failed)
	require.Equal(t, Target, failed.Side)
	require.True(t, IsCode(err, "57P01"), "%v", err)
	_ = source.Close()
	_ = target.Close()
}
