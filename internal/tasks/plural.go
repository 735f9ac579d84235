package tasks

import (
	"fmt"
	"strings"
)

// Plural puts the number before the noun, as people write it: 1 table, 2 tables.
func Plural(n int, noun string) string {
	switch {
	case n == 1:
		return "1 " + noun
	case strings.HasSuffix(noun, "x"):
		return fmt.Sprintf("%d %ses", n, noun)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
