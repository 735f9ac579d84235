package docs

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// index is the document that the navigation of the site is taken from.
const index = "docs/README.md"

//go:embed layout.html
var layoutHTML string

//go:embed style.css
var styleCSS []byte

// Site writes the site of the repository's documents into a folder, which it
// empties before. Files that documents link to are copied; a folder that one links
// to is shown as a list of its files.
func Site(repo fs.FS, dir string) error {
	pages, err := Pages(repo)
	if err != nil {
		return err
	}
	s := &site{repo: repo, dir: dir, copied: map[string]bool{}, layout: template.Must(template.New("").Parse(layoutHTML))}
	for _, p := range pages {
		if p.Path == index {
			s.sections = navigation(p)
		}
	}
	if s.sections == nil {
		return fmt.Errorf("build the site: there is no %s with headings", index)
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := s.write("style.css", styleCSS); err != nil {
		return err
	}
	for _, p := range pages {
		if err := s.page(p); err != nil {
			return fmt.Errorf("build the site: %s: %w", p.Path, err)
		}
	}
	return nil
}

// site is one build.
type site struct {
	repo     fs.FS
	dir      string
	layout   *template.Template
	sections []section
	copied   map[string]bool // files and folders
}

// page writes the page of a document, and what it links to.
func (s *site) page(p *Page) error {
	for _, l := range p.links {
		dest, err := s.follow(p, string(l.Destination))
		if err != nil {
			return err
		}
		l.Destination = []byte(dest)
	}
	for _, i := range p.images {
		if _, err := s.follow(p, string(i.Destination)); err != nil {
			return err
		}
	}
	body, err := p.render()
	if err != nil {
		return err
	}
	return s.render(htmlPath(p.Path), p.Path, p.Title, body)
}

// follow returns what a link of a document is on the site, and copies what it leads
// to if that is no document.
func (s *site) follow(p *Page, dest string) (string, error) {
	name, anchor, ok := p.resolve(dest)
	if !ok {
		return dest, nil
	}
	to := name
	if path.Ext(name) == ".md" {
		to = htmlPath(name)
	} else {
		info, err := fs.Stat(s.repo, name)
		if err != nil {
			return "", err
		}
		if err := s.copy(name, info.IsDir()); err != nil {
			return "", err
		}
		if info.IsDir() {
			to = path.Join(name, "index.html")
		}
	}
	to = relative(htmlPath(p.Path), to)
	if anchor != "" {
		to += "#" + anchor
	}
	return to, nil
}

// copy copies a file, or the files of a folder with a list of them.
func (s *site) copy(name string, folder bool) error {
	if s.copied[name] {
		return nil
	}
	s.copied[name] = true
	if !folder {
		text, err := fs.ReadFile(s.repo, name)
		if err != nil {
			return err
		}
		return s.write(name, text)
	}
	entries, err := fs.ReadDir(s.repo, name)
	if err != nil {
		return err
	}
	var list strings.Builder
	for _, e := range entries {
		if e.IsDir() || path.Ext(e.Name()) == ".md" {
			continue
		}
		if err := s.copy(path.Join(name, e.Name()), false); err != nil {
			return err
		}
		file := template.HTMLEscapeString(e.Name())
		fmt.Fprintf(&list, "<li><a href=\"%s\">%s</a></li>\n", file, file)
	}
	title := template.HTMLEscapeString(name)
	return s.render(path.Join(name, "index.html"), name, name, "<h1>"+title+"</h1>\n<ul>\n"+list.String()+"</ul>\n")
}

// link is a line of the navigation as a page shows it.
type link struct {
	Title, Href string
	Here        bool
}

// render writes one page. path is where, source what of the repository it shows.
func (s *site) render(name, source, title, body string) error {
	type group struct {
		Title string
		Links []link
	}
	var groups []group
	for _, sec := range s.sections {
		g := group{Title: sec.Title}
		for _, e := range sec.Entries {
			g.Links = append(g.Links, link{e.Title, relative(name, htmlPath(e.Path)), e.Path == source})
		}
		groups = append(groups, g)
	}
	var b bytes.Buffer
	err := s.layout.Execute(&b, map[string]any{
		"Title": title, "Root": relative(name, "index.html"), "Style": relative(name, "style.css"), "Index": relative(name, htmlPath(index)),
		"Groups": groups, "Source": source,
		"Body": template.HTML(body), // made from our own documents
	})
	if err != nil {
		return err
	}
	return s.write(name, b.Bytes())
}

func (s *site) write(name string, text []byte) error {
	file := filepath.Join(s.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o644)
}

// htmlPath returns where on the site a document is. Other files keep their path.
func htmlPath(name string) string {
	stem, ok := strings.CutSuffix(name, ".md")
	switch {
	case !ok:
		return name
	case path.Base(stem) == "README":
		return path.Join(path.Dir(name), "index.html")
	}
	return stem + ".html"
}

// relative returns the link from one file of the site to another.
func relative(from, to string) string {
	up := strings.Split(path.Dir(from), "/")
	if up[0] == "." {
		up = nil
	}
	down := strings.Split(to, "/")
	for len(up) > 0 && len(down) > 1 && up[0] == down[0] {
		up, down = up[1:], down[1:]
	}
	return strings.Repeat("../", len(up)) + strings.Join(down, "/")
}

// attribute matches what of a page leads somewhere, or can be led to.
var attribute = regexp.MustCompile(`(?:^|[\s<])(href|src|id)="([^"]*)"`)

// BrokenOnSite returns a line for every link of the built site that leads to no
// file, or no element, of it.
func BrokenOnSite(dir string) ([]string, error) {
	ids, links := map[string][]string{}, map[string][]string{}
	site := os.DirFS(dir)
	err := fs.WalkDir(site, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) != ".html" {
			return err
		}
		text, err := fs.ReadFile(site, name)
		for _, m := range attribute.FindAllSubmatch(text, -1) {
			if string(m[1]) == "id" {
				ids[name] = append(ids[name], string(m[2]))
			} else {
				links[name] = append(links[name], string(m[2]))
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the site: %w", err)
	}
	var broken []string
	for name, list := range links {
		p := &Page{Path: name}
		for _, dest := range list {
			to, anchor, ok := p.resolve(dest)
			if !ok {
				continue
			}
			if _, err := fs.Stat(site, to); err != nil || anchor != "" && !slices.Contains(ids[to], anchor) {
				broken = append(broken, name+": "+dest)
			}
		}
	}
	slices.Sort(broken)
	return broken, nil
}
