package pg

import (
	"context"
	"fmt"
	"strings"
)

// ScriptError is the error of one statement of a script.
type ScriptError struct {
	Index int // of the statement
	Err   error
}

func (e *ScriptError) Error() string { return fmt.Sprintf("statement %d: %v", e.Index+1, e.Err) }

// Unwrap returns the server's error.
func (e *ScriptError) Unwrap() error { return e.Err }

// scriptMark is the column name that tells our marks from the results of the
// statements themselves.
const scriptMark = "pgconvoy_mark"

// Script runs the statements, each of which may hold several, in one round
// trip. Its error is a [*ScriptError] that names the one that was refused: a
// mark follows each, and the number of marks that came back is its index. c
// should be in a transaction, which an error ends.
func (c *Conn) Script(ctx context.Context, statements []string) error {
	var sql strings.Builder
	for _, s := range statements {
		sql.WriteString(s)
		sql.WriteString("\n;SELECT 1 AS " + scriptMark + ";\n")
	}
	results := c.PgConn().Exec(ctx, sql.String())
	done := 0
	for results.NextResult() {
		r := results.ResultReader()
		fields := r.FieldDescriptions()
		marks := len(fields) == 1 && fields[0].Name == scriptMark
		for r.NextRow() {
			continue
		}
		if _, err := r.Close(); err == nil && marks {
			done++
		}
	}
	if err := results.Close(); err != nil {
		return &ScriptError{Index: min(done, len(statements)-1), Err: err}
	}
	return nil
}
