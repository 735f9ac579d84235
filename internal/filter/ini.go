package filter

import (
	"fmt"
	"slices"
	"strings"
)

// section is a section of a filter file.
type section struct {
	name  string
	parse func(text, from string) (Pattern, error)
	list  func(*Rules) *[]Pattern
	bars  []string // sections that may not stand beside it
}

func sections() []section {
	return []section{
		{"include-only-schema", ParseName, func(r *Rules) *[]Pattern { return &r.IncludeSchemas }, []string{"exclude-schema"}},
		{"exclude-schema", ParseName, func(r *Rules) *[]Pattern { return &r.ExcludeSchemas }, nil},
		{"include-only-table", ParseQualified, func(r *Rules) *[]Pattern { return &r.IncludeTables }, []string{"exclude-schema", "exclude-table"}},
		{"exclude-table", ParseQualified, func(r *Rules) *[]Pattern { return &r.ExcludeTables }, nil},
		{"exclude-table-data", ParseQualified, func(r *Rules) *[]Pattern { return &r.ExcludeTableData }, nil},
		{"exclude-index", ParseQualified, func(r *Rules) *[]Pattern { return &r.ExcludeIndexes }, nil},
		{"include-only-extension", ParseName, func(r *Rules) *[]Pattern { return &r.IncludeExtensions }, []string{"exclude-extension"}},
		{"exclude-extension", ParseName, func(r *Rules) *[]Pattern { return &r.ExcludeExtensions }, nil},
	}
}

// ParseINI reads a filter file of pgcopydb: sections with one name a line, as in
// SQL or ~/regular expression/, comments after # or ; at the beginning of a line.
// file names it in problems, all of which are returned.
func ParseINI(file, text string) (Rules, []Problem) {
	var rules Rules
	var found problems
	var current *section
	seen := map[string]string{} // section, and where it begins
	known := sections()
	n := 0
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		n++
		line = strings.TrimSpace(line)
		where := fmt.Sprintf("%s:%d", file, n)
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '[':
			current = sectionOf(known, line, where, &found)
			if current != nil && seen[current.name] == "" {
				seen[current.name] = where
			}
		case len(seen) == 0 && len(found) == 0:
			found.add(where, "begin with a section, such as [exclude-table]", "%q stands in no section", line)
		case current != nil:
			p, err := current.parse(line, where)
			if err != nil {
				found.add(where, "", "%s: %s", line, err)
				continue
			}
			list := current.list(&rules)
			*list = append(*list, p)
		}
	}
	for _, s := range known {
		for _, other := range s.bars {
			if seen[s.name] != "" && seen[other] != "" {
				found.add(seen[other], "keep one of the two", "[%s] may not stand beside [%s]", other, s.name)
			}
		}
	}
	return rules, found
}

// sectionOf returns the section that the line begins, nil if it is none.
func sectionOf(known []section, line, where string, found *problems) *section {
	name := strings.TrimSuffix(strings.TrimPrefix(line, "["), "]")
	i := slices.IndexFunc(known, func(s section) bool { return s.name == name })
	if i >= 0 && strings.HasSuffix(line, "]") {
		return &known[i]
	}
	names := make([]string, len(known))
	for i, s := range known {
		names[i] = s.name
	}
	found.add(where, "there are "+strings.Join(names, ", "), "%q is not a section", line)
	return nil
}
