package check

import "context"

// checkSnapshotAge refuses servers that may end an old snapshot with an error.
// The setting went away with 17.
func checkSnapshotAge(ctx context.Context, p *probe) (Findings, error) {
	var setting *string
	err := queryRow(ctx, p.Source, "SELECT pg_catalog.current_setting('old_snapshot_threshold', true)", &setting)
	if err != nil || setting == nil || *setting == "-1" {
		return nil, err
	}
	return Findings{blocker("snapshot-age", "on the source: ALTER SYSTEM SET old_snapshot_threshold = -1; then restart it",
		"old_snapshot_threshold is %s on the source: the snapshot of the run would become unreadable after that time", *setting)}, nil
}
