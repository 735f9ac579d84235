package clitest

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/pgconvoy/pgconvoy/internal/cli"
)

// manFolder names the folder that manual pages are left in; make man sets it.
const manFolder = "PGCONVOY_TEST_MAN"

// ManPages writes a manual page for the command and for each of its verbs, from
// their help, and checks them. Making them is part of a test so that no command
// that people install links what it takes.
func ManPages(t *testing.T, root *cobra.Command) {
	t.Helper()
	dir := cmp.Or(os.Getenv(manFolder), t.TempDir())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var files []string
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		file := filepath.Join(dir, strings.ReplaceAll(cmd.CommandPath(), " ", "-")+".1")
		files = append(files, file)
		text := cmd.Long
		page, err := manPage(cmd)
		if err = errors.Join(err, os.WriteFile(file, []byte(page), 0o644)); err != nil {
			t.Fatal(err)
		}
		for _, section := range []string{"NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS"} {
			if !strings.Contains(page, "\n.SH "+section+"\n") {
				t.Errorf("%s has no section %s", file, section)
			}
		}
		for word := range strings.FieldsSeq(text) {
			if strings.Contains(word, "_") && !strings.Contains(page, word) {
				t.Errorf("%s lacks %s", file, word)
			}
		}
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() {
				walk(sub)
			}
		}
	}
	walk(root)
	lint(t, files)
}

// manPage is the page of one command. Help is plain text, and is taken for
// Markdown on the way.
func manPage(cmd *cobra.Command) (string, error) {
	plain := strings.NewReplacer("_", `\_`, "*", `\*`)
	cmd.DisableAutoGenTag = true // it would tell the day
	cmd.Long = plain.Replace(cmd.Long)
	var b strings.Builder
	err := doc.GenMan(cmd, &doc.GenManHeader{Section: "1", Source: "pgconvoy", Manual: "pgconvoy"}, &b)
	// Sections have a usual order, in which what else to see is the last one.
	text, also, found := strings.Cut(b.String(), ".SH SEE ALSO\n")
	text = strings.TrimRight(text, "\n") + "\n" + exitStatus()
	if found {
		text += ".SH SEE ALSO\n" + also
	}
	return text, err
}

// exitStatus is the section about exit statuses.
func exitStatus() string {
	heading, list, _ := strings.Cut(cli.ExitStatus, "\n")
	section := ".SH " + heading + "\n"
	for line := range strings.Lines(list) {
		code, meaning, _ := strings.Cut(strings.TrimSpace(line), " ")
		section += fmt.Sprintf(".TP\n\\fB%s\\fP\n%s\n", code, strings.TrimSpace(meaning))
	}
	return section
}

// lint lets a program that shows manual pages say what it thinks of them.
func lint(t *testing.T, files []string) {
	t.Helper()
	args := []string{"mandoc", "-Tlint", "-Wwarning"}
	if _, err := exec.LookPath(args[0]); err != nil {
		args = []string{"groff", "-man", "-Kutf8", "-Tutf8", "-ww", "-z"}
	}
	if _, err := exec.LookPath(args[0]); err != nil {
		t.Skip("NOT TESTED: whether manual pages can be shown, because there is neither mandoc nor groff")
	}
	out, err := exec.CommandContext(t.Context(), args[0], append(args[1:], files...)...).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("%s: %v\n%s", args[0], err, out)
	}
}
