package pg

import (
	"context"
	"fmt"
)

// WALSettings is what decides how much WAL a server writes.
type WALSettings struct {
	Minimal bool // wal_level: what is made and filled in one transaction is not logged
	Hints   bool // hint bits of a page are logged, if they are the first change of it after a checkpoint
}

// ReadWALSettings reads the settings of the server.
func ReadWALSettings(ctx context.Context, c *Conn) (WALSettings, error) {
	var s WALSettings
	err := c.QueryRow(ctx, `SELECT pg_catalog.current_setting('wal_level') = 'minimal',
		'on' IN (pg_catalog.current_setting('data_checksums'), pg_catalog.current_setting('wal_log_hints'))`).Scan(&s.Minimal, &s.Hints)
	if err != nil {
		return s, fmt.Errorf("read settings of the WAL of the %s: %w", c.side, err)
	}
	return s, nil
}
