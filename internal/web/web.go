// Package web makes the pages that people look at: the report of a run that has ended
// (report.go), and the live dashboard (dashboard.go), which internal/httpd serves.
// Each is one file that needs nothing from elsewhere. assets has what it is made of: page.css
// and, of JavaScript, what several pages share (format.js, table.js, timeline.js) and
// a file for each page.
package web

import (
	"embed"
	"fmt"
	"html/template"
	"strings"
)

//go:embed assets
var assets embed.FS

// asset returns a file of assets.
func asset(name string) (string, error) {
	text, err := assets.ReadFile("assets/" + name)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", name, err)
	}
	return string(text), nil
}

// style returns the style sheet of all pages.
func style() (template.CSS, error) {
	text, err := asset("page.css")
	return template.CSS(text), err //nolint:gosec // it is ours
}

// script returns the shared files and that of a page, one after the other.
func script(page string) (template.JS, error) {
	var all strings.Builder
	for _, name := range []string{"format.js", "table.js", "timeline.js", page} {
		text, err := asset(name)
		if err != nil {
			return "", err
		}
		all.WriteString(text)
	}
	return template.JS(all.String()), nil //nolint:gosec // it is ours
}
