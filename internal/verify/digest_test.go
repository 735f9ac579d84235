package verify_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
	"github.com/pgconvoy/pgconvoy/internal/verify"
)

// key is the one that all tests hash under unless they need two.
var key = tasks.DigestKey{1, 2, 3, 31: 4}

func newRows(t testing.TB, key tasks.DigestKey) *verify.Rows {
	t.Helper()
	r, err := verify.NewRows(key)
	require.NoError(t, err)
	return r
}

// whole is the digest of rows that come in one piece each.
func whole(t testing.TB, rows ...[]byte) tasks.Digest {
	r := newRows(t, key)
	for _, row := range rows {
		r.Row(row, true)
	}
	return r.Sum()
}

// TestRowsInPieces cuts rows of sizes around the unit that is hashed at once:
// the digest must not tell.
func TestRowsInPieces(t *testing.T) {
	t.Parallel()
	const chunk = 64 << 10
	random := rand.New(rand.NewPCG(1, 2))
	seen := map[tasks.Digest]int{}
	for _, size := range []int{0, 1, 16, 100, chunk - 1, chunk, chunk + 1, 2*chunk - 16, 2*chunk - 1, 2 * chunk, 2*chunk + 1, 5*chunk + 7} {
		row := bytes.Repeat([]byte{'x'}, size)
		want := whole(t, row)
		require.Equal(t, int64(1), want.Rows)
		require.NotContains(t, seen, want, "%d and %d bytes", size, seen[want])
		seen[want] = size
		for range 20 {
			r := newRows(t, key)
			for rest := row; ; {
				n := min(len(rest), random.IntN(1+random.IntN(2*chunk)))
				last := n == len(rest) && random.IntN(2) == 0 // or an empty piece ends the row
				r.Row(rest[:n], last)
				if rest = rest[n:]; last {
					break
				}
			}
			require.Equal(t, want, r.Sum(), "%d bytes", size)
			r.Row(row, true)
			require.Equal(t, want.Add(want), r.Sum(), "nothing of a row is left for the next")
		}
		for _, at := range []int{0, size / 2, size - 1} {
			if size > 0 {
				changed := bytes.Clone(row)
				changed[at] ^= 1
				require.NotEqual(t, want, whole(t, changed), "bit %d of %d bytes", at, size)
			}
		}
	}
}

// The row that follows from a digest is not the digest of what was hashed: rows
// that hold the hash of others must not collide with them.
func TestRowsThatHoldHashes(t *testing.T) {
	t.Parallel()
	d := whole(t, []byte("a"))
	require.NotEqual(t, d, whole(t, fmt.Appendf(nil, "%016x%016x", d.Hi, d.Lo)))
	require.NotEqual(t, whole(t, []byte("ab")), whole(t, []byte("a"), []byte("b")))
	require.NotEqual(t, whole(t, []byte("ab"), []byte("c")), whole(t, []byte("a"), []byte("bc")))
}

func TestDigestsAreKeyed(t *testing.T) {
	t.Parallel()
	base := whole(t, []byte("a row\n"))
	for i := range key {
		other := key
		other[i] ^= 1
		r := newRows(t, other)
		r.Row([]byte("a row\n"), true)
		require.NotEqual(t, base, r.Sum(), "byte %d of the key", i)
	}
	r := newRows(t, key)
	r.Row([]byte("a row\n"), true)
	require.Equal(t, base, r.Sum(), "another sink with the same key")
}

func TestDigestIsASumOfParts(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	rows := make([][]byte, 1000)
	for i := range rows {
		rows[i] = fmt.Appendf(nil, "%d\t%x\n", random.IntN(50), random.IntN(3)) // many are equal
	}
	want := whole(t, rows...)
	for range 20 {
		random.Shuffle(len(rows), func(i, k int) { rows[i], rows[k] = rows[k], rows[i] })
		var sum tasks.Digest
		for rest := rows; len(rest) > 0; {
			n := min(len(rest), random.IntN(300))
			sum = sum.Add(whole(t, rest[:n]...))
			rest = rest[n:]
		}
		require.Equal(t, want, sum)
	}
}

// BenchmarkRows is the cost of one row, which must not be an allocation.
func BenchmarkRows(b *testing.B) {
	for _, size := range []int{20, 60, 120, 400, 2000, 100_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			row := bytes.Repeat([]byte{'x'}, size)
			r := newRows(b, key)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				r.Row(row, true)
			}
		})
	}
}

func TestRowsDoNotAllocate(t *testing.T) {
	r := newRows(t, key)
	row := bytes.Repeat([]byte{'x'}, 150)
	r.Row(row[:7], false) // makes the buffer
	r.Row(row[7:], true)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		r.Row(row, true)
		r.Row(row[:70], false)
		r.Row(row[70:], true)
	}))
}
