package check

import (
	"context"
	"strings"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// checkLimits refuses limits that nobody could keep, as the role may not see what
// they are about.
func checkLimits(ctx context.Context, p *probe) (Findings, error) {
	var found Findings
	for _, side := range []struct {
		*server
		about []tasks.Limit
	}{
		{p.source, []tasks.Limit{tasks.SourceReplicaLag, tasks.SourceActiveSessions}},
		{p.target, []tasks.Limit{tasks.TargetReplicaLag, tasks.TargetActiveSessions}},
	} {
		var names []string
		for _, l := range side.about {
			if p.Limits[l] > 0 {
				names = append(names, "limits."+string(l))
			}
		}
		if len(names) == 0 {
			continue
		}
		var sees bool
		if err := queryRow(ctx, side.Conn, "SELECT pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE')", &sees); err != nil {
			return nil, err
		}
		if !sees {
			found = append(found, blocker("limits", "on the "+string(side.Side())+": GRANT pg_read_all_stats TO "+side.role()+";",
				"%s cannot be kept: role %s may not see what others do on the server of the %s", strings.Join(names, " and "), side.role(), side.place()))
		}
	}
	return found, nil
}
