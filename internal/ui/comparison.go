package ui

import (
	"fmt"
	"io"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Comparison prints the result of comparing source and target.
func Comparison(w io.Writer, form string, c tasks.Comparison) error {
	if form == JSON {
		return writeJSON(w, c)
	}
	for _, d := range c.Differences {
		fmt.Fprintln(w, d)
	}
	_, err := fmt.Fprintf(w, "%s of %d tables compared, %s rows: %d differ\n", c.Level, c.Tables, Count(c.Rows), len(c.Differences))
	if err != nil {
		return fmt.Errorf("write comparison: %w", err)
	}
	return nil
}
