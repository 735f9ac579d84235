package tasks_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// exactlyOnce fails unless every row of the table is in exactly one part, by
// evaluating all predicates for every row and by reading every part.
func exactlyOnce(t *testing.T, c *pg.Conn, table string, parts []tasks.Part) {
	t.Helper()
	var hits []string
	var reads []string
	for i, p := range parts {
		require.Equal(t, i+1, p.Index)
		hits = append(hits, fmt.Sprintf("coalesce((%s)::int, 0)", p.Predicate()))
		reads = append(reads, fmt.Sprintf("(SELECT count(*) FROM ONLY %s WHERE %s)", table, p.Predicate()))
	}
	var wrong, read, all int
	sql := fmt.Sprintf("SELECT (SELECT count(*) FROM ONLY %[1]s WHERE %[2]s <> 1), %[3]s, (SELECT count(*) FROM ONLY %[1]s)", table, strings.Join(hits, "+"), strings.Join(reads, "+"))
	require.NoError(t, c.QueryRow(context.Background(), sql).Scan(&wrong, &read, &all), sql)
	require.Zero(t, wrong, "rows that are not in exactly one part\n%s", sql)
	require.Equal(t, all, read, "rows read in all parts together\n%s", sql)
}

var keyTypes = map[string][2]int64{
	"int2": {math.MinInt16, math.MaxInt16}, "int4": {math.MinInt32, math.MaxInt32}, "int8": {math.MinInt64, math.MaxInt64},
}

// randomKey is a value of the type: an extreme, a small one, or any.
func randomKey(r *rand.Rand, bounds [2]int64) int64 {
	switch r.IntN(6) {
	case 0:
		return bounds[r.IntN(2)]
	case 1, 2:
		return int64(r.IntN(40) - 20)
	case 3:
		return bounds[r.IntN(2)] / int64(1+r.IntN(5))
	}
	if bounds[1] == math.MaxInt64 {
		return int64(r.Uint64())
	}
	return bounds[0] + r.Int64N(bounds[1]-bounds[0]+1)
}

// ascending turns keys into bounds, with neighbours that may be equal.
func ascending(keys []int64) []string {
	slices.Sort(keys)
	bounds := make([]string, len(keys))
	for i, k := range keys {
		bounds[i] = strconv.FormatInt(k, 10)
	}
	return bounds
}

func TestPartsByKey(t *testing.T) {
	t.Parallel()
	db := pgtest.Source(t).Database(t)
	c, err := pg.Connect(t.Context(), pg.Options{Side: pg.Target, URI: db.URI()})
	require.NoError(t, err)
	t.Cleanup(c.Discard)
	for seed := range uint64(45) {
		r := rand.New(rand.NewPCG(seed, 1))
		typ := []string{"int2", "int4", "int8"}[seed%3]
		table := fmt.Sprintf(`public."t %d"`, seed)
		key := []string{"id", `odd " key`, "SELECT", `back\slash'`}[r.IntN(4)]
		nullable := r.IntN(3) > 0
		var rows []string
		var keys []int64
		for range r.IntN(300) {
			k := randomKey(r, keyTypes[typ])
			keys = append(keys, k)
			rows = append(rows, fmt.Sprintf("('%d')", k))
			if nullable && r.IntN(10) == 0 {
				rows = append(rows, "(NULL)")
			}
		}
		_, err := c.Exec(t.Context(), fmt.Sprintf("CREATE TABLE %s (%s %s); CREATE INDEX ON %[1]s (%[2]s)", table, tasks.QuoteIdent(key), typ))
		require.NoError(t, err)
		if len(rows) > 0 {
			_, err = c.Exec(t.Context(), "INSERT INTO "+table+" VALUES "+strings.Join(rows, ", "))
			require.NoError(t, err)
		}
		for range 4 {
			var bounds []int64
			for range r.IntN(8) {
				if len(keys) > 0 && r.IntN(2) == 0 {
					bounds = append(bounds, keys[r.IntN(len(keys))])
				} else {
					bounds = append(bounds, randomKey(r, keyTypes[typ]))
				}
			}
			exactlyOnce(t, c, table, tasks.Ranges(key, ascending(bounds), nullable))
		}
		estimated, err := pg.KeyBounds(t.Context(), c, table, key, int64(r.IntN(3)), 1+r.IntN(9))
		require.NoError(t, err)
		var sorted []int64
		for _, b := range estimated {
			n, err := strconv.ParseInt(b, 10, 64)
			require.NoError(t, err)
			sorted = append(sorted, n)
		}
		require.Equal(t, estimated, ascending(sorted), "the bounds ascend")
		exactlyOnce(t, c, table, tasks.Ranges(key, estimated, nullable))
	}
}

func TestPartsByBlock(t *testing.T) {
	t.Parallel()
	for _, server := range []*pgtest.Server{pgtest.Source(t), pgtest.Major(t, 14), pgtest.Major(t, 18)} {
		db := server.Database(t)
		c, err := pg.Connect(t.Context(), pg.Options{Side: pg.Target, URI: db.URI()})
		require.NoError(t, err)
		t.Cleanup(c.Discard)
		for seed := range uint64(12) {
			r := rand.New(rand.NewPCG(seed, 2))
			table := fmt.Sprintf("public.t%d", seed)
			_, err := c.Exec(t.Context(), fmt.Sprintf(`CREATE TABLE %[1]s (id int, t text); CREATE TABLE %[1]s_child () INHERITS (%[1]s);
				INSERT INTO %[1]s SELECT n, repeat('x', %[2]d) FROM generate_series(1, %[3]d) n; INSERT INTO %[1]s_child VALUES (0);
				DELETE FROM %[1]s WHERE id %% %[4]d = 0 OR id BETWEEN %[5]d AND %[5]d + 500; UPDATE %[1]s SET t = 'y' WHERE id %% 7 = 0`,
				table, r.IntN(700), r.IntN(3000), 2+r.IntN(5), r.IntN(2000)))
			require.NoError(t, err)
			for range 5 {
				var bounds []int64
				for range r.IntN(7) {
					bounds = append(bounds, int64(r.IntN(1+r.IntN(400))))
				}
				if r.IntN(4) == 0 {
					bounds = append(bounds, math.MaxUint32-1)
				}
				exactlyOnce(t, c, table, tasks.Ranges("", ascending(bounds), r.IntN(2) == 0))
			}
		}
	}
}

// TestPartsAreSplitSensibly: no part is far larger than the others, if the
// values allow it.
func TestPartsAreSplitSensibly(t *testing.T) {
	t.Parallel()
	db := pgtest.Source(t).Database(t)
	c, err := pg.Connect(t.Context(), pg.Options{Side: pg.Source, URI: db.URI()})
	require.NoError(t, err)
	t.Cleanup(c.Discard)
	for name, expr := range map[string]string{
		"even": "n", "negative": "-n", "full range": "(n - 50000)::int8 * 184467440737095", "skewed": "(n / 1000.0) ^ 9", "gap": "CASE WHEN n < 50000 THEN n ELSE 9000000000000000000 + n END",
	} {
		db.Exec(t, fmt.Sprintf(`CREATE TABLE public.%q AS SELECT (%s)::int8 AS id FROM generate_series(1, 100000) n ORDER BY random()`, name, expr))
		table := fmt.Sprintf(`"public".%q`, name)
		bounds, err := pg.KeyBounds(t.Context(), c, table, "id", 1000, 8)
		require.NoError(t, err)
		parts := tasks.Ranges("id", bounds, true)
		exactlyOnce(t, c, table, parts)
		require.Len(t, parts, 9, "eight ranges, and the part of NULL keys")
		for _, p := range parts[:8] {
			var n int
			require.NoError(t, c.QueryRow(t.Context(), "SELECT count(*) FROM "+table+" WHERE "+p.Predicate()).Scan(&n))
			require.InDelta(t, 12500, n, 6000, "%s: %s", name, p.Predicate())
		}
	}
	db.Exec(t, "CREATE TABLE public.same AS SELECT 7 AS id FROM generate_series(1, 1000)")
	bounds, err := pg.KeyBounds(t.Context(), c, "public.same", "id", 10, 8)
	require.NoError(t, err)
	require.LessOrEqual(t, len(bounds), 1)
	exactlyOnce(t, c, "public.same", tasks.Ranges("id", bounds, false))
}

func TestRanges(t *testing.T) {
	t.Parallel()
	predicates := func(parts []tasks.Part) (texts []string) {
		for _, p := range parts {
			texts = append(texts, p.Predicate())
		}
		return texts
	}
	require.Equal(t, []string{"ctid < '(5,0)'::pg_catalog.tid", "ctid >= '(5,0)'::pg_catalog.tid AND ctid < '(9,0)'::pg_catalog.tid", "ctid >= '(9,0)'::pg_catalog.tid"},
		predicates(tasks.Ranges("", []string{"5", "5", "9"}, true)))
	require.Equal(t, []string{`"k" < '-3'`, `"k" >= '-3'`, `"k" IS NULL`}, predicates(tasks.Ranges("k", []string{"-3"}, true)))
	require.Equal(t, []string{`"k" IS NOT NULL`, `"k" IS NULL`}, predicates(tasks.Ranges("k", nil, true)))
	require.Equal(t, []string{"true"}, predicates(tasks.Ranges("", nil, false)))
	require.True(t, tasks.Part{}.IsWhole())
	require.False(t, tasks.Ranges("", nil, false)[0].IsWhole())
}
