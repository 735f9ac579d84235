package pg

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
)

// Archive is the schema of a database as pg_dump wrote it: its table of
// contents, and a file that pg_restore turns into SQL.
type Archive struct {
	File    string
	Entries []Entry // in the archive's order, pre-data first
	tools   Tools
}

// ReadArchive reads the table of contents of the archive file.
func (t Tools) ReadArchive(ctx context.Context, file string) (Archive, error) {
	a := Archive{File: file, tools: t}
	// A verbose list holds the dependencies, but every entry whatever section is asked for.
	var all []Entry
	var pre, late []int
	group, listing := errgroup.WithContext(ctx)
	group.Go(func() error {
		list, err := t.restore(listing, "--verbose", "--list", file)
		if err == nil {
			all, err = parseList(list)
		}
		return err
	})
	for section, ids := range map[string]*[]int{"pre-data": &pre, "post-data": &late} {
		group.Go(func() error {
			list, err := t.restore(listing, "--section="+section, "--list", file)
			*ids = dumpIDs(list)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return a, err
	}
	post := make(map[int]bool, len(all))
	for _, id := range pre {
		post[id] = false
	}
	for _, id := range late {
		post[id] = true
	}
	seen := false
	for _, e := range all {
		isPost, there := post[e.DumpID]
		if !there {
			continue
		}
		// pg_dump puts a function that needs a late materialized view after it, and yet into the pre-data section.
		seen = seen || isPost
		e.Post = seen
		a.Entries = append(a.Entries, e)
	}
	return a, nil
}

// EntrySQL is the SQL of one entry, and the settings that pg_restore made
// before it and that it depends on.
type EntrySQL struct {
	Entry    Entry
	SQL      string
	Settings string // SET default_tablespace …, SET default_table_access_method …
}

// SQL returns the SQL of the entries, in their order.
func (a Archive) SQL(ctx context.Context, entries []Entry) ([]EntrySQL, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	// Files, as in memory they would take as much as the whole plan.
	dir, err := os.MkdirTemp(filepath.Dir(a.File), "script-")
	if err != nil {
		return nil, fmt.Errorf("write restore list: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	list, file := filepath.Join(dir, "list"), filepath.Join(dir, "sql")
	if err := writeList(list, entries); err != nil {
		return nil, fmt.Errorf("write restore list: %w", err)
	}
	if _, err := a.tools.restore(ctx, "--verbose", "--use-list="+list, "--file="+file, a.File); err != nil {
		return nil, err
	}
	script, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read what pg_restore wrote: %w", err)
	}
	defer func() { _ = script.Close() }()
	return splitScript(script, entries)
}

func writeList(name string, entries []Entry) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	for _, e := range entries {
		_, _ = w.WriteString(e.Line + "\n") // Flush has the error
	}
	return errors.Join(w.Flush(), f.Close())
}

// entryHeader is the comment that pg_restore prints before an entry, in two lines.
var entryHeader = regexp.MustCompile(`(?m)^--\n-- TOC entry (\d+) \(class (\d+) OID (\d+)\)\n`)

// splitScript cuts what pg_restore printed into the SQL of the entries, in the
// order of the entries: pg_restore prints privileges, and then what depends on
// them, after all others. Text inside an entry that looks like the header of
// another is found out, as that one's then appears twice.
func splitScript(script io.Reader, entries []Entry) ([]EntrySQL, error) {
	split := make([]EntrySQL, len(entries)) // those without an entry are still to be found
	place := make(map[int]int, len(entries))
	for i, e := range entries {
		place[e.DumpID] = i
	}
	state := map[string]string{}
	current := -1 // the entry whose text follows
	var text strings.Builder
	end := func() {
		if current >= 0 {
			split[current].SQL = cleanSQL(text.String())
		}
	}
	lines := bufio.NewReaderSize(script, 1<<16)
	held := "" // a line that may begin a header
	for {
		line, err := lines.ReadString('\n')
		if held != "" {
			if i, ok := headed(held+line, entries, place); ok {
				if split[i].Entry.Line != "" {
					return nil, fmt.Errorf("pg_restore printed archive entry %q twice", entries[i].Line)
				}
				settings := trailingSettings(text.String(), state)
				end()
				split[i] = EntrySQL{Entry: entries[i], Settings: settings}
				current, held = i, ""
				text.Reset()
				continue
			}
			text.WriteString(held)
			held = ""
		}
		switch {
		case errors.Is(err, io.EOF):
			text.WriteString(line)
			end()
			return split, missing(split, entries)
		case err != nil:
			return nil, fmt.Errorf("read what pg_restore wrote: %w", err)
		case line == "--\n":
			held = line
		default:
			text.WriteString(line)
		}
	}
}

// headed returns the place of the entry whose header the two lines are.
func headed(lines string, entries []Entry, place map[int]int) (int, bool) {
	m := entryHeader.FindStringSubmatch(lines)
	if m == nil {
		return 0, false
	}
	id, _ := strconv.Atoi(m[1])
	i, ok := place[id]
	return i, ok && strconv.Itoa(int(entries[i].ClassID)) == m[2] && strconv.Itoa(int(entries[i].OID)) == m[3]
}

func missing(split []EntrySQL, entries []Entry) error {
	for i, e := range entries {
		if split[i].Entry.Line == "" {
			return fmt.Errorf("pg_restore printed nothing for archive entry %q", e.Line)
		}
	}
	return nil
}

// setting matches what pg_restore sets between entries. The value is matched
// to its end: the last line of a comment's text may look like one of these but
// for the quote that ends it.
const setting = `SET (default_tablespace|default_table_access_method) = (?:''|"(?:[^"]|"")+"|[a-z_][a-z0-9_$]*);`

var settingLine = regexp.MustCompile(`^` + setting + `$`)

// trailingSettings updates state with the settings that stand after the last
// statement of an entry, before the next one's header, and returns all that
// are in force. Settings inside an entry's own text are none of these.
func trailingSettings(text string, state map[string]string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	found := map[string]string{}
	for i := len(lines) - 1; i >= 0; i-- {
		if lines[i] == "" {
			continue
		}
		m := settingLine.FindStringSubmatch(lines[i])
		if m == nil {
			break
		}
		if _, later := found[m[1]]; !later {
			found[m[1]] = lines[i]
		}
	}
	for k, v := range found {
		state[k] = v
	}
	return strings.TrimSpace(state["default_tablespace"] + " " + state["default_table_access_method"])
}

// afterEntry matches the lines that may follow the last statement of an entry:
// settings for the next one, and the end of the script.
var afterEntry = regexp.MustCompile(`^(|--|-- PostgreSQL database dump complete|-- Completed on \d{4}-[\w :+-]*|\\unrestrict \w+|` + setting + `)$`)

// cleanSQL removes what stands around the statements of an entry: the rest of
// its header, which ends with a line of its own, and what follows the last
// statement. A name may hold line breaks, so nothing else is looked at.
func cleanSQL(text string) string {
	if _, body, ok := strings.Cut(text, "\n--\n"); ok {
		text = body
	}
	lines := strings.Split(strings.TrimLeft(text, "\n"), "\n")
	for len(lines) > 0 && afterEntry.MatchString(lines[len(lines)-1]) {
		lines = lines[:len(lines)-1]
	}
	return strings.Join(lines, "\n")
}

// tocEntry is one line of pg_restore --list:
// 215; 1259 16385 TABLE public orders owner.
var tocEntry = regexp.MustCompile(`^(\d+); (\d+) (\d+) (.*)$`)

// Entry is one entry of the archive's table of contents.
type Entry struct {
	DumpID  int
	ClassID uint32 // catalog that OID is unique in; 0 for entries such as comments
	OID     uint32
	Desc    string // what it is: TABLE, INDEX, ACL, …
	Rest    string // schema, tag and owner, as pg_restore prints them
	Line    string // the whole line, for use in a list
	Deps    []int  // dump IDs of the entries that must come before
	Post    bool   // of the post-data section
}

// entryDescs are those descriptions that consist of several words; longer ones
// come first where one begins with another.
func entryDescs() []string {
	return []string{
		"ACCESS METHOD", "CHECK CONSTRAINT", "DEFAULT ACL", "EVENT TRIGGER", "FK CONSTRAINT", "FOREIGN DATA WRAPPER",
		"FOREIGN SERVER", "FOREIGN TABLE", "INDEX ATTACH", "LARGE OBJECT", "MATERIALIZED VIEW DATA", "MATERIALIZED VIEW",
		"OPERATOR CLASS", "OPERATOR FAMILY", "PROCEDURAL LANGUAGE", "PUBLICATION TABLES IN SCHEMA", "PUBLICATION TABLE",
		"ROW SECURITY", "SECURITY LABEL", "SEQUENCE OWNED BY", "SEQUENCE SET", "SHELL TYPE", "STATISTICS DATA", "SUBSCRIPTION TABLE",
		"TABLE ATTACH", "TABLE DATA", "TEXT SEARCH CONFIGURATION", "TEXT SEARCH DICTIONARY", "TEXT SEARCH PARSER",
		"TEXT SEARCH TEMPLATE", "USER MAPPING",
	}
}

func parseList(list string) ([]Entry, error) {
	var entries []Entry
	for line := range strings.Lines(list) {
		line = strings.TrimRight(line, "\n")
		if deps, ok := strings.CutPrefix(line, ";\tdepends on:"); ok && len(entries) > 0 {
			for _, f := range strings.Fields(deps) {
				id, err := strconv.Atoi(f)
				if err != nil {
					return nil, fmt.Errorf("unreadable dependency in the archive's list: %q", line)
				}
				entries[len(entries)-1].Deps = append(entries[len(entries)-1].Deps, id)
			}
			continue
		}
		m := tocEntry.FindStringSubmatch(line)
		if m == nil {
			if line != "" && !strings.HasPrefix(line, ";") {
				return nil, fmt.Errorf("unreadable line in the archive's list: %q", line)
			}
			continue
		}
		e := Entry{Line: line}
		e.DumpID, _ = strconv.Atoi(m[1])
		class, _ := strconv.ParseUint(m[2], 10, 32)
		oid, _ := strconv.ParseUint(m[3], 10, 32)
		e.ClassID, e.OID = uint32(class), uint32(oid)
		e.Desc, e.Rest = splitDesc(m[4])
		entries = append(entries, e)
	}
	return entries, nil
}

// dumpIDs returns the dump IDs of the entries of a list.
func dumpIDs(list string) []int {
	var ids []int
	for line := range strings.Lines(list) {
		id, _, _ := strings.Cut(line, ";")
		if n, err := strconv.Atoi(id); err == nil { // the others are comments
			ids = append(ids, n)
		}
	}
	return ids
}

func splitDesc(s string) (desc, rest string) {
	for _, d := range entryDescs() {
		if rest, ok := strings.CutPrefix(s, d+" "); ok {
			return d, rest
		}
	}
	desc, rest, _ = strings.Cut(s, " ")
	return desc, rest
}
