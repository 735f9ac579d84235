// Package docs reads the documents of this repository: it checks their links,
// builds the site of them, and its tests keep them true.
//
// The site has one page for every Markdown file, at the same path, so that links
// between documents are the same on both. Its navigation is docs/README.md.
//
// Where a new line goes: what a document consists of in page.go, whether links lead
// somewhere in links.go, the navigation in navigation.go, pages of HTML in site.go,
// layout.html and style.css. The tests hold what is said of the program: command
// lines and settings in claims_test.go; the generated reference in reference_test.go,
// ledger_test.go and messages_test.go; tutorial and guides that are run in
// guide_test.go and shell_test.go.
package docs
