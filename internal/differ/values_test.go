package differ_test

// builtinKinds are built-in types with the values that copies break: the ends of
// each, what escapes, what prints in more than one way.
var builtinKinds = []kind{
	{name: "boolean", values: []string{"true", "false"}, can: ordered | hashed},
	{name: "smallint", values: []string{"-32768", "32767", "0"}, can: ordered | hashed | gist | brin},
	{name: "int", values: []string{"-2147483648", "2147483647", "0", "-1", "42"}, can: ordered | hashed | gist | brin},
	{name: "bigint", values: []string{"-9223372036854775808", "9223372036854775807", "0", "-1"}, can: ordered | hashed | gist | brin},
	{name: "numeric", values: []string{"'NaN'", "1e-1000", "('1' || repeat('0', 3000))::numeric", "-0.00", "0.1"}, can: ordered | hashed | gist | brin},
	{name: "numeric(20,5)", values: []string{"999999999999999.99999", "-0.00001", "0"}, can: ordered | hashed | gist | brin},
	{name: "real", values: []string{"'-0'", "'NaN'", "'Infinity'", "1e-45", "3.4028235e38", "0.1"}, can: ordered | hashed | gist | brin},
	{name: "float8", values: []string{"'-0'", "'NaN'", "'-Infinity'", "5e-324", "1.7976931348623157e308", "1.0 / 3"}, can: ordered | hashed | gist | brin},
	{name: "money", values: []string{"'-92233720368547758.08'", "'92233720368547758.07'", "'0.01'"}, can: ordered | gist},
	{name: "text", values: awkwardTexts, can: ordered | hashed | textual | gist | spgist | brin},
	{name: "varchar(40)", values: []string{"''", "' '", "E'a\\\\b'", "'äöü'", "'\\N'", "'null'"}, can: ordered | hashed | textual | gist},
	{name: "char(5)", values: []string{"''", "'a'", "'abcde'", "' b'"}, can: ordered | hashed | textual},
	{name: "name", values: []string{"''", "'name'", "E'\\\\N'"}, can: ordered | hashed},
	{name: `"char"`, values: []string{"'x'", "''", `'\'`}, can: ordered | hashed},
	{name: "bytea", values: []string{`'\x'`, `'\x00ff5c0a0d09'`, `'\x5c2e'`, "decode(repeat('00ff', 900), 'hex')"}, can: ordered | hashed | gist | brin},
	{name: "date", values: []string{"'infinity'", "'4713-01-01 BC'", "'5874897-12-31'", "'2000-02-29'"}, can: ordered | hashed | gist | brin},
	{name: "time", values: []string{"'24:00'", "'00:00:00.000001'"}, can: ordered | hashed | brin},
	{name: "timetz", values: []string{"'23:59:59.999999+15:59'", "'00:00-15:59'"}, can: ordered | hashed | brin},
	{name: "timestamp", values: []string{"'-infinity'", "'4713-01-01 00:00:00 BC'", "'294276-12-31 23:59:59.999999'"}, can: ordered | hashed | gist | brin},
	{name: "timestamptz", values: []string{"'infinity'", "'1883-11-18 12:03:57-05:50:36'", "'2020-06-30 12:00+05:30'"}, can: ordered | hashed | gist | brin},
	{name: "interval", values: []string{"'178000000 years'", "'-1 year 2 days -03:04:05.678901'", "'0'", "'1 mon'"}, can: ordered | hashed | gist | brin},
	{name: "uuid", values: []string{"'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"}, can: ordered | hashed | brin},
	{name: "inet", values: []string{"'::1/64'", "'10.0.0.1'", "'255.255.255.255/0'"}, can: ordered | hashed | spgist | brin},
	{name: "cidr", values: []string{"'10.0.0.0/8'", "'::/0'"}, can: ordered | hashed},
	{name: "macaddr", values: []string{"'08:00:2b:01:02:03'"}, can: ordered | hashed | gist | brin},
	{name: "macaddr8", values: []string{"'08:00:2b:01:02:03:04:05'"}, can: ordered | hashed | brin},
	{name: "bit(5)", values: []string{"B'10101'", "B'00000'"}, can: ordered | gist},
	{name: "varbit", values: []string{"B''", "B'1'", "B'0101010101010101010101'"}, can: ordered | gist | brin},
	{name: "oid", values: []string{"0", "4294967295"}, can: ordered | hashed | gist | brin},
	{name: "pg_lsn", values: []string{"'FFFFFFFF/FFFFFFFF'", "'0/0'"}, can: ordered | hashed | brin},
	{name: "json", values: []string{`'{"a" : 1, "a":2}'`, "'null'", `'"\u00fc\\"'`}},
	{name: "jsonb", values: []string{`'{"a": null, "ü": "\\"}'`, "'[]'", "'null'", "'1e10'"}, can: ordered | hashed | gin},
	{name: "jsonpath", values: []string{"'$.a[*] ? (@ > 1)'", "'strict $'"}},
	{name: "xml", values: []string{`'<a b="&lt;">x</a>'`, "''", "'plain &amp; simple'"}},
	{name: "tsvector", values: []string{`'''it''''s'':1A \\:2'`, "''"}, can: ordered | gin | gist},
	{name: "tsquery", values: []string{"'a & !b:*'", "''"}, can: ordered | gist},
	{name: "point", values: []string{"'(1,2)'", "'(-0,1e300)'"}, can: gist | spgist},
	{name: "box", values: []string{"'(1,1),(0,0)'", "'(0,0),(0,0)'"}, can: gist | spgist},
	{name: "polygon", values: []string{"'((0,0),(1,1),(1,0))'"}, can: gist | spgist},
	{name: "circle", values: []string{"'<(0,0),0>'", "'<(1,1),2>'"}, can: gist},
	{name: "path", values: []string{"'[(0,0),(1,1)]'", "'((0,0),(1,1))'"}},
	{name: "line", values: []string{"'{1,2,3}'"}},
	{name: "lseg", values: []string{"'[(0,0),(1,1)]'"}},
	{name: "int4range", values: []string{"'empty'", "'[1,5)'", "'(,3)'"}, can: ordered | hashed | gist | spgist | brin},
	{name: "numrange", values: []string{"'(,1.5]'", "'empty'", "'[,)'"}, can: ordered | hashed | gist | spgist | brin},
	{name: "tstzrange", values: []string{"'[,)'", "'[2020-01-01Z,infinity]'"}, can: ordered | hashed | gist | spgist | brin},
	{name: "int[]", values: []string{"'{}'", "'[-1:1]={1,NULL,3}'", "'{{1,2},{3,4}}'"}, can: ordered | hashed | gin},
	{name: "text[]", values: []string{"'{}'", `'{{"a","\"q\""},{NULL,"NULL"}}'`, `E'{"\n","\t"}'`}, can: ordered | hashed | gin},
	{name: "xid8", values: []string{"'18446744073709551615'", "'0'"}, can: ordered | hashed},
	{name: "pg_snapshot", values: []string{"'10:20:10,14'"}},
	{name: "tid", values: []string{"'(4294967295,65535)'", "'(0,1)'"}, can: ordered},
	{name: "regclass", values: []string{"'pg_class'"}, can: ordered | hashed},
	{name: "oidvector", values: []string{"''", "'1 2 3'"}, can: ordered | hashed},
}

// awkwardTexts are what COPY has to escape, and what looks like something else. Two
// of them fit into a key of an index even where they are not compressed.
var awkwardTexts = []string{
	"''", "' '", "'null'", "'\\N'", "'\\.'", `'\'`, `'a\\b\\\\c'`, "E'tab\\there'", "E'new\\nline'", "E'\\r\\n'", "E'\\b\\f\\v'", "'ünï 表 😀'",
	"'\"double\" ''single'' $dollar$'", "repeat('long', 150)", "E'\\x01\\x7f'", "repeat(E'\\\\', 300)", "repeat(E'\\n', 300)", "E'\\u200b\\u202e'",
}

// value draws a value of a kind, or NULL in n of 100 cases.
func (w *world) value(k kind, nulls int) string {
	if w.chance(nulls) {
		return "NULL"
	}
	return pick(w, k.values...)
}
