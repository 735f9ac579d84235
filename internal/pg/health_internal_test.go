package pg

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBacklog(t *testing.T) {
	t.Parallel()
	const segment = 16 << 20
	for _, c := range []struct {
		last, failed string
		now          int64
		segment      int64
		want         int64
	}{
		{"000000010000000000000003", "", 4*segment + 100, segment, 0}, // the one that is written at is not complete
		{"000000010000000000000003", "", 6*segment + 100, segment, 2 * segment},
		{"000000020000000100000000", "", 1<<32 + 2*segment, segment, segment},
		{"000000010000000000000003.00000028.backup", "", 6 * segment, segment, 2 * segment},
		{"", "000000010000000000000001", 5 * segment, segment, 4 * segment},
		{"", "", 5 * segment, segment, 0},
		{"00000002.history", "", 5 * segment, segment, 0},
		{"not hexadecimal at all, but long", "", 5 * segment, segment, 0},
		{"0000000100000000000000FF", "", 1 << 20 * 260, 1 << 20, 4 << 20},
	} {
		require.Equal(t, c.want, backlog(c.last, c.failed, c.now, c.segment), c.last+c.failed)
	}
}
