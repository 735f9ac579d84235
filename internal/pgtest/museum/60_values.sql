-- Values that a copy may break.
SET search_path = museum, ext;

CREATE TABLE awkward_text (id int PRIMARY KEY, t text);
COPY awkward_text FROM stdin;
1	\N
2	
3	\\N
4	\\.
5	a\\b\\\\c
6	tab\there
7	newline\nhere
8	carriage\rreturn\r\n
9	null
10	NULL
11	""
12	 leading and trailing 
13	\b\f\v
14	ünï 表 😀 é
15	'single' "double" `back` $dollar$ {brace} 50%
16	\\x41
17	\\
18	,;|
\.
INSERT INTO awkward_text SELECT 100 + i, chr(i) FROM generate_series(1, 127) i;
INSERT INTO awkward_text VALUES (1000, E'\u200b\u202e\ufeff'), (1001, repeat(E'\\', 5000)), (1002, repeat(E'\n', 5000));
CREATE TABLE one_text (t text);
INSERT INTO one_text VALUES (E'\\.'), (''), (NULL), (E'\\N'), ('.'), (E'\\.\n');

\if :pg14
\set int4multirange int4multirange
\set floats floats
\set infinity Infinity
\else
\set int4multirange text
\set floats text
\set infinity 42
\endif
CREATE TABLE every_type (
    id int PRIMARY KEY, b boolean, i2 smallint, i4 int, i8 bigint, n numeric, nn numeric(20, 5), f4 real, f8 double precision, mo money,
    c char(5), vc varchar(10), tx text, na name, ch "char", by bytea, ts timestamp, tz timestamptz, d date, t time, ttz timetz, iv interval,
    ip inet, ci cidr, ma macaddr, m8 macaddr8, bi bit(5), vb varbit, u uuid, x xml, j json, jb jsonb, jp jsonpath, tsv tsvector, tsq tsquery,
    pt point, ln line, ls lseg, bx box, pa path, pg polygon, cr circle, r4 int4range, rn numrange, rt tstzrange, mr :int4multirange,
    ia int[], ta text[][], ea mood[], en mood, co pair, ne nested, ca pair[], fr floatrange, fm :floats, tr textrange, dm email,
    da positive[], ba base, hs hstore, ct citext, lt ltree, cu cube, lsn pg_lsn, xi xid, x8 xid8, sn pg_snapshot, ti tid,
    oe "Odd ""Schema"".%s\ ü"."Odd Enum", rg regclass, ov oidvector);
INSERT INTO every_type (id, dm) VALUES (1, 'only@nulls');
INSERT INTO every_type VALUES (2, true, -32768, -2147483648, -9223372036854775808, 'NaN', -0.00001, 'NaN', '-Infinity', -12.34,
    'a', '', '', '', 'x', '', '-infinity', 'infinity', 'infinity', '24:00', '23:59:59.999999+15:59', '-1 year 2 days -03:04:05.678901',
    '::1/64', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', B'10101', B'', '00000000-0000-0000-0000-000000000000',
    '<a b="&lt;">x</a>', '{"a" : 1, "a":2}', '{"a": null, "ü": "\u0001\\"}', '$.a[*] ? (@ > 1)', '''it''''s'':1A \\:2', 'a & !b:*',
    '(NaN,Infinity)', '{1,2,3}', '[(0,0),(1,1)]', '(1,1),(0,0)', '[(0,0),(1,1)]', '((0,0),(1,1),(1,0))', '<(0,0),0>', 'empty', '(,1.5]', '[,)', '{[1,3),[5,)}',
    '{}', '{{"a","\"q\""},{NULL,"NULL"}}', '{"it''s \"odd\"\\, {braces}",NULL,ok}', 'very sad', '(,"y ""q"" \\",sad)', '("(1,y,ok)","{""(2,\\""z z\\"",happy)""}",infinity)',
    ARRAY[NULL, (1, NULL, 'ok')::pair], '[-Infinity,NaN)', '{}', '["a,b","c\"d")', 'a@b', '[-1:1]={1,NULL,3}', 'base', 'a=>NULL,"b c"=>"\"q\""', 'MiXed', 'a.b.c', '(1,2),(3,4)',
    'FFFFFFFF/FFFFFFFF', '4294967295', '18446744073709551615', '10:20:10,14', '(4294967295,65535)', 'NULL', 'pg_class', '1 2 3');
INSERT INTO every_type (id, f4, f8, n, nn, i2, i4, i8, c, by, ts, tz, d, iv, mo, oe, x, dm) VALUES
    (3, '-0', '-0', 0.000, 0, 32767, 2147483647, 9223372036854775807, '', '\x00ff5c0a0d09', '4713-01-01 00:00:00 BC', '294276-12-31 23:59:59.999999Z', '5874897-12-31', '178000000 years', '92233720368547758.07', '', '', 'x@'),
    (4, '1e-45', '5e-324', 1e-1000, 999999999999999.99999, 0, 0, 0, '     ', '\x5c2e', '1969-12-31 23:59:59.999999', '1883-11-18 12:03:57-05:50:36', '4713-01-01 BC', '0', '-92233720368547758.08', ' ', '<?xml version="1.0"?><a/>', 'x@'),
    (5, '3.4028235e38', '1.7976931348623157e308', ('1' || repeat('0', 5000))::numeric, NULL, 1, 1, 1, E'\\N', decode(repeat('00ff', 10000), 'hex'), '2000-01-01', '2000-01-01Z', '2000-01-01', '1 mon', 0, 'NULL', 'plain &amp; simple', '@x'),
    (6, 0.1, 0.1, :'infinity', 0.1, 1, 1, 1, 'NULL', '\x', 'epoch', 'epoch', 'epoch', '-00:00:00.000001', 0.01, 'ünï', NULL, '@'),
    (7, 'Infinity', 1.0 / 3, ('-' || :'infinity')::numeric, 1, 1, 1, 1, E'\t', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '@');
