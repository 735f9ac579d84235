package tasks

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// DigestKey is the secret that the rows of one run are hashed under: whoever
// makes up rows does not know it, and so cannot make up two that look alike.
type DigestKey [32]byte

// Digest stands for rows as a multiset: their number, and the sum modulo 2^128
// of a keyed hash of each one's COPY text. It depends neither on the order of
// the rows nor on where they are stored, and unlike an exclusive or it sees a
// row that is there twice. Digests under different keys cannot be compared.
type Digest struct {
	Rows   int64
	Hi, Lo uint64
}

// Add returns the digest of the rows of both.
func (d Digest) Add(other Digest) Digest {
	lo, carry := bits.Add64(d.Lo, other.Lo, 0)
	hi, _ := bits.Add64(d.Hi, other.Hi, carry)
	return Digest{Rows: d.Rows + other.Rows, Hi: hi, Lo: lo}
}

// String returns the text that [ParseDigest] takes: 3 rows, 32 hex digits.
func (d Digest) String() string { return fmt.Sprintf("%d rows, %016x%016x", d.Rows, d.Hi, d.Lo) }

// ParseDigest returns the digest that the text of [Digest.String] stands for.
func ParseDigest(text string) (Digest, error) {
	rows, sum, ok := strings.Cut(text, " rows, ")
	if !ok || len(sum) != 32 {
		return Digest{}, fmt.Errorf("%q is no digest", text)
	}
	var d Digest
	var errs [3]error
	d.Rows, errs[0] = strconv.ParseInt(rows, 10, 64)
	d.Hi, errs[1] = strconv.ParseUint(sum[:16], 16, 64)
	d.Lo, errs[2] = strconv.ParseUint(sum[16:], 16, 64)
	for _, err := range errs {
		if err != nil {
			return Digest{}, fmt.Errorf("%q is no digest: %w", text, err)
		}
	}
	return d, nil
}
