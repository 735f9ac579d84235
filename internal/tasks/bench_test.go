package tasks_test

import (
	"strconv"
	"testing"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// BenchmarkRanges splits a table into as many parts as there may be, and makes
// the predicate of each.
func BenchmarkRanges(b *testing.B) {
	bounds := make([]string, 63)
	for i := range bounds {
		bounds[i] = strconv.Itoa((i + 1) * 131_072)
	}
	for name, key := range map[string]string{"ctid": "", "key": "id"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				for _, p := range tasks.Ranges(key, bounds, false) {
					_ = p.Predicate()
				}
			}
		})
	}
}
