package differ_test

import (
	"log/slog"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/run"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// copied copies a database by a run in this process, with settings that the seed
// decides.
func copied(t *testing.T, src *pgtest.Database, server *pgtest.Server, seed int) *pgtest.Database {
	t.Helper()
	dst := server.Database(t)
	c := drawSettings(rand.New(rand.NewPCG(uint64(seed), 11)))
	c.Source.URI, c.Target.URI = config.Secret(src.URI()), config.Secret(dst.URI())
	c.PGBindir = pgtest.ClientDir(t, server.Major)
	report, err := run.Run(t.Context(), run.Options{Config: c, Version: "test", Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))})
	require.NoError(t, err)
	require.Equal(t, tasks.RunComplete, report.State)
	return dst
}

// drawSettings draws how tables are split and bundled, and what is verified.
func drawSettings(rng *rand.Rand) config.Config {
	c := config.Default()
	c.Split.LargerThan, c.Split.MaxParts = config.Bytes(8<<10<<rng.IntN(5)), 2+rng.IntN(6)
	c.Bundle.MaxTable, c.Bundle.MaxTables = config.Bytes(rng.IntN(3)*16<<10), 1+rng.IntN(20)
	c.Verify = []config.VerifyLevel{config.VerifyNone, config.VerifyRows, config.VerifyDigest}[rng.IntN(3)]
	return c
}
