package docs

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/yuin/goldmark/ast"

	"github.com/pgconvoy/pgconvoy/internal/cli/clitest"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

// root is the repository, from here.
const root = "../.."

func TestMain(m *testing.M) {
	code := pgtest.Main(m)
	clitest.RemoveCommands()
	os.Exit(code)
}

// commands returns the folder that planner and worker are in.
func commands(t *testing.T) string {
	t.Helper()
	dir, err := clitest.Commands()
	require.NoError(t, err)
	return dir
}

// read returns all documents.
func read(t *testing.T) []*Page {
	t.Helper()
	pages, err := Pages(os.DirFS(root))
	require.NoError(t, err)
	require.NotEmpty(t, pages)
	return pages
}

// page returns one document.
func page(t *testing.T, name string) *Page {
	t.Helper()
	source, err := os.ReadFile(filepath.Join(root, name))
	require.NoError(t, err)
	return parse(name, source)
}

// block is a fenced block of a document.
type block struct {
	info string // what stands after the fence
	text string
	line int
}

// blocks returns the fenced blocks of the document, in order.
func (p *Page) blocks() []block {
	var list []block
	p.each(func(n ast.Node) {
		fence, ok := n.(*ast.FencedCodeBlock)
		if !ok || fence.Lines().Len() == 0 {
			return
		}
		b := block{line: bytes.Count(p.source[:fence.Lines().At(0).Start], []byte("\n")) + 1}
		if fence.Info != nil {
			b.info = string(fence.Info.Segment.Value(p.source))
		}
		b.text = string(fence.Lines().Value(p.source))
		list = append(list, b)
	})
	return list
}

// spans returns what stands in backquotes within the text of the document.
func (p *Page) spans() []string {
	var list []string
	p.each(func(n ast.Node) {
		if n, ok := n.(*ast.CodeSpan); ok {
			list = append(list, p.text(n))
		}
	})
	return list
}
