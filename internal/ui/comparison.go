package ui

import (
	"fmt"
	"io"
	"strings"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Compared is what a comparison of source and target found: definitions, rows, or
// both. For programs, rows are the members of the object itself, and definitions
// its member "schema".
type Compared struct {
	Schema            *tasks.SchemaComparison `json:"schema,omitempty"` // nil if definitions were not compared
	*tasks.Comparison                         // nil if rows were not compared
}

// Comparison prints the result of comparing source and target.
func Comparison(w io.Writer, form string, c Compared) error {
	if form == JSON {
		if c.Comparison != nil {
			c.Differences = append([]tasks.Difference{}, c.Differences...) // an empty list, not null
		}
		return writeJSON(w, c)
	}
	if c.Schema != nil {
		if err := schemaComparison(w, *c.Schema); err != nil {
			return err
		}
	}
	if c.Comparison == nil {
		return nil
	}
	return rowComparison(w, *c.Comparison)
}

// rowComparison prints the tables whose rows differ.
func rowComparison(w io.Writer, c tasks.Comparison) error {
	for _, d := range c.Differences {
		fmt.Fprintln(w, oneLine(d.String()))
		for _, row := range d.Rows {
			fmt.Fprintf(w, "  %s\n", oneLine(describeRow(d.Key, row)))
		}
		if d.More {
			fmt.Fprintln(w, "  … and more rows")
		}
	}
	_, err := fmt.Fprintf(w, "%s of %s compared, %s rows: %d differ\n", c.Level, tasks.Plural(c.Tables, "table"), Count(c.Rows), len(c.Differences))
	if err != nil {
		return fmt.Errorf("write comparison: %w", err)
	}
	return nil
}

// describeRow says what is wrong with a row, with its key as the condition that
// finds it.
func describeRow(columns []string, r tasks.RowDifference) string {
	what := map[tasks.RowFinding]string{
		tasks.RowMissing: "only on the source", tasks.RowExtra: "only on the target", tasks.RowDifferent: "different",
	}[r.Finding]
	if len(r.Key) == 0 {
		return what + ": the row at ctid " + r.CTID
	}
	conditions := make([]string, len(r.Key))
	for i, value := range r.Key {
		conditions[i] = tasks.QuoteIdent(columns[i]) + " = " + strings.TrimSpace(tasks.QuoteLiteral(value))
	}
	return what + ": " + strings.Join(conditions, " AND ")
}
