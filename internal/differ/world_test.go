package differ_test

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/jackc/pgx/v5"
)

// world is a database that is being drawn: its statements, in the order in which
// they run, and what later ones may refer to. The same seed and major draw the
// same statements. Every statement is right: a server that refuses one fails the
// test, since what is not there cannot be copied wrongly.
type world struct {
	rng        *rand.Rand
	major      int // of the source
	statements []string
	serial     int      // makes names unique
	schemas    []string // quoted
	kinds      []kind   // types that a column may have
	tables     []*table
	functions  []string // signatures
	sequences  []string
	views      []string
	matviews   []string
	empty      map[string]bool // materialized views without rows

	eventTriggers []string
}

// draw draws the database of a seed.
func draw(seed, major int) *world {
	w := &world{rng: rand.New(rand.NewPCG(uint64(seed), 7)), major: major, empty: map[string]bool{}}
	for _, family := range []func(){
		w.drawSchemas, w.drawTypes, w.drawSequences, w.drawFunctions,
		w.drawTables, w.drawPartitions, w.drawInheritance,
		w.drawIndexes, w.drawKeys, w.drawForeignKeys, w.drawChecks, w.drawMarks,
		w.drawViews, w.drawTriggers, w.drawLargeObjects, w.drawPublications, w.drawPrivileges, w.drawComments,
	} {
		family()
	}
	return w
}

// do adds a statement.
func (w *world) do(format string, args ...any) {
	w.statements = append(w.statements, fmt.Sprintf(format, args...))
}

// chance is true in n of 100 cases.
func (w *world) chance(n int) bool { return w.rng.IntN(100) < n }

// between draws a number, both ends included.
func (w *world) between(low, high int) int { return low + w.rng.IntN(high-low+1) }

// pick draws one of some.
func pick[T any](w *world, some ...T) T { return some[w.rng.IntN(len(some))] }

// some draws n different ones, or all, in a random order.
func some[T any](w *world, n int, from []T) []T {
	var drawn []T
	for _, i := range w.rng.Perm(len(from))[:min(n, len(from))] {
		drawn = append(drawn, from[i])
	}
	return drawn
}

// drawSchemas makes schemas; public is one of them.
func (w *world) drawSchemas() {
	w.schemas = []string{"public"}
	for range w.between(1, 3) {
		name := w.name("s")
		w.do("CREATE SCHEMA %s%s", name, pick(w, "", " AUTHORIZATION museum_owner"))
		w.schemas = append(w.schemas, name)
	}
	w.do("CREATE EXTENSION btree_gist SCHEMA %s", pick(w, w.schemas...))
}

// in makes a qualified new name in some schema.
func (w *world) in(prefix string) string { return pick(w, w.schemas...) + "." + w.name(prefix) }

func ident(name string) string { return pgx.Identifier{name}.Sanitize() }

// literal quotes a text.
func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
