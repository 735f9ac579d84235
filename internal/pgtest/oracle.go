package pgtest

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// shownDifferences bounds the report of RequireEqual; a target that lacks
// everything would otherwise print thousands of lines.
const shownDifferences = 40

// comparison is what the options of Diff say.
type comparison struct {
	ignoredLines   []*regexp.Regexp
	ignoredSchemas []string
	schema, data   bool
}

// Option narrows what Diff compares.
type Option func(*comparison)

// IgnoreLines drops lines of pg_dump's output that match one of the regular
// expressions, on both sides. Say beside the call why the difference is right.
func IgnoreLines(patterns ...string) Option {
	return func(c *comparison) {
		for _, p := range patterns {
			c.ignoredLines = append(c.ignoredLines, regexp.MustCompile(p))
		}
	}
}

// IgnoreSchemas leaves schemas out, such as a kept ledger.
func IgnoreSchemas(names ...string) Option {
	return func(c *comparison) { c.ignoredSchemas = append(c.ignoredSchemas, names...) }
}

// DataOnly compares rows, sequences and large objects, not definitions.
func DataOnly() Option {
	return func(c *comparison) { c.schema = false }
}

// SchemaOnly compares definitions, not rows, sequences or large objects.
func SchemaOnly() Option {
	return func(c *comparison) { c.data = false }
}

// RequireEqual fails the test unless the two databases are equal in everything a
// copy has to keep, and shows the differences.
func RequireEqual(t testing.TB, src, dst *Database, opts ...Option) {
	t.Helper()
	diffs, err := Diff(src, dst, opts...)
	if err != nil {
		t.Fatalf("compare %s with %s: %v", src.Name, dst.Name, err)
	}
	if len(diffs) == 0 {
		return
	}
	shown := diffs[:min(len(diffs), shownDifferences)]
	t.Fatalf("source %s and target %s differ in %d points:\n%s", src.Name, dst.Name, len(diffs), strings.Join(shown, "\n"))
}

// Diff compares two databases, which may be of different major versions, and
// returns one readable text per difference, none if they are equal. It compares
//
//   - pg_dump -s of both sides by the newer side's pg_dump, entry by entry;
//   - what pg_dump does not show: whether matviews are populated, indexes valid,
//     clustered on and attached, constraints validated, triggers and rules
//     enabled, statistics targets, tablespaces;
//   - the rows of every table and populated matview as a multiset;
//   - last_value and is_called of every sequence;
//   - large objects with owner, ACL, comment and content.
//
// Both sides must be quiet meanwhile. An error means that the comparison could
// not be made.
func Diff(src, dst *Database, opts ...Option) ([]string, error) {
	c := comparison{schema: true, data: true, ignoredSchemas: []string{}}
	for _, o := range opts {
		o(&c)
	}
	ctx, cancel := context.WithTimeout(context.Background(), helperTimeout)
	defer cancel()
	var diffs []string
	if c.schema {
		found, err := c.diffSchema(ctx, src, dst)
		if err != nil {
			return nil, err
		}
		diffs = append(diffs, found...)
	}
	if c.data {
		found, err := c.diffData(ctx, src, dst)
		if err != nil {
			return nil, err
		}
		diffs = append(diffs, found...)
	}
	return diffs, nil
}

// bothSides runs fn on a session of each database at the same time and returns
// what it found on the source and on the target.
func bothSides[T any](ctx context.Context, src, dst *Database, fn func(context.Context, *pgx.Conn) (T, error)) (s, d T, err error) {
	g, ctx := errgroup.WithContext(ctx)
	side := func(db *Database, out *T) func() error {
		return func() error {
			conn, err := connectOracle(ctx, db)
			if err != nil {
				return err
			}
			defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
			*out, err = fn(ctx, conn)
			if err != nil {
				return fmt.Errorf("%s: %w", db.Name, err)
			}
			return nil
		}
	}
	g.Go(side(src, &s))
	g.Go(side(dst, &d))
	err = g.Wait()
	return s, d, err
}

// connectOracle opens a session whose settings make equal values print equally
// on all major versions. The empty search_path makes regclass print full names.
func connectOracle(ctx context.Context, db *Database) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(db.URI())
	if err != nil {
		return nil, err
	}
	maps.Copy(cfg.RuntimeParams, map[string]string{
		"application_name":              "pgtest-oracle",
		"search_path":                   "",
		"client_encoding":               "UTF8",
		"datestyle":                     "ISO",
		"intervalstyle":                 "postgres",
		"extra_float_digits":            "3",
		"bytea_output":                  "hex",
		"timezone":                      "UTC",
		"lc_monetary":                   "C",
		"xmloption":                     "content",
		"row_security":                  "off",
		"statement_timeout":             "0",
		"default_transaction_read_only": "on",
	})
	return pgx.ConnectConfig(ctx, cfg)
}

// diffMaps reports keys that one side lacks and values that differ.
func diffMaps(kind string, src, dst map[string]string) []string {
	var diffs []string
	for _, key := range slices.Sorted(maps.Keys(src)) {
		got, ok := dst[key]
		switch {
		case !ok:
			diffs = append(diffs, fmt.Sprintf("%s %s: only in the source: %s", kind, key, src[key]))
		case got != src[key]:
			diffs = append(diffs, fmt.Sprintf("%s %s:\n    source %s\n    target %s", kind, key, src[key], got))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(dst)) {
		if _, ok := src[key]; !ok {
			diffs = append(diffs, fmt.Sprintf("%s %s: only in the target: %s", kind, key, dst[key]))
		}
	}
	return diffs
}
