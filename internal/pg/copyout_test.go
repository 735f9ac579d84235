package pg_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pg"
)

// pieces is a row sink that remembers what it got.
type pieces struct {
	rows    []string
	current []byte
	largest int
	onRow   func()
}

func (p *pieces) Row(piece []byte, last bool) {
	p.current = append(p.current, piece...)
	p.largest = max(p.largest, len(piece))
	if !last {
		return
	}
	p.rows = append(p.rows, string(p.current))
	p.current = p.current[:0]
	if p.onRow != nil {
		p.onRow()
	}
}

func TestCopyOut(t *testing.T) {
	t.Parallel()
	p := newPair(t, "")
	var got pieces
	rows, err := pg.CopyOut(t.Context(), p.source, `COPY (SELECT repeat('x', n), n FROM unnest(ARRAY[0, 1, 5000000, 262144, 3]) n) TO STDOUT`, &got)
	require.NoError(t, err)
	require.Equal(t, int64(5), rows)
	require.Equal(t, []string{"\t0\n", "x\t1\n"}, got.rows[:2])
	require.Len(t, got.rows[2], 5000000+len("\t5000000\n"))
	require.LessOrEqual(t, got.largest, 256<<10, "a large row comes in pieces")

	var none pieces
	rows, err = pg.CopyOut(t.Context(), p.source, "COPY (SELECT WHERE false) TO STDOUT", &none)
	require.NoError(t, err)
	require.Zero(t, rows)
	require.Empty(t, none.rows)

	var bare pieces
	_, err = pg.CopyOut(t.Context(), p.source, "COPY (SELECT FROM generate_series(1, 3)) TO STDOUT", &bare)
	require.NoError(t, err)
	require.Equal(t, []string{"\n", "\n", "\n"}, bare.rows)
	require.Equal(t, "1", value(t, p.source, "SELECT 1"), "the session goes on")
}

func TestCopyOutFails(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"in the middle": "COPY (SELECT 1 / (n - 500) FROM generate_series(1, 1000) n) TO STDOUT",
		"no COPY":       "SELECT 1",
		"two":           "COPY (SELECT 1) TO STDOUT; COPY (SELECT 1) TO STDOUT",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, "")
			_, err := pg.CopyOut(t.Context(), p.source, sql, &pieces{})
			require.Error(t, err)
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		t.Parallel()
		p := newPair(t, "")
		ctx, cancel := context.WithCancel(t.Context())
		_, err := pg.CopyOut(ctx, p.source, endless, &pieces{onRow: cancel})
		require.ErrorIs(t, err, context.Canceled)
	})
}
