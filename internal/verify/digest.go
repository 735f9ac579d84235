package verify

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// chunk is how much of a row is hashed at once. It is part of the hash: other
// processes must use the same.
const chunk = 64 << 10

// Nonces of the three uses of the universal hash.
const (
	wholeRow     = iota // of at most a chunk
	chunkOfRow          // of a longer one
	lastOfChunks        // what is left of it, maybe nothing
)

// rowHash is a keyed hash of rows: GMAC, a polynomial in GF(2^128) at a secret
// point, whose value is then encrypted with AES under a second key. Two rows
// have the same hash with a probability of some 2^-115 whatever they are, and
// the hashes of different rows are as good as random numbers, so that sums of
// them do not cancel out either. Processors have instructions for both halves,
// which makes it two to four times as fast as SHA-256 with the key in front.
//
// Rows larger than a chunk are chained: the hash of what was before stands in
// front of each next chunk.
type rowHash struct {
	universal cipher.AEAD
	random    cipher.Block
	nonce     [3][12]byte
	buf       []byte // pieces of the row that began in an earlier call, after the hash of its earlier chunks
	chained   bool   // that hash is there
	tag       [16]byte
}

func newRowHash(key tasks.DigestKey) (*rowHash, error) {
	first, err := aes.NewCipher(key[:16])
	if err != nil {
		return nil, err
	}
	h := &rowHash{}
	if h.universal, err = cipher.NewGCM(first); err != nil {
		return nil, err
	}
	if h.random, err = aes.NewCipher(key[16:]); err != nil {
		return nil, err
	}
	for i := range h.nonce {
		h.nonce[i][0] = byte(i)
	}
	return h, nil
}

// keyed hashes data for one of the uses, into h.tag.
func (h *rowHash) keyed(use int, data []byte) {
	tag := h.universal.Seal(h.tag[:0], h.nonce[use][:], nil, data)
	h.random.Encrypt(h.tag[:], tag)
}

// row takes the next piece of a row, and reports true with the last one: the
// hash is in h.tag then. A row that comes in one piece is not copied.
func (h *rowHash) row(piece []byte, last bool) bool {
	if last && len(h.buf) == 0 && len(piece) <= chunk {
		h.keyed(wholeRow, piece)
		return true
	}
	if h.buf == nil {
		h.buf = make([]byte, 0, len(h.tag)+chunk)
	}
	for {
		before := 0
		if h.chained {
			before = len(h.tag)
		}
		n := min(len(piece), before+chunk-len(h.buf))
		h.buf = append(h.buf, piece[:n]...)
		piece = piece[n:]
		if len(piece) == 0 {
			break
		}
		h.keyed(chunkOfRow, h.buf)
		h.buf = append(h.buf[:0], h.tag[:]...)
		h.chained = true
	}
	if !last {
		return false
	}
	use := wholeRow
	if h.chained {
		use = lastOfChunks
	}
	h.keyed(use, h.buf)
	h.buf, h.chained = h.buf[:0], false
	return true
}

// sum returns the digest of the row that was just hashed.
func (h *rowHash) sum() tasks.Digest {
	return tasks.Digest{Rows: 1, Hi: binary.BigEndian.Uint64(h.tag[:8]), Lo: binary.BigEndian.Uint64(h.tag[8:])}
}

// Rows is a row sink that adds up the digest of the rows that it gets. It is
// not safe for concurrent use.
type Rows struct {
	hash *rowHash
	sum  tasks.Digest
}

// NewRows returns a sink that hashes under the key. It fails only where the
// process may not use AES-GCM as it likes, as with GODEBUG=fips140=only.
func NewRows(key tasks.DigestKey) (*Rows, error) {
	h, err := newRowHash(key)
	if err != nil {
		return nil, fmt.Errorf("make the hash of rows: %w", err)
	}
	return &Rows{hash: h}, nil
}

// Row takes the next piece of a row.
func (r *Rows) Row(piece []byte, last bool) {
	if r.hash.row(piece, last) {
		r.sum = r.sum.Add(r.hash.sum())
	}
}

// Sum returns the digest of the rows so far.
func (r *Rows) Sum() tasks.Digest { return r.sum }

// DigestOf reads the rows of the SELECT and returns their digest under the key.
// After an error the connection must be discarded.
func DigestOf(ctx context.Context, c *pg.Conn, key tasks.DigestKey, query string) (tasks.Digest, error) {
	r, err := NewRows(key)
	if err != nil {
		return tasks.Digest{}, err
	}
	if err := readRows(ctx, c, query, r); err != nil {
		return tasks.Digest{}, err
	}
	return r.Sum(), nil
}

// readRows feeds the rows of the SELECT to the sink.
func readRows(ctx context.Context, c *pg.Conn, query string, to pg.RowSink) error {
	if _, err := pg.CopyOut(ctx, c, "COPY ("+query+") TO STDOUT", to); err != nil {
		return fmt.Errorf("read the %s: %w", c.Side(), err)
	}
	return nil
}
