package pgtest

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// shownLines bounds the lines shown of one entry that differs.
const shownLines = 12

// diffSchema compares definitions: pg_dump's entries and the catalog facts.
func (c *comparison) diffSchema(ctx context.Context, src, dst *Database) ([]string, error) {
	client, err := clientInstall(max(src.Server.Major, dst.Server.Major))
	if err != nil {
		return nil, err
	}
	var entries [2]map[string][]string
	g, gctx := errgroup.WithContext(ctx)
	for i, db := range []*Database{src, dst} {
		g.Go(func() error {
			script, err := c.dumpSchema(gctx, client, db)
			if err != nil {
				return err
			}
			entries[i] = c.splitDump(script)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	diffs := diffEntries(entries[0], entries[1])
	facts, err := c.diffFacts(ctx, src, dst)
	return append(diffs, facts...), err
}

func (c *comparison) dumpSchema(ctx context.Context, client install, db *Database) (string, error) {
	args := []string{"--schema-only", "--no-password", "-d", db.URI()}
	for _, schema := range c.ignoredSchemas {
		args = append(args, "-N", `"`+strings.ReplaceAll(schema, `"`, `""`)+`"`)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(client.bin, "pg_dump"), args...)
	cmd.Env = clientEnv()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("pg_dump %s: %w\n%s", db.Name, err, stderr.String())
	}
	return string(out), nil
}

// Every entry of a plain dump starts with a comment of three lines:
//
//	--
//	-- Name: orders; Type: TABLE; Schema: public; Owner: shop
//	--
var entryHeader = regexp.MustCompile(`(?m)^--\n(-- (?:Data for )?Name: .*; Type: .*)\n--\n`)

var (
	ownerField = regexp.MustCompile(`; Owner: [^;]*`)
	dumpEnd    = regexp.MustCompile(`(?m)^--\n-- PostgreSQL database dump complete\n--\n`)
	// A state change that pg_dump writes in front of the next entry: it belongs to
	// the order of entries, not to one of them.
	stateLine = regexp.MustCompile(`^(|SET [a-z_]+ = .*;|\\(un)?restrict .*)$`)
)

// splitDump cuts a plain dump into entries, keyed by their header without the
// owner, which goes into the entry's text. Entries of one key are sorted: the
// order of a dump is no property of the database.
func (c *comparison) splitDump(script string) map[string][]string {
	if end := dumpEnd.FindStringIndex(script); end != nil {
		script = script[:end[0]]
	}
	entries := map[string][]string{}
	heads := entryHeader.FindAllStringSubmatchIndex(script, -1)
	for i, h := range heads {
		stop := len(script)
		if i+1 < len(heads) {
			stop = heads[i+1][0]
		}
		header := script[h[2]:h[3]]
		key := strings.TrimPrefix(ownerField.ReplaceAllString(header, ""), "-- ")
		lines := c.keptLines(script[h[1]:stop])
		if owner := ownerField.FindString(header); owner != "" && owner != "; Owner: -" {
			lines = append(lines, "--"+owner[1:])
		}
		if unordered(key, lines) {
			slices.Sort(lines)
		}
		entries[key] = append(entries[key], strings.Join(lines, "\n"))
	}
	for _, list := range entries {
		slices.Sort(list)
	}
	return entries
}

// unordered says that the order of an entry's lines means nothing: grants come in
// the order in which they were given, and pg_dump writes inherited columns first
// wherever they were.
func unordered(key string, lines []string) bool {
	if strings.Contains(key, "; Type: ACL;") || strings.Contains(key, "; Type: DEFAULT ACL;") {
		return true
	}
	if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "INHERITS (") }) {
		return false
	}
	for i := range lines {
		lines[i] = strings.TrimSuffix(lines[i], ",")
	}
	return true
}

func (c *comparison) keptLines(body string) []string {
	lines := strings.Split(body, "\n")
	for len(lines) > 0 && stateLine.MatchString(lines[len(lines)-1]) {
		lines = lines[:len(lines)-1]
	}
	return slices.DeleteFunc(lines, func(line string) bool {
		return slices.ContainsFunc(c.ignoredLines, func(re *regexp.Regexp) bool { return re.MatchString(line) })
	})
}

func diffEntries(src, dst map[string][]string) []string {
	var diffs []string
	all := map[string]bool{}
	for key := range src {
		all[key] = true
	}
	for key := range dst {
		all[key] = true
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if !slices.Equal(src[key], dst[key]) {
			diffs = append(diffs, describeEntry(key, src[key], dst[key]))
		}
	}
	return diffs
}

// describeEntry shows the lines of an entry that only one side has.
func describeEntry(key string, src, dst []string) string {
	var out strings.Builder
	fmt.Fprintf(&out, "schema %s", key)
	if len(src) != len(dst) {
		fmt.Fprintf(&out, ": %d in the source, %d in the target", len(src), len(dst))
	}
	minus := linesOnlyIn(src, dst)
	plus := linesOnlyIn(dst, src)
	if len(minus)+len(plus) == 0 {
		minus, plus = strings.Split(strings.Join(src, "\n"), "\n"), strings.Split(strings.Join(dst, "\n"), "\n")
	}
	for _, line := range minus[:min(len(minus), shownLines)] {
		fmt.Fprintf(&out, "\n    source %s", line)
	}
	for _, line := range plus[:min(len(plus), shownLines)] {
		fmt.Fprintf(&out, "\n    target %s", line)
	}
	return out.String()
}

// linesOnlyIn is the multiset difference of the lines of a and b.
func linesOnlyIn(a, b []string) []string {
	count := map[string]int{}
	for line := range strings.SplitSeq(strings.Join(b, "\n"), "\n") {
		count[line]++
	}
	var only []string
	for line := range strings.SplitSeq(strings.Join(a, "\n"), "\n") {
		if count[line]--; count[line] < 0 && line != "" {
			only = append(only, line)
		}
	}
	return only
}
