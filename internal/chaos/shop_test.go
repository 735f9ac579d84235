package chaos_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

// app owns everything that is copied, on both sides, and is who planner and
// workers connect as. It is no superuser, so that limits on connections hold.
const app = "chaos_app"

// roleSQL makes the role on a server that other tests of the process share.
const roleSQL = `DO $$ BEGIN CREATE ROLE chaos_app LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$`

// appDatabase makes an empty database of the role.
func appDatabase(t *testing.T, s *pgtest.Server) *pgtest.Database {
	t.Helper()
	s.Exec(t, roleSQL)
	db := s.Database(t)
	s.Exec(t, fmt.Sprintf("ALTER DATABASE %s OWNER TO %s", db.Name, app))
	return db
}

// shopSQL makes a small database with a task of every kind: a table in several
// parts, bundles, partitions, keys, a matview, large objects, and a trigger that
// a copy must not fire. Copies and index builds sleep now and then, so that
// faults meet them in the middle: once drowsy and sluggish are what they are in
// sleepSQL.
const shopSQL = `SET ROLE chaos_app; CREATE SCHEMA shop;
CREATE FUNCTION shop.drowsy(i int8) RETURNS bool LANGUAGE sql AS 'SELECT true';
CREATE FUNCTION shop.sluggish(i int8) RETURNS int8 LANGUAGE sql IMMUTABLE AS 'SELECT i / 7';
CREATE TYPE shop.state AS ENUM ('open', 'shut');
CREATE TABLE shop.customers (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, mail text NOT NULL, CONSTRAINT mail_once UNIQUE (mail));
INSERT INTO shop.customers (mail) SELECT i || '@example.org' FROM generate_series(1, 400) i;
CREATE TABLE shop.big (id int8 CONSTRAINT awake CHECK (shop.drowsy(id)), customer int NOT NULL, n int, pad text);
INSERT INTO shop.big SELECT i, 1 + i % 400, i % 97, repeat(md5(i::text), 5) FROM generate_series(1, 8000) i;
ALTER TABLE shop.big ADD PRIMARY KEY (id), ADD CONSTRAINT of_customer FOREIGN KEY (customer) REFERENCES shop.customers;
CREATE INDEX big_n ON shop.big (n); CREATE INDEX big_lazy ON shop.big (shop.sluggish(id)); CREATE UNIQUE INDEX big_both ON shop.big (n, id);
CREATE TABLE shop.orders (id bigserial, day date NOT NULL, customer int NOT NULL, state shop.state, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE shop.orders_old PARTITION OF shop.orders FOR VALUES FROM ('2025-01-01') TO ('2025-07-01');
CREATE TABLE shop.orders_new PARTITION OF shop.orders FOR VALUES FROM ('2025-07-01') TO ('2026-01-01');
CREATE TABLE shop.orders_rest PARTITION OF shop.orders DEFAULT;
INSERT INTO shop.orders (day, customer, state) SELECT date '2025-03-01' + i % 400, 1 + i % 400, 'open' FROM generate_series(1, 3000) i;
ALTER TABLE shop.orders ADD CONSTRAINT by_customer FOREIGN KEY (customer) REFERENCES shop.customers;
CREATE INDEX orders_state ON shop.orders (state, customer);
CREATE TABLE shop.lines (id int8 PRIMARY KEY, big int8 NOT NULL REFERENCES shop.big, note text);
INSERT INTO shop.lines SELECT i, 1 + i % 8000, repeat('x', 150) FROM generate_series(1, 1500) i;
CREATE TABLE shop.catalogue (id int PRIMARY KEY, name text); INSERT INTO shop.catalogue SELECT i, 'item ' || i FROM generate_series(1, 200) i;
CREATE MATERIALIZED VIEW shop.overview AS SELECT id, name, shop.drowsy(id::int8) AS fine FROM shop.catalogue; CREATE UNIQUE INDEX ON shop.overview (id);
CREATE VIEW shop.open AS SELECT * FROM shop.orders WHERE state = 'open';
CREATE TABLE shop.slots (id int, during int4range, EXCLUDE USING gist (during WITH &&)); INSERT INTO shop.slots SELECT i, int4range(i * 10, i * 10 + 10) FROM generate_series(1, 300) i;
CREATE SEQUENCE shop.counter; SELECT setval('shop.counter', 4711);
CREATE TABLE shop.audit (what text);
CREATE FUNCTION shop.note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO shop.audit VALUES (tg_op || new.id); RETURN new; END';
CREATE TRIGGER note BEFORE INSERT OR UPDATE ON shop.customers FOR EACH ROW EXECUTE FUNCTION shop.note();
CREATE TRIGGER note_big BEFORE INSERT ON shop.big FOR EACH ROW EXECUTE FUNCTION shop.note();
CREATE PUBLICATION news FOR TABLE shop.customers; GRANT SELECT ON shop.customers TO PUBLIC;
SELECT lo_from_bytea(1000 + i, decode(repeat(md5(i::text), 40), 'hex')) FROM generate_series(1, 40) i;
DO $$ BEGIN FOR i IN 1..8 LOOP
	EXECUTE format('CREATE TABLE shop.small_%s (id int PRIMARY KEY, parent int REFERENCES shop.small_%s, t text); CREATE INDEX ON shop.small_%s (t)', i, greatest(i - 1, 1), i);
	EXECUTE format('INSERT INTO shop.small_%s SELECT j, least(j, 20), md5(j::text) FROM generate_series(1, 20 + %s) j', i, i);
END LOOP; END $$;`

// unloggedSQL adds tables that a crash empties. Their presence is what keeps a
// lost snapshot from being proven while they are not copied.
const unloggedSQL = `SET ROLE chaos_app; CREATE UNLOGGED TABLE shop.volatile (id int PRIMARY KEY, big int8 REFERENCES shop.big, t text);
INSERT INTO shop.volatile SELECT i, i, repeat(md5(i::text), 4) FROM generate_series(1, 1500) i;
CREATE UNLOGGED TABLE shop.volatile_small (id int PRIMARY KEY); INSERT INTO shop.volatile_small SELECT generate_series(1, 20)`

// sleepSQL makes what uses the functions take its time.
const sleepSQL = `SET ROLE chaos_app;
CREATE OR REPLACE FUNCTION shop.drowsy(i int8) RETURNS bool LANGUAGE plpgsql AS
	'BEGIN IF i % 200 = 0 THEN PERFORM pg_catalog.pg_sleep(0.04); END IF; RETURN true; END';
CREATE OR REPLACE FUNCTION shop.sluggish(i int8) RETURNS int8 LANGUAGE plpgsql IMMUTABLE AS
	'BEGIN IF i % 400 = 0 THEN PERFORM pg_catalog.pg_sleep(0.02); END IF; RETURN i / 7; END'`

// stockShop fills the source.
func stockShop(t *testing.T, db *pgtest.Database, unlogged bool) {
	t.Helper()
	db.Exec(t, shopSQL)
	if unlogged {
		db.Exec(t, unloggedSQL)
	}
	db.Exec(t, sleepSQL)
}

// writer changes rows of the source, one small transaction after the other.
type writer struct {
	db    *pgtest.Database
	rng   *rand.Rand
	stop  context.CancelFunc
	ended chan struct{}
	done  int // transactions
}

// startWriter begins to write; halt ends it.
func startWriter(t *testing.T, db *pgtest.Database, rng *rand.Rand) *writer {
	t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	w := &writer{db: db, rng: rng, stop: stop, ended: make(chan struct{})}
	require.NoError(t, w.write(ctx, 3))
	go func() {
		defer close(w.ended)
		for ctx.Err() == nil {
			_ = w.write(ctx, 0) // its sessions are ended, and its server crashes, as everybody's
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	t.Cleanup(w.halt)
	return w
}

// halt waits until the last transaction has ended. It may be called again.
func (w *writer) halt() {
	w.stop()
	<-w.ended
}

// write makes n transactions, or, with 0, goes on until an error or the end.
func (w *writer) write(ctx context.Context, n int) error {
	c, err := pgx.Connect(ctx, w.db.URIAs(app))
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(context.WithoutCancel(ctx)) }()
	for i := 0; n == 0 || i < n; i++ {
		id := 1 + w.rng.IntN(8000)
		sql := fmt.Sprintf(`INSERT INTO shop.customers (mail) VALUES (md5(random()::text)); UPDATE shop.big SET n = n + 1, pad = md5(random()::text) WHERE id BETWEEN %d AND %d;
			DELETE FROM shop.lines WHERE big BETWEEN %d AND %d; INSERT INTO shop.orders (day, customer) VALUES (date '2025-03-01' + %d, 7), ('2030-01-01', 8);
			UPDATE shop.small_7 SET t = md5(t) WHERE id = %d; INSERT INTO shop.small_3 SELECT max(id) + 1, 1, 'new' FROM shop.small_3; SELECT nextval('shop.counter');
			SELECT lo_put(%d, 0, decode(md5(random()::text), 'hex'))`, id, id+5, id, id+3, w.rng.IntN(400), 1+w.rng.IntN(20), 1001+w.rng.IntN(40))
		if _, err := c.Exec(ctx, sql); err != nil {
			return err
		}
		w.done++
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(5+w.rng.IntN(25)) * time.Millisecond):
		}
	}
	return nil
}
