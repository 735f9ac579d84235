package run_test

import (
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/cli/clitest"
	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/natstest"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/run"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

func TestMain(m *testing.M) {
	if os.Getenv("NATSTEST_CHILD") != "" { // a nats-server
		os.Exit(natstest.Main(m))
	}
	code := pgtest.Main(m)
	clitest.RemoveCommands()
	os.Exit(code)
}

// options returns the settings of a run from src to dst, small enough that
// small test tables are split and bundles have company.
func options(t *testing.T, src, dst *pgtest.Database) run.Options {
	t.Helper()
	c := config.Default()
	c.Source.URI, c.Target.URI = config.Secret(src.URI()), config.Secret(dst.URI())
	c.Split.LargerThan, c.Split.MaxParts = 64<<10, 7
	c.Bundle.MaxTable, c.Bundle.MaxTables = 32<<10, 20
	c.Verify = config.VerifyDigest
	c.PGBindir = pgtest.ClientDir(t, dst.Server.Major)
	return run.Options{Config: c, Version: "test", Log: logger(t)}
}

// logger logs to the test.
func logger(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
}

func copyAll(t *testing.T, o run.Options) tasks.Report {
	t.Helper()
	report, err := run.Run(t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, tasks.RunComplete, report.State)
	return report
}

func TestMuseum(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*config.Config){
		"parts":   func(*config.Config) {},
		"bundles": func(c *config.Config) { c.Bundle.MaxTable, c.Split.LargerThan = 1<<30, 1<<30 },
		"single":  func(c *config.Config) { c.Bundle.MaxTable, c.Split.LargerThan, c.Verify = 0, 1<<30, config.VerifyRows },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src := pgtest.Source(t).Museum(t)
			dst := pgtest.Target(t).Database(t)
			dst.Server.MuseumRoles(t)
			o := options(t, src, dst)
			change(&o.Config)
			copyAll(t, o)
			pgtest.RequireEqual(t, src, dst)
			requireSameSchema(t, o)
		})
	}
}

// requireSameSchema compares the definitions as planner verify --schema does.
func requireSameSchema(t *testing.T, o run.Options) {
	t.Helper()
	result, err := run.VerifySchema(t.Context(), o)
	require.NoError(t, err, "%v", result.Differences)
	require.Empty(t, result.Differences)
	require.Greater(t, len(result.Kinds), 40)
}

func TestKeptLedgerHoldsTheWholeRun(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	src.Exec(t, "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a SELECT generate_series(1, 1000)")
	o := options(t, src, dst)
	o.Config.KeepLedger = true
	report := copyAll(t, o)
	require.Equal(t, int64(1000), report.Rows)
	require.Equal(t, "complete", dst.Query(t, "SELECT state FROM pgconvoy.run"))
	require.Equal(t, "0", dst.Query(t, "SELECT count(*) FROM pgconvoy.task WHERE state <> 'done'"))
	require.Equal(t, "1000", dst.Query(t, "SELECT sum(rows) FROM pgconvoy.copied"))
	require.NotEmpty(t, dst.Query(t, "SELECT pg_snapshot FROM pgconvoy.snapshot WHERE released_at IS NOT NULL"))
	pgtest.RequireEqual(t, src, dst, pgtest.IgnoreSchemas("pgconvoy"))
}

func TestNewerMajor(t *testing.T) {
	t.Parallel()
	source := pgtest.Major(t, 14)
	target := pgtest.Major(t, 18)
	src, dst := source.Museum(t), target.Database(t)
	target.MuseumRoles(t)
	o := options(t, src, dst)
	copyAll(t, o)
	pgtest.RequireEqual(t, src, dst, pgtest.DataOnly())
	pgtest.RequireEqual(t, pgtest.Reference(t, src, target), dst)
	requireSameSchema(t, o)
}

// TestSample copies a sample database from outside of the repository.
func TestSample(t *testing.T) {
	t.Parallel()
	for name, workers := range map[string]int{"embedded": 0, "external": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, dst := loadSample(t, pgtest.Source(t)), pgtest.Target(t).Database(t)
			o := options(t, src, dst)
			if workers > 0 {
				o.Config.NATS.URL = config.Secret(natstest.Start(t).URL())
				binary := build(t, "worker")
				for range workers {
					startWorker(t, binary, o)
				}
			}
			copyAll(t, o)
			pgtest.RequireEqual(t, src, dst)
		})
	}
}

// loadSample makes the sample database whose SQL files PGCONVOY_TEST_SAMPLE names,
// separated by commas; without, the test is skipped.
func loadSample(t *testing.T, server *pgtest.Server) *pgtest.Database {
	t.Helper()
	files := os.Getenv("PGCONVOY_TEST_SAMPLE")
	if files == "" {
		t.Skip("PGCONVOY_TEST_SAMPLE names no SQL files")
	}
	db := server.Database(t)
	for file := range strings.SplitSeq(files, ",") {
		db.LoadFile(t, file)
	}
	return db
}
