package worker

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// quiet switches off, in the task's transaction, the user triggers of tables
// that are loaded a second time: at the first time they had none yet. The
// returned statements bring every trigger back to the state that it had.
func (j *Job) quiet(ctx context.Context, copies []tasks.Copy) (restore string, err error) {
	names := make([]string, len(copies))
	for i, c := range copies {
		names[i] = c.Target().String()
	}
	// A partitioned root passes the statement on to its partitions, whose triggers may have states of their own.
	rows, err := j.Target.Query(ctx, `SELECT c.oid::regclass::text, pg_catalog.quote_ident(t.tgname), t.tgenabled::text
		FROM unnest($1::text[]) n CROSS JOIN LATERAL (
			SELECT n::regclass::oid AS oid UNION SELECT relid::oid FROM pg_catalog.pg_partition_tree(n::regclass)) c
		JOIN pg_catalog.pg_trigger t ON t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled <> 'D' ORDER BY 1, 2`, names)
	if err != nil {
		return "", fmt.Errorf("list triggers: %w", err)
	}
	words := map[string]string{"O": "ENABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}
	var off, on strings.Builder
	var table, trigger, state string
	_, err = pgx.ForEachRow(rows, []any{&table, &trigger, &state}, func() error {
		fmt.Fprintf(&off, "ALTER TABLE ONLY %s DISABLE TRIGGER %s; ", table, trigger)
		fmt.Fprintf(&on, "ALTER TABLE ONLY %s %s TRIGGER %s; ", table, words[state], trigger)
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("list triggers: %w", err)
	}
	if off.Len() == 0 {
		return "", nil
	}
	if _, err := j.Target.Exec(ctx, off.String()); err != nil {
		return "", fmt.Errorf("switch triggers off: %w", err)
	}
	return on.String(), nil
}
