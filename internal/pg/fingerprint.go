package pg

import (
	"context"
	"fmt"
)

// Fingerprint identifies the database that the connection is on: the system
// identifier of its cluster and the database's name. Where the role may not
// read the system identifier, the address and start time of the server stand
// in for it; such a fingerprint changes when the server restarts.
func Fingerprint(ctx context.Context, c *Conn) (string, error) {
	var fp string
	err := c.QueryRow(ctx, `SELECT s.system_identifier::text || '/' || pg_catalog.current_database()
		FROM pg_catalog.pg_control_system() s`).Scan(&fp)
	if err == nil {
		return fp, nil
	}
	if !IsCode(err, "42501") {
		return "", fmt.Errorf("read fingerprint of %s: %w", c.side, err)
	}
	err = c.QueryRow(ctx, `SELECT coalesce(pg_catalog.inet_server_addr()::text, 'local') || ':' || coalesce(pg_catalog.inet_server_port(), 0)
		|| '@' || pg_catalog.pg_postmaster_start_time()::text || '/' || pg_catalog.current_database()`).Scan(&fp)
	if err != nil {
		return "", fmt.Errorf("read fingerprint of %s: %w", c.side, err)
	}
	return fp, nil
}
