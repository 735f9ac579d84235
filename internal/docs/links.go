package docs

import (
	"fmt"
	"io/fs"
	"net/url"
	"path"
)

// Broken returns a line for every link and picture of the pages that leads nowhere:
// a file that is not in the repository, or a heading that is not in the document.
// Links to other hosts are not looked at.
func Broken(repo fs.FS, pages []*Page) []string {
	byPath := map[string]*Page{}
	for _, p := range pages {
		byPath[p.Path] = p
	}
	var broken []string
	for _, p := range pages {
		for _, dest := range p.destinations() {
			if why := fault(repo, byPath, p, dest); why != "" {
				broken = append(broken, fmt.Sprintf("%s: %s: %s", p.Path, dest, why))
			}
		}
	}
	return broken
}

// fault returns why a link of the page leads nowhere, "" if it leads somewhere.
func fault(repo fs.FS, pages map[string]*Page, p *Page, dest string) string {
	name, anchor, ok := p.resolve(dest)
	if !ok {
		return ""
	}
	if _, err := fs.Stat(repo, name); err != nil {
		return "there is no such file"
	}
	if anchor == "" {
		return ""
	}
	if to := pages[name]; to == nil {
		return "only documents have headings"
	} else if !to.anchors[anchor] {
		return "there is no such heading"
	}
	return ""
}

// destinations returns what the links and pictures of the page lead to.
func (p *Page) destinations() []string {
	var list []string
	for _, l := range p.links {
		list = append(list, string(l.Destination))
	}
	for _, i := range p.images {
		list = append(list, string(i.Destination))
	}
	return list
}

// resolve returns the path in the repository, and the anchor, that a link of the
// page leads to. ok is false for links to other hosts.
func (p *Page) resolve(dest string) (name, anchor string, ok bool) {
	u, err := url.Parse(dest)
	if err != nil || u.Scheme != "" || u.Host != "" {
		return "", "", false
	}
	if u.Path == "" {
		return p.Path, u.Fragment, true
	}
	return path.Join(path.Dir(p.Path), u.Path), u.Fragment, true
}
