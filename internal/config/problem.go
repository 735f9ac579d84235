package config

import (
	"errors"
	"iter"
	"regexp"
	"slices"
	"strings"
)

// exitUsage is the exit status of a wrong configuration.
const exitUsage = 2

// Problem is one thing that is wrong with the configuration.
type Problem struct {
	// Where is a file:line, an environment variable, a flag, or a setting's path.
	Where string
	// What is wrong, with no secret in it.
	What string
	// Hint says what to do about it; it may be empty.
	Hint string
}

// String returns the problem on one line, without its hint.
func (p Problem) String() string { return p.Where + ": " + p.What }

// ValidationError is everything that is wrong with a configuration, at least
// one problem, in the order of file, environment, flags, rules.
type ValidationError struct {
	Problems []Problem
}

// Error returns one line per problem.
func (e *ValidationError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// ExitCode returns the exit status for a wrong configuration.
func (e *ValidationError) ExitCode() int { return exitUsage }

// Lines yields each problem's message and hint, for printing one by one.
func (e *ValidationError) Lines() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, p := range e.Problems {
			if !yield(p.String(), p.Hint) {
				return
			}
		}
	}
}

// problems collects what is wrong.
type problems []Problem

func (p *problems) add(where, what, hint string) {
	*p = append(*p, Problem{Where: where, What: what, Hint: hint})
}

// err returns nil if nothing is wrong.
func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return &ValidationError{Problems: p}
}

// problemsOf returns the problems in err.
func problemsOf(err error) problems {
	if err == nil {
		return nil
	}
	if v, ok := errors.AsType[*ValidationError](err); ok {
		return v.Problems
	}
	return problems{{Where: "configuration", What: err.Error()}}
}

var separators = regexp.MustCompile(`[-_.]`)

// nearest returns the candidate that is spelled most like word, or "" if none
// is near. Case and separators do not count; a candidate that ends with the
// whole word (a key that stands at the wrong level) is near.
func nearest(word string, candidates []string) string {
	plain := func(s string) string { return strings.ToLower(separators.ReplaceAllString(s, "")) }
	w := plain(word)
	best, bestDistance := "", 1+max(1, len(w)/3)
	for _, c := range candidates {
		if d := distance(w, plain(c)); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	if best != "" {
		return best
	}
	i := slices.IndexFunc(candidates, func(c string) bool {
		return strings.HasSuffix(c, "."+word) || strings.HasSuffix(c, "_"+word)
	})
	if i < 0 {
		return ""
	}
	return candidates[i]
}

// distance returns the number of edits between two strings, in bytes: one
// that is added, lost or changed, or two neighbours that are swapped.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
