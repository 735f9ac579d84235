package docs

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/renderer/html"
	"github.com/yuin/goldmark/text"
)

// Page is one Markdown document.
type Page struct {
	Path  string // in the repository, with slashes
	Title string // its first heading

	source  []byte
	doc     ast.Node
	anchors map[string]bool // what a link may name after #
	links   []*ast.Link
	images  []*ast.Image
}

// markdown returns a parser and renderer of the dialect that GitHub shows. HTML
// passes as it is: the documents are our own.
func markdown() goldmark.Markdown {
	return goldmark.New(goldmark.WithExtensions(extension.GFM), goldmark.WithRendererOptions(html.WithUnsafe()))
}

// Pages reads every Markdown document of the repository, in the order of their
// paths. Folders whose name begins with a dot, and those that builds and tests
// leave, are left out.
func Pages(repo fs.FS) ([]*Page, error) {
	var pages []*Page
	err := fs.WalkDir(repo, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (name != "." && strings.HasPrefix(d.Name(), ".") || slices.Contains([]string{"bin", "dist", "node_modules", "testdata"}, d.Name())):
			return fs.SkipDir
		case d.IsDir() || path.Ext(name) != ".md":
			return nil
		}
		source, err := fs.ReadFile(repo, name)
		if err != nil {
			return err
		}
		pages = append(pages, parse(name, source))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the documents: %w", err)
	}
	return pages, nil
}

// parse reads one document. Every heading gets its anchor as an attribute, which
// the renderer writes.
func parse(name string, source []byte) *Page {
	p := &Page{Path: name, source: source, anchors: map[string]bool{}}
	p.doc = markdown().Parser().Parse(text.NewReader(source))
	p.each(func(n ast.Node) {
		switch n := n.(type) {
		case *ast.Heading:
			words := p.text(n)
			if p.Title == "" {
				p.Title = words
			}
			n.SetAttributeString("id", []byte(p.anchor(words)))
		case *ast.Link:
			p.links = append(p.links, n)
		case *ast.Image:
			p.images = append(p.images, n)
		}
	})
	return p
}

// each calls do with every node of the document, in order.
func (p *Page) each(do func(ast.Node)) {
	_ = ast.Walk(p.doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if entering {
			do(n)
		}
		return ast.WalkContinue, nil
	})
}

// text returns the letters of a node, without marks.
func (p *Page) text(n ast.Node) string {
	var b strings.Builder
	for child := n.FirstChild(); child != nil; child = child.NextSibling() {
		if t, ok := child.(*ast.Text); ok {
			b.Write(bytes.ReplaceAll(t.Segment.Value(p.source), []byte("\n"), []byte(" ")))
			if t.SoftLineBreak() {
				b.WriteByte(' ')
			}
			continue
		}
		b.WriteString(p.text(child))
	}
	return b.String()
}

// anchor returns the name of a heading in links, by the rule of GitHub, and notes
// it: lower case, without punctuation, with hyphens for blanks, and a number where
// it is there already.
func (p *Page) anchor(words string) string {
	slug := strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r):
			return unicode.ToLower(r)
		}
		return -1
	}, words)
	unique := slug
	for i := 1; p.anchors[unique]; i++ {
		unique = fmt.Sprintf("%s-%d", slug, i)
	}
	p.anchors[unique] = true
	return unique
}

// render returns the document as HTML.
func (p *Page) render() (string, error) {
	var b bytes.Buffer
	if err := markdown().Renderer().Render(&b, p.source, p.doc); err != nil {
		return "", fmt.Errorf("render %s: %w", p.Path, err)
	}
	return b.String(), nil
}
