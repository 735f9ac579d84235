package pgtest_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

const fixture = `
CREATE SCHEMA "odd ""name";
CREATE TABLE "odd ""name"."a.b" (id int PRIMARY KEY, t text, g int GENERATED ALWAYS AS (id * 2) STORED);
INSERT INTO "odd ""name"."a.b" SELECT i, E'line\n\\' || i FROM generate_series(1, 10) i;
CREATE TABLE bag (v int);
INSERT INTO bag VALUES (1), (1), (2), (NULL);
CREATE INDEX bag_v ON bag (v);
CREATE TABLE nothing ();
INSERT INTO nothing DEFAULT VALUES;
CREATE SEQUENCE ids;
SELECT nextval('ids'), nextval('ids');
CREATE MATERIALIZED VIEW mv AS SELECT count(*) FROM bag;
CREATE TABLE kid (p int CONSTRAINT up REFERENCES "odd ""name"."a.b");
CREATE FUNCTION trg() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER trg BEFORE INSERT ON kid FOR EACH ROW EXECUTE FUNCTION trg();
SELECT lo_from_bytea(4711, '\x0102030000');
COMMENT ON LARGE OBJECT 4711 IS 'hello';
`

func TestOracleFindsEqualDatabasesEqual(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	src.Exec(t, fixture)
	dst.Exec(t, fixture)
	// Other row order, other index order, other order of creation.
	dst.Exec(t, `DELETE FROM bag WHERE v = 1; INSERT INTO bag VALUES (1), (1);
		DROP TABLE nothing; CREATE TABLE nothing (); INSERT INTO nothing DEFAULT VALUES`)
	pgtest.RequireEqual(t, src, dst)
}

func TestOracleSeesEveryDifference(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		change string // made in the target
		want   string // part of the only difference
	}{
		"missing row":         {`DELETE FROM bag WHERE v = 2`, "only in the source: 2"},
		"duplicated row":      {`INSERT INTO bag VALUES (2)`, "only in the target: 2"},
		"null for value":      {`UPDATE bag SET v = 3 WHERE v IS NULL`, `only in the source: \N`},
		"row without columns": {`INSERT INTO nothing DEFAULT VALUES`, "rows of public.nothing"},
		"changed text":        {`UPDATE "odd ""name"."a.b" SET t = t || ' ' WHERE id = 7`, `rows of "odd ""name"."a.b"`},
		"owner":               {`DO $$ BEGIN CREATE ROLE pgtest_owner; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$; ALTER TABLE bag OWNER TO pgtest_owner`, "pgtest_owner"},
		"missing index":       {`DROP INDEX bag_v`, "bag_v"},
		"index off":           {`UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'bag_v'::regclass`, "index public.bag_v: only in the source"},
		"extra table":         {`CREATE TABLE extra ()`, "extra"},
		"sequence off by one": {`SELECT setval('ids', 3)`, "last_value 3"},
		"sequence not called": {`SELECT setval('ids', 2, false)`, "is_called f"},
		"blob content":        {`SELECT lo_put(4711, 1, '\xff')`, "large object 4711"},
		"blob length":         {`SELECT lo_put(4711, 5, '\x00')`, "bytes 6"},
		"blob comment":        {`COMMENT ON LARGE OBJECT 4711 IS 'hullo'`, "hullo"},
		"blob acl":            {`GRANT SELECT ON LARGE OBJECT 4711 TO PUBLIC`, "=r/postgres"},
		"blob missing":        {`SELECT lo_unlink(4711)`, "only in the source"},
		"matview":             {`REFRESH MATERIALIZED VIEW mv WITH NO DATA`, "populated f"},
		"acl":                 {`GRANT SELECT ON bag TO PUBLIC`, "GRANT SELECT"},
		"comment":             {`COMMENT ON COLUMN bag.v IS 'it'`, "COMMENT ON COLUMN"},
		"not validated":       {`ALTER TABLE kid DROP CONSTRAINT up; ALTER TABLE kid ADD CONSTRAINT up FOREIGN KEY (p) REFERENCES "odd ""name"."a.b" NOT VALID`, "NOT VALID"},
		"trigger off":         {`ALTER TABLE kid DISABLE TRIGGER trg`, "enabled D"},
		"replica identity":    {`ALTER TABLE bag REPLICA IDENTITY FULL`, "REPLICA IDENTITY FULL"},
		"statistics":          {`ALTER TABLE bag ALTER v SET STATISTICS 7`, "SET STATISTICS 7"},
	}
	src := pgtest.Source(t).Database(t)
	src.Exec(t, fixture)
	template := pgtest.Target(t).Database(t)
	template.Exec(t, fixture)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			dst := template.Clone(t)
			dst.Exec(t, c.change)
			diffs, err := pgtest.Diff(src, dst)
			require.NoError(t, err)
			require.NotEmpty(t, diffs)
			require.Contains(t, strings.Join(diffs, "\n"), c.want)
		})
	}
}

func TestOracleOptions(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	dst.Exec(t, `CREATE SCHEMA ledger; CREATE TABLE ledger.t (id int); INSERT INTO ledger.t VALUES (1)`)
	diffs, err := pgtest.Diff(src, dst)
	require.NoError(t, err)
	require.NotEmpty(t, diffs)
	pgtest.RequireEqual(t, src, dst, pgtest.IgnoreSchemas("ledger"))

	src.Exec(t, `COMMENT ON SCHEMA public IS 'one'; CREATE TABLE a (id int)`)
	dst.Exec(t, `COMMENT ON SCHEMA public IS 'two'; CREATE TABLE a (id int); INSERT INTO a VALUES (1)`)
	pgtest.RequireEqual(t, src, dst, pgtest.IgnoreSchemas("ledger"), pgtest.SchemaOnly(), pgtest.IgnoreLines("^COMMENT ON SCHEMA public"))
	diffs, err = pgtest.Diff(src, dst, pgtest.IgnoreSchemas("ledger"), pgtest.DataOnly())
	require.NoError(t, err)
	require.Len(t, diffs, 1)
}
