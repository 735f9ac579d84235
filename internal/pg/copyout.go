package pg

import (
	"context"
	"fmt"
)

// RowSink receives the rows of a COPY … TO STDOUT: every row in one piece or,
// if it does not lie whole in the buffer, in several, the last of which is
// marked and may be empty. A row of a table without columns has no bytes but a
// line end. The bytes are valid only during the call, and must not be changed.
type RowSink interface {
	Row(piece []byte, last bool)
}

// CopyOut runs one COPY … TO STDOUT and feeds its rows to the sink, with a
// fixed buffer whatever the size of a row is. In text format the server sends
// one row per message, so rows are told apart without decoding. It returns the
// number of rows. After an error the connection must be discarded.
func CopyOut(ctx context.Context, c *Conn, sql string, to RowSink) (int64, error) {
	if err := c.PgConn().SyncConn(ctx); err != nil {
		return 0, err
	}
	in := &messageReader{conn: c.PgConn().Conn(), buf: make([]byte, relayBuffer)}
	r := &relay{source: in, target: in.conn, moved: c.Move}
	defer r.paceBy(ctx, c)()
	stop := context.AfterFunc(ctx, r.abort)
	rows, err := r.copyOut(sql, to)
	if !stop() || ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	return rows, err
}

func (r *relay) copyOut(sql string, to RowSink) (int64, error) {
	in := r.source
	if err := sendQuery(in.conn, sql); err != nil {
		return 0, err
	}
	left, inRow := 0, false
	for {
		unread := in.w - in.r
		if err := in.fill(); err != nil {
			return 0, err
		}
		if r.pace != nil {
			if err := r.pace(in.w - in.r - unread); err != nil {
				return 0, err
			}
		}
		for {
			if inRow {
				n := min(left, in.w-in.r)
				r.moved(n)
				left -= n
				to.Row(in.buf[in.r:in.r+n], left == 0)
				in.r += n
				if left > 0 {
					break
				}
				inRow = false
			}
			kind, size, ok := in.header()
			if !ok {
				break
			}
			if kind == 'd' {
				r.current.Rows++
				in.r += 5
				left, inRow = size, true
				continue
			}
			body, ok := in.body(size)
			if !ok {
				break
			}
			done, err := r.message(kind, body)
			if err != nil {
				return 0, err
			}
			if done {
				if len(r.copies) != 1 {
					return 0, fmt.Errorf("expected one COPY, the server ran %d", len(r.copies))
				}
				return r.copies[0].Rows, nil
			}
		}
	}
}
