package run_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/check"
	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/natstest"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/run"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// servers are two servers of a test's own, and a run of databases of the one to the
// other.
type servers struct {
	source, target *pgtest.Server
	o              run.Options
}

// newServers starts two servers; the run is of the databases that are chosen.
func newServers(t *testing.T, chosen ...string) *servers {
	t.Helper()
	s := &servers{source: pgtest.Start(t, pgtest.Options{}), target: pgtest.Start(t, pgtest.Options{})}
	s.o = options(t, s.src("postgres"), s.dst("postgres"))
	s.o.Config.Databases = chosen
	return s
}

func (s *servers) src(name string) *pgtest.Database {
	return &pgtest.Database{Server: s.source, Name: name}
}
func (s *servers) dst(name string) *pgtest.Database {
	return &pgtest.Database{Server: s.target, Name: name}
}

// make makes a database on the source, with a table a of so many rows.
func (s *servers) make(t *testing.T, name string, rows string) *pgtest.Database {
	t.Helper()
	s.source.Exec(t, "CREATE DATABASE "+tasks.QuoteIdent(name)+" TEMPLATE template0")
	db := s.src(name)
	db.Exec(t, "CREATE TABLE a (id int PRIMARY KEY, pad text); INSERT INTO a SELECT i, repeat('x', 200) FROM generate_series(1, "+rows+") i; CREATE INDEX ON a (pad, id)")
	return db
}

// requireEqual compares the databases of the names.
func (s *servers) requireEqual(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		pgtest.RequireEqual(t, s.src(name), s.dst(name))
		require.Equal(t, s.src(name).Rows(t, propertiesQuery), s.dst(name).Rows(t, propertiesQuery), name)
	}
}

// databasesOf lists the databases of a server that are not the server's own.
func databasesOf(t *testing.T, s *pgtest.Server) []string {
	t.Helper()
	return cluster(s).Column(t, `SELECT datname FROM pg_database WHERE datname NOT IN ('template0', 'template1', 'postgres') ORDER BY datname COLLATE "C"`)
}

func statesOf(r tasks.InstanceReport) map[string]tasks.RunState {
	states := map[string]tasks.RunState{}
	for _, d := range r.Databases {
		states[d.Database] = d.State
	}
	return states
}

// TestInstance copies all databases of a server, with nothing on the target but the
// server, in one process.
func TestInstance(t *testing.T) {
	t.Parallel()
	s := newServers(t, config.AllDatabases)
	s.target.MuseumRoles(t) // for the tablespace
	s.source.Exec(t, "CREATE ROLE crew; CREATE ROLE sailor LOGIN IN ROLE crew; ALTER ROLE sailor SET work_mem = '77MB'")
	s.source.Exec(t, "CREATE DATABASE museum TEMPLATE template0")
	s.src("museum").LoadMuseum(t)
	odd := `It's "odd" & 1=1 + %20 \ ü`
	for name, rows := range map[string]string{"big": "100000", odd: "500", "none": "0"} {
		s.make(t, name, rows).Exec(t, "ALTER TABLE a OWNER TO sailor")
	}
	s.source.Exec(t, "ALTER DATABASE none OWNER TO sailor; ALTER DATABASE none CONNECTION LIMIT 50; COMMENT ON DATABASE big IS 'largest'")
	s.source.Exec(t, "CREATE DATABASE mould IS_TEMPLATE true")
	s.source.Exec(t, "CREATE DATABASE shut ALLOW_CONNECTIONS false")
	report, err := run.CopyInstance(t.Context(), s.o)
	require.NoError(t, err)
	require.Equal(t, tasks.RunComplete, report.State)
	require.Len(t, report.Databases, 4)
	require.Equal(t, "big", report.Databases[0].Database, "largest first")
	var rows int64
	for _, d := range report.Databases {
		require.Equal(t, tasks.RunComplete, d.State, d.Database)
		require.NotNil(t, d.Report)
		rows += d.Report.Rows
		require.Equal(t, "t", s.dst(d.Database).Query(t, "SELECT to_regnamespace('pgconvoy') IS NULL"), "no ledger is left")
	}
	require.Equal(t, rows, report.Rows)
	require.Greater(t, rows, int64(100_500))
	var left []string
	for _, l := range report.LeftOut {
		left = append(left, l.Database+": "+l.Reason)
	}
	require.Len(t, left, 5, "%v", left)
	require.Contains(t, strings.Join(left, "\n"), "mould: it is a template")
	require.Contains(t, strings.Join(left, "\n"), "shut: it allows no connections")
	require.Contains(t, strings.Join(left, "\n"), "postgres: it holds nothing")
	require.NotContains(t, databasesOf(t, s.target), "mould")
	s.requireEqual(t, "museum", "big", odd, "none")
	require.Equal(t, cluster(s.source).Rows(t, rolesQuery), cluster(s.target).Rows(t, rolesQuery))
	awaitQuery(t, cluster(s.source), "0", "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pgconvoy%'")
}

// TestInstanceOfNames copies those databases that a list chooses, postgres with them.
func TestInstanceOfNames(t *testing.T) {
	t.Parallel()
	other := `O'th\er`
	s := newServers(t, "/^tenant_/", "postgres", tasks.QuoteIdent(other))
	s.o.Config.Source.URI = config.Secret(fmt.Sprintf("host=127.0.0.1 port=%d user=postgres dbname=template1 sslmode=disable", s.source.Port))
	for _, name := range []string{"tenant_1", "tenant_2", "not_tenant_3", other} {
		s.make(t, name, "100")
	}
	cluster(s.source).Exec(t, "CREATE TABLE used (v int); INSERT INTO used VALUES (1)")
	report, err := run.CopyInstance(t.Context(), s.o)
	require.NoError(t, err)
	require.Len(t, report.Databases, 4)
	require.Equal(t, []string{other, "tenant_1", "tenant_2"}, databasesOf(t, s.target))
	s.requireEqual(t, "tenant_1", "tenant_2", other, "postgres")

	for name, test := range map[string]struct {
		databases []string
		says      string
	}{
		"missing":  {[]string{"tenant_1", "tenant_4"}, "database tenant_4 does not exist on the source"},
		"template": {[]string{"template1"}, `database "template1" of the source cannot be copied: it is a template`},
		"nothing":  {[]string{"/^nothing/"}, "no database of the source is chosen by databases: /^nothing/"},
	} {
		t.Run(name, func(t *testing.T) {
			o := s.o
			o.Config.Databases = test.databases
			_, err := run.CopyInstance(t.Context(), o)
			var failed *check.FailedError
			require.ErrorAs(t, err, &failed)
			require.ErrorContains(t, err, test.says)
		})
	}
}

// TestInstanceWithWorkers has processes that know no more than the servers follow
// from one database to the next, and end when all are done.
func TestInstanceWithWorkers(t *testing.T) {
	t.Parallel()
	s := newServers(t, config.AllDatabases)
	s.make(t, "two", "20000")
	s.make(t, "three", "10")
	s.source.Exec(t, "CREATE DATABASE one TEMPLATE template0")
	s.target.Exec(t, "CREATE DATABASE one TEMPLATE template0")
	release := gated(t, s.src("one"), s.dst("one"), 30_000)
	s.o.Config.NATS.URL = config.Secret(natstest.Start(t).URL())
	s.o.Config.KeepLedger = true
	binary := build(t, "worker")
	var workers []*process
	for range 2 {
		workers = append(workers, startWorker(t, binary, s.o, "PGCONVOY_EXIT_WHEN_IDLE=1s", "PGCONVOY_LINGER=true"))
	}
	wait := background(t.Context(), s.o, run.CopyInstance)
	for _, w := range workers { // the largest, which comes first, might be done before a slow one sees its queue
		require.Eventually(t, func() bool { return strings.Contains(w.String(), `"msg":"working"`) }, time.Minute, 20*time.Millisecond)
	}
	release()
	report, err := wait()
	require.NoError(t, err)
	require.Len(t, report.Databases, 3)
	for _, d := range report.Databases {
		require.NotEmpty(t, s.dst(d.Database).Column(t, "SELECT DISTINCT worker FROM pgconvoy.task"), d.Database)
		require.Equal(t, "t", s.dst(d.Database).Query(t, "SELECT complete FROM pgconvoy.instance"))
		pgtest.RequireEqual(t, s.src(d.Database), s.dst(d.Database), pgtest.IgnoreSchemas("pgconvoy"))
	}
	for _, w := range workers {
		require.NoError(t, w.Wait(), "a worker ends with status 0 when nothing is left")
		require.Regexp(t, "run has ended|nothing is left to do", w.String())
	}
	again, err := run.ResumeInstance(t.Context(), s.o, run.Resumption{})
	require.NoError(t, err, "a run that is complete is no error")
	require.Equal(t, report.Rows, again.Rows)
	s.o.Config.KeepLedger = false
	_, err = run.ResumeInstance(t.Context(), s.o, run.Resumption{})
	require.NoError(t, err)
	s.requireEqual(t, "one", "two", "three")
}

// newGated makes the databases first, second and third, and fourth, which is not of the
// run; rows of second wait at a gate.
func newGated(t *testing.T) (s *servers, release func()) {
	t.Helper()
	s = newServers(t, "first", "second", "third")
	s.make(t, "first", "50000")
	s.make(t, "third", "10")
	s.make(t, "fourth", "10")
	s.source.Exec(t, "CREATE DATABASE second TEMPLATE template0")
	s.target.Exec(t, "CREATE DATABASE second TEMPLATE template0")
	release = gated(t, s.src("second"), s.dst("second"), 10_000)
	s.o.Config.Bundle.MaxTable, s.o.Config.Split.LargerThan = 0, 1<<30
	s.o.AckWait = 2 * time.Second
	return s, release
}

// TestInstanceGoesOn: what is complete stays as it is, what was begun goes on, and
// what was not is begun.
func TestInstanceGoesOn(t *testing.T) {
	t.Parallel()
	s, release := newGated(t)
	planner := startPlannerWith(t, build(t, "planner"), s.o, []string{"PGCONVOY_DATABASES=first,second,third"}, "run")
	awaitGate(t, s.dst("second"), 1)
	planner.kill(t)
	for _, server := range []*pgtest.Server{s.source, s.target} {
		awaitQuery(t, cluster(server), "0", "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgconvoy planner'")
	}
	status, err := run.StatusInstance(t.Context(), s.o)
	require.NoError(t, err)
	require.False(t, status.Owned)
	require.Equal(t, []string{"first", "second", "third"}, []string{status.Databases[0].Database, status.Databases[1].Database, status.Databases[2].Database})
	require.Equal(t, tasks.RunComplete, status.Databases[0].Status.State)
	require.Equal(t, tasks.RunRunning, status.Databases[1].Status.State)
	require.Nil(t, status.Databases[2].Status)
	s.dst("first").Exec(t, "DELETE FROM a WHERE id = 1") // who copies it again finds it out
	release()
	s.o.Config.Databases = config.List{"/^(first|second|third|fourth)$/"}
	_, err = run.CopyInstance(t.Context(), s.o)
	var failed *check.FailedError
	require.ErrorAs(t, err, &failed, "it is a run already")
	require.ErrorContains(t, err, `database "first": the target database "first" holds the ledger of a complete run`)

	report, err := run.ResumeInstance(t.Context(), s.o, run.Resumption{})
	require.NoError(t, err)
	require.Equal(t, map[string]tasks.RunState{"first": tasks.RunComplete, "second": tasks.RunComplete, "third": tasks.RunComplete}, statesOf(report))
	require.Equal(t, int64(50_000), report.Databases[0].Report.Rows)
	require.Equal(t, 49_999, s.dst("first").Count(t, "a"))
	pgtest.RequireEqual(t, s.src("second"), s.dst("second"))
	s.requireEqual(t, "third")
	require.Equal(t, []string{"first", "second", "third"}, databasesOf(t, s.target))
	_, err = run.ResumeInstance(t.Context(), s.o, run.Resumption{})
	require.ErrorContains(t, err, "no database of the target that databases chooses holds a ledger of it")
}

// TestInstanceInterruptedAtItsEnd: ledgers that say that all is complete are dropped,
// whether or not those of the others are there; those that do not say so prove
// nothing of the others.
func TestInstanceInterruptedAtItsEnd(t *testing.T) {
	t.Parallel()
	s := newServers(t, "one", "two")
	s.make(t, "one", "1000")
	s.make(t, "two", "10")
	s.o.Config.KeepLedger = true
	_, err := run.CopyInstance(t.Context(), s.o)
	require.NoError(t, err)
	s.dst("one").Exec(t, "DROP SCHEMA pgconvoy CASCADE")
	s.dst("two").Exec(t, "UPDATE pgconvoy.instance SET complete = false")
	s.o.Config.KeepLedger = false
	report, err := run.ResumeInstance(t.Context(), s.o, run.Resumption{})
	var incomplete *run.InstanceError
	require.ErrorAs(t, err, &incomplete)
	require.Equal(t, map[string]tasks.RunState{"one": "", "two": tasks.RunComplete}, statesOf(report))
	require.Contains(t, report.Databases[0].Error, `the target database "one" is not empty`)

	s.dst("two").Exec(t, "UPDATE pgconvoy.instance SET complete = true")
	report, err = run.ResumeInstance(t.Context(), s.o, run.Resumption{})
	require.NoError(t, err)
	require.Equal(t, map[string]tasks.RunState{"one": tasks.RunComplete, "two": tasks.RunComplete}, statesOf(report))
	s.requireEqual(t, "one", "two")
}

// TestInstanceWithAFailure: a database that fails does not keep the others from being
// copied.
func TestInstanceWithAFailure(t *testing.T) {
	t.Parallel()
	s := newServers(t, config.AllDatabases)
	s.make(t, "good", "10")
	s.make(t, "bad", "1000").Exec(t, `CREATE TABLE orders (id int PRIMARY KEY, a int CONSTRAINT known REFERENCES a); SET session_replication_role = replica; INSERT INTO orders VALUES (2, 4711)`)
	report, err := run.CopyInstance(t.Context(), s.o)
	var incomplete *run.InstanceError
	require.ErrorAs(t, err, &incomplete)
	require.Equal(t, 3, incomplete.ExitCode())
	require.Equal(t, map[string]tasks.RunState{"bad": tasks.RunFailed, "good": tasks.RunComplete}, statesOf(report))
	require.Equal(t, tasks.RunFailed, report.State)
	var lines []string
	for message, hint := range incomplete.Lines() {
		lines = append(lines, message+" / "+hint)
	}
	require.Contains(t, lines[0], `database "bad": task fkey.public.orders.known`)
	require.Contains(t, lines[len(lines)-1], "run main is not complete: it lacks 1 database / mend what failed, then planner resume")
	pgtest.RequireEqual(t, s.src("good"), s.dst("good"), pgtest.IgnoreSchemas("pgconvoy"))

	s.src("bad").Exec(t, "INSERT INTO a VALUES (4711, 'x')")
	s.dst("bad").Exec(t, "INSERT INTO a VALUES (4711, 'x')") // on the target, too: the row is not of the snapshot
	s.o.Config.Verify = config.VerifyNone
	n, err := run.Retry(t.Context(), s.o, nil)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	_, err = run.ResumeInstance(t.Context(), s.o, run.Resumption{})
	require.ErrorAs(t, err, &incomplete, "the comparison was planned with the run")
	require.Equal(t, 4, incomplete.ExitCode(), "%v", err)
	require.NoError(t, run.Cleanup(t.Context(), s.o))
	require.True(t, s.dst("bad").Empty(t))
	require.Equal(t, 10, s.dst("good").Count(t, "a"), "what is complete stays")
	require.ErrorContains(t, run.Cleanup(t.Context(), s.o), "holds a ledger of it")
}

// TestInstanceAndACrash: a crash of the target takes the rows of unlogged tables from
// a database that was complete before. The run does not end without them.
func TestInstanceAndACrash(t *testing.T) {
	t.Parallel()
	s := newServers(t, "first", "second")
	s.make(t, "first", "20000").Exec(t, "CREATE UNLOGGED TABLE volatile (id int PRIMARY KEY); INSERT INTO volatile SELECT generate_series(1, 77)")
	s.source.Exec(t, "CREATE DATABASE second TEMPLATE template0")
	s.target.Exec(t, "CREATE DATABASE second TEMPLATE template0")
	gated(t, s.src("second"), s.dst("second"), 5_000)
	s.o.Config.Split.LargerThan = 1 << 30
	wait := background(t.Context(), s.o, run.CopyInstance)
	awaitGate(t, s.dst("second"), 1)
	require.Equal(t, 77, s.dst("first").Count(t, "volatile"))
	s.target.Stop(t, syscall.SIGQUIT) // the gate is open then, too
	s.target.Launch(t)
	_, err := wait()
	var incomplete *run.InstanceError
	require.ErrorAs(t, err, &incomplete)
	require.Len(t, incomplete.Databases, 1)
	require.ErrorContains(t, incomplete.Databases[0], `database "first": the target has crashed since the database was complete, and its unlogged tables are empty`)
	pgtest.RequireEqual(t, s.src("second"), s.dst("second"), pgtest.IgnoreSchemas("pgconvoy"))
	report, err := run.ResumeInstance(t.Context(), s.o, run.Resumption{Recopy: true})
	require.NoError(t, err)
	require.Equal(t, tasks.RunComplete, report.State)
	s.requireEqual(t, "first", "second")
}

// TestInstanceIsCheckedAsAWhole: findings of all databases come at once, and nothing
// is changed; nor does a plan change anything.
func TestInstanceIsCheckedAsAWhole(t *testing.T) {
	t.Parallel()
	s := newServers(t, config.AllDatabases)
	s.source.Exec(t, "CREATE ROLE elsewhere")
	for _, name := range []string{"occupied", "absent", "absent_too"} {
		s.make(t, name, "10").Exec(t, "ALTER TABLE a OWNER TO elsewhere")
	}
	s.target.Exec(t, "CREATE DATABASE occupied TEMPLATE template0")
	s.target.Exec(t, "CREATE ROLE weak LOGIN")
	s.dst("occupied").Exec(t, "CREATE TABLE in_the_way ()")
	s.o.Config.Roles = config.RolesNone
	err := run.CheckInstance(t.Context(), s.o)
	var failed *check.FailedError
	require.ErrorAs(t, err, &failed)
	require.Equal(t, 5, failed.ExitCode())
	require.ErrorContains(t, err, `database "occupied": the target database "occupied" is not empty`)
	require.ErrorContains(t, err, `3 databases ("absent", "absent_too", "occupied"): the target lacks 1 role`)
	_, err = run.CopyInstance(t.Context(), s.o)
	require.ErrorAs(t, err, &failed, "a run begins with the same")
	require.Equal(t, []string{"occupied"}, databasesOf(t, s.target))

	s.dst("occupied").Exec(t, "DROP TABLE in_the_way")
	s.o.Config.Roles = config.RolesReferenced
	require.NoError(t, run.CheckInstance(t.Context(), s.o))
	var steps []string
	tables := map[string]int{}
	require.NoError(t, run.PlanInstance(t.Context(), s.o, func(p tasks.DatabasePlan) error {
		tables[p.Database] = len(p.Plan.Tables)
		for _, step := range p.Plan.Steps {
			steps = append(steps, p.Database+": "+step.Label)
		}
		return nil
	}))
	require.Equal(t, map[string]int{"occupied": 1, "absent": 1, "absent_too": 1}, tables)
	all := strings.Join(steps, "\n")
	require.Contains(t, all, `absent: CREATE DATABASE "absent" TEMPLATE template0`)
	require.Contains(t, all, `absent_too: CREATE DATABASE "absent_too" TEMPLATE template0`)
	require.Equal(t, 1, strings.Count(all, `CREATE ROLE "elsewhere"`), all)
	require.Equal(t, []string{"occupied"}, databasesOf(t, s.target))
	require.Equal(t, "0", cluster(s.target).Query(t, "SELECT count(*) FROM pg_roles WHERE rolname = 'elsewhere'"))

	weak := s.o
	weak.Config.Target.URI = config.Secret(s.dst("postgres").URIAs("weak"))
	require.ErrorContains(t, run.CheckInstance(t.Context(), weak), `database "absent": database "absent" does not exist on the target, and role "weak" may not create databases there`)
}
