package ui

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// listRow is an object whose members keep the order of the columns.
type listRow struct {
	columns []tasks.ListColumn
	values  []any
}

// MarshalJSON writes the members in order.
func (r listRow) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, column := range r.columns {
		name, err := json.Marshal(column.Name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(r.values[i])
		if err != nil {
			return nil, err
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = slices.Concat(out, name, []byte{':'}, value)
	}
	return append(out, '}'), nil
}

// List prints a listing.
func List(w io.Writer, form string, l tasks.Listing) error {
	if form == JSON {
		rows := make([]listRow, len(l.Rows)) // an empty list, not null
		for i, values := range l.Rows {
			rows[i] = listRow{l.Columns, values}
		}
		return writeJSON(w, rows)
	}
	var t table
	for _, column := range l.Columns {
		head := column.Name
		if column.Unit != tasks.UnitText {
			head = " " + head
		}
		t.head = append(t.head, head)
	}
	for _, values := range l.Rows {
		cells := make([]string, len(values))
		for i, value := range values {
			cells[i] = cell(l.Columns[i].Unit, value)
		}
		t.add(cells...)
	}
	return t.write(w)
}

// cell shows one value to people.
func cell(unit tasks.Unit, value any) string {
	n, isNumber := value.(int64)
	switch {
	case value == nil && unit == tasks.UnitText:
		return ""
	case value == nil:
		return "?"
	case isNumber && unit == tasks.UnitBytes:
		return Bytes(n)
	case isNumber:
		return Count(n)
	case value == true:
		return "yes"
	case value == false:
		return "no"
	}
	return fmt.Sprint(value)
}
