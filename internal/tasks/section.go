package tasks

import "slices"

// Section is a part of a copy that can be made by itself: what pg_dump calls
// sections, some of them cut once more.
type Section string

// The sections, in the order in which a run makes them.
const (
	SectionSchema       Section = "schema"        // pre-data: everything that rows need, and extended statistics
	SectionData         Section = "data"          // rows of tables
	SectionLargeObjects Section = "large_objects" // with their owners and privileges
	SectionIndexes      Section = "indexes"       // with the keys and exclusion constraints that they stand for
	SectionConstraints  Section = "constraints"   // foreign keys: all others are part of a table, or an index
	SectionSequences    Section = "sequences"     // their values
	SectionPostData     Section = "post_data"     // what is left: triggers, policies, privileges, rows of materialized views, …
)

// AllSections returns every section.
func AllSections() []Section {
	return []Section{SectionSchema, SectionData, SectionLargeObjects, SectionIndexes, SectionConstraints, SectionSequences, SectionPostData}
}

// Sections are those that a run makes. None named means all.
type Sections []Section

// Has reports whether one of the sections is made.
func (s Sections) Has(any ...Section) bool {
	return len(s) == 0 || slices.ContainsFunc(any, func(x Section) bool { return slices.Contains(s, x) })
}
