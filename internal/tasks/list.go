package tasks

// Unit says what the numbers of a column are.
type Unit string

// The units.
const (
	UnitText  Unit = "" // no numbers
	UnitCount Unit = "count"
	UnitBytes Unit = "bytes"
)

// ListColumn is a column of a listing.
type ListColumn struct {
	Name string
	Unit Unit
}

// Listing is a list of objects of a database: a row per object, with a value per
// column, which is a string, a bool, an int64, or nil if it is not known.
type Listing struct {
	Columns []ListColumn
	Rows    [][]any
}
