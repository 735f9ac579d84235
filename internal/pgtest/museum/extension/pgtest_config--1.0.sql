-- The child's name sorts first and it is registered first: whoever copies the
-- rows has to look at the foreign key.
CREATE TABLE @extschema@.config_parent (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE @extschema@.config_item (
    id int PRIMARY KEY,
    parent int NOT NULL REFERENCES @extschema@.config_parent,
    note text,
    own boolean NOT NULL DEFAULT false
);
CREATE INDEX config_item_note ON @extschema@.config_item (note);
CREATE SEQUENCE @extschema@.config_ids START 50;
CREATE TABLE @extschema@.not_config (id int PRIMARY KEY, t text);
CREATE VIEW @extschema@.config_view AS SELECT note FROM @extschema@.config_item;
CREATE FUNCTION @extschema@.config_count() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM @extschema@.config_item';
CREATE TYPE @extschema@.config_kind AS ENUM ('a', 'b');
INSERT INTO @extschema@.config_parent VALUES (1, 'of the script'), (2, 'of the script too');
INSERT INTO @extschema@.config_item VALUES (1, 1, 'of the script', false);
INSERT INTO @extschema@.not_config VALUES (1, 'of the script');
SELECT pg_catalog.pg_extension_config_dump('@extschema@.config_item', 'WHERE own');
SELECT pg_catalog.pg_extension_config_dump('@extschema@.config_parent', 'WHERE id >= 100');
SELECT pg_catalog.pg_extension_config_dump('@extschema@.config_ids', '');
