package config

import (
	"fmt"
	"slices"
	"strings"
)

// Sections returns the words that only takes.
func Sections() []string {
	return []string{"schema", "data", "large_objects", "indexes", "constraints", "sequences", "post_data"}
}

// makes reports whether the run makes the section.
func (c Config) makes(section string) bool {
	return len(c.Only) == 0 || slices.Contains(c.Only, section)
}

// sections holds the rules for what of the copy is made.
func (c Config) sections(p *problems) {
	known := Sections()
	for i, s := range c.Only {
		switch {
		case !slices.Contains(known, s):
			hint := "known are " + strings.Join(known, ", ")
			if n := nearest(s, known); n != "" {
				hint = "did you mean " + n + "?"
			}
			p.add("only", fmt.Sprintf("%q is no section of a copy", s), hint)
		case slices.Contains(c.Only[:i], s):
			p.add("only", s+" is there twice", "")
		}
	}
	if c.makes("schema") && !c.makes("indexes") {
		for _, s := range []struct{ name, why string }{
			{"constraints", "foreign keys need the keys that they refer to"},
			{"post_data", "views and replica identities may need keys"},
		} {
			if c.makes(s.name) {
				p.add("only", fmt.Sprintf("schema and %s without indexes: %s", s.name, s.why), "add indexes, or make "+s.name+" by another run when they are there")
			}
		}
	}
	switch {
	case c.Truncate && c.makes("schema"):
		p.add("truncate", "the run makes the tables itself, in an empty database", "leave it out; it is for runs whose only names data and not schema")
	case c.Truncate && !c.makes("data"):
		p.add("truncate", "the run copies no rows", "leave it out, or add data to only")
	}
	if c.CreateDatabase && !c.makes("schema") {
		p.add("create_database", "only leaves schema out, and a new database has no tables", "leave one of the two out")
	}
}
