package check

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Level says whether a finding stops the run.
type Level string

// The levels.
const (
	Blocker Level = "blocker" // the run would fail, or its result differ from the source
	Warning Level = "warning" // worth knowing before a maintenance window begins
)

// Finding is one thing that a check found.
type Finding struct {
	Check string `json:"check"`
	Level Level  `json:"level"`
	What  string `json:"what"` // what is wrong, and where
	Hint  string `json:"hint"` // the exact fix, in SQL where possible
}

// UnfinishedLedger is the Check of the finding that the target holds the
// ledger of a run that is not complete.
const UnfinishedLedger = "unfinished-ledger"

// Findings is what a preflight found.
type Findings []Finding

// Blockers returns the findings that stop a run.
func (fs Findings) Blockers() Findings { return fs.level(Blocker) }

// Warnings returns the findings that do not.
func (fs Findings) Warnings() Findings { return fs.level(Warning) }

func (fs Findings) level(l Level) Findings {
	var some Findings
	for _, f := range fs {
		if f.Level == l {
			some = append(some, f)
		}
	}
	return some
}

// Err returns a *FailedError if there is a blocker, otherwise nil.
func (fs Findings) Err() error {
	if len(fs.Blockers()) == 0 {
		return nil
	}
	return &FailedError{Findings: fs}
}

// FailedError says that a preflight found blockers. Nothing was changed.
type FailedError struct{ Findings Findings }

// Error returns all findings, blockers first, one line each and its hint
// beneath it.
func (e *FailedError) Error() string {
	var b strings.Builder
	blockers, warnings := len(e.Findings.Blockers()), len(e.Findings.Warnings())
	fmt.Fprintf(&b, "preflight found %s", tasks.Plural(blockers, "blocker"))
	if warnings > 0 {
		fmt.Fprintf(&b, " and %s", tasks.Plural(warnings, "warning"))
	}
	for _, f := range e.ordered() {
		fmt.Fprintf(&b, "\n%s %s: %s", f.Level, f.Check, indent(f.What, "  "))
		if f.Hint != "" {
			fmt.Fprintf(&b, "\n  hint: %s", indent(f.Hint, "    "))
		}
	}
	return b.String()
}

// Lines returns the message and the hint of each blocker: warnings are not why
// the run ended.
func (e *FailedError) Lines() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, f := range e.Findings.Blockers() {
			if !yield(f.What, f.Hint) {
				return
			}
		}
	}
}

// ExitCode returns 5, or 3 if the only blocker is an unfinished run.
func (e *FailedError) ExitCode() int {
	for _, f := range e.Findings.Blockers() {
		if f.Check != UnfinishedLedger {
			return 5
		}
	}
	return 3
}

func (e *FailedError) ordered() Findings {
	all := slices.Clone(e.Findings)
	slices.SortStableFunc(all, func(a, b Finding) int { return cmp.Compare(a.Level, b.Level) })
	return all
}

// indent indents every line but the first.
func indent(text, by string) string { return strings.ReplaceAll(text, "\n", "\n"+by) }

func blocker(name, hint, format string, args ...any) Finding {
	return Finding{Check: name, Level: Blocker, What: fmt.Sprintf(format, args...), Hint: hint}
}

func warning(name, hint, format string, args ...any) Finding {
	return Finding{Check: name, Level: Warning, What: fmt.Sprintf(format, args...), Hint: hint}
}
