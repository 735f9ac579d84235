package docs

import (
	"strings"

	"github.com/yuin/goldmark/ast"
)

// section is a part of the navigation.
type section struct {
	Title   string
	Entries []entry
}

// entry is a line of the navigation.
type entry struct{ Title, Path string }

// navigation returns the headings of the second level of a page, each with the
// first link of every item of the lists below it.
func navigation(p *Page) []section {
	var sections []section
	p.each(func(n ast.Node) {
		switch n := n.(type) {
		case *ast.Heading:
			if n.Level == 2 {
				sections = append(sections, section{Title: p.text(n)})
			}
		case *ast.ListItem:
			if link := firstLink(n); link != nil && len(sections) > 0 {
				if name, _, ok := p.resolve(string(link.Destination)); ok {
					last := &sections[len(sections)-1]
					last.Entries = append(last.Entries, entry{strings.TrimSpace(p.text(link)), name})
				}
			}
		}
	})
	return sections
}

// firstLink returns the first link within a node, nil if there is none.
func firstLink(n ast.Node) *ast.Link {
	var found *ast.Link
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if l, ok := n.(*ast.Link); ok && entering {
			found = l
			return ast.WalkStop, nil
		}
		return ast.WalkContinue, nil
	})
	return found
}
