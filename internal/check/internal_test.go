package check

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

func TestVersionFindings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		source, target int
		want           []string
	}{
		{13, 14, nil},
		{15, 15, nil},
		{14, 18, nil},
		{12, 15, []string{"source-version"}},
		{13, 13, []string{"target-version"}},
		{18, 17, []string{"target-older"}},
		{12, 11, []string{"source-version", "target-version", "target-older"}},
	} {
		var got []string
		for _, f := range versionFindings(c.source, c.target) {
			require.Equal(t, f.Check == TargetOlder, f.Level == Warning, "an older target is tried when there is a plan")
			got = append(got, f.Check)
		}
		require.Equal(t, c.want, got, "%d to %d", c.source, c.target)
	}
}

func TestToolFindings(t *testing.T) {
	t.Parallel()
	tools := func(major int) pg.Tools { return pg.Tools{Dump: "/x/pg_dump", Restore: "/x/pg_restore", Major: major} }
	require.Empty(t, toolFindings(tools(15), nil, 15, 15))
	require.Empty(t, toolFindings(tools(18), nil, 14, 18))
	for _, c := range []struct {
		found Findings
		level Level
		what  string
	}{
		{toolFindings(pg.Tools{}, errors.New("no suitable pg_dump: found 13 in /x"), 15, 15), Blocker, "found 13 in /x"},
		{toolFindings(pg.Tools{}, nil, 15, 15), Blocker, "not found"},
		{toolFindings(tools(14), nil, 15, 15), Blocker, "older than the source's 15"},
		{toolFindings(tools(18), nil, 15, 15), Warning, "newer than the target's 15"},
	} {
		require.Len(t, c.found, 1)
		require.Equal(t, c.level, c.found[0].Level)
		require.Contains(t, c.found[0].What, c.what)
		require.Contains(t, c.found[0].Hint, "postgresql-client-15")
	}
}

func TestEncodingFindings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		source, target string
		level          Level
	}{
		{"UTF8", "UTF8", ""},
		{"LATIN1", "LATIN1", ""},
		{"SQL_ASCII", "SQL_ASCII", ""},
		{"LATIN1", "UTF8", Warning},
		{"SQL_ASCII", "UTF8", Warning},
		{"UTF8", "LATIN1", Blocker},
		{"LATIN1", "LATIN9", Blocker},
		{"UTF8", "SQL_ASCII", Blocker},
	} {
		found := encodingFindings(c.source, c.target, "shop")
		if c.level == "" {
			require.Empty(t, found)
			continue
		}
		require.Len(t, found, 1)
		require.Equal(t, c.level, found[0].Level, "%s to %s", c.source, c.target)
	}
}

func TestLocaleFindings(t *testing.T) {
	t.Parallel()
	utf8 := locale{Provider: "c", Collate: "en_US.UTF-8", Ctype: "en_US.UTF-8", Version: "2.36", Actual: "2.36"}
	require.Empty(t, localeFindings(utf8, utf8, "a", "b"))
	same := utf8
	same.Collate, same.Ctype = "en_US.utf8", "en_US.utf8"
	require.Empty(t, localeFindings(utf8, same, "a", "b"))

	newer, stale, icu := utf8, utf8, utf8
	newer.Actual, newer.Version = "2.41", "2.41"
	stale.Version = "2.28"
	icu.Provider, icu.Locale = "i", "und"
	for _, c := range []struct {
		source, target locale
		what           string
	}{
		{utf8, newer, "of version 2.36, that of the target 2.41"},
		{stale, utf8, "was updated from version 2.28 to 2.36"},
		{utf8, icu, "provider icu"},
	} {
		found := localeFindings(c.source, c.target, "a", "b")
		require.Len(t, found, 1, "%v", found)
		require.Equal(t, Warning, found[0].Level)
		require.Contains(t, found[0].What, c.what)
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	require.True(t, list{}.empty())
	var l list
	for range shown + 2 {
		l.add("a")
	}
	require.Len(t, l.names, shown)
	require.Contains(t, l.String(), "a, a and 2 more")
	require.Contains(t, l.each("DROP %s;"), "DROP a;\n-- and so on for 2 more")
	require.Equal(t, "1 index", tasks.Plural(1, "index"))
	require.Equal(t, "2 indexes", tasks.Plural(2, "index"))
	require.Equal(t, "/tmp/.s.PGSQL.5432", address("/tmp", 5432))
	require.Equal(t, "[::1]:5432", address("::1", 5432))
}
