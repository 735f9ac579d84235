package verify

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"math/bits"

	"github.com/pgconvoy/pgconvoy/internal/pg"
)

// Digest stands for the rows of a table as a multiset: their number, and the
// sum modulo 2^128 of a hash of each row's COPY text. It depends neither on the
// order of the rows nor on where they are stored.
type Digest struct {
	Rows   int64
	Hi, Lo uint64
}

func (d Digest) String() string { return fmt.Sprintf("%d rows, %016x%016x", d.Rows, d.Hi, d.Lo) }

// digestRows is a row sink that adds up a [Digest].
type digestRows struct {
	sum  Digest
	hash hash.Hash
	out  [sha256.Size]byte
}

func (r *digestRows) Write(piece []byte) { _, _ = r.hash.Write(piece) }

func (r *digestRows) EndRow() {
	h := r.hash.Sum(r.out[:0])
	var carry uint64
	r.sum.Lo, carry = bits.Add64(r.sum.Lo, binary.BigEndian.Uint64(h[8:]), 0)
	r.sum.Hi, _ = bits.Add64(r.sum.Hi, binary.BigEndian.Uint64(h), carry)
	r.sum.Rows++
	r.hash.Reset()
}

// DigestOf reads the rows of the SELECT and returns their digest. After an
// error the connection must be discarded.
func DigestOf(ctx context.Context, c *pg.Conn, query string) (Digest, error) {
	r := &digestRows{hash: sha256.New()}
	if _, err := pg.CopyOut(ctx, c, "COPY ("+query+") TO STDOUT", r); err != nil {
		return Digest{}, fmt.Errorf("read the %s: %w", c.Side(), err)
	}
	return r.sum, nil
}
