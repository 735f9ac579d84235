-- Every index method and option; constraints of every kind.
SET search_path = museum, ext;

CREATE TABLE indexed (id int NOT NULL, n int, t text, c citext, h hstore, a int[], r int4range, p point, b box, i inet, j jsonb, tsv tsvector,
    l ltree, q cube, x numeric, at timestamptz, m mood, pr pair, ft text);
INSERT INTO indexed SELECT g, CASE WHEN g % 10 = 0 THEN NULL ELSE g % 50 END, 'text ' || g, 'Case ' || g, hstore('k', g::text), ARRAY[g, g + 1],
    int4range(g, g + 5), point(g, g), box(point(g, g), point(g + 1, g + 1)), ('10.0.0.' || g % 250)::inet, jsonb_build_object('a', g),
    to_tsvector('simple', 'word' || g), ('top.l' || g)::ltree, cube(g), g / 3.0, timestamptz '2021-01-01Z' + g * interval '1 day',
    'ok', ROW(g, 'y', 'sad')::pair, repeat('f', g % 30) FROM generate_series(1, 300) g;

CREATE INDEX ix_plain ON indexed (n);
CREATE INDEX ix_order ON indexed (n DESC NULLS LAST, t COLLATE "C" ASC NULLS FIRST);
CREATE INDEX ix_partial ON indexed (t text_pattern_ops) WHERE n IS NOT NULL AND m = 'ok'::mood;
CREATE INDEX ix_expression ON indexed (lower(t), (n + id), museum.lower_unaccent(ft));
ALTER INDEX ix_expression ALTER COLUMN 1 SET STATISTICS 300, ALTER COLUMN 3 SET STATISTICS 0;
CREATE UNIQUE INDEX ix_include ON indexed (id) INCLUDE (t, x);
CREATE INDEX ix_options ON indexed (x) WITH (fillfactor = 60, deduplicate_items = off);
CREATE INDEX ix_hash ON indexed USING hash (t) WITH (fillfactor = 50);
CREATE INDEX ix_gin ON indexed USING gin (j jsonb_path_ops, tsv) WITH (fastupdate = off);
CREATE INDEX ix_gin_trgm ON indexed USING gin (t gin_trgm_ops, n) WITH (gin_pending_list_limit = 128);
CREATE INDEX ix_gin_intarray ON indexed USING gin (a gin__int_ops);
CREATE INDEX ix_gist ON indexed USING gist (r, p) WITH (buffering = on);
CREATE INDEX ix_gist_params ON indexed USING gist (t gist_trgm_ops (siglen = 32), l gist_ltree_ops (siglen = 100), h gist_hstore_ops (siglen = 16));
CREATE INDEX ix_gist_include ON indexed USING gist (q) INCLUDE (id);
CREATE INDEX ix_spgist ON indexed USING spgist (i);
CREATE INDEX ix_spgist_text ON indexed USING spgist (t) WHERE id > 10;
CREATE INDEX ix_brin ON indexed USING brin (at, id) WITH (pages_per_range = 4, autosummarize = on);
\if :pg14
CREATE INDEX ix_brin_multi ON indexed USING brin (at timestamptz_minmax_multi_ops (values_per_range = 16), id);
CREATE INDEX ix_brin_bloom ON indexed USING brin (n int4_bloom_ops (n_distinct_per_range = 50));
CREATE INDEX ix_spgist_include ON indexed USING spgist (t) INCLUDE (id);
\endif
CREATE INDEX ix_other_am ON indexed USING gist_again (b);
CREATE INDEX ix_own_class ON indexed (pr pair_class);
CREATE INDEX ix_tablespace ON indexed (id, n) TABLESPACE museum_space;
CREATE INDEX ix_field ON indexed (((pr).x), c);
CREATE INDEX ix_depends ON indexed (md5(t));
ALTER INDEX ix_depends DEPENDS ON EXTENSION citext;
\if :has_icu
CREATE INDEX ix_nocase ON indexed (t COLLATE nocase);
\endif
\if :pg15
CREATE UNIQUE INDEX ix_nulls_not_distinct ON indexed (n, id) NULLS NOT DISTINCT;
\endif
-- A definition longer than any buffer of a fixed size.
SELECT format('CREATE INDEX ix_long ON museum.indexed (id) WHERE %s', string_agg(format('(t <> %L)', 'a value that is not in the table ' || g), ' AND '))
FROM generate_series(1, 150) g \gexec
CREATE INDEX ix_clustered ON indexed (x, id);
CLUSTER indexed USING ix_clustered;
ALTER TABLE indexed REPLICA IDENTITY USING INDEX ix_include;
COMMENT ON INDEX ix_partial IS 'some rows';
-- Left behind by a CREATE INDEX CONCURRENTLY that failed: not to be copied.
CREATE INDEX ix_invalid ON indexed (at, n);
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_invalid'::regclass;

-- primary keys, unique and exclusion constraints
CREATE TABLE keys (id int, code text, n int, span int4range, room int,
    CONSTRAINT "keys pk" PRIMARY KEY (id) INCLUDE (code) WITH (fillfactor = 80) USING INDEX TABLESPACE museum_space,
    CONSTRAINT keys_code UNIQUE (code, n) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT keys_n UNIQUE (n) DEFERRABLE,
    CONSTRAINT keys_span EXCLUDE USING gist (room WITH =, span WITH &&) WHERE (room > 0) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT keys_equal EXCLUDE (lower(code) WITH =) WITH (fillfactor = 77));
INSERT INTO keys SELECT g, 'code' || g, g, int4range(g, g + 1), 1 FROM generate_series(1, 50) g;
CREATE UNIQUE INDEX keys_from_index ON keys (room, id);
ALTER TABLE keys ADD CONSTRAINT keys_from_index UNIQUE USING INDEX keys_from_index;
ALTER TABLE keys CLUSTER ON keys_from_index;
COMMENT ON CONSTRAINT keys_span ON keys IS 'no overlap';
COMMENT ON CONSTRAINT "keys pk" ON keys IS 'the key';
CREATE TABLE pk_and_exclude (id int PRIMARY KEY, c circle, EXCLUDE USING gist (c WITH &&));
INSERT INTO pk_and_exclude SELECT g, circle(point(g * 10, 0), 1) FROM generate_series(1, 20) g;
CREATE TABLE deferred_pk (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, t text);
INSERT INTO deferred_pk VALUES (1, 'x');
\if :pg15
CREATE TABLE nulls_not_distinct (a int, CONSTRAINT one_null UNIQUE NULLS NOT DISTINCT (a));
INSERT INTO nulls_not_distinct VALUES (NULL), (1);
\endif
\if :pg18
CREATE TABLE periods (id int, valid daterange, CONSTRAINT periods_pk PRIMARY KEY (id, valid WITHOUT OVERLAPS));
INSERT INTO periods VALUES (1, '[2020-01-01,2020-02-01)'), (1, '[2020-02-01,2020-03-01)');
CREATE TABLE period_refs (id int, during daterange, FOREIGN KEY (id, PERIOD during) REFERENCES periods (id, PERIOD valid));
INSERT INTO period_refs VALUES (1, '[2020-01-10,2020-02-10)');
CREATE TABLE named_not_null (a int CONSTRAINT a_is_there NOT NULL, b int);
INSERT INTO named_not_null VALUES (1, NULL);
ALTER TABLE named_not_null ADD CONSTRAINT b_later NOT NULL b NOT VALID;
ALTER TABLE named_not_null ADD CONSTRAINT unenforced CHECK (a > 100) NOT ENFORCED;
CREATE TABLE not_inherited (a int CONSTRAINT only_in_parent NOT NULL NO INHERIT, b int NOT NULL);
CREATE TABLE inherits_not_null (c int CONSTRAINT own_not_null NOT NULL, CONSTRAINT renamed_in_child NOT NULL b) INHERITS (not_inherited);
INSERT INTO inherits_not_null VALUES (NULL, 1, 2);
COMMENT ON CONSTRAINT a_is_there ON named_not_null IS 'a NOT NULL with a name';
\endif

-- checks
CREATE TABLE checked (id int, v int CONSTRAINT v_positive CHECK (v > 0), m mood, CONSTRAINT pair_of_columns CHECK (v < id + 1000));
INSERT INTO checked VALUES (1, 5, 'ok'), (2, 500, 'sad');
ALTER TABLE checked ADD CONSTRAINT v_small CHECK (v < 100) NOT VALID;
ALTER TABLE checked ADD CONSTRAINT calls_function CHECK (museum.mood_to_int(m) > 0);
COMMENT ON CONSTRAINT v_small ON checked IS 'old rows are larger';
CREATE TABLE of_domains (p positive, s small_positive, e email, l late, a ints, pd pair_domain);
INSERT INTO of_domains VALUES (1, 2, 'a@b', -5, '{1,2}', (1, 'y', NULL)), (NULL, NULL, 'c@d', NULL, NULL, NULL);
ALTER DOMAIN late ADD CONSTRAINT late_positive CHECK (VALUE > 0) NOT VALID;
COMMENT ON CONSTRAINT late_positive ON DOMAIN late IS 'from now on';

-- foreign keys
CREATE TABLE hub (id int PRIMARY KEY, code text UNIQUE, a int, b int, c int NOT NULL);
CREATE UNIQUE INDEX hub_no_constraint ON hub (c);
ALTER TABLE hub ADD CONSTRAINT hub_ab UNIQUE (a, b);
INSERT INTO hub SELECT g, 'code' || g, g, g + 1, g FROM generate_series(1, 20) g;
CREATE TABLE spokes (id int PRIMARY KEY,
    f_cascade int REFERENCES hub ON DELETE CASCADE ON UPDATE CASCADE,
    f_null int REFERENCES hub ON DELETE SET NULL ON UPDATE SET DEFAULT,
    f_default int DEFAULT 1 REFERENCES hub ON DELETE SET DEFAULT,
    f_restrict int REFERENCES hub ON DELETE RESTRICT ON UPDATE RESTRICT,
    f_code text CONSTRAINT "by code" REFERENCES hub (code) DEFERRABLE INITIALLY DEFERRED,
    f_index int REFERENCES hub (c) DEFERRABLE,
    a int, b int,
    CONSTRAINT by_pair FOREIGN KEY (a, b) REFERENCES hub (a, b) MATCH FULL);
INSERT INTO spokes SELECT g, g, g, g, g, 'code' || g, g, g, g + 1 FROM generate_series(1, 20) g;
INSERT INTO spokes (id) VALUES (100);
CREATE TABLE orphans (id int PRIMARY KEY, hub int);
INSERT INTO orphans VALUES (1, 1), (2, 999);
ALTER TABLE orphans ADD CONSTRAINT has_orphans FOREIGN KEY (hub) REFERENCES hub NOT VALID;
COMMENT ON CONSTRAINT has_orphans ON orphans IS 'one row has no hub';
\if :pg18
ALTER TABLE orphans ADD CONSTRAINT never_looked_at FOREIGN KEY (hub) REFERENCES hub NOT ENFORCED;
\endif
\if :pg15
ALTER TABLE spokes ADD CONSTRAINT null_one_column FOREIGN KEY (a, b) REFERENCES hub (a, b) ON DELETE SET NULL (b);
\endif
CREATE TABLE self (id int PRIMARY KEY, parent int CONSTRAINT self_parent REFERENCES self ON DELETE CASCADE);
INSERT INTO self VALUES (1, 2), (2, 3), (3, 1), (4, NULL);
CREATE TABLE cycle_a (id int PRIMARY KEY, b int);
CREATE TABLE cycle_b (id int PRIMARY KEY, c int);
CREATE TABLE cycle_c (id int PRIMARY KEY, a int REFERENCES cycle_a);
ALTER TABLE cycle_b ADD FOREIGN KEY (c) REFERENCES cycle_c DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE cycle_a ADD FOREIGN KEY (b) REFERENCES cycle_b DEFERRABLE INITIALLY DEFERRED;
BEGIN;
INSERT INTO cycle_a VALUES (1, 1);
INSERT INTO cycle_b VALUES (1, 1);
INSERT INTO cycle_c VALUES (1, 1);
COMMIT;
CREATE TABLE annex.refers (id int REFERENCES museum.hub, same int REFERENCES "Odd ""Schema"".%s\ ü"."upper");
INSERT INTO annex.refers VALUES (1, 1);

-- extended statistics
CREATE STATISTICS st_all ON n, id FROM indexed;
CREATE STATISTICS st_kinds (ndistinct, dependencies) ON n, x, at FROM indexed;
CREATE STATISTICS annex."St ""odd"" %s" (mcv) ON n, t FROM museum.indexed;
\if :pg14
CREATE STATISTICS st_expression ON (n % 10), (lower(t)) FROM indexed;
CREATE STATISTICS st_one ON (x + 1) FROM indexed;
\endif
CREATE STATISTICS st_parent ON kind, day FROM events;
ALTER STATISTICS st_kinds SET STATISTICS 55;
ALTER STATISTICS st_all OWNER TO museum_owner;
COMMENT ON STATISTICS st_kinds IS 'two kinds';
