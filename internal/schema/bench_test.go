package schema_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/schema"
)

// BenchmarkCompare compares a database of 20,000 tables with five columns and
// three indexes each with itself.
func BenchmarkCompare(b *testing.B) {
	db := pgtest.Source(b).Database(b)
	for range 20 { // a transaction has a bound on the locks it holds
		db.Exec(b, `DO $$ BEGIN FOR i IN (SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace) .. (SELECT count(*) + 999 FROM pg_class
			WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace) LOOP
			EXECUTE format('CREATE TABLE t%1$s (id int PRIMARY KEY, a int NOT NULL, b text DEFAULT ''x'', c timestamptz, d numeric)', i);
			EXECUTE format('CREATE INDEX ON t%1$s (a, b); CREATE INDEX ON t%1$s (lower(b)) WHERE a > 0', i);
		END LOOP; END $$`)
	}
	for b.Loop() {
		source, err := pg.Connect(b.Context(), pg.Options{Side: pg.Source, URI: db.URI()})
		require.NoError(b, err)
		target, err := pg.Connect(b.Context(), pg.Options{Side: pg.Target, URI: db.URI()})
		require.NoError(b, err)
		c, err := schema.Compare(b.Context(), source, target, schema.Expected{})
		require.NoError(b, err)
		require.Empty(b, c.Differences)
		source.Discard()
		target.Discard()
	}
}
