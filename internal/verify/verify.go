// Package verify compares source and target: by the number of rows of each
// table, or by a digest of their contents, and finds the rows that differ.
// digest.go hashes rows, this file measures what a table holds and compares,
// and locate.go finds rows.
package verify

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Measure returns what the session sees of each of the tables, or of the part of
// it: the number of rows, and at level digest their digest under the key. After
// an error the connection must be discarded.
func Measure(ctx context.Context, c *pg.Conn, level string, key tasks.DigestKey, tables []tasks.VerifyTable) ([]tasks.TableCount, error) {
	if level != tasks.LevelDigest {
		return count(ctx, c, tables)
	}
	counts := make([]tasks.TableCount, len(tables))
	for i, t := range tables {
		d, err := DigestOf(ctx, c, key, t.SelectSQL(tasks.QuoteIdents(t.Columns)))
		if err != nil {
			return nil, fmt.Errorf("digest of %s: %w", t.Name, err)
		}
		counts[i] = tasks.TableCount{Name: t.Name, Rows: d.Rows, Digest: &d}
	}
	return counts, nil
}

// count counts the rows of all tables in one round trip.
func count(ctx context.Context, c *pg.Conn, tables []tasks.VerifyTable) ([]tasks.TableCount, error) {
	queries := make([]string, len(tables))
	for i, t := range tables {
		queries[i] = t.SelectSQL("pg_catalog.count(*)")
	}
	numbers, err := c.Numbers(ctx, queries)
	if err != nil {
		what := "rows"
		if len(numbers) < len(tables) {
			what = "the rows of " + tables[len(numbers)].String()
		}
		return nil, fmt.Errorf("count %s on the %s: %w", what, c.Side(), err)
	}
	counts := make([]tasks.TableCount, len(tables))
	for i, t := range tables {
		counts[i] = tasks.TableCount{Name: t.Name, Rows: numbers[i]}
	}
	return counts, nil
}

// Differ returns the difference between what a table holds on both sides, nil
// if there is none: of the digests at level digest, which both must have then,
// and of the numbers of rows otherwise.
func Differ(level string, source, target tasks.TableCount) (*tasks.Difference, error) {
	d := &tasks.Difference{Table: target.Name, Source: fmt.Sprintf("%d rows", source.Rows), Target: fmt.Sprintf("%d rows", target.Rows)}
	if level != tasks.LevelDigest {
		if source.Rows == target.Rows {
			return nil, nil
		}
		return d, nil
	}
	if source.Digest == nil || target.Digest == nil {
		return nil, fmt.Errorf("no digest was made of all rows of %s", target.Name)
	}
	if *source.Digest == *target.Digest {
		return nil, nil
	}
	d.Source, d.Target = source.Digest.String(), target.Digest.String()
	return d, nil
}

func both(ctx context.Context, source, target func(context.Context) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return source(ctx) })
	group.Go(func() error { return target(ctx) })
	return group.Wait()
}
