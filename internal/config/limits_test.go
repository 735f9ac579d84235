package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseLimits(t *testing.T) {
	t.Parallel()
	given, err := ParseLimits([]string{"source.bytes_per_second=50MB", "target.max_replica_lag=1GB", "target.connections=0", "automatic=true"})
	require.NoError(t, err)
	require.Equal(t, map[string]int64{"source.bytes_per_second": 50 << 20, "target.max_replica_lag": 1 << 30, "target.connections": 0, "automatic": 1}, given)

	_, err = ParseLimits([]string{"source.bytes=1", "automatic", "source.bytes_per_second=1kB", "source.connections=-1", "target.connections=6", "target.max_lock_waits=many"})
	require.Equal(t, []string{
		`source.bytes=1: no limit is called "source.bytes" | there are source.bytes_per_second, source.connections, source.max_replica_lag, source.max_lock_waits, source.max_active_sessions, target.connections, target.max_replica_lag, target.max_wal_archive_backlog, target.max_checkpoints, target.max_lock_waits, target.max_active_sessions, automatic`,
		`automatic: it has no value | write automatic=VALUE; 0 lifts the limit`,
		`target.max_lock_waits=many: limits.target.max_lock_waits: "many" is not a whole number`,
		`source.bytes_per_second=1kB: limits.source.bytes_per_second: 1kB is less than 1MB | less than 1MB is as good as nothing; planner pause stops a run`,
		`source.connections=-1: limits.source.connections: -1 is less than 3 | copies, large objects and the rest need one each`,
		`target.connections=6: limits.target.connections: 6 is less than 7 | each of the stages needs one`,
	}, problemsIn(t, err, ""))
}

func TestLimitsAreValidated(t *testing.T) {
	path := write(t, "source: {uri: postgres://a/b}\ntarget: {uri: postgres://c/d}\nlimits:\n  source: {connections: 2}\n  target: {max_lock_waits: -1}\n")
	t.Setenv("PGCONVOY_LIMITS_SOURCE_BYTES_PER_SECOND", "5kB")
	_, err := Load(path, nil, Config.Validate)
	require.Equal(t, []string{
		`PGCONVOY_LIMITS_SOURCE_BYTES_PER_SECOND: limits.source.bytes_per_second: 5kB is less than 1MB | less than 1MB is as good as nothing; planner pause stops a run`,
		`planner.yaml:4: limits.source.connections: 2 is less than 3 | copies, large objects and the rest need one each`,
		`planner.yaml:5: limits.target.max_lock_waits: -1 is less than 0 | 0 is no limit`,
	}, problemsIn(t, err, path))
}
