package run

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/pgconvoy/pgconvoy/internal/check"
	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/ledger"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/plan"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
	"github.com/pgconvoy/pgconvoy/internal/verify"
)

// DifferenceError is returned when source and target are not equal.
type DifferenceError struct{ Tables int }

func (e *DifferenceError) Error() string {
	return fmt.Sprintf("source and target differ in %d tables", e.Tables)
}

// ExitCode is that of a difference.
func (e *DifferenceError) ExitCode() int { return 4 }

// Verify compares all tables of source and target as they are now, each side
// in one snapshot, with as many connections as the copy stage has slots. It
// changes nothing and needs no ledger. Its error, if the sides differ, is a
// [*DifferenceError].
func Verify(ctx context.Context, o Options) (tasks.Comparison, error) {
	level := o.Config.Verify
	if level == config.VerifyNone {
		level = config.VerifyRows
	}
	result := tasks.Comparison{Level: string(level)}
	p, err := connectBoth(ctx, o)
	if err != nil {
		return result, err
	}
	defer p.Close()
	var snapshots [2]pg.Snapshot
	for i, c := range []*pg.Conn{p.source, p.target} {
		if snapshots[i], err = pg.ExportSnapshot(ctx, c); err != nil {
			return result, fmt.Errorf("%s: %w", c.Side(), err)
		}
	}
	cat, err := pg.ReadCatalog(ctx, p.source, []string{ledger.Schema})
	if err != nil {
		return result, err
	}
	same, err := p.sameText(ctx)
	if err != nil {
		return result, err
	}
	tables := plan.Comparisons(cat, same)
	result.Tables = len(tables)
	c := comparer{Options: o, level: level, snapshots: snapshots}
	if err := c.all(ctx, tables); err != nil {
		return result, err
	}
	result.Rows, result.Differences = c.rows, c.differences
	slices.SortFunc(result.Differences, func(x, y tasks.Difference) int { return tasks.CompareNames(x.Table, y.Table) })
	if len(result.Differences) > 0 {
		return result, &DifferenceError{Tables: len(result.Differences)}
	}
	return result, nil
}

// connectBoth connects to both databases and reports what is wrong with either.
func connectBoth(ctx context.Context, o Options) (*Prepared, error) {
	p := &Prepared{Options: o}
	var findings check.Findings
	connect := func(side pg.Side) *pg.Conn {
		c, err := pg.Connect(ctx, o.database(side))
		if err != nil {
			findings = append(findings, check.ConnectFinding(side, err))
			return nil
		}
		return c
	}
	p.source = connect(pg.Source)
	p.target = connect(pg.Target)
	if len(findings) == 0 {
		return p, nil
	}
	p.Close()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return nil, findings.Err()
}

// comparer compares many tables at the same time.
type comparer struct {
	Options
	level     config.VerifyLevel
	snapshots [2]pg.Snapshot

	mu          sync.Mutex
	rows        int64
	differences []tasks.Difference
}

func (c *comparer) all(ctx context.Context, tables []tasks.VerifyTable) error {
	queue := make(chan tasks.VerifyTable)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(queue)
		for _, t := range tables {
			select {
			case queue <- t:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	for range c.Config.Slots.Copy {
		group.Go(func() error { return c.some(ctx, queue) })
	}
	return group.Wait()
}

// some compares tables of the queue over a pair of connections of its own.
func (c *comparer) some(ctx context.Context, queue <-chan tasks.VerifyTable) error {
	var pair *Prepared
	defer func() {
		if pair != nil {
			pair.Close()
		}
	}()
	for t := range queue {
		if pair == nil {
			var err error
			if pair, err = c.connect(ctx); err != nil {
				return err
			}
		}
		rows, difference, err := c.compare(ctx, pair, t)
		if err != nil {
			if !pg.IsCode(err, "42P01") && !pg.IsCode(err, "42703") && !pg.IsCode(err, "3F000") {
				return err
			}
			// A failed statement leaves both connections in an unknown state.
			difference = &tasks.Difference{Table: t.Name, Source: "is there", Target: "is missing, or has other columns"}
			pair.Close()
			pair = nil
		}
		c.mu.Lock()
		c.rows += rows
		if difference != nil {
			c.differences = append(c.differences, *difference)
			c.Log.Error("table differs", "table", difference.String())
		}
		c.mu.Unlock()
	}
	return nil
}

func (c *comparer) connect(ctx context.Context) (*Prepared, error) {
	pair, err := connectBoth(ctx, c.Options)
	if err != nil {
		return nil, err
	}
	for i, conn := range []*pg.Conn{pair.source, pair.target} {
		if _, err := conn.Exec(ctx, pg.ImportSnapshotSQL(c.snapshots[i].Name)); err != nil {
			pair.Close()
			return nil, fmt.Errorf("import snapshot on the %s: %w", conn.Side(), err)
		}
	}
	return pair, nil
}

func (c *comparer) compare(ctx context.Context, pair *Prepared, t tasks.VerifyTable) (int64, *tasks.Difference, error) {
	if c.level == config.VerifyDigest {
		return verify.Contents(ctx, pair.source, pair.target, t)
	}
	return verify.Rows(ctx, pair.source, pair.target, t)
}
