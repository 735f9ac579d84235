-- Triggers, rules, policies, views, materialized views.
SET search_path = museum, ext;

-- triggers
CREATE FUNCTION trg_pass() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN COALESCE(NEW, OLD); END $$;
-- Fires if a copy creates it before the rows are there.
CREATE FUNCTION trg_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trigger % fired', TG_NAME; END $$;
CREATE TABLE triggered (id int PRIMARY KEY, v int, t text);
INSERT INTO triggered SELECT g, g, 't' FROM generate_series(1, 30) g;
CREATE TRIGGER refuse BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON triggered FOR EACH STATEMENT EXECUTE FUNCTION trg_refuse();
CREATE TRIGGER "always %s ""x" BEFORE INSERT ON triggered FOR EACH ROW EXECUTE FUNCTION trg_refuse('arg', E'odd \\ ''arg''');
CREATE TRIGGER replica AFTER UPDATE OF v, t ON triggered FOR EACH ROW WHEN (OLD.v IS DISTINCT FROM NEW.v) EXECUTE FUNCTION trg_pass();
CREATE TRIGGER disabled AFTER DELETE ON triggered FOR EACH ROW EXECUTE FUNCTION trg_pass();
CREATE TRIGGER transition AFTER INSERT ON triggered REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION trg_pass();
CREATE CONSTRAINT TRIGGER constraint_trigger AFTER INSERT ON triggered DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION trg_refuse();
CREATE CONSTRAINT TRIGGER from_table AFTER INSERT ON triggered FROM hub NOT DEFERRABLE FOR EACH ROW EXECUTE FUNCTION trg_refuse();
ALTER TABLE triggered ENABLE ALWAYS TRIGGER "always %s ""x", ENABLE REPLICA TRIGGER replica, DISABLE TRIGGER disabled;
COMMENT ON TRIGGER refuse ON triggered IS 'nobody writes';
CREATE TRIGGER on_root AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION trg_pass();
CREATE TRIGGER on_root_too BEFORE UPDATE ON events FOR EACH ROW EXECUTE FUNCTION trg_pass();
ALTER TABLE events_2020 DISABLE TRIGGER on_root;
ALTER TABLE events_2021_ab ENABLE ALWAYS TRIGGER on_root;
CREATE TRIGGER only_leaf BEFORE INSERT ON events_2022 FOR EACH ROW EXECUTE FUNCTION trg_pass();
ALTER TABLE events DISABLE TRIGGER on_root_too;

-- rules
CREATE TABLE ruled (id int, t text);
CREATE TABLE rule_log (id int, what text);
INSERT INTO ruled VALUES (1, 'a'), (2, 'b');
CREATE RULE swallow AS ON INSERT TO ruled DO INSTEAD NOTHING;
CREATE RULE "log ""it""" AS ON UPDATE TO ruled WHERE OLD.id <> NEW.id DO ALSO (INSERT INTO rule_log VALUES (OLD.id, 'old'); INSERT INTO rule_log VALUES (NEW.id, 'new'));
CREATE RULE sleeping AS ON DELETE TO ruled DO INSTEAD NOTHING;
ALTER TABLE ruled DISABLE RULE sleeping, ENABLE ALWAYS RULE swallow;
COMMENT ON RULE swallow ON ruled IS 'inserts vanish';

-- policies
CREATE TABLE secret (id int PRIMARY KEY, owner name DEFAULT current_user, v text);
INSERT INTO secret SELECT g, CASE g % 2 WHEN 0 THEN 'museum_reader' ELSE 'museum_owner' END, 'v' || g FROM generate_series(1, 10) g;
ALTER TABLE secret OWNER TO museum_owner, ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON secret FOR SELECT TO museum_reader USING (owner = current_user);
CREATE POLICY "insert %s" ON secret FOR INSERT TO museum_writer, museum_owner WITH CHECK (v <> '' AND id IN (SELECT p.id FROM museum.plain p));
CREATE POLICY restricted ON secret AS RESTRICTIVE FOR UPDATE USING (id > 0) WITH CHECK (id < 100);
COMMENT ON POLICY own_rows ON secret IS 'mine';
CREATE TABLE closed (id int);
INSERT INTO closed VALUES (1);
ALTER TABLE closed ENABLE ROW LEVEL SECURITY;
CREATE TABLE policy_without_rls (id int);
CREATE POLICY unused ON policy_without_rls USING (true);

-- views
CREATE VIEW simple AS SELECT id, name AS "the ""name""" FROM plain WHERE id > 5 WITH CASCADED CHECK OPTION;
CREATE VIEW on_view WITH (security_barrier) AS SELECT * FROM simple WHERE id < 100 WITH LOCAL CHECK OPTION;
ALTER VIEW simple ALTER id SET DEFAULT 17;
-- Grouped by a primary key: needs the constraint, so pg_dump defers its rule.
CREATE VIEW grouped_by_key AS SELECT h.id, h.code, h.a, count(s.id) AS n FROM hub h LEFT JOIN spokes s ON s.f_null = h.id GROUP BY h.id;
CREATE VIEW on_grouped AS SELECT * FROM grouped_by_key WHERE n > 0;
CREATE VIEW grouped_by_root_key AS SELECT o.*, count(*) FROM orders o JOIN order_lines USING (region) GROUP BY o.region, o.id;
CREATE RECURSIVE VIEW counting (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM counting WHERE n < 5;
CREATE VIEW with_trigger AS SELECT * FROM triggered;
CREATE TRIGGER instead INSTEAD OF INSERT ON with_trigger FOR EACH ROW EXECUTE FUNCTION trg_pass();
CREATE VIEW with_rule AS SELECT * FROM ruled;
CREATE RULE with_rule_insert AS ON INSERT TO with_rule DO INSTEAD INSERT INTO ruled VALUES (NEW.*) RETURNING ruled.*;
CREATE VIEW no_column_view AS SELECT FROM plain;
-- A function that returns a view's rows, and a view on that function.
CREATE FUNCTION simple_rows() RETURNS SETOF simple LANGUAGE sql STABLE AS 'SELECT * FROM museum.simple';
CREATE VIEW through_function AS SELECT count(*) FROM simple_rows();
\if :pg14
-- A standard body that needs a primary key, so pg_dump defers the function.
CREATE FUNCTION grouped_body() RETURNS SETOF text BEGIN ATOMIC SELECT h.code FROM hub h GROUP BY h.id; END;
CREATE VIEW on_grouped_body AS SELECT * FROM grouped_body() AS g (code);
\endif
COMMENT ON VIEW simple IS 'a view';
COMMENT ON COLUMN simple.id IS 'its key';
\if :pg15
CREATE VIEW invoker WITH (security_invoker = true) AS SELECT * FROM secret;
\endif

-- materialized views
CREATE MATERIALIZED VIEW mv AS SELECT v, count(*) AS n FROM big GROUP BY v;
CREATE MATERIALIZED VIEW a_mv_on_mv AS SELECT sum(n) AS n FROM mv;
CREATE MATERIALIZED VIEW a_mv_on_mv_on_mv WITH (fillfactor = 90) TABLESPACE museum_space AS SELECT n + 1 AS n FROM a_mv_on_mv;
CREATE MATERIALIZED VIEW mv_grouped_by_key AS SELECT h.id, h.code, count(*) AS n FROM hub h GROUP BY h.id;
CREATE VIEW on_mv AS SELECT * FROM mv_grouped_by_key;
CREATE MATERIALIZED VIEW mv_on_view_on_mv AS SELECT count(*) FROM on_mv;
CREATE MATERIALIZED VIEW mv_unpopulated AS SELECT * FROM plain WITH NO DATA;
CREATE UNIQUE INDEX mv_unpopulated_id ON mv_unpopulated (id);
CREATE MATERIALIZED VIEW mv_on_unpopulated AS SELECT * FROM mv_unpopulated WITH NO DATA;
CREATE MATERIALIZED VIEW mv_of_secret AS SELECT * FROM secret;
CREATE MATERIALIZED VIEW "Odd ""Schema"".%s\ ü"."odd ""mv""
" AS SELECT 1 AS " x";
CREATE MATERIALIZED VIEW mv_nothing AS SELECT 1 AS x WHERE false;
CREATE UNIQUE INDEX mv_v ON mv (v);
CREATE INDEX mv_expression ON mv ((n + 1)) TABLESPACE museum_space;
ALTER INDEX mv_expression ALTER COLUMN 1 SET STATISTICS 99;
ALTER MATERIALIZED VIEW mv CLUSTER ON mv_v;
ALTER MATERIALIZED VIEW mv ALTER COLUMN n SET STATISTICS 44;
CREATE STATISTICS mv_statistics ON v, n FROM mv;
COMMENT ON MATERIALIZED VIEW mv IS 'a materialized view';
COMMENT ON INDEX mv_v IS 'of a materialized view';
COMMENT ON COLUMN mv.n IS 'how many';
