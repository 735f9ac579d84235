package pg_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

// museumCatalog is a catalog by names.
type namedCatalog struct {
	pg.Catalog
	tables  map[string]pg.Relation
	indexes map[string]pg.Index
	fkeys   map[string]pg.ForeignKey
}

func readCatalog(t *testing.T, uri string, without ...string) namedCatalog {
	t.Helper()
	cat, err := pg.ReadCatalog(t.Context(), connect(t, pg.Source, uri), pg.Without{Schemas: without})
	require.NoError(t, err)
	n := namedCatalog{Catalog: cat, tables: map[string]pg.Relation{}, indexes: map[string]pg.Index{}, fkeys: map[string]pg.ForeignKey{}}
	for _, r := range cat.Tables {
		n.tables[r.Name] = r
	}
	for _, x := range cat.Indexes {
		n.indexes[x.Name] = x
	}
	for _, f := range cat.ForeignKeys {
		n.fkeys[f.Name] = f
	}
	return n
}

const smallSchema = `
SET search_path = public;
CREATE TYPE mood AS ENUM ('a', 'b');
CREATE TABLE plain (gone int, id int PRIMARY KEY, "odd "" name" text, g int GENERATED ALWAYS AS (id * 2) STORED, b bigint);
ALTER TABLE plain DROP COLUMN gone;
INSERT INTO plain (id, "odd "" name", b) SELECT n, repeat('x', 500), n FROM generate_series(1, 1000) n;
CREATE INDEX plain_expr ON plain (lower("odd "" name"), (id + 1));
ALTER INDEX plain_expr ALTER COLUMN 1 SET STATISTICS 0, ALTER COLUMN 2 SET STATISTICS 333;
CREATE UNIQUE INDEX plain_b ON plain (b);
ALTER TABLE plain CLUSTER ON plain_expr;
CREATE TABLE bare ();
CREATE UNLOGGED TABLE made (g int GENERATED ALWAYS AS (1) STORED);
CREATE TABLE nullable (x int, k smallint UNIQUE);
CREATE TABLE not_a_key (a int, b int, UNIQUE (a, b));
CREATE UNIQUE INDEX partial_key ON not_a_key (a) WHERE b > 0;
CREATE UNIQUE INDEX expression_key ON not_a_key ((a + 1));
CREATE TABLE deferred (id int NOT NULL, CONSTRAINT deferred_key UNIQUE (id) DEFERRABLE INITIALLY DEFERRED, c circle, CONSTRAINT apart EXCLUDE USING gist (c WITH &&));
ALTER TABLE plain REPLICA IDENTITY USING INDEX plain_pkey;
CREATE TABLE parted (id int, d int) PARTITION BY RANGE (d);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10) PARTITION BY HASH (id);
CREATE TABLE parted_1_0 PARTITION OF parted_1 FOR VALUES WITH (MODULUS 1, REMAINDER 0);
CREATE INDEX parted_id ON parted (id);
CREATE TABLE by_text (t text) PARTITION BY HASH (t);
CREATE TABLE by_jsonb (t jsonb) PARTITION BY HASH (t);
CREATE TABLE by_enum (t mood, i int) PARTITION BY HASH (i, t);
CREATE TABLE by_array (t int[]) PARTITION BY HASH (t);
CREATE TABLE by_expression (i int) PARTITION BY HASH ((i + 1));
CREATE TABLE heir () INHERITS (plain);
CREATE TABLE refers (id int CONSTRAINT refers_fk REFERENCES plain, bad int);
ALTER TABLE refers ADD CONSTRAINT bad_fk FOREIGN KEY (bad) REFERENCES plain (id) NOT VALID;
CREATE TABLE refers_parted (id int CONSTRAINT refers_parted_fk REFERENCES plain) PARTITION BY LIST (id);
CREATE TABLE refers_parted_1 PARTITION OF refers_parted FOR VALUES IN (1);
CREATE SEQUENCE alone;
CREATE TABLE of_identity (id int GENERATED ALWAYS AS IDENTITY);
CREATE SCHEMA pgconvoy; CREATE TABLE pgconvoy.task (id int PRIMARY KEY);
CREATE TABLE "new
line" (x int);
SELECT lo_create(n) FROM generate_series(100000, 102500) n;
`

func TestReadCatalog(t *testing.T) {
	t.Parallel()
	db := pgtest.Source(t).Database(t)
	db.Exec(t, smallSchema)
	cat := readCatalog(t, db.URI(), "pgconvoy")
	require.Equal(t, "UTF8", cat.Encoding)
	require.Equal(t, pgtest.DefaultMajor(t), cat.Version/10000)
	require.NotContains(t, cat.tables, "task")

	plain := cat.tables["plain"]
	require.Equal(t, []string{"id", `odd " name`, "b"}, plain.Columns)
	require.Equal(t, plain.Filenode, plain.SnapFilenode)
	require.NotZero(t, plain.Filenode)
	require.Equal(t, "heap", plain.AccessMethod)
	require.Equal(t, db.Query(t, "SELECT pg_relation_size('public.plain') / 8192"), strconv.FormatInt(plain.Blocks, 10))
	require.GreaterOrEqual(t, plain.Bytes, plain.Blocks*8192)
	require.Equal(t, "id", plain.SplitKey)
	require.True(t, plain.SplitNotNull)
	require.True(t, plain.Inherited)
	require.Empty(t, cat.tables["bare"].Columns)
	require.Empty(t, cat.tables["made"].Columns)
	require.True(t, cat.tables["made"].Unlogged)
	require.Equal(t, "k", cat.tables["nullable"].SplitKey)
	require.False(t, cat.tables["nullable"].SplitNotNull)
	require.Empty(t, cat.tables["not_a_key"].SplitKey)
	require.Contains(t, cat.tables, "new\nline")

	parted, leaf := cat.tables["parted_1"], cat.tables["parted_1_0"]
	require.Equal(t, "p", parted.Kind)
	require.Zero(t, parted.Filenode)
	require.Equal(t, cat.tables["parted"].OID, parted.Parent)
	require.Equal(t, parted.OID, leaf.Parent)
	require.Zero(t, cat.tables["heir"].Parent, "inheritance is no partition")
	for name, key := range map[string]string{
		"parted": "", "parted_1": "portable", "by_text": "text", "by_jsonb": "text", "by_enum": "local", "by_array": "local", "by_expression": "local",
	} {
		require.Equal(t, key, cat.tables[name].HashKey, name)
	}

	x := cat.indexes["plain_expr"]
	require.Equal(t, map[string]int{"1": 0, "2": 333}, x.StatTargets)
	require.True(t, x.Clustered)
	require.Contains(t, x.Definition, "CREATE INDEX plain_expr ON public.plain")
	require.Nil(t, x.Constraint)
	require.True(t, cat.indexes["plain_pkey"].ReplicaIdentity)
	require.Equal(t, "p", cat.indexes["plain_pkey"].Constraint.Type)
	require.True(t, cat.indexes["plain_b"].Unique)
	key := cat.indexes["deferred_key"].Constraint
	require.True(t, key.Deferrable && key.Deferred)
	require.Equal(t, "UNIQUE (id) DEFERRABLE INITIALLY DEFERRED", key.Definition)
	require.Equal(t, "x", cat.indexes["apart"].Constraint.Type)
	require.Equal(t, cat.indexes["parted_id"].OID, cat.indexes["parted_1_id_idx"].Parent)
	require.Equal(t, cat.indexes["parted_1_id_idx"].OID, cat.indexes["parted_1_0_id_idx"].Parent)

	require.True(t, cat.fkeys["refers_fk"].Validated)
	require.False(t, cat.fkeys["bad_fk"].Validated)
	require.True(t, cat.fkeys["refers_fk"].Enforced)
	require.Equal(t, plain.OID, cat.fkeys["refers_fk"].References)
	require.Len(t, cat.ForeignKeys, 3, "what partitions inherit is left out")
	require.Len(t, cat.Sequences, 2)
	require.Equal(t, []uint32{100000, 101000, 102000, 102500}, cat.LargeObjects)
}

func TestReadCatalogOfMaterializedViews(t *testing.T) {
	t.Parallel()
	db := pgtest.Source(t).Database(t)
	db.Exec(t, `CREATE TABLE a (x int);
		CREATE MATERIALIZED VIEW low AS SELECT * FROM a;
		CREATE VIEW plain AS SELECT l.x FROM low l, a;
		CREATE VIEW over AS SELECT * FROM plain UNION SELECT 1;
		CREATE MATERIALIZED VIEW high AS SELECT x, (SELECT count(*) FROM low) FROM over;
		CREATE MATERIALIZED VIEW top AS SELECT * FROM high WITH NO DATA`)
	cat := readCatalog(t, db.URI())
	require.Len(t, cat.MatViews, 3)
	low, high, top := cat.MatViews[0], cat.MatViews[1], cat.MatViews[2]
	require.Equal(t, pg.MatView{OID: low.OID, Schema: "public", Name: "low", Populated: true, Reads: []uint32{}}, low)
	require.Equal(t, pg.MatView{OID: high.OID, Schema: "public", Name: "high", Populated: true, Reads: []uint32{low.OID}, Bytes: high.Bytes}, high)
	require.Positive(t, high.Bytes)
	require.Equal(t, pg.MatView{OID: top.OID, Schema: "public", Name: "top", Reads: []uint32{high.OID}}, top)
}

// TestReadCatalogOfChanged reads what the snapshot still shows and the newest
// catalog no longer has.
func TestReadCatalogOfChanged(t *testing.T) {
	t.Parallel()
	db := pgtest.Source(t).Database(t)
	db.Exec(t, `CREATE TABLE public.a (x int PRIMARY KEY); CREATE TABLE public.b (x int); CREATE INDEX b_x ON public.b (x);
		CREATE TABLE public.c (x int); CREATE TABLE public.d AS SELECT 1 AS x; CREATE TABLE public.e (x int CONSTRAINT fk REFERENCES public.a, y int)`)
	old := connect(t, pg.Source, db.URI())
	_, err := pg.ExportSnapshot(t.Context(), old)
	require.NoError(t, err)
	db.Exec(t, "DROP TABLE public.b; DROP TABLE public.c; CREATE TABLE public.c (x int); TRUNCATE public.d")
	cat, err := pg.ReadCatalog(t.Context(), old, pg.Without{})
	require.NoError(t, err)
	require.Len(t, cat.Tables, 5)
	for _, r := range cat.Tables {
		require.Equal(t, r.Name == "b" || r.Name == "c" || r.Name == "d", r.Filenode != r.SnapFilenode, r.Name)
	}
	for _, x := range cat.Indexes {
		require.Equal(t, x.Name == "b_x", x.Definition == "")
	}
	db.Exec(t, "DROP TABLE public.e")
	_, err = pg.ReadCatalog(t.Context(), old, pg.Without{})
	require.ErrorIs(t, err, pg.ErrRewritten)
}

// TestReadCatalogNotNull has a NOT NULL that rows do not obey.
func TestReadCatalogNotNull(t *testing.T) {
	t.Parallel()
	db := pgtest.Major(t, 18).Database(t)
	db.Exec(t, "CREATE TABLE public.a (x int UNIQUE); INSERT INTO public.a VALUES (NULL); ALTER TABLE public.a ADD CONSTRAINT n NOT NULL x NOT VALID; CREATE TABLE public.b (x int NOT NULL UNIQUE)")
	cat := readCatalog(t, db.URI())
	require.Equal(t, "x", cat.tables["a"].SplitKey)
	require.False(t, cat.tables["a"].SplitNotNull)
	require.True(t, cat.tables["b"].SplitNotNull)
}

// TestReadCatalogOfMuseum compares with what the server says by other means.
func TestReadCatalogOfMuseum(t *testing.T) {
	t.Parallel()
	for _, server := range []*pgtest.Server{pgtest.Source(t), pgtest.Major(t, 14), pgtest.Major(t, 18)} {
		db := server.Museum(t)
		cat := readCatalog(t, db.URI())
		for _, r := range cat.Tables {
			list := db.Query(t, fmt.Sprintf(`SELECT coalesce(string_agg(attname, '|' ORDER BY attnum), '') FROM pg_attribute
				WHERE attrelid = %d AND attnum > 0 AND NOT attisdropped AND attgenerated = ''`, r.OID))
			require.Equal(t, list, strings.Join(r.Columns, "|"), r.Name)
			require.Equal(t, r.Filenode, r.SnapFilenode, r.Name)
		}
		require.NotContains(t, cat.indexes, "ix_invalid")
		require.Equal(t, "museum_space", cat.indexes["ix_tablespace"].Tablespace)
		require.NotEmpty(t, cat.indexes["ix_depends"].Extensions)
		require.Contains(t, cat.indexes, "half_index")
		require.False(t, cat.indexes["half_index"].Valid)
		require.Equal(t, "local", cat.tables["by_mood"].HashKey)
		require.Equal(t, "portable", cat.tables["hashed"].HashKey)
		require.NotEmpty(t, cat.ExtensionConfig)
		for _, c := range cat.ExtensionConfig {
			require.NotContains(t, cat.tables, c.Name)
			require.NotZero(t, c.Filenode)
		}
		if server.Major >= 18 {
			require.True(t, cat.indexes["periods_pk"].Constraint.Period)
		}
		require.True(t, slices.IsSortedFunc(cat.Tables, func(a, b pg.Relation) int { return int(int64(a.OID) - int64(b.OID)) }))
	}
}

// TestReadCatalogOfIndexSizes: whether the server's notes are of now or not.
func TestReadCatalogOfIndexSizes(t *testing.T) {
	t.Parallel()
	db := pgtest.Source(t).Database(t)
	require.Empty(t, readCatalog(t, db.URI()).Indexes)
	db.Exec(t, "CREATE TABLE public.grows (id int PRIMARY KEY)")
	for _, step := range []string{
		"INSERT INTO public.grows SELECT generate_series(1, 10000)", "ANALYZE public.grows",
		"INSERT INTO public.grows SELECT generate_series(10001, 50000)", "VACUUM public.grows", "ANALYZE public.grows",
	} {
		db.Exec(t, step)
		require.Equal(t, db.Query(t, "SELECT pg_relation_size('public.grows_pkey')"), fmt.Sprint(readCatalog(t, db.URI()).indexes["grows_pkey"].Bytes), step)
	}
}

// countQueries is a tracer that counts.
type countQueries struct{ n int }

func (q *countQueries) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	q.n++
	return ctx
}
func (q *countQueries) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// TestReadCatalogQueries: as many queries for many tables as for none.
func TestReadCatalogQueries(t *testing.T) {
	t.Parallel()
	db := pgtest.Source(t).Database(t)
	count := func() int {
		cfg, err := pg.ParseURI(db.URI())
		require.NoError(t, err)
		queries := &countQueries{}
		cfg.Tracer = queries
		conn, err := pgx.ConnectConfig(t.Context(), cfg)
		require.NoError(t, err)
		defer func() { _ = conn.Close(context.Background()) }()
		_, err = pg.ReadCatalog(t.Context(), &pg.Conn{Conn: conn, Version: db.Server.Major * 10000}, pg.Without{})
		require.NoError(t, err)
		return queries.n
	}
	none := count()
	db.Exec(t, smallSchema)
	require.Equal(t, none, count())
	require.Less(t, none, 10)
}
