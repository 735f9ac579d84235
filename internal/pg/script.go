package pg

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
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
	if len(statements) == 0 {
		return nil
	}
	var sql strings.Builder
	ends := make([]int, len(statements)) // in characters, as the server counts positions
	chars := 0
	for i, s := range statements {
		s += "\n;SELECT 1 AS " + scriptMark + ";\n"
		sql.WriteString(s)
		chars += utf8.RuneCountInString(s)
		ends[i] = chars
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
	err := results.Close()
	if err == nil {
		return nil
	}
	var server *pgconn.PgError
	if done == 0 && errors.As(err, &server) && server.Code == "42601" && server.Position > 0 {
		// The server parses the whole text before it runs any of it.
		done, _ = slices.BinarySearch(ends, int(server.Position))
	}
	return &ScriptError{Index: min(done, len(statements)-1), Err: err}
}

// Numbers runs queries that yield one number each, in one round trip. With an
// error it returns the numbers of the queries before the one that was refused.
func (c *Conn) Numbers(ctx context.Context, queries []string) ([]int64, error) {
	results, err := c.PgConn().Exec(ctx, strings.Join(queries, ";\n")).ReadAll()
	numbers := make([]int64, 0, len(queries))
	for _, r := range results {
		if r.Err != nil || len(r.Rows) != 1 {
			break
		}
		n, parseErr := strconv.ParseInt(string(r.Rows[0][0]), 10, 64)
		if parseErr != nil {
			return numbers, errors.Join(err, parseErr)
		}
		numbers = append(numbers, n)
	}
	if err == nil && len(numbers) < len(queries) {
		err = fmt.Errorf("%d numbers of %d queries", len(numbers), len(queries))
	}
	return numbers, err
}
