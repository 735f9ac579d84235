package pg_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

// Index builds get memory from a budget that the size of the server gives; a
// server that has more for them keeps it.
func TestIndexMemory(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, pgtest.Options{Settings: map[string]string{"shared_buffers": "2GB", "maintenance_work_mem": "16MB"}})
	db := server.Database(t)
	memory := func(side pg.Side) (setting string) {
		c, err := pg.Connect(t.Context(), pg.Options{Side: side, URI: db.URI()})
		require.NoError(t, err)
		defer c.Discard()
		require.NoError(t, c.QueryRow(t.Context(), "SELECT current_setting('maintenance_work_mem')").Scan(&setting))
		return setting
	}
	require.Equal(t, "128MB", memory(pg.Target))
	require.Equal(t, "16MB", memory(pg.Source))
	server.Exec(t, "ALTER DATABASE "+db.Name+" SET maintenance_work_mem = '700MB'")
	require.Equal(t, "700MB", memory(pg.Target))
}
