package verify

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// TestLocateCutsAgain has ranges that hold far more rows than may be looked at
// one by one.
func TestLocateCutsAgain(t *testing.T) {
	t.Parallel()
	var conns [2]*pg.Conn
	for i, side := range []pg.Side{pg.Source, pg.Target} {
		db := map[pg.Side]*pgtest.Server{pg.Source: pgtest.Source(t), pg.Target: pgtest.Target(t)}[side].Database(t)
		db.Exec(t, "CREATE TABLE public.keyed (id int PRIMARY KEY, v text); INSERT INTO public.keyed SELECT n, 'v' FROM generate_series(1, 5000) n; CREATE TABLE public.equal AS SELECT 1 AS id, 'v' AS v FROM generate_series(1, 5000)")
		if side == pg.Target {
			db.Exec(t, "UPDATE public.keyed SET v = 'w' WHERE id = 77; DELETE FROM public.equal WHERE ctid = '(0,1)'")
		}
		c, err := pg.Connect(t.Context(), pg.Options{Side: side, URI: db.URI()})
		require.NoError(t, err)
		t.Cleanup(c.Discard)
		conns[i] = c
	}
	for name, want := range map[string]tasks.RowDifference{
		"keyed": {Finding: tasks.RowDifferent, Key: []string{"77"}},
		"equal": {Finding: tasks.RowMissing, CTID: "(0,10)"}, // one of many, and as good as the first
	} {
		for _, bits := range []int{2, 5, 16} {
			var oid uint32
			require.NoError(t, conns[0].QueryRow(t.Context(), "SELECT $1::regclass::oid", "public."+name).Scan(&oid))
			l := &locator{
				source: conns[0], target: conns[1], bits: bits, maxRows: 10,
				table: tasks.VerifyTable{Table: tasks.Table{Name: tasks.Name{Schema: "public", Name: name}, OID: oid, Columns: []string{"id", "v"}}},
			}
			var d tasks.Difference
			require.NoError(t, l.locate(t.Context(), &d))
			require.Equal(t, []tasks.RowDifference{want}, d.Rows, "%s by %d bits", name, bits)
			require.False(t, d.More)
		}
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	l := &locator{maxRows: 100}
	cells := map[int]pair{}
	chosen, _ := l.choose(cells)
	require.Empty(t, chosen)
	require.NotNil(t, chosen, "nil would be all ranges")
	cells[5] = pair{tasks.Digest{Rows: 1000}, tasks.Digest{}}
	chosen, rows := l.choose(cells)
	require.Equal(t, []int{5}, chosen, "one at least")
	require.Equal(t, int64(1000), rows)
	for i := range 30 {
		cells[10+i] = pair{tasks.Digest{Rows: 7}, tasks.Digest{Rows: 8}}
	}
	chosen, rows = l.choose(cells)
	require.Equal(t, []int{10, 11, 12, 13, 14, 15}, chosen, "small ones, as many as may be looked at")
	require.Equal(t, int64(90), rows)
	for i := range 30 {
		cells[100+i] = pair{tasks.Digest{Rows: 1}, tasks.Digest{}}
	}
	chosen, _ = l.choose(cells)
	require.Len(t, chosen, shownRows)
}

// TestSplitter cuts lines anywhere: name and rest must come out the same.
func TestSplitter(t *testing.T) {
	t.Parallel()
	rows := []string{"a\tb\tc\td\n", "\t\t\n", "1\t2\n", strings.Repeat("x", 99) + "\t" + strings.Repeat("y", 99) + "\tz\n"}
	type seen struct {
		name      string
		hash, row tasks.Digest
	}
	split := func(size int) []seen {
		s, err := newSplitter(tasks.DigestKey{}, 2)
		require.NoError(t, err)
		var all []seen
		s.visit = func(name []byte, hash, row tasks.Digest) { all = append(all, seen{string(name), hash, row}) }
		for _, row := range rows {
			for rest := []byte(row); ; {
				n := min(size, len(rest))
				s.Row(rest[:n], n == len(rest))
				if rest = rest[n:]; len(rest) == 0 {
					break
				}
			}
		}
		return all
	}
	want := split(1000)
	var names []string
	for _, s := range want {
		names = append(names, s.name)
	}
	require.Equal(t, []string{"a\tb", "\t", "1\t2", strings.Repeat("x", 99) + "\t" + strings.Repeat("y", 99)}, names)
	require.NotEqual(t, want[0].row, want[1].row)
	for size := 1; size < 12; size++ {
		require.Equal(t, want, split(size), "pieces of %d bytes", size)
	}
}

func TestUnescape(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"": "", "plain": "plain", `a\tb\nc\rd\be\ff\vg`: "a\tb\nc\rd\be\ff\vg", `back\\slash`: `back\slash`, `\\t`: `\t`, `\\N`: `\N`,
	} {
		require.Equal(t, want, unescape(in), fmt.Sprintf("%q", in))
	}
}
