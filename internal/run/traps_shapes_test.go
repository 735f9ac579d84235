package run_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

// TestNamesThatCollide has names that would become one if they were joined,
// folded or quoted carelessly, or that are those of our own tasks.
func TestNamesThatCollide(t *testing.T) {
	t.Parallel()
	const setup = `DO $$ DECLARE n text[]; i int := 0; BEGIN
		FOREACH n SLICE 1 IN ARRAY ARRAY[['a', 'b.c'], ['a.b', 'c'], ['a', 'b'], ['a=2Eb', 'c'], ['A', 'b'], ['a', 'B'], ['bundle', 'b0001'], ['bundle', 'b0001.a'],
			['pre-data', 'c0001'], ['verify', 'v0001'], ['misc', 'all'], ['copy', 'p0001'], ['my_pgconvoy', 'task'], ['pgconvoy2', 'run'], ['a', '*'], ['a', '>'], ['a', 'ALL'], ['a', 'all']] LOOP
			i := i + 1;
			EXECUTE format('CREATE SCHEMA IF NOT EXISTS %I', n[1]);
			EXECUTE format('CREATE TABLE %I.%I (id int CONSTRAINT %I PRIMARY KEY, "ID" int UNIQUE, v text)', n[1], n[2], 'all' || i);
			EXECUTE format('INSERT INTO %I.%I SELECT g, g, repeat(%L, 40) FROM generate_series(1, %s) g', n[1], n[2], n, i * 10);
			EXECUTE format('CREATE INDEX %I ON %I.%I (v)', 'x' || i, n[1], n[2]);
			EXECUTE format('CREATE SEQUENCE %I.%I START %s', n[1], 's' || i, i);
		END LOOP; END $$`
	for name, bundled := range map[string]bool{"bundled": true, "apart": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
			src.Exec(t, setup)
			o := options(t, src, dst)
			if !bundled {
				o.Config.Bundle.MaxTable, o.Config.Split.LargerThan = 0, 8<<10
			}
			copyAll(t, o)
			pgtest.RequireEqual(t, src, dst)
		})
	}
}

// TestLargeShapes has as many columns, partitions, large objects and rows of a
// kind as a server allows, or as many as show that nothing is of a fixed size.
func TestLargeShapes(t *testing.T) {
	t.Parallel()
	for name, setup := range map[string]string{
		"1600 columns": `DO $$ BEGIN
			EXECUTE (SELECT 'CREATE TABLE wide (' || string_agg(format('%I %s', rpad('column ' || g || ' ', 60, 'x'), (ARRAY['int', 'bool', 'text', 'smallint[]', 'date'])[g % 5 + 1]), ', ') || ')' FROM generate_series(1, 1600) g);
			EXECUTE (SELECT 'INSERT INTO wide SELECT ' || string_agg(format((ARRAY['%s', 'true', '''t%s''', 'NULL', 'NULL'])[g % 5 + 1], g), ', ') || ' FROM generate_series(1, 3)' FROM generate_series(1, 1600) g);
			INSERT INTO wide SELECT FROM generate_series(1, 3); END $$`,
		"400 partitions": `CREATE TABLE parted (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);
			DO $$ BEGIN FOR i IN 0..399 LOOP EXECUTE format('CREATE TABLE parted_%s PARTITION OF parted FOR VALUES FROM (%s) TO (%s)', i, i * 10, i * 10 + 10); END LOOP; END $$;
			INSERT INTO parted SELECT i, i % 10 FROM generate_series(0, 3999) i`,
		"2500 large objects": `DO $$ BEGIN FOR i IN 1..2500 LOOP
			PERFORM lo_from_bytea(50000 + i * 3, convert_to(repeat('x', i), 'UTF8'));
			IF i % 5 = 0 THEN EXECUTE format('ALTER LARGE OBJECT %s OWNER TO museum_owner', 50000 + i * 3); END IF;
			IF i % 7 = 0 THEN EXECUTE format('GRANT SELECT ON LARGE OBJECT %s TO museum_reader WITH GRANT OPTION', 50000 + i * 3); END IF;
			IF i % 35 = 0 THEN EXECUTE format('SET LOCAL ROLE museum_reader; GRANT SELECT ON LARGE OBJECT %s TO museum_writer', 50000 + i * 3); RESET ROLE; END IF;
			IF i % 11 = 0 THEN EXECUTE format('REVOKE ALL ON LARGE OBJECT %s FROM postgres', 50000 + i * 3); END IF;
			IF i % 13 = 0 THEN EXECUTE format('COMMENT ON LARGE OBJECT %s IS %L', 50000 + i * 3, i); END IF; END LOOP; END $$`,
		"32 MB in one large object, and a hole": `SELECT lo_create(7001), lo_create(7002); SELECT lo_put(7002, 100000000, 'end');
			DO $$ BEGIN FOR i IN 0..31 LOOP PERFORM lo_put(7001, i * 1048576::int8, decode(repeat(md5(i::text), 65536), 'hex')); END LOOP; END $$`,
		// One line of text is 100 MB.
		"a large value": `CREATE TABLE large (id int PRIMARY KEY, b bytea); ALTER TABLE large ALTER b SET STORAGE EXTERNAL;
			INSERT INTO large VALUES (1, decode(repeat('00ff10ab', 12 * 1024 * 1024), 'hex')), (2, '')`,
		"foreign keys in circles": `CREATE TABLE a (id int PRIMARY KEY, b int); CREATE TABLE b (id int PRIMARY KEY, a int); CREATE TABLE c (id int PRIMARY KEY REFERENCES a, a int REFERENCES b, self int REFERENCES c);
			INSERT INTO a SELECT i, i FROM generate_series(1, 500) i; INSERT INTO b SELECT i, i FROM generate_series(1, 500) i; INSERT INTO c SELECT i, i, 501 - i FROM generate_series(1, 500) i;
			ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b; ALTER TABLE b ADD FOREIGN KEY (a) REFERENCES a;
			DO $$ BEGIN FOR i IN 1..12 LOOP EXECUTE format('CREATE TABLE s%s (id int REFERENCES a, b int REFERENCES b, c int REFERENCES c); INSERT INTO s%1$s SELECT i, i, i FROM generate_series(1, 500) i', i); END LOOP; END $$`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
			src.Server.MuseumRoles(t)
			dst.Server.MuseumRoles(t)
			src.Exec(t, setup)
			o := options(t, src, dst)
			o.Config.Verify = config.VerifyRows
			o.Config.Bundle.MaxTables = 200
			copyAll(t, o)
			pgtest.RequireEqual(t, src, dst)
			require.Equal(t, "0", dst.Query(t, "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND NOT convalidated AND conparentid = 0"))
		})
	}
}
