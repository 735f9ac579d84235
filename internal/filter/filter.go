// Package filter decides what of a database is copied. It is pure: rules and
// what the catalog holds go in, and a decision comes out that everybody else
// follows: locks, the schema, rows, indexes, foreign keys, sequences, the
// comparison, and what is reported.
//
// pattern.go reads names and regular expressions, ini.go a filter file of
// pgcopydb. scope.go resolves the rules to the tables, indexes and extensions
// that they choose, and settings.go what they say of single tables. follow.go
// finds what cannot be made without what is left out.
package filter

import "fmt"

// Rules are what a person chose. Every rule narrows the choice; none widens it.
type Rules struct {
	IncludeSchemas, IncludeTables, IncludeExtensions []Pattern // empty means all

	ExcludeSchemas, ExcludeTables, ExcludeTableData, ExcludeIndexes, ExcludeExtensions []Pattern

	Tables []TableRule
}

// TableRule is what a person said of one table, or of all partitions of one.
type TableRule struct {
	Table   Pattern
	Where   string   // rows that are copied, all if ""
	Columns []string // those that are copied, all if there are none
	Parts   int      // in which the rows are read, 0 leaves that to the plan
}

// Empty reports whether nothing was chosen, so that all is copied.
func (r Rules) Empty() bool {
	for _, list := range r.lists() {
		if len(list) > 0 {
			return false
		}
	}
	return len(r.Tables) == 0
}

func (r Rules) lists() [][]Pattern {
	return [][]Pattern{
		r.IncludeSchemas, r.IncludeTables, r.IncludeExtensions,
		r.ExcludeSchemas, r.ExcludeTables, r.ExcludeTableData, r.ExcludeIndexes, r.ExcludeExtensions,
	}
}

// Add returns the rules of both: what is left out by either is left out.
func (r Rules) Add(other Rules) Rules {
	r.IncludeSchemas = append(r.IncludeSchemas, other.IncludeSchemas...)
	r.IncludeTables = append(r.IncludeTables, other.IncludeTables...)
	r.IncludeExtensions = append(r.IncludeExtensions, other.IncludeExtensions...)
	r.ExcludeSchemas = append(r.ExcludeSchemas, other.ExcludeSchemas...)
	r.ExcludeTables = append(r.ExcludeTables, other.ExcludeTables...)
	r.ExcludeTableData = append(r.ExcludeTableData, other.ExcludeTableData...)
	r.ExcludeIndexes = append(r.ExcludeIndexes, other.ExcludeIndexes...)
	r.ExcludeExtensions = append(r.ExcludeExtensions, other.ExcludeExtensions...)
	r.Tables = append(r.Tables, other.Tables...)
	return r
}

// Problem is one thing that is wrong with the rules, or with what follows from
// them.
type Problem struct {
	Where string // a setting's path, or a line of a filter file
	What  string
	Hint  string
}

func (p Problem) String() string { return p.Where + ": " + p.What }

// problems collects what is wrong.
type problems []Problem

func (p *problems) add(where, hint, format string, args ...any) {
	*p = append(*p, Problem{Where: where, What: fmt.Sprintf(format, args...), Hint: hint})
}
