package tasks

import "fmt"

// ObjectFinding says what is wrong with an object of a database.
type ObjectFinding string

// The findings.
const (
	ObjectMissing   ObjectFinding = "missing"   // only the source has it
	ObjectExtra     ObjectFinding = "extra"     // only the target has it
	ObjectDifferent ObjectFinding = "different" // both have it, with another value of a property
)

// SchemaDifference is an object that only one side has, or a property of an
// object that is not the same on both.
type SchemaDifference struct {
	Kind     string        `json:"kind"`   // table, index, function, …
	Object   string        `json:"object"` // its identity, quoted for use in SQL
	Finding  ObjectFinding `json:"finding"`
	Property string        `json:"property,omitempty"` // what is different
	Source   string        `json:"source,omitempty"`   // its value there, "" if it has none
	Target   string        `json:"target,omitempty"`
}

// String says in one line what is wrong.
func (d SchemaDifference) String() string {
	what := d.Kind + " " + d.Object + ": "
	switch d.Finding {
	case ObjectMissing:
		return what + "only on the source"
	case ObjectExtra:
		return what + "only on the target"
	}
	return fmt.Sprintf("%s%s: source has %s, target has %s", what, d.Property, orNone(d.Source), orNone(d.Target))
}

func orNone(value string) string {
	if value == "" {
		return "none"
	}
	return value
}

// KindCount is how many objects of a kind each side has.
type KindCount struct {
	Kind   string `json:"kind"`
	Source int    `json:"source"`
	Target int    `json:"target"`
}

// SchemaComparison is the result of comparing the definitions of both sides.
type SchemaComparison struct {
	Kinds       []KindCount        `json:"kinds"`
	Differences []SchemaDifference `json:"differences"` // by kind, then by object
	Notes       []string           `json:"notes"`       // what is not compared, or not to the letter
}
