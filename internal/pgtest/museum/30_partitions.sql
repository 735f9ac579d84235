-- Partitioned tables. Leaves have rows, parents never.
SET search_path = museum, ext;

-- range, sub-partitioned by list, with default partitions, one leaf whose
-- columns are in another order and one in another schema
CREATE TABLE events (id bigint NOT NULL, day date NOT NULL, kind text, payload text DEFAULT 'none', CONSTRAINT payload_short CHECK (length(payload) < 1000))
    PARTITION BY RANGE (day);
CREATE TABLE events_2020 PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE events_2021 PARTITION OF events FOR VALUES FROM ('2021-01-01') TO ('2022-01-01') PARTITION BY LIST (kind);
CREATE TABLE events_2021_ab PARTITION OF events_2021 FOR VALUES IN ('a', 'b');
CREATE TABLE events_2021_null PARTITION OF events_2021 FOR VALUES IN (NULL, 'it''s');
CREATE TABLE events_2021_other PARTITION OF events_2021 DEFAULT WITH (fillfactor = 90);
CREATE TABLE events_2022 (dropped int, payload text DEFAULT 'own', day date NOT NULL, gone text, kind text, id bigint NOT NULL,
    CONSTRAINT payload_short CHECK (length(payload) < 1000), CONSTRAINT own_check CHECK (id <> -1));
ALTER TABLE events_2022 DROP dropped, DROP gone;
ALTER TABLE events ATTACH PARTITION events_2022 FOR VALUES FROM ('2022-01-01') TO ('2023-01-01');
CREATE TABLE annex.events_old PARTITION OF events FOR VALUES FROM (MINVALUE) TO ('2020-01-01') TABLESPACE museum_space;
CREATE TABLE events_default PARTITION OF events DEFAULT;
INSERT INTO events (id, day, kind) SELECT i, date '2019-11-01' + i, (ARRAY['a', 'b', 'c', NULL, 'it''s'])[i % 5 + 1] FROM generate_series(1, 1600) i;
ALTER TABLE annex.events_old OWNER TO museum_owner;
ALTER TABLE events_2020 SET (autovacuum_enabled = off);

-- primary key and unique on the parent; leaf constraints with names of their own
CREATE TABLE orders (id int NOT NULL, region text NOT NULL, total numeric(10, 2)) PARTITION BY LIST (region);
CREATE TABLE orders_eu PARTITION OF orders FOR VALUES IN ('eu');
CREATE TABLE orders_us PARTITION OF orders FOR VALUES IN ('us');
ALTER TABLE orders_eu ADD CONSTRAINT "eu's own key" PRIMARY KEY (region, id);
CREATE INDEX orders_us_own_name ON orders_us (total) TABLESPACE museum_space;
ALTER TABLE orders ADD CONSTRAINT orders_key PRIMARY KEY (region, id);
ALTER TABLE orders ADD CONSTRAINT orders_unique UNIQUE (id, region) WITH (fillfactor = 80) DEFERRABLE INITIALLY DEFERRED;
CREATE INDEX orders_total ON orders (total);
CREATE INDEX ON orders ((total * 2), region) WHERE total > 10;
INSERT INTO orders SELECT i, CASE WHEN i % 3 = 0 THEN 'eu' ELSE 'us' END, i * 1.25 FROM generate_series(1, 90) i;
COMMENT ON INDEX orders_total IS 'of all partitions';
COMMENT ON CONSTRAINT orders_key ON orders IS 'on the parent';

-- foreign keys from, to and between partitioned tables
CREATE TABLE order_lines (order_id int, region text, line int, product int DEFAULT 1, PRIMARY KEY (line, region)) PARTITION BY LIST (region);
CREATE TABLE order_lines_eu PARTITION OF order_lines FOR VALUES IN ('eu') PARTITION BY RANGE (line);
CREATE TABLE order_lines_eu_low PARTITION OF order_lines_eu FOR VALUES FROM (MINVALUE) TO (10);
CREATE TABLE order_lines_eu_high PARTITION OF order_lines_eu FOR VALUES FROM (10) TO (MAXVALUE);
CREATE TABLE order_lines_us PARTITION OF order_lines FOR VALUES IN ('us');
INSERT INTO order_lines SELECT i, CASE WHEN i % 3 = 0 THEN 'eu' ELSE 'us' END, i FROM generate_series(1, 60) i;
CREATE TABLE products (id int PRIMARY KEY);
INSERT INTO products VALUES (1), (2);
ALTER TABLE order_lines ADD CONSTRAINT line_of_order FOREIGN KEY (region, order_id) REFERENCES orders ON DELETE CASCADE;
ALTER TABLE order_lines ADD CONSTRAINT line_of_product FOREIGN KEY (product) REFERENCES products DEFERRABLE;
ALTER TABLE order_lines_us ADD CONSTRAINT only_us FOREIGN KEY (line) REFERENCES plain;
CREATE TABLE invoices (id int PRIMARY KEY, order_id int, region text, CONSTRAINT invoice_of_order FOREIGN KEY (order_id, region) REFERENCES orders (id, region) MATCH FULL);
INSERT INTO invoices VALUES (1, 3, 'eu'), (2, NULL, NULL);
-- To one leaf only.
CREATE TABLE eu_notes (id int, region text DEFAULT 'eu', CONSTRAINT note_of_eu FOREIGN KEY (region, id) REFERENCES orders_eu);
INSERT INTO eu_notes VALUES (3);
CREATE TABLE tree (id int, parent int, kind int, PRIMARY KEY (id, kind), FOREIGN KEY (parent, kind) REFERENCES tree) PARTITION BY LIST (kind);
CREATE TABLE tree_1 PARTITION OF tree FOR VALUES IN (1);
INSERT INTO tree VALUES (1, NULL, 1), (2, 1, 1);

-- hash: by integers, by an enum, by an expression, below another level
CREATE TABLE hashed (id int PRIMARY KEY, t text) PARTITION BY HASH (id);
CREATE TABLE hashed_0 PARTITION OF hashed FOR VALUES WITH (MODULUS 3, REMAINDER 0);
CREATE TABLE hashed_1 PARTITION OF hashed FOR VALUES WITH (MODULUS 3, REMAINDER 1);
CREATE TABLE hashed_2 PARTITION OF hashed FOR VALUES WITH (MODULUS 3, REMAINDER 2);
INSERT INTO hashed SELECT i, 't' || i FROM generate_series(1, 300) i;
CREATE TABLE by_mood (m mood, v int, CONSTRAINT by_mood_key UNIQUE (m, v)) PARTITION BY HASH (m);
SELECT format('CREATE TABLE by_mood_%s PARTITION OF by_mood FOR VALUES WITH (MODULUS 4, REMAINDER %s)', i, i) FROM generate_series(0, 2) i \gexec
CREATE TABLE by_mood_3 (v int, m mood); -- columns in another order
ALTER TABLE by_mood ATTACH PARTITION by_mood_3 FOR VALUES WITH (MODULUS 4, REMAINDER 3);
INSERT INTO by_mood SELECT e, i FROM unnest(enum_range(NULL::mood)) e, generate_series(1, 20) i;
CREATE TABLE mood_below (day int, m mood) PARTITION BY RANGE (day);
CREATE TABLE mood_below_1 PARTITION OF mood_below FOR VALUES FROM (0) TO (10) PARTITION BY HASH (m);
CREATE TABLE mood_below_1_0 PARTITION OF mood_below_1 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE mood_below_1_1 PARTITION OF mood_below_1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE mood_below_2 PARTITION OF mood_below DEFAULT;
INSERT INTO mood_below SELECT i % 15, e FROM unnest(enum_range(NULL::mood)) e, generate_series(1, 30) i;
CREATE TABLE by_expression (a text, b int) PARTITION BY LIST (lower(a) COLLATE "C");
CREATE TABLE by_expression_x PARTITION OF by_expression FOR VALUES IN ('x');
INSERT INTO by_expression VALUES ('X', 1), ('x', 2);

-- no partitions; a partitioned table that is itself an empty branch
CREATE TABLE no_partitions (id int PRIMARY KEY, t text) PARTITION BY RANGE (id);
CREATE INDEX no_partitions_t ON no_partitions (t);

-- An index on the parent only: it stays invalid until every leaf has one attached.
CREATE TABLE half_indexed (id int, v int) PARTITION BY RANGE (id);
CREATE TABLE half_indexed_1 PARTITION OF half_indexed FOR VALUES FROM (0) TO (10);
CREATE TABLE half_indexed_2 PARTITION OF half_indexed FOR VALUES FROM (10) TO (20);
CREATE INDEX half_index ON ONLY half_indexed (v);
CREATE INDEX half_index_1 ON half_indexed_1 (v);
ALTER INDEX half_index ATTACH PARTITION half_index_1;
CREATE INDEX lonely_parent_index ON ONLY half_indexed (id, v);
CREATE INDEX own_index_of_leaf ON half_indexed_2 USING hash (v);
INSERT INTO half_indexed SELECT i, i FROM generate_series(0, 19) i;

-- generated, identity-free default and unlogged leaves
CREATE TABLE generated_parts (id int, g int GENERATED ALWAYS AS (id + 1) STORED, t text DEFAULT 'parent') PARTITION BY RANGE (id);
CREATE TABLE generated_parts_1 PARTITION OF generated_parts (t DEFAULT 'leaf', CONSTRAINT leaf_check CHECK (id > 0)) FOR VALUES FROM (1) TO (100);
CREATE UNLOGGED TABLE generated_parts_2 PARTITION OF generated_parts FOR VALUES FROM (100) TO (200);
INSERT INTO generated_parts (id) VALUES (1), (150);

-- Odd names down the tree.
CREATE TABLE "Odd ""Schema"".%s\ ü"."parted "" x" ("k.k" int, v text, CONSTRAINT "pk
" PRIMARY KEY ("k.k")) PARTITION BY RANGE ("k.k");
CREATE TABLE "Odd ""Schema"".%s\ ü"."leaf
 one" PARTITION OF "Odd ""Schema"".%s\ ü"."parted "" x" FOR VALUES FROM (0) TO (10);
CREATE TABLE "leaf %s" PARTITION OF "Odd ""Schema"".%s\ ü"."parted "" x" DEFAULT;
CREATE INDEX "parted "" index" ON "Odd ""Schema"".%s\ ü"."parted "" x" (v);
INSERT INTO "Odd ""Schema"".%s\ ü"."parted "" x" VALUES (1, 'a'), (11, 'b');

\if :pg17
CREATE TABLE identity_parts (id bigint GENERATED ALWAYS AS IDENTITY, k int) PARTITION BY LIST (k);
CREATE TABLE identity_parts_1 PARTITION OF identity_parts FOR VALUES IN (1);
INSERT INTO identity_parts (k) VALUES (1), (1);
CREATE TABLE excluding (k int, room int, during int4range, EXCLUDE USING gist (k WITH =, room WITH =, during WITH &&)) PARTITION BY LIST (k);
\endif
\if :pg18
CREATE TABLE virtual_parts (id int, v int GENERATED ALWAYS AS (id * 2) VIRTUAL) PARTITION BY RANGE (id);
CREATE TABLE virtual_parts_1 PARTITION OF virtual_parts FOR VALUES FROM (0) TO (10);
CREATE TABLE virtual_parts_2 PARTITION OF virtual_parts (v GENERATED ALWAYS AS (id * 3)) FOR VALUES FROM (10) TO (20);
INSERT INTO virtual_parts (id) VALUES (1), (11);
CREATE TABLE period_parts (id int, valid daterange, CONSTRAINT period_parts_pk PRIMARY KEY (id, valid WITHOUT OVERLAPS) WITH (fillfactor = 80)) PARTITION BY LIST (id);
ALTER TABLE order_lines ADD CONSTRAINT not_valid_yet FOREIGN KEY (product) REFERENCES products NOT VALID;
\endif
