package pg_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

// awkward holds values of every kind of builtin type that a careless copy
// changes; the key is the type, an element is SQL for one value.
var awkward = map[string][]string{
	"int2":        {"-32768", "32767", "0"},
	"int4":        {"-2147483648", "2147483647"},
	"int8":        {"-9223372036854775808", "9223372036854775807"},
	"numeric":     {"'NaN'", "'Infinity'", "'-Infinity'", "1e-300", "1e1000", "0.1", "-0.0000"},
	"float4":      {"'NaN'", "'-Infinity'", "'-0'", "1.17549435e-38", "3.4028235e+38", "0.1", "1e-45"},
	"float8":      {"'NaN'", "'Infinity'", "'-0'", "4.9e-324", "1.7976931348623157e308", "0.1::float8 + 0.2::float8"},
	"money":       {"'-92233720368547758.08'", "'1,234.56'"},
	"text":        {"''", `'\N'`, `'\\N'`, `'\.'`, `E'\t\n\r\b\f\v\\'`, `E'\r\n'`, "'null'", "'\"null\"'", "'ünïcödé 表 😀'", "repeat('é', 300000)", "E'\\x01\\x7f'"},
	"varchar(5)":  {"'abc  '", "''"},
	"char(5)":     {"'abc'", "''"},
	`"char"`:      {`'\200'`, "''", "'x'"},
	"name":        {`'a"b'`},
	"bytea":       {`'\x00ff5c0a'`, "''", "convert_to(repeat('x', 300000), 'UTF8')"},
	"timestamp":   {"'infinity'", "'-infinity'", "'4713-11-24 00:00:00 BC'", "'294276-12-31 23:59:59.999999'"},
	"timestamptz": {"'2020-03-29 02:30 Europe/Berlin'", "'infinity'", "'0001-12-31 00:00+13 BC'"},
	"date":        {"'infinity'", "'4713-01-01 BC'", "'5874897-12-31'", "'2004-02-03'"},
	"time":        {"'24:00'", "'00:00:00.000001'"},
	"timetz":      {"'24:00-15:59:59'", "'12:34:56.789+02'"},
	"interval":    {"'-1 year 2 mons -3 days +04:05:06.789'", "'178000000 years'", "'1 day -1 second'"},
	"bool":        {"true", "false"},
	"point":       {"'(NaN,-Infinity)'", "'(1e-300,-0)'"},
	"line":        {"'{1,-2,3}'"},
	"lseg":        {"'[(0,0),(1e308,1)]'"},
	"box":         {"'(3,4),(1,2)'"},
	"path":        {"'[(0,0),(1,1)]'", "'((0,0),(1,1))'"},
	"polygon":     {"'((0,0),(1,1),(2,0.1))'"},
	"circle":      {"'<(0.1,0.2),0.3>'"},
	"cidr":        {"'10.0.0.0/8'", "'::1/128'"},
	"inet":        {"'192.168.1.5/24'", "'fe80::1/64'"},
	"macaddr":     {"'08:00:2b:01:02:03'"},
	"macaddr8":    {"'08:00:2b:01:02:03:04:05'"},
	"bit(3)":      {"B'101'"},
	"varbit":      {"B''", "B'1010101'"},
	"tsvector":    {`$$'a\b':1A 'it''s' ' ':3B,16383$$`, "''"},
	"tsquery":     {`$$'fat' & ( 'rat' | !'it''s' ) <2> 'x':*A$$`, "''"},
	"uuid":        {"'00000000-0000-0000-0000-000000000000'"},
	"xml":         {"'<a b=\"1\">&amp;</a><!-- two -->'", "'no element'"},
	"json":        {`'{"a":1, "a" : [null, "\u0041\\"] }'`},
	"jsonb":       {`'{"b":1e400,"a":"\t\"\\"}'`, "'null'"},
	"jsonpath":    {`'$."a b"[*] ? (@ > 1)'`},
	"int4range":   {"'empty'", "'(,)'", "'[1,1]'"},
	"numrange":    {"'(0.10,)'"},
	"tstzrange":   {`'["2020-01-01 00:00+05",infinity)'`},
	"datemultirange": {
		"'{}'", "'{[2020-01-01,2020-01-02),(,1999-12-31)}'"},
	"int4[]":      {"'{}'", "'[0:1]={1,NULL}'", "'{{1,2},{3,4}}'"},
	"text[]":      {`ARRAY['', 'NULL', NULL, '{a,"b"\}', E'\n\t']`},
	"pg_lsn":      {"'FFFFFFFF/FFFFFFFF'"},
	"pg_snapshot": {"'10:20:10,14,15'"},
	"xid8":        {"'18446744073709551615'"},
	"tid":         {"'(4294967295,65535)'"},
	"oid":         {"4294967295"},
	"oidvector":   {"'1 2 3'", "''"},
	"int2vector":  {"'1 -2 3'", "''"},
	"regtype":     {"'pg_catalog.int4'"},
	"public.mood": {"'sad'", `'it''s "ok"'`, `E'tab\there\\'`},
	"public.pair": {`ROW(NULL, E'a "q" \\ ,()')`, "ROW(1, '')", "ROW(NULL, NULL)"},
	"public.even": {"-2"},
	"public.mood[]": {
		`ARRAY['sad', NULL, E'tab\there\\']::public.mood[]`},
}

// local are the types of awkward whose binary form is not the same everywhere.
var local = []string{"xml", "pg_snapshot", "xid8", "tid", "regtype", "tsquery", "oidvector", "int2vector", "public.pair", "public.mood[]"}

// TestRelayEveryType copies every type as text, and those that are portable in
// binary form, too.
func TestRelayEveryType(t *testing.T) {
	t.Parallel()
	t.Run("same major", func(t *testing.T) {
		t.Parallel()
		relayEveryType(t, pgtest.Source(t), pgtest.Target(t))
	})
	t.Run("14 to 18", func(t *testing.T) {
		t.Parallel()
		relayEveryType(t, pgtest.Major(t, 14), pgtest.Major(t, 18))
	})
}

func relayEveryType(t *testing.T, source, target *pgtest.Server) {
	p := &pair{src: source.Database(t), dst: target.Database(t)}
	ddl := `CREATE TYPE public.mood AS ENUM ('sad', 'it''s "ok"', E'tab\there\\');
		CREATE TYPE public.pair AS (a int, b text);
		CREATE DOMAIN public.even AS int CHECK (VALUE % 2 = 0);`
	var fill []string
	types := map[string]string{} // by name of the table
	for typ, values := range awkward {
		name := fmt.Sprintf("t %d of %s", len(types), strings.ReplaceAll(typ, `"`, ""))
		types[name] = typ
		ddl += fmt.Sprintf("CREATE TABLE public.%q (n int, v %s);", name, typ)
		for i, v := range values {
			fill = append(fill, fmt.Sprintf("INSERT INTO public.%q SELECT %d, (%s)::%s", name, i, v, typ))
		}
		fill = append(fill, fmt.Sprintf("INSERT INTO public.%q VALUES (-1, NULL)", name))
	}
	p.src.Exec(t, ddl+strings.Join(fill, ";"))
	p.dst.Exec(t, ddl)
	// Sessions that do not make their own settings would lose digits, or mix up months and days.
	for _, db := range []*pgtest.Database{p.src, p.dst} {
		for _, s := range []string{"datestyle = 'SQL, DMY'", "intervalstyle = 'sql_standard'", "extra_float_digits = -5", "bytea_output = 'escape'", "xmloption = 'document'"} {
			db.Exec(t, "ALTER DATABASE "+db.Name+" SET "+s)
		}
	}
	p.source, p.target = connect(t, pg.Source, p.src.URI()), connect(t, pg.Target, p.dst.URI())
	exec(t, p.source, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
	catalog, err := pg.ReadCatalog(t.Context(), p.source, pg.Without{})
	require.NoError(t, err)
	exec(t, p.source, "COMMIT")
	for _, binary := range []bool{false, true} {
		var from, into, asText []string
		for _, r := range catalog.Tables {
			format := ""
			if r.Portable {
				format = " WITH (FORMAT binary)"
			} else {
				asText = append(asText, types[r.Name])
			}
			if !binary {
				format = ""
			}
			from = append(from, fmt.Sprintf("COPY public.%q TO STDOUT%s", r.Name, format))
			into = append(into, fmt.Sprintf("TRUNCATE public.%q; COPY public.%[1]q FROM STDIN%s", r.Name, format))
		}
		require.ElementsMatch(t, local, asText)
		copied := p.relay(t, strings.Join(from, ";"), strings.Join(into, ";"))
		require.Len(t, copied, len(types))
		for i, c := range copied {
			require.Equal(t, int64(len(awkward[types[catalog.Tables[i].Name]])+1), c.Rows)
		}
		pgtest.RequireEqual(t, p.src, p.dst, pgtest.DataOnly())
	}
}

// TestRelayBinaryForms: an empty table has its header and trailer in one
// message, and a row without columns is a message, too.
func TestRelayBinaryForms(t *testing.T) {
	t.Parallel()
	p := newPair(t, "CREATE TABLE public.none (x int); CREATE TABLE public.bare (); CREATE TABLE public.one (x int8)")
	p.src.Exec(t, "INSERT INTO public.bare SELECT FROM generate_series(1, 3); INSERT INTO public.one VALUES (1)")
	copied := p.relay(t, `COPY public.none TO STDOUT WITH (FORMAT binary); COPY (SELECT FROM ONLY public.bare) TO STDOUT WITH (FORMAT binary);
			COPY public.one TO STDOUT WITH (FORMAT binary); COPY public.one TO STDOUT`,
		`COPY public.none FROM STDIN WITH (FORMAT binary); COPY public.bare FROM STDIN WITH (FORMAT binary);
			TRUNCATE public.one; COPY public.one FROM STDIN WITH (FORMAT binary, FREEZE); TRUNCATE public.one; COPY public.one FROM STDIN`)
	require.Equal(t, []pg.Copied{{Rows: 0, Bytes: 21}, {Rows: 3, Bytes: 27}, {Rows: 1, Bytes: 35}, {Rows: 1, Bytes: 2}}, copied)
	pgtest.RequireEqual(t, p.src, p.dst)
}

func TestRelayForms(t *testing.T) {
	t.Parallel()
	p := newPair(t, `CREATE TABLE public.bare (); CREATE TABLE public.made (g int GENERATED ALWAYS AS (42) STORED);
		CREATE TABLE public.nothing (x int); CREATE TABLE public.some (id int PRIMARY KEY, t text);
		CREATE TABLE public.kept (x int)`)
	p.src.Exec(t, `INSERT INTO public.bare SELECT FROM generate_series(1, 3); INSERT INTO public.made SELECT FROM generate_series(1, 4);
		INSERT INTO public.some SELECT n, repeat('x', n) FROM generate_series(1, 1000) n; INSERT INTO public.kept VALUES (1)`)
	p.dst.Exec(t, "INSERT INTO public.some VALUES (1, 'old'); INSERT INTO public.kept VALUES (2)")
	copied := p.relay(t,
		`COPY (SELECT FROM ONLY public.bare) TO STDOUT; COPY (SELECT FROM ONLY public.made) TO STDOUT;
		COPY public.nothing (x) TO STDOUT; COPY public.some (id, t) TO STDOUT; COPY public.kept TO STDOUT`,
		`COPY public.bare FROM STDIN; COPY public.made FROM STDIN; TRUNCATE ONLY public.nothing; COPY public.nothing (x) FROM STDIN WITH (FREEZE);
		TRUNCATE ONLY public.some; COPY public.some (id, t) FROM STDIN WITH (FREEZE); COPY public.kept FROM STDIN; SELECT 1`)
	rows := make([]int64, len(copied))
	for i, c := range copied {
		rows[i] = c.Rows
	}
	require.Equal(t, []int64{3, 4, 0, 1000, 1}, rows)
	require.Equal(t, int64(3), copied[0].Bytes, "a row without columns is a line end")
	require.Equal(t, 2, p.dst.Count(t, "public.kept"))
	p.dst.Exec(t, "DELETE FROM public.kept WHERE x = 2")
	pgtest.RequireEqual(t, p.src, p.dst)
}

func TestRelayManyTables(t *testing.T) {
	t.Parallel()
	const tables = 500
	var ddl, fill strings.Builder
	names := make([]string, tables)
	for i := range names {
		names[i] = fmt.Sprintf("public.t%d", i)
		fmt.Fprintf(&ddl, "CREATE TABLE %s (id int, t text);", names[i])
		fmt.Fprintf(&fill, "INSERT INTO %s SELECT n, repeat('v', n) FROM generate_series(1, %d) n;", names[i], i%7*i%100)
	}
	p := newPair(t, ddl.String())
	p.src.Exec(t, fill.String())
	from, into := copyAll(names...)
	copied := p.relay(t, from, strings.ReplaceAll(into, "COPY", "SELECT 'COPY 5'; COPY"))
	require.Len(t, copied, tables)
	for i, c := range copied {
		require.Equal(t, int64(i%7*i%100), c.Rows, "table %d", i)
	}
}

func TestRelayLargeRows(t *testing.T) {
	t.Parallel()
	p := newPair(t, "CREATE TABLE public.rows (id int, t text); ALTER TABLE public.rows ALTER t SET STORAGE EXTERNAL")
	// Sizes around the buffer's make headers and rows begin and end at every place of a read.
	p.src.Exec(t, `INSERT INTO public.rows SELECT n, repeat('x', 262144 + n) FROM generate_series(-20, 20) n;
		INSERT INTO public.rows SELECT n, repeat('y', n) FROM generate_series(0, 3000) n;
		INSERT INTO public.rows VALUES (0, repeat('z', 5000000))`)
	copied := p.relay(t, "COPY public.rows TO STDOUT", "COPY public.rows FROM STDIN")
	require.Equal(t, int64(41+3001+1), copied[0].Rows)
	pgtest.RequireEqual(t, p.src, p.dst)
}

// TestRelayHugeRow is not parallel: it looks at what the process allocates.
func TestRelayHugeRow(t *testing.T) {
	if testing.Short() {
		t.Skip("a row of 128 MB takes a while")
	}
	const size = 128 << 20
	// The row compresses well and is stored on one side only: this is about the client, not the disk.
	p := newPair(t, "CREATE UNLOGGED TABLE public.huge (b bytea)")
	huge := fmt.Sprintf("decode(repeat('00017f80ff5c0a0d', %d), 'hex')", size/8)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	copied := p.relay(t, "COPY (SELECT "+huge+") TO STDOUT", "COPY public.huge FROM STDIN")
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(16<<20), "bytes allocated while relaying one row of %d bytes", size)
	require.Equal(t, []pg.Copied{{Rows: 1, Bytes: 2*size + 4}}, copied) // \\x, two digits per byte, line end
	require.Equal(t, "t", p.dst.Query(t, "SELECT b = "+huge+" FROM public.huge"))
}

func TestRelaySessionsGoOn(t *testing.T) {
	t.Parallel()
	p := newPair(t, "CREATE TABLE public.a (x int)")
	p.src.Exec(t, "INSERT INTO public.a SELECT generate_series(1, 10)")
	p.begin(t)
	for i := range 3 {
		_, err := pg.Relay(t.Context(), p.source, p.target, "COPY public.a TO STDOUT", "COPY public.a FROM STDIN")
		require.NoError(t, err)
		require.Equal(t, byte('T'), p.source.PgConn().TxStatus())
		require.Equal(t, byte('T'), p.target.PgConn().TxStatus())
		require.Equal(t, fmt.Sprint(10*(i+1)), value(t, p.target, "SELECT count(*) FROM public.a"))
		require.Equal(t, "7", value(t, p.source, "SELECT $1::int + 1", 6))
	}
	p.commit(t)
	require.Equal(t, byte('I'), p.target.PgConn().TxStatus())
	require.Equal(t, 30, p.dst.Count(t, "public.a"))
}

func TestRelaySourceFails(t *testing.T) {
	t.Parallel()
	p := newPair(t, "CREATE TABLE public.a (x int)")
	err := p.fail(t,
		"COPY (SELECT 1) TO STDOUT; COPY (SELECT 1 / (n - 5000) FROM generate_series(1, 10000) n) TO STDOUT",
		"COPY public.a FROM STDIN; COPY public.a FROM STDIN")
	require.Equal(t, pg.Source, err.Side)
	require.Equal(t, 1, err.Copy)
	require.Equal(t, int64(4999), err.Rows)
	require.True(t, pg.IsCode(err, "22012"), "%v", err)
	require.Equal(t, pg.Final, pg.Classify(err))
}

func TestRelayTargetFails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, column, value, code, where string
	}{
		{"check", "int CHECK (a < 100)", "n", "23514", "line 100:"},
		{"domain", "public.small", "n", "23514", "line 100, column a"},
		{"unreadable", "int", "CASE WHEN n = 100 THEN 'x' ELSE n::text END", "22P02", `line 100, column a: "x"`},
		{"unique", "int UNIQUE", "n % 99", "23505", "line 100"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, "CREATE DOMAIN public.small AS int CHECK (VALUE < 100); CREATE TABLE public.first (x int); CREATE TABLE public.a (a "+c.column+")")
			const all = 1_000_000_000
			start := time.Now()
			err := p.fail(t,
				fmt.Sprintf("COPY (SELECT 1) TO STDOUT; COPY (SELECT %s FROM (SELECT generate_series(1, %d) AS n) s) TO STDOUT", c.value, all),
				"COPY public.first FROM STDIN; COPY public.a FROM STDIN")
			require.Less(t, time.Since(start), 30*time.Second)
			require.Equal(t, pg.Target, err.Side)
			require.Equal(t, 1, err.Copy)
			require.Less(t, err.Rows, int64(all/2), "the error came while the source still had rows")
			require.True(t, pg.IsCode(err, c.code), "%v", err)
			require.Contains(t, pg.Describe(err), c.where)
			require.Equal(t, pg.Final, pg.Classify(err))
		})
	}
}

func TestRelayStatementsFail(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, from, into string
		side             pg.Side
		copies           int
	}{
		{"no table on the source", "COPY public.gone TO STDOUT", "COPY public.a FROM STDIN", pg.Source, 0},
		{"no table on the target", "COPY public.a TO STDOUT", "COPY public.gone FROM STDIN", pg.Target, 0},
		{"before a COPY", "COPY public.a TO STDOUT; COPY public.a TO STDOUT", "COPY public.a FROM STDIN; TRUNCATE public.gone; COPY public.a FROM STDIN", pg.Target, 1},
		{"after the last COPY", "COPY public.a TO STDOUT", "COPY public.a FROM STDIN; SELECT 1 / 0", pg.Target, 1},
		{"syntax", "COPY public.a TO STDOUT", "COPY public.a FROM STDIN; NONSENSE", pg.Target, 0},
		{"too few on the source", "COPY public.a TO STDOUT", "COPY public.a FROM STDIN; COPY public.a FROM STDIN", pg.Target, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, "CREATE TABLE public.a AS SELECT generate_series(1, 1000) AS x")
			err := p.fail(t, c.from, c.into)
			require.Equal(t, c.side, err.Side, "%v", err)
			require.Equal(t, c.copies, err.Copy)
		})
	}
}

// TestRelayCounts has targets whose number of rows is not the source's.
func TestRelayCounts(t *testing.T) {
	t.Parallel()
	p := newPair(t, "CREATE TABLE public.a (x int)")
	p.src.Exec(t, "INSERT INTO public.a SELECT generate_series(1, 100)")
	p.dst.Exec(t, `CREATE FUNCTION public.odd_only() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF NEW.x % 2 = 0 THEN RETURN NULL; END IF; RETURN NEW; END';
		CREATE TRIGGER odd BEFORE INSERT ON public.a FOR EACH ROW EXECUTE FUNCTION public.odd_only()`)
	err := p.fail(t, "COPY public.a TO STDOUT", "COPY public.a FROM STDIN")
	require.ErrorContains(t, err, "source sent 100, target stored 50")

	p = newPair(t, "CREATE TABLE public.a AS SELECT generate_series(1, 100000) AS x")
	p.begin(t)
	_, mismatch := pg.Relay(t.Context(), p.source, p.target, "COPY public.a TO STDOUT; COPY public.a TO STDOUT", "COPY public.a FROM STDIN")
	require.ErrorContains(t, mismatch, "source sent 2 COPYs, target took 1")
}

// TestRelayTalkativeServers has more to read from the sessions than buffers in
// between hold: whoever does not listen while it sends waits for ever.
func TestRelayTalkativeServers(t *testing.T) {
	t.Parallel()
	p := newPair(t, `CREATE TABLE public.a (x int); CREATE FUNCTION public.warn() RETURNS trigger LANGUAGE plpgsql AS
		$$BEGIN RAISE WARNING '%', repeat('w', 32768); RETURN NEW; END$$;
		CREATE FUNCTION public.warn(n int) RETURNS int LANGUAGE plpgsql AS $$BEGIN RAISE WARNING '%', repeat('w', 300000 + n); RETURN n; END$$`)
	p.dst.Exec(t, "CREATE TRIGGER warn BEFORE INSERT ON public.a FOR EACH ROW EXECUTE FUNCTION public.warn()")
	copied := p.relay(t, "COPY (SELECT generate_series(1, 2000)) TO STDOUT; COPY (SELECT public.warn(n) FROM generate_series(1, 100) n) TO STDOUT",
		"COPY public.a FROM STDIN; COPY public.a FROM STDIN")
	require.Equal(t, int64(2000), copied[0].Rows)
	require.Equal(t, int64(100), copied[1].Rows)
}

// gone waits until the session that had the pid has ended.
func gone(t *testing.T, db *pgtest.Database, pid uint32) {
	t.Helper()
	require.Eventually(t, func() bool {
		return db.Query(t, fmt.Sprintf("SELECT count(*) FROM pg_stat_activity WHERE pid = %d", pid)) == "0"
	}, 20*time.Second, 20*time.Millisecond, "the session outlives its connection")
}

// whileCopying runs act once both sessions are in the middle of a COPY.
func (p *pair) whileCopying(t *testing.T, act func()) (wait func()) {
	t.Helper()
	source, target := p.source.PgConn().PID(), p.target.PgConn().PID()
	done := make(chan struct{})
	go func() {
		defer close(done)
		deadline, tick := time.After(30*time.Second), time.NewTicker(10*time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-deadline:
				return
			case <-tick.C:
			}
			busy := func(db *pgtest.Database, pid uint32) bool {
				return db.Query(t, fmt.Sprintf("SELECT coalesce((SELECT tuples_processed FROM pg_stat_progress_copy WHERE pid = %d), 0) > 100", pid)) == "t"
			}
			if busy(p.src, source) && busy(p.dst, target) {
				act()
				return
			}
		}
	}()
	return func() { <-done }
}

// endless is a COPY that no test sees the end of. (In FROM, generate_series would
// make all rows before the first.)
const endless = "COPY (SELECT generate_series(1, 1000000000), repeat('x', 100)) TO STDOUT"

func TestRelayCancel(t *testing.T) {
	t.Parallel()
	p := newPair(t, "CREATE TABLE public.a (n int, t text)")
	p.begin(t)
	reason := errors.New("the reason")
	ctx, cancel := context.WithCancelCause(t.Context())
	var at time.Time
	wait := p.whileCopying(t, func() { at = time.Now(); cancel(reason) })
	_, err := pg.Relay(ctx, p.source, p.target, endless, "COPY public.a FROM STDIN")
	took := time.Now()
	wait()
	require.ErrorIs(t, err, reason)
	require.Less(t, took.Sub(at), time.Minute)
	source, target := p.source.PgConn().PID(), p.target.PgConn().PID()
	p.source.Discard()
	p.target.Discard()
	gone(t, p.src, source)
	gone(t, p.dst, target)
	require.Equal(t, 0, p.dst.Count(t, "public.a"))

	p = newPair(t, "CREATE TABLE public.a (n int, t text)")
	_, err = pg.Relay(ctx, p.source, p.target, endless, "COPY public.a FROM STDIN")
	require.ErrorIs(t, err, reason)
}

// TestRelayCancelWhileWaiting cancels a relay whose servers say nothing.
func TestRelayCancelWhileWaiting(t *testing.T) {
	t.Parallel()
	p := newPair(t, "CREATE TABLE public.a (n int)")
	locker := connect(t, pg.Target, p.dst.URI())
	exec(t, locker, "BEGIN; LOCK TABLE public.a IN ACCESS EXCLUSIVE MODE")
	p.begin(t)
	ctx, cancel := context.WithCancel(t.Context())
	target := p.target.PgConn().PID()
	watch := make(chan struct{})
	go func() {
		defer close(watch)
		defer cancel()
		for range 500 {
			if p.dst.Query(t, fmt.Sprintf("SELECT count(*) FROM pg_stat_activity WHERE pid = %d AND wait_event_type = 'Lock'", target)) == "1" {
				return
			}
		}
	}()
	_, err := pg.Relay(ctx, p.source, p.target, endless, "TRUNCATE public.a; COPY public.a FROM STDIN")
	<-watch
	require.ErrorIs(t, err, context.Canceled)
	require.True(t, pg.IsInterrupt(err))
}

func TestRelaySessionKilled(t *testing.T) {
	t.Parallel()
	p := newPair(t, "CREATE TABLE public.a (n int, t text)")
	// What the target says at its end and the failure to write to it arrive in either order.
	for i := range 8 {
		p.source, p.target = connect(t, pg.Source, p.src.URI()), connect(t, pg.Target, p.dst.URI())
		side, db, pid := pg.Target, p.dst, p.target.PgConn().PID()
		if i%4 == 3 {
			side, db, pid = pg.Source, p.src, p.source.PgConn().PID()
		}
		wait := p.whileCopying(t, func() { db.Exec(t, fmt.Sprintf("SELECT pg_terminate_backend(%d)", pid)) })
		err := p.fail(t, endless, "COPY public.a FROM STDIN")
		wait()
		require.Equal(t, side, err.Side, "%v", err)
		// A source that ends while it waits to send may not say why: the message would land within another.
		require.True(t, pg.IsCode(err, "57P01") || side == pg.Source && errors.Is(err, io.EOF), "%v", err)
		require.Equal(t, pg.Transient, pg.Classify(err))
		p.source.Discard()
		p.target.Discard()
	}
}

func TestRelayServerCrashes(t *testing.T) {
	t.Parallel()
	p := newPair(t, "CREATE TABLE public.a (n int, t text)")
	server := pgtest.Start(t, pgtest.Options{})
	p.dst = server.Database(t)
	p.dst.Exec(t, "CREATE TABLE public.a (n int, t text)")
	p.target = connect(t, pg.Target, p.dst.URI())
	wait := p.whileCopying(t, func() { server.Stop(t, syscall.SIGQUIT) })
	err := p.fail(t, endless, "COPY public.a FROM STDIN")
	wait()
	require.Equal(t, pg.Target, err.Side, "%v", err)
	require.Equal(t, pg.Transient, pg.Classify(err), "%v", err)
}

// TestRelayPace: everything that passes is paid for, and who waits for leave to go on
// hears that the target has ended.
func TestRelayPace(t *testing.T) {
	t.Parallel()
	p := newPair(t, "CREATE TABLE public.a (n int, t text)")
	paid := int64(0)
	p.source.Pace = func(_ context.Context, bytes int) error {
		paid += int64(bytes)
		return nil
	}
	p.begin(t)
	copied, err := pg.Relay(t.Context(), p.source, p.target, "COPY (SELECT generate_series(1, 10000), repeat('x', 100)) TO STDOUT", "COPY public.a FROM STDIN")
	require.NoError(t, err)
	require.Equal(t, copied[0].Bytes+5*copied[0].Rows+5, paid, "each row with its header, and CopyDone")
	require.False(t, p.source.Paused())

	p.source, p.target = connect(t, pg.Source, p.src.URI()), connect(t, pg.Target, p.dst.URI())
	held := make(chan bool, 1)
	p.source.Pace = func(ctx context.Context, _ int) error {
		held <- p.source.Paused()
		<-ctx.Done()
		return ctx.Err()
	}
	target := p.target.PgConn().PID()
	watch := make(chan bool, 1)
	go func() {
		watch <- <-held
		p.dst.Exec(t, fmt.Sprintf("SELECT pg_terminate_backend(%d)", target))
	}()
	failed := p.fail(t, endless, "COPY public.a FROM STDIN")
	require.True(t, <-watch)
	require.Equal(t, pg.Target, failed.Side)
	require.True(t, pg.IsCode(failed, "57P01"), "%v", failed)
}
