// Command site builds the site of the documents and checks every link of it:
//
//	go run ./internal/docs/site
//
// It runs in the root of the repository and writes to dist/site. Exit status 1
// means that a link leads nowhere or the site could not be written.
package main

import (
	"fmt"
	"os"

	"github.com/pgconvoy/pgconvoy/internal/docs"
)

// dir is where the site is written to; what is there is removed before.
const dir = "dist/site"

func main() {
	if err := build(); err != nil {
		fmt.Fprintln(os.Stderr, "site:", err)
		os.Exit(1)
	}
	fmt.Fprintf(os.Stdout, "site: %s/index.html\n", dir)
}

func build() error {
	repo := os.DirFS(".")
	pages, err := docs.Pages(repo)
	if err != nil {
		return err
	}
	broken := docs.Broken(repo, pages)
	if len(broken) == 0 {
		if err := docs.Site(repo, dir); err != nil {
			return err
		}
		if broken, err = docs.BrokenOnSite(dir); err != nil {
			return err
		}
	}
	for _, line := range broken {
		fmt.Fprintln(os.Stderr, line)
	}
	if len(broken) > 0 {
		return fmt.Errorf("%d links lead nowhere", len(broken))
	}
	return nil
}
