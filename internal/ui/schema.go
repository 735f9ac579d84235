package ui

import (
	"fmt"
	"io"
	"strings"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// shownValue is how much of a value that differs is shown to people.
const shownValue = 160

// schemaComparison prints the objects whose definitions differ.
func schemaComparison(w io.Writer, c tasks.SchemaComparison) error {
	for _, d := range c.Differences {
		d.Source, d.Target = aroundDifference(d.Source, d.Target)
		fmt.Fprintln(w, oneLine(d.String()))
	}
	for _, note := range c.Notes {
		fmt.Fprintf(w, "note: %s\n", note)
	}
	objects := 0
	for _, k := range c.Kinds {
		objects += max(k.Source, k.Target)
	}
	if _, err := fmt.Fprintf(w, "definitions of %s objects compared: %d differences\n", Count(int64(objects)), len(c.Differences)); err != nil {
		return fmt.Errorf("write comparison: %w", err)
	}
	return nil
}

// aroundDifference cuts two long values down to where they begin to differ.
func aroundDifference(source, target string) (shortSource, shortTarget string) {
	x, y := []rune(source), []rune(target)
	if max(len(x), len(y)) <= shownValue {
		return source, target
	}
	same := 0
	for same < min(len(x), len(y)) && x[same] == y[same] {
		same++
	}
	from := max(0, same-shownValue/4)
	cut := func(text []rune) string {
		var b strings.Builder
		if from > 0 {
			b.WriteString("… ")
		}
		b.WriteString(string(text[from:min(len(text), from+shownValue)]))
		if len(text) > from+shownValue {
			b.WriteString(" …")
		}
		return b.String()
	}
	return cut(x), cut(y)
}
