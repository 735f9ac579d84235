package pg

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// relayBuffer is the size of the only buffer of a relay. Larger ones were not
// faster; a value larger than it passes in pieces.
const relayBuffer = 256 << 10

// maxMessage bounds messages other than data, which are held whole.
const maxMessage = 64 << 20

// lastWords is how long a target that no longer takes data is listened to: it
// mostly has said why.
const lastWords = 5 * time.Second

// Copied is what both servers reported of one COPY of a relay.
type Copied struct {
	Rows  int64
	Bytes int64 // payload, without the headers of the frames
}

// RelayError is an error in the middle of a relay: which COPY it was in, and
// after how many rows of it.
type RelayError struct {
	Side Side
	Copy int   // index of the COPY in the query strings; their number if the error came after the last one
	Rows int64 // rows of that COPY that the source had sent
	Err  error
}

func (e *RelayError) Error() string { return fmt.Sprintf("%s: %v", e.Side, e.Err) }

// Unwrap returns the server's or the network's error.
func (e *RelayError) Unwrap() error { return e.Err }

// Relay runs sourceSQL on the source and targetSQL on the target and sends the
// CopyData of the one to the other. Both are simple-query strings with the
// same number of COPY … TO STDOUT and COPY … FROM STDIN, in the same order;
// targetSQL may hold other statements between them. A CopyData message has the
// same form in both directions, so the bytes are passed on as they are and
// only the headers are walked; nothing waits for a round trip between two
// COPYs. Both connections should be in a transaction, and neither string may
// begin or end one.
//
// If sinks are given, there must be one for each COPY, in order; it gets the
// rows of that COPY on their way.
//
// It returns one entry per COPY, and an error if the two servers' row counts
// differ. After any error both connections are in an unknown state and must be
// discarded. A cancelled ctx ends it at once.
func Relay(ctx context.Context, source, target *Conn, sourceSQL, targetSQL string, sinks ...RowSink) ([]Copied, error) {
	for _, c := range []*Conn{source, target} {
		if err := c.PgConn().SyncConn(ctx); err != nil {
			return nil, &RelayError{Side: c.side, Err: err}
		}
	}
	r := &relay{
		source: &messageReader{conn: source.PgConn().Conn(), buf: make([]byte, relayBuffer)},
		target: target.PgConn().Conn(),
		moved:  target.Move,
		sinks:  sinks,
	}
	defer r.paceBy(ctx, source)()
	stop := context.AfterFunc(ctx, r.abort)
	copied, err := r.run(sourceSQL, targetSQL)
	if !stop() || ctx.Err() != nil {
		return nil, context.Cause(ctx) // rather than what it made of the connections
	}
	return copied, err
}

// relay is the state of the source's half; the target's half is a sink.
type relay struct {
	source   *messageReader
	target   net.Conn
	moved    func(bytes int)       // told of what the target has taken
	pace     func(bytes int) error // waits, if rows are not to be moved as fast as they come; nil otherwise
	unpace   func()                // ends the wait; nil if there is none
	sinks    []RowSink             // of the COPYs that are still to end
	copies   []Copied
	current  Copied          // of the COPY in progress
	binary   bool            // its format
	err      *pgconn.PgError // what the source said
	writeErr error           // why the target took no more
}

func (r *relay) run(sourceSQL, targetSQL string) ([]Copied, error) {
	if err := sendQuery(r.target, targetSQL); err != nil {
		return nil, &RelayError{Side: Target, Err: err}
	}
	if err := sendQuery(r.source.conn, sourceSQL); err != nil {
		return nil, &RelayError{Side: Source, Err: err}
	}
	sink := &sink{in: &messageReader{conn: r.target, buf: make([]byte, 8<<10)}}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		if sink.run(); sink.err != nil {
			r.abort()
		}
	}()
	pumpErr := r.pump()
	switch {
	case r.writeErr != nil && !isAborted(r.writeErr):
		_ = r.target.SetReadDeadline(time.Now().Add(lastWords))
	case pumpErr != nil:
		r.abort() // releases the sink, which waits for an answer that will not come
	}
	<-finished
	return r.outcome(sink, pumpErr)
}

// paceBy makes the relay move rows no faster than the source's pace lets it. The
// returned function is to be called at its end.
func (r *relay) paceBy(ctx context.Context, source *Conn) (stop func()) {
	if source.Pace == nil {
		return func() {}
	}
	ctx, r.unpace = context.WithCancel(ctx)
	r.pace = func(bytes int) error {
		if err := source.Paid(ctx, bytes); err != nil {
			return os.ErrDeadlineExceeded // as every other wait that is aborted
		}
		return nil
	}
	return r.unpace
}

// abort makes every pending read and write on both connections return, and every
// wait for the pace.
func (r *relay) abort() {
	if r.unpace != nil {
		r.unpace()
	}
	past := time.Unix(1, 0)
	_ = r.source.conn.SetDeadline(past)
	_ = r.target.SetDeadline(past)
}

// outcome decides which of the two halves' errors is the cause, and compares
// the counts if there is none.
func (r *relay) outcome(s *sink, pumpErr error) ([]Copied, error) {
	switch {
	case s.pgErr != nil:
		return nil, r.targetError(s, s.pgErr)
	case r.err != nil:
		return nil, r.sourceError(r.err)
	case pumpErr != nil && r.writeErr == nil && !isAborted(pumpErr):
		return nil, r.sourceError(pumpErr)
	case s.err != nil && !isAborted(s.err):
		return nil, r.targetError(s, s.err)
	case r.writeErr != nil:
		return nil, r.targetError(s, r.writeErr)
	case pumpErr != nil:
		return nil, r.sourceError(pumpErr)
	}
	if len(s.rows) != len(r.copies) {
		return nil, fmt.Errorf("source sent %d COPYs, target took %d", len(r.copies), len(s.rows))
	}
	for i, c := range r.copies {
		if c.Rows != s.rows[i] {
			return nil, &RelayError{Side: Target, Copy: i, Rows: c.Rows,
				Err: fmt.Errorf("row counts differ: source sent %d, target stored %d", c.Rows, s.rows[i])}
		}
	}
	return r.copies, nil
}

func (r *relay) sourceError(err error) error {
	return &RelayError{Side: Source, Copy: len(r.copies), Rows: r.current.Rows, Err: err}
}

func (r *relay) targetError(s *sink, err error) error {
	rows := r.current.Rows
	if len(s.rows) < len(r.copies) { // the source is ahead
		rows = r.copies[len(s.rows)].Rows
	}
	return &RelayError{Side: Target, Copy: len(s.rows), Rows: rows, Err: err}
}

// pump reads the source until it is ready for the next query, and writes every
// CopyData and CopyDone to the target.
func (r *relay) pump() error {
	in := r.source
	left := 0 // payload bytes of the current data frame that are still to come
	for {
		if err := in.fill(); err != nil {
			return err
		}
		var regions net.Buffers
		start := in.r // of the region that is passed on as it is
		flush := func() {
			if in.r > start {
				regions = append(regions, in.buf[start:in.r])
			}
		}
		ready := false
		for !ready {
			if left > 0 {
				left -= r.pass(left)
				if left > 0 {
					break
				}
			}
			kind, size, ok := in.header()
			if !ok {
				break
			}
			if kind == 'd' {
				r.current.Rows++
				r.current.Bytes += int64(size)
				in.r += 5
				if left = size; left == 0 { // no text row is, but a sink counts rows
					r.pass(0)
				}
				continue
			}
			flush()
			start = in.r
			if kind == 'c' { // CopyDone has the same form in both directions, too
				in.r += 5
				continue
			}
			body, ok := in.body(size)
			if !ok {
				break
			}
			done, err := r.message(kind, body)
			if err != nil {
				return err
			}
			start = in.r
			ready = done
		}
		flush()
		if len(regions) > 0 {
			var n int64
			if n, r.writeErr = regions.WriteTo(r.target); r.writeErr != nil {
				return r.writeErr
			}
			r.moved(int(n))
			if r.pace != nil {
				if err := r.pace(int(n)); err != nil {
					return err
				}
			}
		}
		if ready {
			return r.endOfSource()
		}
	}
}

// pass goes over what is there of the left bytes of a row, and shows it to the
// sink if there is one. It returns how many bytes those are.
func (r *relay) pass(left int) int {
	in := r.source
	n := min(left, in.w-in.r)
	if len(r.sinks) > 0 {
		r.sinks[0].Row(in.buf[in.r:in.r+n], n == left)
	}
	in.r += n
	return n
}

// endOfSource fails a COPY that the target waits in although the source has
// none for it. A target that is in no COPY ignores the message.
func (r *relay) endOfSource() error {
	message, err := (&pgproto3.CopyFail{Message: "the source has no data for it"}).Encode(nil)
	if err != nil {
		return err
	}
	_, r.writeErr = r.target.Write(message)
	return r.writeErr
}

// message handles what the source says beside data; done means that it is
// ready for the next query.
func (r *relay) message(kind byte, body []byte) (done bool, err error) {
	switch kind {
	case 'H': // CopyOutResponse begins with the format
		r.binary = len(body) > 0 && body[0] == 1
	case 'C':
		if n, ok := copyTag(body); ok {
			if r.binary {
				r.current.Rows-- // the trailer is a message of its own; the header comes with the first row
			}
			if n != r.current.Rows {
				return false, fmt.Errorf("source reports %d rows and sent %d", n, r.current.Rows)
			}
			r.copies = append(r.copies, r.current)
			r.current = Copied{}
			if len(r.sinks) > 0 {
				r.sinks = r.sinks[1:]
			}
		}
	case 'E':
		r.err = serverError(body)
		return false, r.err
	case 'Z':
		return true, nil
	}
	return false, nil
}

// sink reads the target's answers while the relay writes, so that a target
// which has much to say, or an error, is heard at once.
type sink struct {
	in    *messageReader
	rows  []int64
	pgErr *pgconn.PgError // what the server said
	err   error           // pgErr, or why the server could not be heard
}

func (s *sink) run() {
	for {
		if err := s.in.fill(); err != nil {
			s.err = err
			return
		}
		for {
			kind, size, ok := s.in.header()
			if !ok {
				break
			}
			body, ok := s.in.body(size)
			if !ok {
				break
			}
			switch kind {
			case 'C':
				if n, ok := copyTag(body); ok {
					s.rows = append(s.rows, n)
				}
			case 'E':
				s.pgErr = serverError(body)
				s.err = s.pgErr
				return
			case 'Z':
				return
			}
		}
	}
}

// messageReader cuts a stream of backend messages. Unread bytes are
// buf[r:w].
type messageReader struct {
	conn net.Conn
	buf  []byte
	r, w int
	need int   // size of the message that did not fit yet, 0 if none
	bad  error // the stream cannot be understood from here on
}

// fill reads more, at least one byte, after moving what is unread to the front.
// The buffer grows only for a message other than data that does not fit.
func (m *messageReader) fill() error {
	if m.bad != nil {
		return m.bad
	}
	if m.r > 0 {
		m.w = copy(m.buf, m.buf[m.r:m.w])
		m.r = 0
	}
	if m.need > len(m.buf) {
		m.buf = append(m.buf, make([]byte, m.need-len(m.buf))...)
	}
	n, err := m.conn.Read(m.buf[m.w:])
	m.w += n
	if n > 0 {
		return nil
	}
	return err
}

// header returns the type and the payload size of the next message if its
// header is there; it consumes nothing. After a header that no server sends,
// fill fails.
func (m *messageReader) header() (kind byte, size int, ok bool) {
	if m.w-m.r < 5 {
		return 0, 0, false
	}
	kind, length := m.buf[m.r], binary.BigEndian.Uint32(m.buf[m.r+1:])
	if length < 4 || length > math.MaxInt32 || kind != 'd' && length > maxMessage || kind == 'c' && length != 4 {
		m.bad = fmt.Errorf("protocol error: message %q of length %d", kind, length)
		return 0, 0, false
	}
	return kind, int(length) - 4, true
}

// body consumes the next message if it is there whole and returns its payload,
// valid until the next fill.
func (m *messageReader) body(size int) ([]byte, bool) {
	if m.w-m.r < 5+size {
		m.need = 5 + size
		return nil, false
	}
	m.need = 0
	body := m.buf[m.r+5 : m.r+5+size]
	m.r += 5 + size
	return body, true
}

func sendQuery(conn net.Conn, sql string) error {
	message, err := (&pgproto3.Query{String: sql}).Encode(nil)
	if err != nil {
		return err
	}
	_, err = conn.Write(message)
	return err
}

// copyTag returns the row count of a "COPY n" command tag.
func copyTag(body []byte) (int64, bool) {
	count, ok := strings.CutPrefix(strings.TrimRight(string(body), "\x00"), "COPY ")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(count, 10, 64)
	return n, err == nil
}

func serverError(body []byte) *pgconn.PgError {
	var message pgproto3.ErrorResponse
	if err := message.Decode(body); err != nil {
		return &pgconn.PgError{Severity: "ERROR", Code: "08P01", Message: "unreadable error response: " + err.Error()}
	}
	return pgconn.ErrorResponseToPgError(&message)
}

// isAborted reports whether err is the work of [relay.abort].
func isAborted(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
