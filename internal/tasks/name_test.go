package tasks_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// safe reports whether the token may stand in a queue subject.
func safe(token string) bool {
	return token != "" && !strings.ContainsFunc(token, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-' && r != '='
	})
}

// FuzzToken: one to one, and safe in a subject.
func FuzzToken(f *testing.F) {
	f.Add("orders", "Orders")
	f.Add("a=b", "a=3Db")
	f.Add("", "=")
	f.Add("a.b", "a=2Eb")
	f.Add("> *\n\x00é\xff", "=3E")
	f.Fuzz(func(t *testing.T, a, b string) {
		require.True(t, safe(tasks.Token(a)), "%q", tasks.Token(a))
		require.Equal(t, a == b, tasks.Token(a) == tasks.Token(b))
	})
}

// FuzzID: two paths share an ID only if they are the same.
func FuzzID(f *testing.F) {
	f.Add("public", "a.b", "c", "public.a", "b", "c")
	f.Add("", "x", "all", "x", "", "all")
	f.Add("bundle", "b0001", "all", "bundle", "b0001", "")
	f.Fuzz(func(t *testing.T, a1, a2, a3, b1, b2, b3 string) {
		a, b := tasks.NewID(tasks.KindCopy, a1, a2, a3), tasks.NewID(tasks.KindCopy, b1, b2, b3)
		require.Equal(t, a1 == b1 && a2 == b2 && a3 == b3, a == b, "%s %s", a, b)
		require.NotEqual(t, tasks.NewID(tasks.KindCopy, a1, a2), b, "other lengths")
		require.NotEqual(t, tasks.NewID(tasks.KindIndex, b1, b2, b3), b, "other stages")
		require.Equal(t, tasks.StageCopy, a.Stage())
		require.Len(t, strings.Split(string(a), "."), 4)
	})
}

func TestKindsHaveStages(t *testing.T) {
	t.Parallel()
	for _, k := range []tasks.Kind{
		tasks.KindSchema, tasks.KindCopy, tasks.KindBundle, tasks.KindIndex, tasks.KindAttach, tasks.KindAnalyze, tasks.KindFKeyAdd,
		tasks.KindFKeyValidate, tasks.KindLargeObjects, tasks.KindExtensionData, tasks.KindSequences, tasks.KindRefresh, tasks.KindMeasure, tasks.KindVerify,
	} {
		require.True(t, k.Stage().Valid(), k)
	}
	require.False(t, tasks.Kind("x").Stage().Valid())
}

// TestQuoting asks a server what the quoted text means.
func TestQuoting(t *testing.T) {
	t.Parallel()
	db := pgtest.Source(t).Database(t)
	c, err := pg.Connect(t.Context(), pg.Options{Side: pg.Target, URI: db.URI()})
	require.NoError(t, err)
	t.Cleanup(c.Discard)
	for _, s := range []string{"a", "A b", `q"q`, "'", `\`, `\'`, "new\nline", "é表😀", "%I", "$1", `""`, "select"} {
		for _, conforming := range []string{"on", "off"} {
			_, err := c.Exec(t.Context(), "SET standard_conforming_strings = "+conforming)
			require.NoError(t, err)
			results, err := c.PgConn().Exec(t.Context(), "SELECT "+tasks.QuoteLiteral(s)+" AS "+tasks.QuoteIdent(s)).ReadAll()
			require.NoError(t, err)
			require.Equal(t, s, string(results[0].Rows[0][0]))
			require.Equal(t, s, results[0].FieldDescriptions[0].Name)
		}
	}
	require.Equal(t, `"a""b"."c.d"`, tasks.Name{Schema: `a"b`, Name: "c.d"}.String())
	require.Equal(t, `"a", "b"`, tasks.QuoteIdents([]string{"a", "b"}))
}
