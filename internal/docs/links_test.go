package docs

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

func TestLinksOfDocuments(t *testing.T) {
	t.Parallel()
	require.Empty(t, Broken(os.DirFS(root), read(t)))
}

// TestEveryDocumentIsInTheIndex keeps documents from being forgotten: the index is
// the navigation of the site.
func TestEveryDocumentIsInTheIndex(t *testing.T) {
	t.Parallel()
	listed := map[string]bool{index: true}
	for _, s := range navigation(page(t, index)) {
		for _, e := range s.Entries {
			require.False(t, listed[e.Path], "%s is in %s twice", e.Path, index)
			listed[e.Path] = true
		}
	}
	for _, p := range read(t) {
		if strings.HasPrefix(p.Path, "docs/") {
			require.True(t, listed[p.Path], "%s does not list %s", index, p.Path)
		}
	}
}

func TestSite(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "site")
	require.NoError(t, Site(os.DirFS(root), dir))
	broken, err := BrokenOnSite(dir)
	require.NoError(t, err)
	require.Empty(t, broken)
	home, err := os.ReadFile(filepath.Join(dir, "docs", "index.html"))
	require.NoError(t, err)
	require.Contains(t, string(home), `<a href="tutorial/first-copy.html">`)
}

// TestBrokenLinksAreFound shows that the checks above can fail.
func TestBrokenLinksAreFound(t *testing.T) {
	t.Parallel()
	repo := fstest.MapFS{
		"docs/README.md": {Data: []byte("# Index\n\n## Part\n\n- [A](a.md#one-two): text\n- [gone](gone.md)\n")},
		"docs/a.md":      {Data: []byte("# A\n\n## One, `two`\n\n## One, two\n\n[up](../docs/README.md) [x](#one-two-1) [y](#three) ![p](p.svg) [f](f.txt#x) [h](https://example.com/x.md)\n")},
		"docs/f.txt":     {Data: []byte("x")},
	}
	pages, err := Pages(repo)
	require.NoError(t, err)
	require.Equal(t, []string{
		"docs/README.md: gone.md: there is no such file",
		"docs/a.md: #three: there is no such heading",
		"docs/a.md: f.txt#x: only documents have headings",
		"docs/a.md: p.svg: there is no such file",
	}, Broken(repo, pages))

	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.html"), []byte(`<h1 id="a">A</h1><a href="a.html#a">x</a><a href="a.html#b">y</a><img src="p.svg"><a href="https://example.com">z</a>`), 0o600))
	broken, err := BrokenOnSite(dir)
	require.NoError(t, err)
	require.Equal(t, []string{"a.html: a.html#b", "a.html: p.svg"}, slices.Sorted(slices.Values(broken)))
}
