package pg_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pg"
)

func TestScript(t *testing.T) {
	t.Parallel()
	good := []string{
		"CREATE TABLE public.a (x int) -- a comment at the end", "INSERT INTO public.a VALUES (1); INSERT INTO public.a VALUES (2)",
		"SELECT 1 AS x, ';' AS y /* ; */", "", "COMMENT ON TABLE public.a IS 'é表😀 ; it''s'", "DO $$BEGIN PERFORM 1; END$$;;",
	}
	for name, c := range map[string]struct {
		statements []string
		failed     int
		code       string
	}{
		"good":           {good, -1, ""},
		"none":           {nil, -1, ""},
		"first":          {append([]string{"SELECT 1 / 0"}, good...), 0, "22012"},
		"last":           {append(good[:len(good):len(good)], "SELECT 1 / 0"), len(good), "22012"},
		"second of two":  {[]string{"SELECT 1", "SELECT 1; SELECT 1 / 0; SELECT 2", "SELECT 3"}, 1, "22012"},
		"name":           {[]string{"SELECT 1", "SELECT 2", "SELECT * FROM public.gone"}, 2, "42P01"},
		"syntax, first":  {[]string{"NONSENSE", "SELECT 1"}, 0, "42601"},
		"syntax, later":  {append(good[:len(good):len(good)], "SELECT 'é'", "CREATE TABEL x"), len(good) + 1, "42601"},
		"syntax, end":    {[]string{"SELECT 1", "SELECT (", "SELECT 2"}, 1, "42601"},
		"inner syntax":   {[]string{"DO $$BEGIN EXECUTE 'NONSENSE'; END$$", "SELECT 2"}, 0, "42601"},
		"unended string": {[]string{"SELECT 1", "SELECT 'x"}, 1, "42601"},
		"many rows":      {[]string{"SELECT generate_series(1, 10000)", "SELECT 1 / 0"}, 1, "22012"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, "")
			exec(t, p.target, "BEGIN")
			err := p.target.Script(t.Context(), c.statements)
			if c.failed < 0 {
				require.NoError(t, err)
				return
			}
			var failed *pg.ScriptError
			require.ErrorAs(t, err, &failed)
			require.Equal(t, c.failed, failed.Index, "%v", err)
			require.True(t, pg.IsCode(err, c.code), "%v", err)
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		t.Parallel()
		p := newPair(t, "")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.Error(t, p.target.Script(ctx, []string{"SELECT 1"}))
		require.NoError(t, p.source.Script(ctx, nil))
	})
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	c := newPair(t, "").source
	numbers, err := c.Numbers(t.Context(), []string{"SELECT 1", "SELECT count(*) FROM (VALUES (1), (2)) v"})
	require.NoError(t, err)
	require.Equal(t, []int64{1, 2}, numbers)
	numbers, err = c.Numbers(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, numbers)
	for query, says := range map[string]string{"SELECT 1/0": "22012", "SELECT 'x'": "invalid syntax", "SELECT 1 WHERE false": "1 numbers of 3"} {
		numbers, err = c.Numbers(t.Context(), []string{"SELECT 1", query, "SELECT 3"})
		require.ErrorContains(t, err, says)
		require.Equal(t, []int64{1}, numbers)
	}
}
