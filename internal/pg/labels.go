package pg

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// LabelsNotLoaded returns those providers of the source's security labels that the
// target's sessions have not loaded. No catalog lists them, so it tries, in a
// transaction that is rolled back, to take a label that is not there.
func LabelsNotLoaded(ctx context.Context, source, target *Conn) (missing []string, err error) {
	rows, err := source.Query(ctx, "SELECT DISTINCT provider FROM pg_catalog.pg_seclabel ORDER BY 1")
	if err != nil {
		return nil, fmt.Errorf("list providers of security labels: %w", err)
	}
	providers, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list providers of security labels: %w", err)
	}
	for _, p := range providers {
		_, err := target.Exec(ctx, "BEGIN READ WRITE; SECURITY LABEL FOR "+pgx.Identifier{p}.Sanitize()+" ON SCHEMA pg_catalog IS NULL")
		if IsCode(err, "22023") { // any other refusal comes from the provider
			missing = append(missing, p)
		}
		if _, rollback := target.Exec(ctx, "ROLLBACK"); rollback != nil {
			return nil, fmt.Errorf("look for provider %s on the target: %w", p, errors.Join(err, rollback))
		}
	}
	return missing, nil
}
