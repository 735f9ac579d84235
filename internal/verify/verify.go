// Package verify compares source and target: by the number of rows of each
// table, or by a digest of their contents. digest.go computes digests from the
// byte stream of COPY; this file compares.
package verify

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Count returns the number of rows that the table has in the session's view.
func Count(ctx context.Context, c *pg.Conn, t tasks.VerifyTable) (int64, error) {
	var n int64
	err := c.QueryRow(ctx, t.SelectSQL("pg_catalog.count(*)")).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count the rows of %s on the %s: %w", t.Name, c.Side(), err)
	}
	return n, nil
}

// Rows compares the number of rows on both sides, and returns it if it is the
// same.
func Rows(ctx context.Context, source, target *pg.Conn, t tasks.VerifyTable) (int64, *tasks.Difference, error) {
	var want, got int64
	err := both(ctx,
		func(ctx context.Context) (err error) { want, err = Count(ctx, source, t); return err },
		func(ctx context.Context) (err error) { got, err = Count(ctx, target, t); return err })
	if err != nil {
		return 0, nil, err
	}
	return got, RowsDiffer(t.Name, want, got), nil
}

// RowsDiffer returns the difference between two numbers of rows, nil if there
// is none.
func RowsDiffer(table tasks.Name, want, got int64) *tasks.Difference {
	if want == got {
		return nil
	}
	return &tasks.Difference{Table: table, Source: fmt.Sprintf("%d rows", want), Target: fmt.Sprintf("%d rows", got)}
}

// Contents compares the digests of both sides, reading both at the same time,
// and returns the number of rows if they are the same. After an error both
// connections must be discarded.
func Contents(ctx context.Context, source, target *pg.Conn, t tasks.VerifyTable) (int64, *tasks.Difference, error) {
	query := t.SelectSQL(tasks.QuoteIdents(t.Columns))
	var want, got Digest
	err := both(ctx,
		func(ctx context.Context) (err error) { want, err = DigestOf(ctx, source, query); return err },
		func(ctx context.Context) (err error) { got, err = DigestOf(ctx, target, query); return err })
	if err != nil {
		return 0, nil, fmt.Errorf("digest of %s: %w", t.Name, err)
	}
	if want != got {
		return got.Rows, &tasks.Difference{Table: t.Name, Source: want.String(), Target: got.String()}, nil
	}
	return got.Rows, nil, nil
}

func both(ctx context.Context, source, target func(context.Context) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return source(ctx) })
	group.Go(func() error { return target(ctx) })
	return group.Wait()
}
