package tasks_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

func TestDigestText(t *testing.T) {
	t.Parallel()
	for _, d := range []tasks.Digest{{}, {Rows: 1, Hi: 2, Lo: 3}, {Rows: math.MaxInt64, Hi: math.MaxUint64, Lo: math.MaxUint64}, {Hi: 1 << 63}} {
		back, err := tasks.ParseDigest(d.String())
		require.NoError(t, err)
		require.Equal(t, d, back)
	}
	require.Equal(t, "7 rows, 000000000000000a000000000000000b", tasks.Digest{Rows: 7, Hi: 10, Lo: 11}.String())
	for _, bad := range []string{"", "7 rows, ", "7 rows, 000000000000000a000000000000000", "x rows, 000000000000000a000000000000000b",
		"7 rows, 000000000000000a000000000000000g", "7 rows, +00000000000000a000000000000000b", "7, 000000000000000a000000000000000b", "7 rows, 000000000000000a000000000000000b0"} {
		_, err := tasks.ParseDigest(bad)
		require.ErrorContains(t, err, "is no digest", bad)
	}
}

func TestDigestAdd(t *testing.T) {
	t.Parallel()
	x, y := tasks.Digest{Rows: 1, Hi: 5, Lo: math.MaxUint64}, tasks.Digest{Rows: 2, Hi: math.MaxUint64, Lo: 2}
	require.Equal(t, tasks.Digest{Rows: 3, Hi: 5, Lo: 1}, x.Add(y), "carried, and modulo 2^128")
	require.Equal(t, x.Add(y), y.Add(x))
	require.Equal(t, x, x.Add(tasks.Digest{}))
}
