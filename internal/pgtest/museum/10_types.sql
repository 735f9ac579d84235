-- Schemas, extensions, types, functions, operators and the other object kinds
-- that hold no rows.
SELECT current_setting('server_version_num')::int >= 140000 AS pg14, current_setting('server_version_num')::int >= 150000 AS pg15,
    current_setting('server_version_num')::int >= 160000 AS pg16, current_setting('server_version_num')::int >= 170000 AS pg17,
    current_setting('server_version_num')::int >= 180000 AS pg18 \gset
CREATE SCHEMA museum;
CREATE SCHEMA annex AUTHORIZATION museum_owner;
CREATE SCHEMA ext;
CREATE SCHEMA "Odd ""Schema"".%s\ ü";
CREATE SCHEMA "empty schema";
SET search_path = museum, ext;

CREATE EXTENSION hstore SCHEMA ext;
CREATE EXTENSION citext SCHEMA ext;
CREATE EXTENSION pg_trgm SCHEMA ext;
CREATE EXTENSION btree_gist SCHEMA ext;
CREATE EXTENSION btree_gin SCHEMA ext;
CREATE EXTENSION intarray SCHEMA ext;
CREATE EXTENSION ltree SCHEMA ext;
CREATE EXTENSION cube SCHEMA ext;
CREATE EXTENSION earthdistance SCHEMA ext;
CREATE EXTENSION unaccent SCHEMA ext;
CREATE EXTENSION "uuid-ossp" SCHEMA "Odd ""Schema"".%s\ ü";
CREATE EXTENSION file_fdw;
CREATE EXTENSION postgres_fdw;
COMMENT ON EXTENSION hstore IS 'a comment of the museum''s own';
-- A member of an extension whose privileges differ from the script's.
REVOKE EXECUTE ON FUNCTION ext.hstore(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ext.hstore(text, text) TO museum_reader;

-- enum
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
ALTER TYPE mood ADD VALUE 'very sad' BEFORE 'sad';
ALTER TYPE mood ADD VALUE 'it''s "odd"\, {braces}';
CREATE TYPE "Odd ""Schema"".%s\ ü"."Odd Enum" AS ENUM ('', ' ', 'NULL', 'ünï');
CREATE TYPE empty_enum AS ENUM ();
COMMENT ON TYPE mood IS 'how it feels';

-- composite
CREATE TYPE pair AS (x int, "y y" text COLLATE "C", m mood);
CREATE TYPE nested AS (p pair, list pair[], at timestamptz);
CREATE TYPE no_attributes AS ();
COMMENT ON TYPE pair IS 'two and a mood';
COMMENT ON COLUMN pair."y y" IS 'an attribute';

-- range
CREATE FUNCTION float8_distance(a float8, b float8) RETURNS float8
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS 'SELECT a - b';
\if :pg14
CREATE TYPE floatrange AS RANGE (subtype = float8, subtype_diff = float8_distance, multirange_type_name = floats);
\else
CREATE TYPE floatrange AS RANGE (subtype = float8, subtype_diff = float8_distance);
\endif
CREATE TYPE textrange AS RANGE (subtype = text, collation = "C");

-- domain
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE DOMAIN small_positive AS positive DEFAULT 7 CONSTRAINT small CHECK (VALUE < 1000);
CREATE DOMAIN email AS text COLLATE "C" NOT NULL CONSTRAINT has_at CHECK (VALUE ~ '@');
CREATE DOMAIN late AS int;
CREATE DOMAIN ints AS int[] CHECK (cardinality(VALUE) < 5);
CREATE DOMAIN pair_domain AS pair CHECK ((VALUE).x IS NULL OR (VALUE).x > 0);
COMMENT ON DOMAIN positive IS 'more than nothing';
COMMENT ON CONSTRAINT small ON DOMAIN small_positive IS 'less than much';

-- base type, shell type
CREATE TYPE base;
CREATE FUNCTION base_in(cstring) RETURNS base LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION base_out(base) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE base (INPUT = base_in, OUTPUT = base_out, LIKE = text);
CREATE TYPE only_a_shell;
-- A name of 63 bytes, for signatures longer than any buffer of a fixed size.
CREATE DOMAIN a_type_whose_name_has_exactly_sixty_three_bytes_to_be_the_longe AS int;

-- collation, conversion
CREATE COLLATION plain_c (provider = libc, locale = 'C');
SELECT EXISTS (SELECT FROM pg_collation WHERE collprovider = 'i') AS has_icu \gset
\if :has_icu
CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
COMMENT ON COLLATION nocase IS 'A = a';
\endif
SELECT :'has_icu'::boolean AND :'pg16'::boolean AS has_icu_rules \gset
\if :has_icu_rules
CREATE COLLATION reversed (provider = icu, locale = 'und', rules = '&b < a');
\endif
\if :pg17
CREATE COLLATION by_codepoint (provider = builtin, locale = 'C.UTF-8');
\endif
CREATE DEFAULT CONVERSION latin FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
COMMENT ON CONVERSION latin IS 'as the built-in one';

-- functions and procedures
CREATE FUNCTION answer() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 42';
\if :pg14
CREATE FUNCTION standard_body(a int, b int DEFAULT 2) RETURNS int IMMUTABLE BEGIN ATOMIC SELECT a + b; SELECT a * b; END;
\endif
CREATE FUNCTION overloaded(int) RETURNS text LANGUAGE sql AS $$ SELECT 'int' $$;
CREATE FUNCTION overloaded(text, VARIADIC rest text[] DEFAULT '{}') RETURNS text LANGUAGE sql AS $$ SELECT 'text' $$;
CREATE FUNCTION "Odd ""Schema"".%s\ ü"."fn; DROP --'"("a ""b" int, OUT "c;d" int, INOUT e text DEFAULT E'it''s\n\\')
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, "Odd ""Schema"".%s\ ü" SET work_mem = '5MB' AS $body$
BEGIN
    -- a comment; with 'quotes and $$ dollars $$
    "c;d" := "a ""b";
END
$body$;
CREATE FUNCTION many_rows(OUT a int, OUT b text) RETURNS SETOF record LANGUAGE sql STABLE COST 7 ROWS 3 PARALLEL RESTRICTED LEAKPROOF
    AS $$ VALUES (1, 'one'), (2, 'two') $$;
CREATE FUNCTION as_table(n int) RETURNS TABLE (i int, s text) LANGUAGE sql AS $$ SELECT g, g::text FROM generate_series(1, n) g $$;
CREATE FUNCTION long_signature(
    a01 a_type_whose_name_has_exactly_sixty_three_bytes_to_be_the_longe, a02 a_type_whose_name_has_exactly_sixty_three_bytes_to_be_the_longe,
    a03 a_type_whose_name_has_exactly_sixty_three_bytes_to_be_the_longe, a04 a_type_whose_name_has_exactly_sixty_three_bytes_to_be_the_longe,
    a05 a_type_whose_name_has_exactly_sixty_three_bytes_to_be_the_longe, a06 a_type_whose_name_has_exactly_sixty_three_bytes_to_be_the_longe,
    a07 a_type_whose_name_has_exactly_sixty_three_bytes_to_be_the_longe, a08 a_type_whose_name_has_exactly_sixty_three_bytes_to_be_the_longe,
    a09 a_type_whose_name_has_exactly_sixty_three_bytes_to_be_the_longe, a10 a_type_whose_name_has_exactly_sixty_three_bytes_to_be_the_longe,
    a11 a_type_whose_name_has_exactly_sixty_three_bytes_to_be_the_longe, a12 a_type_whose_name_has_exactly_sixty_three_bytes_to_be_the_longe,
    a13 a_type_whose_name_has_exactly_sixty_three_bytes_to_be_the_longe, a14 a_type_whose_name_has_exactly_sixty_three_bytes_to_be_the_longe,
    a15 a_type_whose_name_has_exactly_sixty_three_bytes_to_be_the_longe, a16 a_type_whose_name_has_exactly_sixty_three_bytes_to_be_the_longe,
    a17 a_type_whose_name_has_exactly_sixty_three_bytes_to_be_the_longe, a18 a_type_whose_name_has_exactly_sixty_three_bytes_to_be_the_longe,
    a19 a_type_whose_name_has_exactly_sixty_three_bytes_to_be_the_longe, a20 a_type_whose_name_has_exactly_sixty_three_bytes_to_be_the_longe
) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE PROCEDURE commit_twice(INOUT n int) LANGUAGE plpgsql AS $$ BEGIN COMMIT; n := n + 1; COMMIT; END $$;
CREATE FUNCTION lower_unaccent(text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = ext, pg_catalog
    AS $$ SELECT lower(ext.unaccent('ext.unaccent', $1)) $$;
ALTER FUNCTION lower_unaccent(text) DEPENDS ON EXTENSION unaccent;
COMMENT ON FUNCTION answer() IS 'the answer';
COMMENT ON PROCEDURE commit_twice(int) IS 'it commits';
COMMENT ON FUNCTION long_signature IS 'many arguments';

-- aggregates, operators, casts, operator classes, transform, language, access methods
CREATE AGGREGATE total(int) (sfunc = int4pl, stype = int, initcond = '0', combinefunc = int4pl, parallel = safe,
    msfunc = int4pl, minvfunc = int4mi, mstype = int, minitcond = '0');
CREATE AGGREGATE my_percentile(float8 ORDER BY anyelement) (sfunc = ordered_set_transition, stype = internal, finalfunc = percentile_disc_final, finalfunc_extra);
COMMENT ON AGGREGATE total(int) IS 'a sum';
CREATE FUNCTION pair_less(pair, pair) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT ($1).x < ($2).x';
CREATE FUNCTION pair_equal(pair, pair) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT ($1).x = ($2).x';
CREATE FUNCTION pair_compare(pair, pair) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT ($1).x - ($2).x';
CREATE OPERATOR <<< (LEFTARG = pair, RIGHTARG = pair, FUNCTION = pair_less, COMMUTATOR = >>>, RESTRICT = scalarltsel, JOIN = scalarltjoinsel);
CREATE OPERATOR >>> (LEFTARG = pair, RIGHTARG = pair, FUNCTION = pair_less, COMMUTATOR = <<<);
CREATE OPERATOR === (LEFTARG = pair, RIGHTARG = pair, FUNCTION = pair_equal, COMMUTATOR = ===, MERGES);
CREATE FUNCTION pair_text(pair) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ($1)."y y"';
CREATE OPERATOR ##! (RIGHTARG = pair, FUNCTION = pair_text);
COMMENT ON OPERATOR === (pair, pair) IS 'same x';
CREATE OPERATOR FAMILY pair_family USING btree;
CREATE OPERATOR CLASS pair_class FOR TYPE pair USING btree FAMILY pair_family AS
    OPERATOR 1 <<<, OPERATOR 3 ===, OPERATOR 5 >>>, FUNCTION 1 pair_compare(pair, pair);
CREATE OPERATOR FAMILY lonely_family USING hash;
COMMENT ON OPERATOR CLASS pair_class USING btree IS 'by x';
COMMENT ON OPERATOR FAMILY pair_family USING btree IS 'of pairs';
CREATE FUNCTION mood_to_int(mood) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT array_position(enum_range(NULL::museum.mood), $1) $$;
CREATE CAST (mood AS int) WITH FUNCTION mood_to_int(mood) AS ASSIGNMENT;
CREATE CAST (base AS text) WITHOUT FUNCTION AS IMPLICIT;
COMMENT ON CAST (mood AS int) IS 'its place';
CREATE TRANSFORM FOR int LANGUAGE sql (FROM SQL WITH FUNCTION prsd_lextype(internal), TO SQL WITH FUNCTION int4recv(internal));
COMMENT ON TRANSFORM FOR int LANGUAGE sql IS 'never called';
CREATE FUNCTION second_handler() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler';
CREATE TRUSTED LANGUAGE plsecond HANDLER second_handler;
COMMENT ON LANGUAGE plsecond IS 'plpgsql again';
CREATE FUNCTION in_second() RETURNS int LANGUAGE plsecond AS 'BEGIN RETURN 1; END';
CREATE ACCESS METHOD gist_again TYPE INDEX HANDLER gisthandler;
CREATE ACCESS METHOD heap_again TYPE TABLE HANDLER heap_tableam_handler;
COMMENT ON ACCESS METHOD heap_again IS 'a table access method that is not called heap';
CREATE OPERATOR CLASS box_again DEFAULT FOR TYPE box USING gist_again AS
    OPERATOR 3 &&, FUNCTION 1 gist_box_consistent(internal, box, smallint, oid, internal), FUNCTION 2 gist_box_union(internal, internal),
    FUNCTION 5 gist_box_penalty(internal, internal, internal), FUNCTION 6 gist_box_picksplit(internal, internal), FUNCTION 7 gist_box_same(box, box, internal);

-- text search
CREATE TEXT SEARCH DICTIONARY english_stem (TEMPLATE = snowball, language = english, stopwords = english);
CREATE TEXT SEARCH TEMPLATE simple_again (INIT = dsimple_init, LEXIZE = dsimple_lexize);
CREATE TEXT SEARCH PARSER parser_again (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype, HEADLINE = prsd_headline);
CREATE TEXT SEARCH CONFIGURATION unaccented (COPY = pg_catalog.english);
ALTER TEXT SEARCH CONFIGURATION unaccented ALTER MAPPING FOR hword, hword_part, word WITH unaccent, english_stem;
COMMENT ON TEXT SEARCH CONFIGURATION unaccented IS 'without accents';
COMMENT ON TEXT SEARCH DICTIONARY english_stem IS 'stems';
COMMENT ON TEXT SEARCH TEMPLATE simple_again IS 'simple';
COMMENT ON TEXT SEARCH PARSER parser_again IS 'the default parser';

-- sequences: what matters is last_value and is_called
CREATE SEQUENCE never_called;
CREATE SEQUENCE never_called_from_5 START 5 MINVALUE -10;
CREATE SEQUENCE tiny AS smallint INCREMENT -3 MINVALUE -32768 MAXVALUE 100 START 50 CYCLE;
CREATE SEQUENCE cached CACHE 50;
CREATE SEQUENCE at_the_end MAXVALUE 9223372036854775807;
CREATE SEQUENCE set_not_called;
CREATE SEQUENCE shared_default;
CREATE SEQUENCE annex."Odd "" seq.%d";
SELECT nextval('tiny'), nextval('tiny'), nextval('cached'), setval('at_the_end', 9223372036854775807),
       setval('set_not_called', 77, false), setval('annex."Odd "" seq.%d"', 3);
COMMENT ON SEQUENCE tiny IS 'goes down';
\if :pg15
CREATE UNLOGGED SEQUENCE unlogged_sequence;
SELECT nextval('unlogged_sequence');
\endif
