package run_test

import (
	"context"
	"encoding/json"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/run"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// TestInstanceIsControlled: verbs find the database that is under way, or wait for the
// next one; what is set for one holds for the next, too.
func TestInstanceIsControlled(t *testing.T) {
	t.Parallel()
	s := newServers(t, config.AllDatabases)
	s.make(t, "small", "10")
	s.target.Exec(t, "CREATE DATABASE small TEMPLATE template0")
	releaseSmall := gated(t, s.src("small"), s.dst("small"), 5_000)
	s.source.Exec(t, "CREATE DATABASE large TEMPLATE template0")
	s.target.Exec(t, "CREATE DATABASE large TEMPLATE template0")
	release := gated(t, s.src("large"), s.dst("large"), 10_000)
	s.o.Config.KeepLedger = true
	wait := background(t.Context(), s.o, run.CopyInstance)
	follower := run.Follow(s.o)
	listed, err := follower.Databases(t.Context())
	require.NoError(t, err, "before anything is begun, too")
	require.LessOrEqual(t, len(listed.Databases), 2)
	awaitQuery(t, s.dst("large"), "t", sqlHeld)
	followed, err := follower.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, "large", followed.Database)
	require.Equal(t, tasks.RunRunning, followed.State)
	soFar, err := follower.Report(t.Context())
	require.NoError(t, err)
	require.Equal(t, "large", soFar.Database)
	_, err = run.ResumeInstance(t.Context(), s.o, run.Resumption{})
	require.ErrorContains(t, err, "another planner is at work")
	status, err := run.StatusInstance(t.Context(), s.o)
	require.NoError(t, err)
	require.True(t, status.Owned)
	require.Equal(t, tasks.RunRunning, status.State)
	require.Equal(t, "large", status.Databases[0].Status.Database)
	require.Nil(t, status.Databases[1].Status)
	require.NoError(t, run.Pause(t.Context(), s.o))
	require.Equal(t, "t", s.dst("large").Query(t, "SELECT paused FROM pgconvoy.run"))
	require.NoError(t, run.Scale(t.Context(), s.o, map[tasks.Stage]int{tasks.StageCopy: 3}))
	require.NoError(t, run.Limit(t.Context(), s.o, tasks.Limits{tasks.TargetConnections: 9}))
	require.NoError(t, run.Unpause(t.Context(), s.o))
	seen := watched(t, s.o)
	require.Equal(t, "large", <-seen)
	betweenDatabases(t, s, release)
	require.Equal(t, "small", <-seen)
	releaseSmall()
	_, err = wait()
	require.NoError(t, err)
	_, more := <-seen
	require.False(t, more, "the watch ends with the run, without an error")
	require.Equal(t, `{"copy": 3}`, s.dst("small").Query(t, "SELECT caps FROM pgconvoy.run"))
	require.Equal(t, `{"limits": {"target.connections": 9}}`, s.dst("small").Query(t, "SELECT throttle FROM pgconvoy.run"))
	require.ErrorContains(t, run.Pause(t.Context(), s.o), "no database is being copied at the moment")
	followed, err = follower.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, tasks.RunComplete, followed.State)
	runs, err := run.Runs(t.Context(), s.o)
	require.NoError(t, err)
	require.Len(t, runs, 2)

	var compared []string
	verify := func(ctx context.Context, name string, o run.Options) error {
		compared = append(compared, name)
		_, err := run.Verify(ctx, o)
		return err
	}
	require.NoError(t, run.VerifyInstance(t.Context(), s.o, verify))
	require.Equal(t, []string{"large", "small"}, compared)
	s.dst("small").Exec(t, "UPDATE a SET pad = 'other' WHERE id = 1")
	err = run.VerifyInstance(t.Context(), s.o, verify)
	var differ *run.ComparedError
	require.ErrorAs(t, err, &differ)
	require.Equal(t, 4, differ.ExitCode())
	require.Len(t, differ.Databases, 1)
	require.Equal(t, "small", differ.Databases[0].Database)
	s.target.Exec(t, "DROP DATABASE large WITH (FORCE)")
	require.ErrorAs(t, run.VerifyInstance(t.Context(), s.o, verify), &differ)
	require.Equal(t, 1, differ.ExitCode(), "what could not be compared is worse")

	listing, err := run.ListInstance(t.Context(), s.o, "tables")
	require.NoError(t, err)
	require.Equal(t, "database", listing.Columns[0].Name)
	require.Len(t, listing.Rows, 3)
}

// watched watches the run until it ends, and gives every database that it comes to.
func watched(t *testing.T, o run.Options) <-chan string {
	t.Helper()
	seen := make(chan string, 100)
	go func() {
		defer close(seen)
		last := ""
		err := run.Watch(t.Context(), o, func(s tasks.RunStatus) {
			if s.Database != "" && s.Database != last { // between two it is of none
				last = s.Database
				seen <- last
			}
		})
		if err != nil {
			seen <- err.Error()
		}
	}()
	return seen
}

// betweenDatabases lets the first database of two come to its end while another
// session keeps the planner from planning the second, and looks how the run is
// reported then, and that it can be controlled.
func betweenDatabases(t *testing.T, s *servers, release func()) {
	t.Helper()
	other := s.src("small").Connect(t)
	_, err := other.Exec(t.Context(), "BEGIN; LOCK TABLE big")
	require.NoError(t, err)
	release()
	awaitQuery(t, cluster(s.source), "1", `SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
		WHERE NOT l.granted AND a.datname = 'small' AND a.application_name = 'pgconvoy planner'`)
	report, err := run.ReportInstance(t.Context(), s.o)
	require.NoError(t, err)
	require.Equal(t, tasks.RunRunning, report.State)
	require.Equal(t, map[string]tasks.RunState{"large": tasks.RunComplete, "small": ""}, statesOf(report))
	require.Equal(t, int64(10_000), report.Rows)
	require.Nil(t, report.Databases[1].Report)
	paused := make(chan error, 1)
	go func() { paused <- run.Pause(t.Context(), s.o) }()
	_, err = other.Exec(t.Context(), "ROLLBACK")
	require.NoError(t, err)
	require.NoError(t, <-paused)
	require.Equal(t, "t", s.dst("small").Query(t, "SELECT paused FROM pgconvoy.run"))
	require.NoError(t, run.Unpause(t.Context(), s.o))
}

// TestInstanceIsCancelled: what is complete stays, what is not is dropped.
func TestInstanceIsCancelled(t *testing.T) {
	t.Parallel()
	s, release := newGated(t)
	defer release()
	wait := background(t.Context(), s.o, run.CopyInstance)
	awaitGate(t, s.dst("second"), 1)
	require.NoError(t, run.Cancel(t.Context(), s.o, run.Cancellation{Now: true}))
	_, err := wait()
	require.ErrorContains(t, err, "cancelled")
	require.Equal(t, []string{"first", "second"}, databasesOf(t, s.target), "third was not begun")
	s.requireEqual(t, "first")
	require.True(t, s.dst("second").Empty(t))
	require.Equal(t, "t", s.dst("second").Query(t, "SELECT to_regnamespace('pgconvoy') IS NULL"))
}

// TestInstanceCommands runs the verbs as people type them.
func TestInstanceCommands(t *testing.T) {
	t.Parallel()
	s := newServers(t)
	s.make(t, "good", "1000")
	s.make(t, "bad", "10").Exec(t, `CREATE TABLE orders (id int PRIMARY KEY, a int CONSTRAINT known REFERENCES a); SET session_replication_role = replica; INSERT INTO orders VALUES (2, 4711)`)
	binary := build(t, "planner")
	command := func(exit int, args ...string) (out, err string) {
		t.Helper()
		p := newPlanner(t, binary, s.src("postgres").URI(), s.dst("postgres").URI(), append(args, "--databases", "good,bad")...)
		require.Equal(t, exit, p.exit(t), p.err.String())
		return p.out.String(), p.err.String()
	}
	command(0, "check")
	plan, _ := command(0, "plan")
	require.Contains(t, plan, "database \"good\":\nfirst: CREATE DATABASE \"good\"")
	plan, _ = command(0, "plan", "-o", "json")
	var plans []struct{ Database string }
	require.NoError(t, json.Unmarshal([]byte(plan), &plans))
	require.Len(t, plans, 2)
	require.Empty(t, databasesOf(t, s.target))

	out, said := command(3, "run", "-o", "json")
	require.Contains(t, said, `error: database "bad": task fkey.public.orders.known`)
	require.Contains(t, said, "error: run main is not complete: it lacks 1 database\nhint: mend what failed, then planner resume")
	var report tasks.InstanceReport
	require.NoError(t, json.Unmarshal([]byte(out), &report))
	require.Equal(t, map[string]tasks.RunState{"bad": tasks.RunFailed, "good": tasks.RunComplete}, statesOf(report))
	require.Equal(t, "rows", report.Databases[0].Report.Verified)
	out, _ = command(0, "status")
	require.Contains(t, out, "run main is failed; 1 of 2 databases complete")
	out, _ = command(0, "runs")
	require.Contains(t, out, "main (good)")
	out, _ = command(3, "resume")
	require.Contains(t, out, "run main is failed: 1 of 2 databases complete")
	_, said = command(1, "pause")
	require.Contains(t, said, "no database is being copied at the moment")
	out, _ = command(0, "list", "tables")
	require.Regexp(t, `"bad" +"public"."a"`, out)
	command(0, "cleanup")
	out, said = command(4, "verify")
	require.Contains(t, out, "database \"good\":\nrows of 1 table compared, 1 000 rows: 0 differ")
	require.Contains(t, said, `error: database "bad": source and target differ in 2 tables`)
}

// TestInstanceIsInterrupted: an interrupt ends the whole run, and says how far it is.
func TestInstanceIsInterrupted(t *testing.T) {
	t.Parallel()
	s, release := newGated(t)
	p := newPlanner(t, build(t, "planner"), s.src("postgres").URI(), s.dst("postgres").URI(), "run", "-o", "json", "--databases", "first,second,third")
	p.Env = append(os.Environ(), "PGCONVOY_GRACE=60s", "PGCONVOY_BUNDLE_MAX_TABLE=0")
	require.NoError(t, p.Start())
	awaitGate(t, s.dst("second"), 1)
	require.NoError(t, p.Process.Signal(syscall.SIGINT))
	release()
	_ = p.Wait()
	require.Equal(t, 130, p.ProcessState.ExitCode(), p.err.String())
	var report tasks.InstanceReport
	require.NoError(t, json.Unmarshal(p.out.Bytes(), &report), p.out.String())
	require.Equal(t, tasks.RunCancelled, report.State)
	require.Equal(t, map[string]tasks.RunState{"first": tasks.RunComplete, "second": tasks.RunCancelled, "third": ""}, statesOf(report))
	report, err := run.ResumeInstance(t.Context(), s.o, run.Resumption{})
	require.NoError(t, err)
	require.Equal(t, tasks.RunComplete, report.State)
	s.requireEqual(t, "first", "third")
	pgtest.RequireEqual(t, s.src("second"), s.dst("second"))
}
