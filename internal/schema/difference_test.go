package schema_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

// injected are statements that change one thing on the target, and the lines that
// have to say so.
var injected = []struct{ sql, want string }{
	{`CREATE SCHEMA extra`, `schema "extra": only on the target`},
	{`DROP SCHEMA "empty schema"`, `schema "empty schema": only on the source`},
	{`ALTER SCHEMA annex OWNER TO museum_writer`,
		`schema "annex": owner: source has museum_owner, target has museum_writer
schema "annex": privileges: source has "museum ""Odd"" röle\'%"=USAGE/"museum_owner" "museum_owner"=CREATE,USAGE/"museum_owner" "museum_reader"=USAGE/"museum_owner" "museum_writer"=USAGE/"museum_owner", target has "museum ""Odd"" röle\'%"=USAGE/"museum_writer" "museum_reader"=USAGE/"museum_writer" "museum_writer"=CREATE,USAGE/"museum_writer"`},
	{`GRANT CREATE ON SCHEMA ext TO museum_reader`,
		`schema "ext": privileges: source has "museum ""Odd"" röle\'%"=USAGE/"postgres" "museum_reader"=USAGE/"postgres" "museum_writer"=USAGE/"postgres" "postgres"=CREATE,USAGE/"postgres", target has "museum ""Odd"" röle\'%"=USAGE/"postgres" "museum_reader"=CREATE,USAGE/"postgres" "museum_writer"=USAGE/"postgres" "postgres"=CREATE,USAGE/"postgres"`},
	{`COMMENT ON SCHEMA public IS 'otherwise'`, `schema "public": comment: source has changed, target has otherwise`},
	{`DROP EXTENSION file_fdw CASCADE`,
		`extension "file_fdw": only on the source
foreign table "museum"."file_table": only on the source
foreign table "museum"."foreign_child": only on the source
foreign server "files": only on the source`},
	{`ALTER EXTENSION unaccent SET SCHEMA annex`,
		`extension "unaccent": schema: source has "ext", target has "annex"`},
	{`UPDATE pg_extension SET extversion = '0.9' WHERE extname = 'ltree'`,
		`extension "ltree": version: source has 1.2, target has 0.9`},
	{`COMMENT ON EXTENSION hstore IS NULL`,
		`extension "hstore": comment: source has a comment of the museum's own, target has none`},
	{`CREATE EXTENSION seg SCHEMA ext`, `extension "seg": only on the target`},
	{`ALTER TYPE empty_enum ADD VALUE 'one'`, `enum "museum"."empty_enum": labels: source has none, target has 'one'`},
	{`ALTER TYPE no_attributes ADD ATTRIBUTE a int`, `attribute "museum"."no_attributes"."a": only on the target`},
	{`ALTER TYPE nested RENAME ATTRIBUTE at TO since`,
		`attribute "museum"."nested"."at": only on the source
attribute "museum"."nested"."since": only on the target`},
	{`ALTER DOMAIN a_type_whose_name_has_exactly_sixty_three_bytes_to_be_the_longe SET NOT NULL`,
		`domain "museum"."a_type_whose_name_has_exactly_sixty_three_bytes_to_be_the_longe": not null: source has false, target has true`},
	{`ALTER DOMAIN ints SET DEFAULT '{1}'`,
		`domain "museum"."ints": default: source has none, target has '{1}'::integer[]`},
	{`ALTER DOMAIN email OWNER TO museum_owner`,
		`domain "museum"."email": owner: source has postgres, target has museum_owner`},
	{`GRANT USAGE ON TYPE textrange TO museum_reader`,
		`range "museum"."textrange": privileges: source has default, target has "museum_reader"=USAGE/"postgres" "postgres"=USAGE/"postgres" PUBLIC=USAGE/"postgres"`},
	{`REVOKE USAGE ON TYPE floatrange FROM PUBLIC`,
		`range "museum"."floatrange": privileges: source has default, target has "postgres"=USAGE/"postgres"`},
	{`COMMENT ON DOMAIN positive IS NULL`,
		`domain "museum"."positive": comment: source has more than nothing, target has none`},
	{`CREATE TYPE other_range AS RANGE (subtype = int)`, `range "museum"."other_range": only on the target`},
	{`DROP TYPE only_a_shell`, `shell type "museum"."only_a_shell": only on the source`},
	{`ALTER TYPE base SET (ANALYZE = ts_typanalyze)`,
		`base type "museum"."base": definition: source has "museum"."base_in" "museum"."base_out" - - - - - length -1 f i x category U f , element, target has "museum"."base_in" "museum"."base_out" - - - - "ts_typanalyze" length -1 f i x category U f , element`},
	{`DROP TABLE empty_table`, `table "museum"."empty_table": only on the source`},
	{`CREATE TABLE extra_table (id int PRIMARY KEY, t text DEFAULT 'x')`,
		`table "museum"."extra_table": only on the target`},
	{`DROP TABLE rule_log CASCADE; CREATE VIEW rule_log AS SELECT 1 AS id, ''::text AS what`,
		`table "museum"."rule_log": kind: source has table, target has view
table "museum"."rule_log": access method: source has heap, target has none
table "museum"."rule_log": replica identity: source has default, target has nothing
table "museum"."rule_log": query: source has none, target has SELECT 1 AS "id", ''::"text" AS "what";
table "museum"."rule_log": privileges: source has default, target has "museum_writer"=DELETE*,INSERT*,REFERENCES*,SELECT*,TRIGGER*,TRUNCATE*,UPDATE*/"postgres" "postgres"=DELETE,INSERT,REFERENCES,SELECT,TRIGGER,TRUNCATE,UPDATE/"postgres"
rule "log ""it""" on "museum"."ruled": only on the source`},
	{`ALTER TABLE duplicates SET UNLOGGED`,
		`table "museum"."duplicates": persistence: source has logged, target has unlogged`},
	{`ALTER TABLE duplicates OWNER TO museum_owner`,
		`table "museum"."duplicates": owner: source has postgres, target has museum_owner`},
	{`ALTER TABLE no_columns SET TABLESPACE museum_space`,
		`table "museum"."no_columns": tablespace: source has none, target has "museum_space"`},
	{`ALTER TABLE all_dropped SET ACCESS METHOD heap_again`,
		`table "museum"."all_dropped": access method: source has heap, target has heap_again`},
	{`CREATE TYPE id_only AS (id int); ALTER TABLE annex.same_sequence OF id_only`,
		`composite type "museum"."id_only": only on the target
table "annex"."same_sequence": of type: source has none, target has "museum"."id_only"`},
	{`ALTER TABLE one_text SET (fillfactor = 50, toast.autovacuum_enabled = off)`,
		`table "museum"."one_text": options: source has none, target has fillfactor=50
table "museum"."one_text": TOAST options: source has none, target has autovacuum_enabled=off`},
	{`ALTER TABLE plain ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY`,
		`table "museum"."plain": row security: source has false, target has true
table "museum"."plain": forced row security: source has false, target has true`},
	{`ALTER TABLE awkward_text REPLICA IDENTITY FULL`,
		`table "museum"."awkward_text": replica identity: source has default, target has full`},
	{`ALTER TABLE hub REPLICA IDENTITY USING INDEX hub_no_constraint`,
		`table "museum"."hub": replica identity: source has default, target has index
index "museum"."hub_no_constraint": replica identity: source has false, target has true`},
	{`ALTER TABLE events DETACH PARTITION events_2020`,
		`table "museum"."events_2020": parents: source has "museum"."events", target has none
table "museum"."events_2020": partition bound: source has FOR VALUES FROM ('2020-01-01') TO ('2021-01-01'), target has none
column "museum"."events_2020"."day": inherited: source has 1 parents, target has none
column "museum"."events_2020"."id": inherited: source has 1 parents, target has none
column "museum"."events_2020"."kind": inherited: source has 1 parents, target has none
column "museum"."events_2020"."payload": inherited: source has 1 parents, target has none
constraint "payload_short" on "museum"."events_2020": inherited: source has 1 parents, target has none
trigger "on_root" on "museum"."events_2020": only on the source
trigger "on_root_too" on "museum"."events_2020": only on the source`},
	{`ALTER TABLE partly_foreign DETACH PARTITION partly_foreign_here; ALTER TABLE partly_foreign ATTACH PARTITION partly_foreign_here FOR VALUES FROM (0) TO (9)`,
		`table "museum"."partly_foreign_here": partition bound: source has FOR VALUES FROM (0) TO (10), target has FOR VALUES FROM (0) TO (9)`},
	{`REFRESH MATERIALIZED VIEW mv WITH NO DATA`,
		`materialized view "museum"."mv": populated: source has true, target has false`},
	{`CREATE OR REPLACE VIEW simple AS SELECT id, name AS "the ""name""" FROM plain WHERE id > 6`,
		`view "museum"."simple": options: source has check_option=cascaded, target has none
view "museum"."simple": query: source has SELECT "plain"."id", "plain"."name" AS "the ""name""" FROM "museum"."plain" WHERE ("plain"."id" > 5);, target has SELECT "plain"."id", "plain"."name" AS "the ""name""" FROM "museum"."plain" WHERE ("plain"."id" > 6);`},
	{`ALTER VIEW counting SET (security_barrier = true)`,
		`view "museum"."counting": options: source has none, target has security_barrier=true`},
	{`GRANT TRUNCATE ON hashed TO museum_reader WITH GRANT OPTION`,
		`partitioned table "museum"."hashed": privileges: source has default, target has "museum_reader"=TRUNCATE*/"postgres" "postgres"=DELETE,INSERT,REFERENCES,SELECT,TRIGGER,TRUNCATE,UPDATE/"postgres"`},
	{`REVOKE SELECT ON big FROM museum_reader`,
		`table "museum"."big": privileges: source has "museum_owner"=SELECT/"postgres" "museum_reader"=SELECT/"postgres" "postgres"=DELETE,INSERT,REFERENCES,SELECT,TRIGGER,TRUNCATE,UPDATE/"postgres", target has "museum_owner"=SELECT/"postgres" "postgres"=DELETE,INSERT,REFERENCES,SELECT,TRIGGER,TRUNCATE,UPDATE/"postgres"`},
	{`ALTER FOREIGN TABLE far_table OPTIONS (SET schema_name 'other')`,
		`foreign table "museum"."far_table": foreign options: source has schema_name=s, table_name=t"t, target has schema_name=other, table_name=t"t`},
	{`ALTER TABLE duplicates ALTER v TYPE bigint`,
		`column "museum"."duplicates"."v": type: source has integer, target has bigint`},
	{`ALTER TABLE duplicates ALTER t TYPE text COLLATE "C"`,
		`column "museum"."duplicates"."t": collation: source has none, target has "C"`},
	{`ALTER TABLE hashed ADD extra int`,
		`column "museum"."hashed"."extra": only on the target
column "museum"."hashed_0"."extra": only on the target
column "museum"."hashed_1"."extra": only on the target
column "museum"."hashed_2"."extra": only on the target`},
	{`ALTER TABLE wide DROP id CASCADE`,
		`column "museum"."wide"."external": after: source has "id", target has none
column "museum"."wide"."id": only on the source
index "museum"."wide_pkey": only on the source
constraint "wide_pkey" on "museum"."wide": only on the source`},
	{`ALTER TABLE big ALTER filler DROP NOT NULL, ALTER v SET DEFAULT 8`,
		`column "museum"."big"."filler": not null: source has true, target has false
column "museum"."big"."v": default: source has none, target has 8`},
	{`ALTER TABLE big ALTER filler SET STORAGE EXTERNAL, ALTER filler SET COMPRESSION pglz, ALTER v SET STATISTICS 17, ALTER v SET (n_distinct = 5)`,
		`column "museum"."big"."filler": storage: source has none, target has external
column "museum"."big"."filler": compression: source has none, target has pglz
column "museum"."big"."v": statistics target: source has none, target has 17
column "museum"."big"."v": options: source has none, target has n_distinct=5`},
	{`ALTER TABLE only_generated ALTER g DROP EXPRESSION`,
		`column "museum"."only_generated"."g": generated: source has 42 STORED, target has none`},
	{`ALTER TABLE identity_unused ALTER id SET GENERATED BY DEFAULT`,
		`column "museum"."identity_unused"."id": identity: source has always, target has by default`},
	{`GRANT UPDATE (name) ON plain TO museum_reader`,
		`column "museum"."plain"."name": privileges: source has "museum_writer"=SELECT*,UPDATE*/"museum_owner", target has "museum_reader"=UPDATE/"museum_owner" "museum_writer"=SELECT*,UPDATE*/"museum_owner"`},
	{`COMMENT ON COLUMN plain.id IS 'no key'`,
		`column "museum"."plain"."id": comment: source has the key, target has no key`},
	{`ALTER TABLE identity_default DROP t, DROP id; ALTER TABLE identity_default ADD t text, ADD id smallint`,
		`sequence "museum"."identity_seq": only on the source
column "museum"."identity_default"."id": after: source has none, target has "t"
column "museum"."identity_default"."id": not null: source has true, target has false
column "museum"."identity_default"."id": identity: source has by default, target has none
column "museum"."identity_default"."t": after: source has "id", target has none`},
	{`DROP INDEX ix_hash`, `index "museum"."ix_hash": only on the source`},
	{`CREATE INDEX extra_index ON big (v)`, `index "museum"."extra_index": only on the target`},
	{`DROP INDEX ix_plain; CREATE INDEX ix_plain ON indexed (n) WHERE n > 1`,
		`index "museum"."ix_plain": definition: source has CREATE INDEX "ix_plain" ON "museum"."indexed" USING "btree" ("n"), target has CREATE INDEX "ix_plain" ON "museum"."indexed" USING "btree" ("n") WHERE ("n" > 1)`},
	{`UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_gin'::regclass`,
		`index "museum"."ix_gin": valid: source has true, target has false`},
	{`ALTER INDEX ix_brin SET TABLESPACE museum_space`,
		`index "museum"."ix_brin": tablespace: source has none, target has "museum_space"`},
	{`ALTER INDEX ix_expression ALTER COLUMN 1 SET STATISTICS 301`,
		`index "museum"."ix_expression": statistics targets: source has 1: 300, 3: 0, target has 1: 301, 3: 0`},
	{`ALTER TABLE keys SET WITHOUT CLUSTER`,
		`index "museum"."keys_from_index": clustered: source has true, target has false`},
	{`ALTER INDEX ix_depends NO DEPENDS ON EXTENSION citext`,
		`index "museum"."ix_depends": depends on extensions: source has "citext", target has none`},
	{`COMMENT ON INDEX ix_partial IS NULL`,
		`index "museum"."ix_partial": comment: source has some rows, target has none`},
	{`ALTER TABLE checked DROP CONSTRAINT pair_of_columns`,
		`constraint "pair_of_columns" on "museum"."checked": only on the source`},
	{`UPDATE pg_constraint SET convalidated = false WHERE conname = 'v_positive'`,
		`constraint "v_positive" on "museum"."checked": definition: source has CHECK (("v" > 0)), target has CHECK (("v" > 0)) NOT VALID
constraint "v_positive" on "museum"."checked": validated: source has true, target has false`},
	{`ALTER TABLE spokes ALTER CONSTRAINT "by code" NOT DEFERRABLE`,
		`constraint "by code" on "museum"."spokes": definition: source has FOREIGN KEY ("f_code") REFERENCES "museum"."hub"("code") DEFERRABLE INITIALLY DEFERRED, target has FOREIGN KEY ("f_code") REFERENCES "museum"."hub"("code")`},
	{`ALTER TABLE keys DROP CONSTRAINT keys_n; ALTER TABLE keys ADD CONSTRAINT keys_n UNIQUE (n)`,
		`constraint "keys_n" on "museum"."keys": definition: source has UNIQUE ("n") DEFERRABLE, target has UNIQUE ("n")`},
	{`ALTER DOMAIN small_positive ADD CONSTRAINT one_more CHECK (VALUE < 1000000)`,
		`constraint "one_more" on "museum"."small_positive": only on the target`},
	{`ALTER TABLE cycle_c ADD CONSTRAINT one_way FOREIGN KEY (id) REFERENCES products NOT VALID`,
		`constraint "one_way" on "museum"."cycle_c": only on the target`},
	{`SELECT setval('never_called', 1)`,
		`sequence "museum"."never_called": value: source has 1, not called yet, target has 1`},
	{`SELECT setval('at_the_end', 7)`,
		`sequence "museum"."at_the_end": value: source has 9223372036854775807, target has 7`},
	{`ALTER SEQUENCE cached CACHE 3 INCREMENT 2 AS int`,
		`sequence "museum"."cached": type: source has bigint, target has integer
sequence "museum"."cached": increment: source has 1, target has 2
sequence "museum"."cached": maximum: source has 9223372036854775807, target has 2147483647
sequence "museum"."cached": cache: source has 50, target has 3`},
	{`ALTER SEQUENCE shared_default OWNED BY NONE`,
		`sequence "museum"."shared_default": owned by: source has "museum"."serials"."shared", target has none`},
	{`CREATE SEQUENCE extra_sequence`, `sequence "museum"."extra_sequence": only on the target`},
	{`ALTER SEQUENCE unlogged_sequence SET LOGGED`,
		`sequence "museum"."unlogged_sequence": persistence: source has unlogged, target has logged`},
	{`ALTER SEQUENCE never_called_from_5 OWNER TO museum_owner`,
		`sequence "museum"."never_called_from_5": owner: source has postgres, target has museum_owner`},
	{`GRANT USAGE ON SEQUENCE cached TO PUBLIC`,
		`sequence "museum"."cached": privileges: source has default, target has "postgres"=SELECT,UPDATE,USAGE/"postgres" PUBLIC=USAGE/"postgres"`},
	{`DROP STATISTICS st_one`, `statistics object "museum"."st_one": only on the source`},
	{`ALTER STATISTICS st_kinds SET STATISTICS 56`,
		`statistics object "museum"."st_kinds": statistics target: source has 55, target has 56`},
	{`DROP STATISTICS st_all; CREATE STATISTICS st_all (mcv) ON n, id FROM indexed; ALTER STATISTICS st_all OWNER TO museum_owner`,
		`statistics object "museum"."st_all": definition: source has CREATE STATISTICS "museum"."st_all" ON "id", "n" FROM "museum"."indexed", target has CREATE STATISTICS "museum"."st_all" (mcv) ON "id", "n" FROM "museum"."indexed"`},
	{`ALTER TABLE ruled ENABLE RULE sleeping`,
		`rule "sleeping" on "museum"."ruled": enabled: source has no, target has yes`},
	{`CREATE OR REPLACE RULE swallow AS ON INSERT TO ruled WHERE NEW.id > 1 DO INSTEAD NOTHING`,
		`rule "swallow" on "museum"."ruled": definition: source has CREATE RULE "swallow" AS ON INSERT TO "museum"."ruled" DO INSTEAD NOTHING;, target has CREATE RULE "swallow" AS ON INSERT TO "museum"."ruled" WHERE ("new"."id" > 1) DO INSTEAD NOTHING;`},
	{`ALTER TABLE triggered ENABLE TRIGGER disabled, DISABLE TRIGGER transition`,
		`trigger "disabled" on "museum"."triggered": enabled: source has no, target has yes
trigger "transition" on "museum"."triggered": enabled: source has yes, target has no`},
	{`DROP TRIGGER constraint_trigger ON triggered`,
		`trigger "constraint_trigger" on "museum"."triggered": only on the source`},
	{`CREATE OR REPLACE TRIGGER refuse BEFORE INSERT ON triggered FOR EACH STATEMENT EXECUTE FUNCTION trg_refuse()`,
		`trigger "refuse" on "museum"."triggered": definition: source has CREATE TRIGGER "refuse" BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON "museum"."triggered" FOR EACH STATEMENT EXECUTE FUNCTION "museum"."trg_refuse"(), target has CREATE TRIGGER "refuse" BEFORE INSERT ON "museum"."triggered" FOR EACH STATEMENT EXECUTE FUNCTION "museum"."trg_refuse"()`},
	{`ALTER TABLE events_2022 DISABLE TRIGGER on_root`,
		`trigger "on_root" on "museum"."events_2022": enabled: source has yes, target has no`},
	{`DROP POLICY restricted ON secret`, `policy "restricted" on "museum"."secret": only on the source`},
	{`ALTER POLICY own_rows ON secret TO museum_writer USING (true)`,
		`policy "own_rows" on "museum"."secret": roles: source has "museum_reader", target has "museum_writer"
policy "own_rows" on "museum"."secret": using: source has ("owner" = CURRENT_USER), target has true`},
	{`CREATE POLICY extra ON closed FOR DELETE USING (false)`, `policy "extra" on "museum"."closed": only on the target`},
	{`CREATE OR REPLACE FUNCTION answer() RETURNS int LANGUAGE sql STABLE AS 'SELECT 43'`,
		`function "museum"."answer"(): source: source has SELECT 42, target has SELECT 43
function "museum"."answer"(): volatility: source has immutable, target has stable`},
	{`CREATE OR REPLACE FUNCTION standard_body(a int, b int DEFAULT 3) RETURNS int IMMUTABLE BEGIN ATOMIC SELECT a - b; END`,
		`function "museum"."standard_body"(integer,integer): arguments: source has "a" integer, "b" integer DEFAULT 2, target has "a" integer, "b" integer DEFAULT 3
function "museum"."standard_body"(integer,integer): body: source has BEGIN ATOMIC SELECT ("a" + "b"); SELECT ("a" * "b"); END, target has BEGIN ATOMIC SELECT ("a" - "b"); END`},
	{`DROP FUNCTION overloaded(int)`, `function "museum"."overloaded"(integer): only on the source`},
	{`CREATE FUNCTION overloaded(bool) RETURNS text LANGUAGE sql AS $$ SELECT 'bool' $$`,
		`function "museum"."overloaded"(boolean): only on the target`},
	{`ALTER FUNCTION as_table(int) COST 5 ROWS 7 PARALLEL SAFE STRICT LEAKPROOF SECURITY DEFINER SET work_mem = '7MB'`,
		`function "museum"."as_table"(integer): parallel: source has unsafe, target has safe
function "museum"."as_table"(integer): strict: source has false, target has true
function "museum"."as_table"(integer): security definer: source has false, target has true
function "museum"."as_table"(integer): leakproof: source has false, target has true
function "museum"."as_table"(integer): cost: source has 100, target has 5
function "museum"."as_table"(integer): rows: source has 1000, target has 7
function "museum"."as_table"(integer): settings: source has none, target has work_mem=7MB`},
	{`ALTER FUNCTION lower_unaccent(text) NO DEPENDS ON EXTENSION unaccent`,
		`function "museum"."lower_unaccent"("text"): depends on extensions: source has "unaccent", target has none`},
	{`DROP PROCEDURE commit_twice`, `procedure "museum"."commit_twice"(integer): only on the source`},
	{`CREATE OR REPLACE AGGREGATE total(int) (sfunc = int4pl, stype = int, initcond = '1', parallel = safe)`,
		`aggregate "museum"."total"(integer): aggregate: source has n, 0, transition "int4pl" on integer 0 from '0', final - false r, combine "int4pl", serial - -, moving "int4pl" "int4mi" - false r on integer 0 from '0', target has n, 0, transition "int4pl" on integer 0 from '1', final - false r, combine -, serial - -, moving - - - false r on - 0 from NULL`},
	{`GRANT EXECUTE ON FUNCTION answer() TO PUBLIC`,
		`function "museum"."answer"(): privileges: source has "museum_owner"=EXECUTE/"museum_owner" "museum_reader"=EXECUTE/"museum_owner", target has "museum_owner"=EXECUTE/"museum_owner" "museum_reader"=EXECUTE/"museum_owner" PUBLIC=EXECUTE/"museum_owner"`},
	{`ALTER LANGUAGE plsecond OWNER TO museum_owner`,
		`language "plsecond": owner: source has postgres, target has museum_owner
language "plsecond": privileges: source has "postgres"=USAGE/"postgres", target has "museum_owner"=USAGE/"museum_owner"`},
	{`COMMENT ON TRANSFORM FOR int LANGUAGE sql IS 'called'`,
		`transform for integer language "sql": comment: source has never called, target has called`},
	{`ALTER OPERATOR === (pair, pair) SET (RESTRICT = eqsel)`,
		`operator "museum".===("museum"."pair","museum"."pair"): restrict: source has none, target has "eqsel"`},
	{`DROP OPERATOR ##! (NONE, pair)`, `operator "museum".##!(NONE,"museum"."pair"): only on the source`},
	{`ALTER OPERATOR FAMILY lonely_family USING hash OWNER TO museum_reader`,
		`operator family "museum"."lonely_family" using "hash": owner: source has museum_owner, target has museum_reader`},
	{`ALTER OPERATOR FAMILY pair_family USING btree ADD OPERATOR 1 < (int, bigint)`,
		`operator family "museum"."pair_family" using "btree": operators: source has 1 "museum".<<<("museum"."pair","museum"."pair"), 3 "museum".===("museum"."pair","museum"."pair"), 5 "museum".>>>("museum"."pair","museum"."pair"), target has 1 "museum".<<<("museum"."pair","museum"."pair"), 1 <(integer,bigint), 3 "museum".===("museum"."pair","museum"."pair"), 5 "museum".>>>("museum"."pair","museum"."pair")`},
	{`ALTER OPERATOR CLASS pair_class USING btree OWNER TO museum_reader`,
		`operator class "museum"."pair_class" using "btree": owner: source has museum_owner, target has museum_reader`},
	{`DROP CAST (base AS text)`, `cast ("museum"."base" as "text"): only on the source`},
	{`CREATE CAST (text AS base) WITHOUT FUNCTION`, `cast ("text" as "museum"."base"): only on the target`},
	{`DROP CAST (mood AS int); CREATE CAST (mood AS int) WITH FUNCTION mood_to_int(mood)`,
		`cast ("museum"."mood" as integer): context: source has assignment, target has explicit
cast ("museum"."mood" as integer): comment: source has its place, target has none`},
	{`CREATE ACCESS METHOD brin_again TYPE INDEX HANDLER brinhandler`, `access method "brin_again": only on the target`},
	{`DROP COLLATION plain_c; CREATE COLLATION plain_c (provider = libc, locale = 'POSIX')`,
		`collation "museum"."plain_c": owner: source has museum_owner, target has postgres
collation "museum"."plain_c": locale: source has C C, target has POSIX POSIX`},
	{`DROP CONVERSION latin; CREATE CONVERSION latin FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8`,
		`conversion "museum"."latin": owner: source has museum_owner, target has postgres
conversion "museum"."latin": default: source has true, target has false
conversion "museum"."latin": comment: source has as the built-in one, target has none`},
	{`ALTER TEXT SEARCH CONFIGURATION unaccented DROP MAPPING FOR email`,
		`text search configuration "museum"."unaccented": mappings: source has asciihword with "english_stem"; asciiword with "english_stem"; email with "simple"; file with "simple"; float with "simple"; host with "simple"; hword with "ext"."unaccent", "english_stem"; hword_asciipart with "english_stem"; hword_numpart with "simple"; hword_part with "ext"."unaccent", "english_stem"; int with "simple"; numhword with "simple"; numword with "simple"; sfloat with "simple"; uint with "simple"; url with "simple"; url_path with "simple"; version with "simple"; word with "ext"."unaccent", "english_stem", target has asciihword with "english_stem"; asciiword with "english_stem"; file with "simple"; float with "simple"; host with "simple"; hword with "annex"."unaccent", "english_stem"; hword_asciipart with "english_stem"; hword_numpart with "simple"; hword_part with "annex"."unaccent", "english_stem"; int with "simple"; numhword with "simple"; numword with "simple"; sfloat with "simple"; uint with "simple"; url with "simple"; url_path with "simple"; version with "simple"; word with "annex"."unaccent", "english_stem"`},
	{`ALTER TEXT SEARCH DICTIONARY museum.english_stem (stopwords)`,
		`text search dictionary "museum"."english_stem": options: source has language = 'english', stopwords = 'english', target has language = 'english'`},
	{`DROP TEXT SEARCH TEMPLATE simple_again`, `text search template "museum"."simple_again": only on the source`},
	{`COMMENT ON TEXT SEARCH PARSER parser_again IS 'another parser'`,
		`text search parser "museum"."parser_again": comment: source has the default parser, target has another parser`},
	{`ALTER FOREIGN DATA WRAPPER nothing OPTIONS (SET debug 'false')`,
		`foreign-data wrapper "nothing": options: source has debug=true, target has debug=false`},
	{`ALTER SERVER "far ""away""" VERSION '9.7' OPTIONS (SET port '2')`,
		`foreign server "far ""away""": version: source has 9.6, target has 9.7
foreign server "far ""away""": options: source has what is not shown, target has what is not shown`},
	{`ALTER USER MAPPING FOR museum_reader SERVER "far ""away""" OPTIONS (SET password 'another secret')`,
		`user mapping "museum_reader" on "far ""away""": options: source has what is not shown, target has what is not shown`},
	{`DROP USER MAPPING FOR PUBLIC SERVER "far ""away"""`, `user mapping PUBLIC on "far ""away""": only on the source`},
	{`ALTER PUBLICATION everything SET (publish = 'insert')`,
		`publication "everything": publishes: source has insert, truncate, target has insert`},
	{`ALTER PUBLICATION "some %s ""tables""" DROP TABLE plain`,
		`published table "museum"."plain" in "some %s ""tables""": only on the source`},
	{`ALTER PUBLICATION filtered SET TABLE plain (id) WHERE (id > 11), big (id, v), wide`,
		`published table "museum"."plain" in "filtered": columns: source has "id", "name", target has "id"
published table "museum"."plain" in "filtered": condition: source has (("id" > 10) AND ("name" <> 'it''s'::"text")), target has ("id" > 11)
published table "museum"."wide" in "filtered": condition: source has ("id" < 5), target has none`},
	{`ALTER PUBLICATION of_schema DROP TABLES IN SCHEMA annex`,
		`published schema "annex" in "of_schema": only on the source`},
	{`DROP PUBLICATION via_root`, `publication "via_root": only on the source`},
	{`CREATE SUBSCRIPTION extra CONNECTION 'host=192.0.2.1' PUBLICATION p WITH (connect = false)`,
		`subscription "extra": only on the target`},
	{`ALTER EVENT TRIGGER evt_always ENABLE REPLICA`,
		`event trigger "evt_always": enabled: source has always, target has on replicas`},
	{`DROP EVENT TRIGGER "evt %s ""odd"""`, `event trigger "evt %s ""odd""": only on the source`},
	{`SELECT lo_unlink(1000002); SELECT lo_create(1000009)`,
		`large object 1000002: only on the source
large object 1000009: only on the target`},
	{`ALTER LARGE OBJECT 1000003 OWNER TO museum_owner`,
		`large object 1000003: owner: source has postgres, target has museum_owner`},
	{`COMMENT ON LARGE OBJECT 1000001 IS 'small'`,
		`large object 1000001: comment: source has it's "large" \, target has small`},
	{`ALTER DEFAULT PRIVILEGES FOR ROLE museum_owner REVOKE SELECT ON TABLES FROM museum_reader`,
		`default privileges of "museum_owner" for tables: only on the source`},
	{`ALTER DEFAULT PRIVILEGES IN SCHEMA annex GRANT EXECUTE ON FUNCTIONS TO museum_writer`,
		`default privileges of "postgres" for functions in "annex": only on the target`},
	{`GRANT SELECT ON pg_catalog.pg_authid TO museum_reader`,
		`changed privileges of relation "pg_catalog"."pg_authid": only on the target`},
	{`REVOKE EXECUTE ON FUNCTION ext.hstore(text, text) FROM museum_reader`,
		`changed privileges of function "ext"."hstore"("text","text"): privileges: source has "museum_reader"=EXECUTE/"postgres" "postgres"=EXECUTE/"postgres", target has "postgres"=EXECUTE/"postgres"`},
	{`REVOKE EXECUTE ON FUNCTION pg_catalog.pg_sleep FROM PUBLIC`,
		`changed privileges of function "pg_sleep"(double precision): only on the target`},
	{`INSERT INTO pg_seclabel VALUES ('museum.plain'::regclass, 'pg_class'::regclass, 0, 'some provider', 'some label')`,
		`security label some provider on table "museum"."plain": only on the target`},
}

// TestEveryDifferenceIsReported makes all of the changes in one database, so that
// a line too many is as wrong as one too few.
func TestEveryDifferenceIsReported(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Museum(t), pgtest.Target(t).Museum(t)
	require.Empty(t, lines(compare(t, src, dst)))
	t.Cleanup(func() { // or the database cannot be dropped
		dst.Exec(t, "ALTER SUBSCRIPTION extra SET (slot_name = NONE)")
		dst.Exec(t, "DROP SUBSCRIPTION extra")
	})
	requireInjected(t, src, dst, injected)
}

// requireInjected makes the changes on the target and requires their lines, and no
// others.
func requireInjected(t *testing.T, src, dst *pgtest.Database, changes []struct{ sql, want string }) {
	t.Helper()
	var want []string
	for _, change := range changes {
		require.NoError(t, dst.TryExec("SET client_min_messages = error; SET search_path = museum, ext; "+change.sql), change.sql)
		if change.want != "" {
			want = append(want, strings.Split(change.want, "\n")...)
		}
	}
	got := lines(compare(t, src, dst))
	slices.Sort(got)
	slices.Sort(want)
	require.Equal(t, strings.Join(want, "\n"), strings.Join(got, "\n"))
}
