package ui

import (
	"fmt"
	"io"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Comparison prints the result of comparing source and target.
func Comparison(w io.Writer, form string, c tasks.Comparison) error {
	if form == JSON {
		c.Differences = append([]tasks.Difference{}, c.Differences...) // an empty list, not null
		return writeJSON(w, c)
	}
	for _, d := range c.Differences {
		fmt.Fprintln(w, oneLine(d.String()))
	}
	_, err := fmt.Fprintf(w, "%s of %d tables compared, %s rows: %d differ\n", c.Level, c.Tables, Count(c.Rows), len(c.Differences))
	if err != nil {
		return fmt.Errorf("write comparison: %w", err)
	}
	return nil
}
