-- Large objects, foreign data, publications, event triggers, owners, privileges
-- and comments: what goes last.
SET search_path = museum, ext;

-- large objects: plain, empty, sparse, long, with owner, privileges and comment
SELECT lo_from_bytea(1000001, '\x00ff0a0d5c'), lo_create(1000002), lo_create(1000003), lo_create(4294967295),
       lo_from_bytea(1000004, decode(repeat('deadbeef00', 200000), 'hex')), lo_from_bytea(1000005, decode(repeat('00', 2048 * 3), 'hex'));
SELECT lo_put(1000003, 3000000, 'after a hole'), lo_put(1000003, 5000, 'within');
ALTER LARGE OBJECT 1000001 OWNER TO museum_owner;
GRANT SELECT ON LARGE OBJECT 1000001 TO museum_reader;
GRANT SELECT, UPDATE ON LARGE OBJECT 1000001 TO museum_writer WITH GRANT OPTION;
GRANT SELECT ON LARGE OBJECT 1000002 TO PUBLIC;
REVOKE ALL ON LARGE OBJECT 1000004 FROM postgres;
COMMENT ON LARGE OBJECT 1000001 IS E'it''s "large"\n\\';
COMMENT ON LARGE OBJECT 1000002 IS 'empty';
CREATE TABLE refers_to_blobs (id int PRIMARY KEY, blob oid);
INSERT INTO refers_to_blobs VALUES (1, 1000001), (2, 4294967295);

-- foreign data: file_fdw, postgres_fdw, a wrapper without a handler
CREATE FOREIGN DATA WRAPPER nothing OPTIONS (debug 'true');
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
CREATE SERVER "far ""away""" TYPE 'pg' VERSION '9.6' FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '192.0.2.1', port '1', dbname 'it''s', use_remote_estimate 'false');
CREATE USER MAPPING FOR museum_reader SERVER "far ""away""" OPTIONS (user 'u', password 'p '' %');
CREATE USER MAPPING FOR PUBLIC SERVER "far ""away""";
CREATE FOREIGN TABLE file_table (line text OPTIONS (force_not_null 'true'), n int DEFAULT 3, CONSTRAINT never CHECK (n > 0)) SERVER files
    OPTIONS (filename '/nonexistent/file', format 'csv', delimiter ';');
CREATE FOREIGN TABLE far_table (id int OPTIONS (column_name 'ID') NOT NULL, t text) SERVER "far ""away""" OPTIONS (schema_name 's', table_name 't"t');
CREATE TABLE partly_foreign (id int, t text) PARTITION BY RANGE (id);
CREATE TABLE partly_foreign_here PARTITION OF partly_foreign FOR VALUES FROM (0) TO (10);
CREATE FOREIGN TABLE partly_foreign_far PARTITION OF partly_foreign FOR VALUES FROM (10) TO (20) SERVER "far ""away""";
INSERT INTO partly_foreign_here VALUES (1, 'here');
CREATE FOREIGN TABLE foreign_child (extra int) INHERITS (base_a) SERVER files OPTIONS (filename '/nonexistent/other');
COMMENT ON FOREIGN DATA WRAPPER nothing IS 'no handler';
COMMENT ON SERVER files IS 'files';
COMMENT ON FOREIGN TABLE file_table IS 'a foreign table';
GRANT USAGE ON FOREIGN DATA WRAPPER nothing TO museum_owner;
GRANT USAGE ON FOREIGN SERVER files TO museum_reader WITH GRANT OPTION;
GRANT SELECT (line) ON file_table TO museum_reader;

-- an extension with configuration tables
SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pgtest_config') AS has_config \gset
\if :has_config
CREATE EXTENSION pgtest_config SCHEMA annex;
INSERT INTO annex.config_parent VALUES (100, 'own'), (101, 'own too');
INSERT INTO annex.config_item VALUES (1000, 100, E'own\titem', true), (1001, 101, 'second', true), (1002, 1, 'of a parent of the script', true);
SELECT nextval('annex.config_ids'), nextval('annex.config_ids');
\endif

-- owners
ALTER TABLE plain OWNER TO museum_owner;
ALTER FUNCTION answer() OWNER TO museum_owner;
ALTER AGGREGATE total(int) OWNER TO museum_owner;
ALTER PROCEDURE commit_twice(int) OWNER TO museum_owner;
ALTER TYPE pair OWNER TO museum_owner;
ALTER TYPE mood OWNER TO museum_owner;
ALTER DOMAIN positive OWNER TO museum_owner;
ALTER VIEW simple OWNER TO museum_owner;
ALTER MATERIALIZED VIEW mv OWNER TO museum_owner;
ALTER SEQUENCE tiny OWNER TO museum_owner;
ALTER TABLE serials OWNER TO museum_owner;
ALTER SCHEMA "empty schema" OWNER TO "museum ""Odd"" röle\'%";
ALTER TABLE "Odd ""Schema"".%s\ ü"."a table" OWNER TO "museum ""Odd"" röle\'%";
ALTER OPERATOR === (pair, pair) OWNER TO museum_owner;
ALTER OPERATOR CLASS pair_class USING btree OWNER TO museum_owner;
ALTER OPERATOR FAMILY lonely_family USING hash OWNER TO museum_owner;
ALTER COLLATION plain_c OWNER TO museum_owner;
ALTER CONVERSION latin OWNER TO museum_owner;
ALTER TEXT SEARCH CONFIGURATION unaccented OWNER TO museum_owner;
ALTER TEXT SEARCH DICTIONARY english_stem OWNER TO museum_owner;
ALTER SERVER files OWNER TO museum_owner;
ALTER FOREIGN TABLE far_table OWNER TO museum_owner;

-- privileges
GRANT USAGE, CREATE ON SCHEMA museum TO museum_owner WITH GRANT OPTION;
GRANT USAGE ON SCHEMA museum, annex, ext, "Odd ""Schema"".%s\ ü" TO museum_reader, museum_writer, "museum ""Odd"" röle\'%";
GRANT SELECT ON plain, big TO museum_reader;
-- The owner of a materialized view reads its tables when it is refreshed.
GRANT SELECT ON big TO museum_owner;
GRANT ALL ON plain TO "museum ""Odd"" röle\'%";
GRANT SELECT (id, name), UPDATE (name), REFERENCES (id) ON plain TO museum_writer WITH GRANT OPTION;
-- An owner who may not load his own table.
CREATE TABLE owner_may_not (id int PRIMARY KEY, t text);
INSERT INTO owner_may_not VALUES (1, 'loaded all the same');
ALTER TABLE owner_may_not OWNER TO museum_owner;
REVOKE INSERT, TRUNCATE, TRIGGER, REFERENCES ON owner_may_not FROM museum_owner;
CREATE TABLE nobody_may (id int);
INSERT INTO nobody_may VALUES (1);
ALTER TABLE nobody_may OWNER TO museum_owner;
REVOKE ALL ON nobody_may FROM museum_owner;
-- Granted by somebody who is not the owner.
GRANT SELECT, INSERT ON hub TO museum_owner WITH GRANT OPTION;
SET ROLE museum_owner;
GRANT SELECT ON hub TO museum_reader;
GRANT INSERT (id) ON hub TO museum_writer;
RESET ROLE;
GRANT USAGE ON SEQUENCE tiny TO museum_writer;
GRANT SELECT, UPDATE ON SEQUENCE serials_i_seq TO museum_reader;
REVOKE EXECUTE ON FUNCTION answer() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION answer() TO museum_reader;
GRANT EXECUTE ON FUNCTION long_signature TO museum_reader;
REVOKE ALL ON PROCEDURE commit_twice(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION total(int) TO museum_reader;
REVOKE USAGE ON TYPE mood FROM PUBLIC;
GRANT USAGE ON TYPE mood TO museum_reader;
GRANT USAGE ON DOMAIN positive TO museum_writer;
REVOKE USAGE ON LANGUAGE plsecond FROM PUBLIC;
GRANT SELECT ON simple, mv TO museum_reader;
GRANT SELECT ON events, events_2020 TO museum_reader;
GRANT SELECT ON "Odd ""Schema"".%s\ ü"."a table" TO PUBLIC;
GRANT CREATE ON SCHEMA public TO museum_writer;
\if :pg17
GRANT MAINTAIN ON plain TO museum_reader;
\endif
GRANT SELECT (loid) ON pg_catalog.pg_largeobject TO museum_reader;

-- default privileges: of the cluster's roles, in a schema and everywhere
ALTER DEFAULT PRIVILEGES FOR ROLE museum_owner GRANT SELECT ON TABLES TO museum_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE museum_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA museum GRANT ALL ON TABLES TO museum_writer WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA museum GRANT USAGE ON SEQUENCES TO museum_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE "museum ""Odd"" röle\'%" REVOKE USAGE ON TYPES FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE museum_owner GRANT USAGE ON SCHEMAS TO museum_writer;

-- publications
CREATE PUBLICATION everything FOR ALL TABLES WITH (publish = 'insert, truncate');
CREATE PUBLICATION "some %s ""tables""" FOR TABLE plain, ONLY base_a, "Odd ""Schema"".%s\ ü"."select";
CREATE PUBLICATION via_root FOR TABLE events, by_mood WITH (publish_via_partition_root = true);
CREATE PUBLICATION nothing_yet WITH (publish = '');
ALTER PUBLICATION via_root OWNER TO postgres;
COMMENT ON PUBLICATION via_root IS 'as the root';
\if :pg15
CREATE PUBLICATION of_schema FOR TABLES IN SCHEMA annex, "Odd ""Schema"".%s\ ü";
CREATE PUBLICATION filtered FOR TABLE plain (id, name) WHERE (id > 10 AND name <> 'it''s'), TABLE big (id, v), TABLE wide WHERE (id < 5);
\endif

-- comments on what has none yet
COMMENT ON SCHEMA museum IS 'one of every kind';
COMMENT ON SCHEMA public IS 'changed';
COMMENT ON TABLE plain IS E'it''s a\nplain table \\ with "quotes"';
COMMENT ON COLUMN plain.id IS 'the key';
COMMENT ON COLUMN events.day IS 'when';
COMMENT ON TABLE events_2022 IS 'a leaf';
COMMENT ON INDEX plain_pkey IS 'index of a constraint';
COMMENT ON CONSTRAINT plain_pkey ON plain IS 'the constraint itself';

-- event triggers: enabled, disabled, with a filter, always
CREATE FUNCTION evt_pass() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM 1; END $$;
CREATE FUNCTION evt_refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'event trigger fired by %', tg_tag; END $$;
CREATE EVENT TRIGGER evt_enabled ON ddl_command_end EXECUTE FUNCTION evt_pass();
CREATE EVENT TRIGGER evt_always ON sql_drop EXECUTE FUNCTION evt_pass();
CREATE EVENT TRIGGER evt_disabled ON ddl_command_start EXECUTE FUNCTION evt_refuse();
ALTER EVENT TRIGGER evt_disabled DISABLE;
ALTER EVENT TRIGGER evt_always ENABLE ALWAYS;
CREATE EVENT TRIGGER "evt %s ""odd""" ON ddl_command_start WHEN TAG IN ('CREATE CONVERSION', 'ALTER CONVERSION') EXECUTE FUNCTION evt_pass();
COMMENT ON EVENT TRIGGER evt_enabled IS 'does nothing';
