package filter_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/filter"
)

func TestQualifiedPatterns(t *testing.T) {
	t.Parallel()
	for text, c := range map[string]struct {
		matches, others []string
		exact           bool
	}{
		"app.orders":               {[]string{"app.orders"}, []string{"app.Orders", "app.orders2", "x.orders"}, true},
		" App.ORDERS ":             {[]string{"app.orders"}, []string{"App.ORDERS"}, true},
		`"App"."a.""b"`:            {[]string{`App.a."b`}, []string{"app.a"}, true},
		`app."7 up"`:               {[]string{"app.7 up"}, nil, true},
		"größe.tabelle":            {[]string{"größe.tabelle"}, nil, true},
		`/^app\.tmp_/`:             {[]string{"app.tmp_1"}, []string{"app.x_tmp_1", "xapp.tmp_1"}, false},
		"/a/b/":                    {[]string{"xa/b.y"}, []string{"a.b"}, false},
		"public.~/^tmp_/":          {[]string{"public.tmp_x"}, []string{"public.x", "app.tmp_x"}, false},
		"~/^log/.audit_log":        {[]string{"log_2.audit_log"}, []string{"x.audit_log"}, false},
		"~/archive/.~/_bak$/":      {[]string{"archive.t_bak", "old_archive_1.x_bak"}, []string{"archive.t"}, false},
		`/^tenant_/."Orders"`:      {[]string{"tenant_1.Orders"}, []string{"tenant_1.orders"}, false},
		`~/^t[[:digit:]]{1,2}\.x/`: {[]string{"t12.x"}, []string{"t123.x"}, false},
		"/x/.y/":                   {[]string{"x/.y"}, []string{"x.y"}, false},
	} {
		p, err := filter.ParseQualified(text, "here")
		require.NoError(t, err, text)
		require.Equal(t, c.exact, p.Exact(), text)
		match := func(name string) bool {
			schema, table, _ := strings.Cut(name, ".")
			return p.Matches(schema, table)
		}
		for _, m := range c.matches {
			require.True(t, match(m), "%s should match %s", text, m)
		}
		for _, o := range c.others {
			require.False(t, match(o), "%s should not match %s", text, o)
		}
	}
}

func TestWrongPatterns(t *testing.T) {
	t.Parallel()
	for text, what := range map[string]string{
		"": "not a name as in SQL", "orders": "write public.orders", "a.b.c": "neither a name", `a."b`: "neither a name", `"".x`: "empty",
		"7up.x": "not a name as in SQL", "app.*": "neither a name", "/x": "must end with a slash", "/(/": "missing closing", "//": "empty", "app.//": "empty",
		"~tmp": "a ~ begins", "app.orders x": "neither a name",
	} {
		_, err := filter.ParseQualified(text, "here")
		require.ErrorContains(t, err, what, "%q", text)
	}
	_, err := filter.ParseName("app.orders", "here")
	require.ErrorContains(t, err, "a single one is meant")
	p, err := filter.ParseName("~/^a/", "here")
	require.NoError(t, err)
	require.True(t, p.MatchesName("app"))
}

// A plain name that is quoted matches itself and nothing else.
func FuzzPattern(f *testing.F) {
	for _, s := range []string{"a", `"`, "/", "~/x/.y", "a.b", "ä", "\x00", `a".b`} {
		f.Add(s, s)
	}
	quote := func(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
	f.Fuzz(func(t *testing.T, a, b string) {
		if p, err := filter.ParseQualified(a, ""); err == nil {
			p.Matches(a, b) // does not panic
		}
		if a == "" || b == "" {
			return
		}
		p, err := filter.ParseQualified(quote(a)+"."+quote(b), "")
		require.NoError(t, err)
		require.True(t, p.Exact() && p.Matches(a, b))
		require.False(t, p.Matches(b, a) && a != b)
	})
}

const ini = `; of pgcopydb
[include-only-schema]
public
~/^audit_/

[exclude-table]
# quoted as in SQL
"schema"."name"
public.~/^tmp_/
[exclude-table-data]
public.bar
[exclude-index]
public.foo_gin
[exclude-extension]
aiven_extras
`

func TestFilterFile(t *testing.T) {
	t.Parallel()
	rules, problems := filter.ParseINI("filters.ini", "\ufeff"+strings.ReplaceAll(ini, "\n", "\r\n"))
	require.Empty(t, problems)
	require.Len(t, rules.IncludeSchemas, 2)
	require.Len(t, rules.ExcludeTables, 2)
	require.Equal(t, "filters.ini:9", rules.ExcludeTables[1].From)
	require.True(t, rules.ExcludeTables[1].Matches("public", "tmp_1"))
	require.Len(t, rules.ExcludeTableData, 1)
	require.Len(t, rules.ExcludeIndexes, 1)
	require.Len(t, rules.ExcludeExtensions, 1)
}

func TestFilterFileReportsEverything(t *testing.T) {
	t.Parallel()
	_, problems := filter.ParseINI("f", "lost\n[nonsense]\nx\n[include-only-table]\norders\na.b\n[exclude-table]\n[exclude-schema]\n[include-only-schema]\n[include-only-extension]\n[exclude-extension]\n")
	var found []string
	for _, p := range problems {
		found = append(found, p.String())
	}
	require.Equal(t, []string{
		`f:1: "lost" stands in no section`,
		`f:2: "[nonsense]" is not a section`,
		"f:5: orders: the schema is missing: write public.orders if that is meant",
		"f:8: [exclude-schema] may not stand beside [include-only-schema]",
		"f:8: [exclude-schema] may not stand beside [include-only-table]",
		"f:7: [exclude-table] may not stand beside [include-only-table]",
		"f:11: [exclude-extension] may not stand beside [include-only-extension]",
	}, found)
}

func FuzzFilterFile(f *testing.F) {
	f.Add(ini)
	f.Fuzz(func(t *testing.T, text string) {
		rules, problems := filter.ParseINI("f", text)
		if len(problems) == 0 && !strings.Contains(text, "[") {
			require.True(t, rules.Empty())
		}
	})
}
