package run

import (
	"context"

	"github.com/pgconvoy/pgconvoy/internal/check"
	"github.com/pgconvoy/pgconvoy/internal/fleet"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// crew reckons how many worker processes are of use beside the planner's own, if
// that does tasks. Caps are those that the queue has now, whoever has set them.
func (r *running) crew(s tasks.RunStatus) *tasks.Crew {
	caps := fleet.StageNumbers(r.Config.Caps)
	for _, stage := range s.Stages {
		caps[stage.Stage] = stage.Cap
	}
	crew := s.Muster(r.slotsOfOne(s.Workers), caps, r.room)
	if r.Config.RunsWorkers() {
		crew.Desired = max(crew.Desired-1, 0)
		if crew.Room > 0 {
			crew.Room--
		}
	}
	return &crew
}

// slotsOfOne returns how many tasks one worker takes at once, of each stage: the
// fewest that any says of itself, of those that do the stage at all; as they are set
// here while none has answered.
func (r *running) slotsOfOne(workers []tasks.WorkerStatus) map[tasks.Stage]int {
	slots := map[tasks.Stage]int{}
	for _, w := range workers {
		if w.ID == fleet.Name() {
			continue
		}
		for stage, n := range w.Slots {
			if few, known := slots[stage]; n > 0 && (!known || n < few) {
				slots[stage] = n
			}
		}
	}
	if len(slots) == 0 {
		return fleet.StageNumbers(r.Config.Slots)
	}
	return slots
}

// countRoom counts for how many worker processes source and target have sessions
// now. What cannot be counted stays as it was.
func (r *running) countRoom(ctx context.Context, source, target *pg.Conn) {
	needs := sessions(r.Options)
	var err error
	needs[0].Limits, needs[1].Limits, err = check.SessionLimits(ctx, source, target, neededSessions(r.Options), r.ledger.Run().FP)
	if err != nil {
		if ctx.Err() == nil {
			r.Log.Debug("sessions are not counted", "err", err)
		}
		return
	}
	r.room = tasks.Outlook{Sessions: needs}.Room()
}
