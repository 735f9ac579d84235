package tasks_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

func TestCopySQL(t *testing.T) {
	t.Parallel()
	table := tasks.Table{Name: tasks.Name{Schema: "s", Name: "t"}, Columns: []string{"a", `b"`}}
	bare := tasks.Table{Name: table.Name}
	part := tasks.Ranges("a", []string{"5"}, false)[0]
	for _, c := range []struct {
		copy                   tasks.Copy
		source, target, before string
	}{
		{tasks.Copy{Table: table}, `COPY "s"."t" ("a", "b""") TO STDOUT`, `COPY "s"."t" ("a", "b""") FROM STDIN`, ""},
		{tasks.Copy{Table: table, Freeze: true}, `COPY "s"."t" ("a", "b""") TO STDOUT`, `COPY "s"."t" ("a", "b""") FROM STDIN WITH (FREEZE)`, `TRUNCATE ONLY "s"."t"`},
		{tasks.Copy{Table: table, Binary: true, Freeze: true}, `COPY "s"."t" ("a", "b""") TO STDOUT WITH (FORMAT binary)`, `COPY "s"."t" ("a", "b""") FROM STDIN WITH (FORMAT binary, FREEZE)`, `TRUNCATE ONLY "s"."t"`},
		{tasks.Copy{Table: table, Binary: true, Part: part}, `COPY (SELECT "a", "b""" FROM ONLY "s"."t" WHERE "a" < '5') TO STDOUT WITH (FORMAT binary)`, `COPY "s"."t" ("a", "b""") FROM STDIN WITH (FORMAT binary)`, ""},
		{tasks.Copy{Table: bare}, `COPY (SELECT  FROM ONLY "s"."t") TO STDOUT`, `COPY "s"."t" FROM STDIN`, ""},
		{tasks.Copy{Table: table, Part: part, Parts: 2}, `COPY (SELECT "a", "b""" FROM ONLY "s"."t" WHERE "a" < '5') TO STDOUT`, `COPY "s"."t" ("a", "b""") FROM STDIN`, ""},
		{tasks.Copy{Table: table, Where: "x OR y"}, `COPY (SELECT "a", "b""" FROM ONLY "s"."t" WHERE x OR y) TO STDOUT`, `COPY "s"."t" ("a", "b""") FROM STDIN`, ""},
		{tasks.Copy{Table: table, Where: "x OR y", Part: part}, `COPY (SELECT "a", "b""" FROM ONLY "s"."t" WHERE (x OR y) AND "a" < '5') TO STDOUT`, `COPY "s"."t" ("a", "b""") FROM STDIN`, ""},
		{tasks.Copy{Table: table, Into: &tasks.Name{Schema: "s", Name: "root"}}, `COPY "s"."t" ("a", "b""") TO STDOUT`, `COPY "s"."root" ("a", "b""") FROM STDIN`, ""},
	} {
		require.Equal(t, c.source, c.copy.SourceSQL())
		require.Equal(t, c.target, c.copy.TargetSQL())
		require.Equal(t, c.before, c.copy.TruncateSQL())
	}
	require.Equal(t, `COPY "s"."t" part 1/2`, tasks.Copy{Table: table, Part: part, Parts: 2}.Label())
	require.Equal(t, `SELECT count(*) FROM ONLY "s"."t"`, tasks.VerifyTable{Table: table}.SelectSQL("count(*)"))
	require.Equal(t, `SELECT count(*) FROM "s"."t"`, tasks.VerifyTable{Table: table, Descend: true}.SelectSQL("count(*)"))
	require.Equal(t, `SELECT count(*) FROM ONLY "s"."t" WHERE "a" < '5'`, tasks.VerifyTable{Table: table, Part: part}.SelectSQL("count(*)"))
	measured := tasks.Measure{Level: tasks.LevelDigest, Side: tasks.SideTarget, Tables: []tasks.VerifyTable{{Table: table, Part: part}}}
	require.Equal(t, `digest of "s"."t" part 1 on the target`, measured.Label())
	measured.Tables = append(measured.Tables, tasks.VerifyTable{Table: table})
	require.Equal(t, `digest of 2 tables on the target`, measured.Label())
}

// TestSpecsSurviveTheLedger: what is decoded is what was encoded.
func TestSpecsSurviveTheLedger(t *testing.T) {
	t.Parallel()
	spec := tasks.Copy{
		Table: tasks.Table{Name: tasks.Name{Schema: "s", Name: "é\n\"'\\"}, OID: 1 << 31, Filenode: 1<<32 - 1, Columns: []string{"<a>", "&"}},
		Part:  tasks.Ranges("k", []string{"-9223372036854775808"}, true)[1], Parts: 3, Into: &tasks.Name{Schema: "a", Name: "b"},
	}
	task, err := tasks.New(tasks.KindCopy, tasks.NewID(tasks.KindCopy, "s", "t", "p0001"), spec)
	require.NoError(t, err)
	got, err := tasks.Decode[tasks.Copy](task)
	require.NoError(t, err)
	require.Equal(t, spec, got)
	task.Spec = []byte("{")
	_, err = tasks.Decode[tasks.Copy](task)
	require.ErrorContains(t, err, "copy.s.t.p0001")
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	cause := errors.New("cause")
	var retry *tasks.RetryError
	require.ErrorAs(t, tasks.Retry(time.Second, cause), &retry)
	require.Equal(t, time.Second, retry.Delay)
	require.ErrorIs(t, tasks.Discard(cause), cause)
	require.ErrorIs(t, tasks.WithHint(cause, "do this"), cause)
	require.NoError(t, tasks.WithHint(nil, "do this"))
	require.ErrorIs(t, &tasks.SplitError{Err: cause}, cause)
	require.EqualError(t, tasks.Retry(time.Second, cause), "cause")
}
