package pg

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// tape is a connection that yields recorded bytes and takes whatever it is given.
type tape struct {
	net.Conn
	*bytes.Reader
	buffers int // writes
}

func (t *tape) Read(p []byte) (int, error) { return t.Reader.Read(p) }
func (t *tape) Write(p []byte) (int, error) {
	t.buffers++
	return len(p), nil
}

// wound makes a source that sends one COPY of so many rows of so many bytes.
func wound(rows, size int) *tape {
	row := frame('d', bytes.Repeat([]byte("x"), size))
	sent := append(frame('H', []byte{0, 0, 0}), bytes.Repeat(row, rows)...)
	sent = append(sent, frame('c', nil)...)
	sent = append(sent, frame('C', fmt.Appendf(nil, "COPY %d\x00", rows))...)
	return &tape{Reader: bytes.NewReader(append(sent, frame('Z', []byte{'T'})...))}
}

// unwind pumps the whole tape through a buffer of the relay's size.
func unwind(tb testing.TB, source *tape, buf []byte, sinks ...RowSink) int64 {
	_, err := source.Seek(0, io.SeekStart)
	require.NoError(tb, err)
	r := &relay{source: &messageReader{conn: source, buf: buf}, target: &tape{}, moved: func(int) {}, sinks: sinks}
	require.NoError(tb, r.pump())
	return r.copies[0].Rows
}

// BenchmarkPump walks the frames of a COPY, without servers and sockets.
func BenchmarkPump(b *testing.B) {
	const rows = 100_000
	for name, size := range map[string]int{"rows of 20 bytes": 20, "rows of 100 bytes": 100, "rows of 2000 bytes": 2000} {
		b.Run(name, func(b *testing.B) {
			source, buf := wound(rows, size), make([]byte, relayBuffer)
			b.SetBytes(source.Size())
			b.ReportAllocs()
			for b.Loop() {
				unwind(b, source, buf)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
		})
	}
}

// However many rows there are, the pump allocates a little for each buffer only.
func TestPumpAllocatesNothingPerRow(t *testing.T) { //nolint:paralleltest // what others allocate would count
	const rows = 200_000
	source, buf := wound(rows, 20), make([]byte, relayBuffer)
	buffers := float64(source.Size()) / relayBuffer
	allocations := testing.AllocsPerRun(5, func() { require.Equal(t, int64(rows), unwind(t, source, buf)) })
	require.Less(t, allocations, 3*buffers+50)
}
