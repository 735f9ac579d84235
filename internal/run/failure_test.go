package run_test

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/check"
	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/run"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// failing copies a database that cannot be copied whole, and returns what the
// run says of it.
func failing(t *testing.T, dst *pgtest.Database, o run.Options) tasks.Report {
	t.Helper()
	report, err := run.Run(t.Context(), o)
	var incomplete *run.IncompleteError
	require.ErrorAs(t, err, &incomplete)
	require.Equal(t, 3, incomplete.ExitCode())
	require.Equal(t, tasks.RunFailed, report.State)
	require.Equal(t, "failed", dst.Query(t, "SELECT state FROM pgconvoy.run"))
	require.Empty(t, report.Verified)
	require.NotEmpty(t, report.Failures)
	return report
}

func TestOrphansFailTheirForeignKeyAlone(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	src.Exec(t, `CREATE TABLE customers (id int PRIMARY KEY); CREATE TABLE orders (id int PRIMARY KEY, customer int CONSTRAINT known_customer REFERENCES customers);
		CREATE TABLE lines (orderid int CONSTRAINT known_order REFERENCES orders);
		INSERT INTO customers VALUES (1); INSERT INTO orders VALUES (1, 1); INSERT INTO lines VALUES (1);
		SET session_replication_role = replica; INSERT INTO orders VALUES (2, 4711)`)
	report := failing(t, dst, options(t, src, dst))
	require.Len(t, report.Failures, 1)
	reason := report.Failures[0].Reason
	require.Contains(t, reason, `"known_customer"`)
	require.Contains(t, reason, "(customer)=(4711)")
	require.Contains(t, reason, "NOT VALID", "the hint says what can be done")
	require.Equal(t, "2", dst.Query(t, "SELECT count(*) FROM orders"), "the rows themselves are there")
	require.Equal(t, "1", dst.Query(t, "SELECT count(*) FROM pg_constraint WHERE conname = 'known_order' AND convalidated"))
}

func TestDuplicatesFailTheirIndexAlone(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	src.Exec(t, `CREATE TABLE twice (a int, b int); CREATE UNIQUE INDEX twice_a ON twice (a); CREATE INDEX twice_b ON twice (b);
		UPDATE pg_index SET indisready = false WHERE indexrelid = 'twice_a'::regclass;
		INSERT INTO twice SELECT i % 9000, i FROM generate_series(1, 10000) i;
		UPDATE pg_index SET indisready = true WHERE indexrelid = 'twice_a'::regclass;
		CREATE TABLE other (a int PRIMARY KEY); INSERT INTO other VALUES (1)`)
	report := failing(t, dst, options(t, src, dst))
	require.Len(t, report.Failures, 1)
	require.Contains(t, report.Failures[0].Reason, "twice_a")
	require.Contains(t, report.Failures[0].Reason, "(a)=(")
	require.Equal(t, "10000", dst.Query(t, "SELECT count(*) FROM twice"))
	require.Equal(t, "1", dst.Query(t, "SELECT count(*) FROM pg_class WHERE relname = 'twice_b'"))
	require.Equal(t, "1", dst.Query(t, "SELECT count(*) FROM pg_constraint WHERE conname = 'other_pkey'"))
}

func TestRefusedRowIsNamed(t *testing.T) {
	t.Parallel()
	for name, bundled := range map[string]bool{"alone": false, "bundled": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
			src.Exec(t, `CREATE FUNCTION fine(i int) RETURNS bool LANGUAGE sql AS 'SELECT true';
				CREATE TABLE strict (a int CONSTRAINT is_fine CHECK (public.fine(a))); INSERT INTO strict SELECT generate_series(1, 1000);
				CREATE OR REPLACE FUNCTION fine(i int) RETURNS bool LANGUAGE sql AS 'SELECT i <> 500';
				CREATE TABLE other (a int PRIMARY KEY); INSERT INTO other VALUES (1);
				CREATE TABLE refers (a int CONSTRAINT to_other REFERENCES other); INSERT INTO refers VALUES (1)`)
			o := options(t, src, dst)
			if !bundled {
				o.Config.Bundle.MaxTable = 0
			}
			ctid := src.Query(t, "SELECT ctid FROM strict WHERE a = 500")
			report := failing(t, dst, o)
			require.Len(t, report.Failures, 1)
			for _, want := range []string{`"public"."strict"`, "is_fine", "row 500 of the COPY", ctid} {
				require.Contains(t, report.Failures[0].Reason, want)
			}
			require.Equal(t, "0", dst.Query(t, "SELECT count(*) FROM strict"))
			require.Equal(t, "1", dst.Query(t, "SELECT count(*) FROM pg_constraint WHERE conname = 'other_pkey'"), "the other table is there")
			require.Equal(t, "1", dst.Query(t, "SELECT count(*) FROM pg_constraint WHERE conname = 'to_other' AND convalidated"), "and so is what depends on it alone")
		})
	}
}

func TestInterruptDrainsAndCleanupUndoes(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	release := gated(t, src, dst, 10_000)
	src.Exec(t, "SELECT lo_from_bytea(0, 'x'); CREATE TYPE mood AS ENUM ('calm'); CREATE VIEW v AS SELECT 1 AS one")
	o := options(t, src, dst)
	o.Config.Grace = 100 * time.Millisecond
	ctx, interrupt := context.WithCancelCause(t.Context())
	wait := start(ctx, o)
	awaitQuery(t, dst, "t", sqlHeld)
	errSignal := errors.New("interrupted by a person")
	interrupt(errSignal)
	report, err := wait()
	require.ErrorIs(t, err, errSignal)
	require.NotEqual(t, tasks.RunComplete, report.State)
	release()
	awaitQuery(t, dst, "0", "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pgconvoy%' AND datname = current_database()")
	require.Equal(t, dst.Query(t, "SELECT coalesce(sum(rows), 0) FROM pgconvoy.copied"), dst.Query(t, "SELECT count(*) FROM big"), "the ledger is truthful")
	require.NotEqual(t, "10000", dst.Query(t, "SELECT count(*) FROM big"), "what was not finished is rolled back")
	require.Equal(t, "0", dst.Query(t, "SELECT sum(attempts) FROM pgconvoy.task"), "what was handed back is no attempt")

	_, err = run.Run(t.Context(), o)
	var refused *check.FailedError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, 3, refused.ExitCode())
	require.ErrorContains(t, err, "ledger")

	require.NoError(t, run.Cleanup(t.Context(), o))
	require.Equal(t, "0", dst.Query(t, "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname IN ('public', 'pgconvoy')"))
	require.Equal(t, "0", dst.Query(t, "SELECT count(*) FROM pg_largeobject_metadata"))
	copyAll(t, o)
	pgtest.RequireEqual(t, src, dst)
}

// TestTooWideRowIsNamed shows the limit of text, which digests are of: a bytea of
// more than half a gigabyte has no text form that a server could send. In
// binary form it has.
func TestTooWideRowIsNamed(t *testing.T) {
	if testing.Short() {
		t.Skip("needs some gigabytes of memory in the server")
	}
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	src.Exec(t, `CREATE TABLE wide (id int PRIMARY KEY, b bytea); INSERT INTO wide VALUES (7, 'ok');
		INSERT INTO wide SELECT 8, x.b || x.b FROM (SELECT decode(repeat('00ff10ab', 65 * 1024 * 1024), 'hex') AS b) x`)
	o := options(t, src, dst)
	o.Config.Verify = config.VerifyDigest
	report := failing(t, dst, o)
	require.Len(t, report.Failures, 1)
	require.Equal(t, 1, report.Failures[0].Attempts, "it fails in the same way every time")
	for _, want := range []string{`"public"."wide"`, "(0,2)", "1 GB"} {
		require.Contains(t, report.Failures[0].Reason, want)
	}
	require.NoError(t, run.Cleanup(t.Context(), o))
	o.Config.Verify = config.VerifyRows
	copyAll(t, o)
	const contents = "SELECT string_agg(md5(b), ' ' ORDER BY id) FROM wide"
	require.Equal(t, src.Query(t, contents), dst.Query(t, contents))
}

func TestPlannerLosesItsConnectionToTheTarget(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	release := gated(t, src, dst, 10_000)
	wait := start(t.Context(), options(t, src, dst))
	awaitGate(t, dst, 2)
	dst.Exec(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgconvoy planner' AND datname = current_database()")
	release()
	_, err := wait()
	require.NoError(t, err)
	pgtest.RequireEqual(t, src, dst)
}

// TestRestartedTarget: what a crash of the target took back is done again, and
// unlogged tables, which it emptied, are copied again.
func TestRestartedTarget(t *testing.T) {
	t.Parallel()
	src := pgtest.Source(t).Database(t)
	target := pgtest.Start(t, pgtest.Options{})
	dst := target.Database(t)
	gated(t, src, dst, 10_000)
	src.Exec(t, `CREATE UNLOGGED TABLE volatile (id int PRIMARY KEY, big int REFERENCES big); INSERT INTO volatile SELECT i, i FROM generate_series(1, 2000) i;
		CREATE UNLOGGED TABLE small (id int PRIMARY KEY); INSERT INTO small VALUES (1); CREATE UNLOGGED TABLE refers (id int REFERENCES small); INSERT INTO refers VALUES (1)`)
	o := options(t, src, dst)
	o.AckWait = 2 * time.Second
	o.Config.KeepLedger = true
	wait := start(t.Context(), o)
	awaitGate(t, dst, 2)
	awaitQuery(t, dst, "t", "SELECT count(*) >= 2 FROM pgconvoy.copied WHERE name IN ('volatile', 'small')")
	target.Stop(t, syscall.SIGQUIT) // at once, without a checkpoint; it takes the gate's lock with it
	target.Launch(t)
	_, err := wait()
	require.NoError(t, err)
	require.Equal(t, "t", dst.Query(t, "SELECT target_start = pg_postmaster_start_time() FROM pgconvoy.run"))
	pgtest.RequireEqual(t, src, dst, pgtest.IgnoreSchemas("pgconvoy"))
}

func TestCleanupEmptiesTheMuseum(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Museum(t), pgtest.Target(t).Database(t)
	dst.Server.MuseumRoles(t)
	o := options(t, src, dst)
	o.Config.KeepLedger, o.Config.Verify = true, config.VerifyNone
	copyAll(t, o)
	dst.Exec(t, "UPDATE pgconvoy.run SET state = 'failed'; CREATE SCHEMA mine; CREATE TABLE mine.own ()")
	require.NoError(t, run.Cleanup(t.Context(), o))
	require.Equal(t, []string{"mine", "public"}, dst.Column(t, `SELECT nspname FROM pg_namespace
		WHERE nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema' ORDER BY 1`))
	require.Equal(t, "1", dst.Query(t, "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname IN ('mine', 'public')"),
		"what else is there stays")
	require.Equal(t, "0", dst.Query(t, "SELECT (SELECT count(*) FROM pg_largeobject_metadata) + (SELECT count(*) FROM pg_publication) + (SELECT count(*) FROM pg_event_trigger)"))
}
