package check_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/check"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

// TestPartitionExclusions: constraints that no server lets anybody make again are
// named before the run; those of tables without partitions are fine.
func TestPartitionExclusions(t *testing.T) {
	t.Parallel()
	for major, c := range map[int]struct {
		sql  string
		want []string
	}{
		17: {`CREATE TABLE x (k int, r int4range, CONSTRAINT apart EXCLUDE USING gist (k WITH =, r WITH &&)) PARTITION BY LIST (k); CREATE TABLE x1 PARTITION OF x FOR VALUES IN (1);
			CREATE TABLE lone (k int, r int4range, EXCLUDE USING gist (k WITH =, r WITH &&)) PARTITION BY LIST (k)`, []string{"apart on public.x"}},
		18: {`CREATE TABLE y (k int, r int4range, CONSTRAINT period PRIMARY KEY (k, r WITHOUT OVERLAPS)) PARTITION BY LIST (k); CREATE TABLE y1 PARTITION OF y FOR VALUES IN (1);
			CREATE TABLE plain (k int PRIMARY KEY) PARTITION BY LIST (k); CREATE TABLE plain1 PARTITION OF plain FOR VALUES IN (1)`, []string{"period on public.y"}},
	} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			s := pgtest.Major(t, major)
			b := &bench{source: s.Database(t), target: s.Database(t)}
			b.source.Exec(t, "CREATE EXTENSION btree_gist; "+c.sql)
			f := requireOnly(t, of(b.run(t), "partition-exclusions"), check.Blocker, "partition-exclusions")
			for _, want := range c.want {
				require.Contains(t, f.What, want)
			}
			require.Contains(t, f.What, "those of 1 constraint on")
		})
	}
}
