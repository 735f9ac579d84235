package check

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgconvoy/pgconvoy/internal/pg"
)

// checkClones makes sure that every clone that shares the reading stands where the
// source does: it must be a standby of the same cluster and timeline, and have
// replayed just as much.
func checkClones(ctx context.Context, p *probe) (Findings, error) {
	if len(p.Clones) == 0 {
		return nil, nil
	}
	const still = "let the source and all clones replay up to the same position and stand still there: SELECT pg_wal_replay_pause() on each, or recovery_target_lsn with recovery_target_action = 'pause'; or take source_clones out"
	want, err := pg.ReadPosition(ctx, p.Source)
	switch {
	case errors.Is(err, pg.ErrNoPosition):
		return Findings{blocker("clones", still+"; a role needs EXECUTE on pg_control_system(), pg_control_checkpoint() and pg_control_recovery()",
			"the %s has clones that are to share the reading, and is no standby that could stand still with them: %v", p.source.place(), err)}, nil
	case err != nil:
		return nil, err
	}
	var found Findings
	for _, c := range p.Clones {
		at, err := pg.ReadPosition(ctx, c)
		why := ""
		switch {
		case errors.Is(err, pg.ErrNoPosition):
			why = err.Error()
		case err != nil:
			return nil, err
		case at.Fingerprint != want.Fingerprint:
			why = fmt.Sprintf("it is database %s, and the source is %s", at.Fingerprint, want.Fingerprint)
		case at.Timeline != want.Timeline:
			why = fmt.Sprintf("it is on timeline %s, and the source on %s", at.Timeline, want.Timeline)
		case at.LSN != want.LSN:
			why = fmt.Sprintf("it has replayed up to %s, and the source up to %s", at.LSN, want.LSN)
		}
		if why != "" {
			cfg := c.Config()
			found = append(found, blocker("clones", still, "the clone of the source at %s cannot share the reading: %s", address(cfg.Host, cfg.Port), why))
		}
	}
	return found, nil
}
