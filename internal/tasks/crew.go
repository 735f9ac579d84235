package tasks

// Crew is how many worker processes are of use to a run at a moment.
type Crew struct {
	Desired int `json:"desired"` // that have something to do and fit in Room
	Room    int `json:"room"`    // that source and target have sessions for, see [Outlook.Room]; -1 if nobody has counted
}

// Muster reckons how many worker processes are of use: so many that their slots
// hold what is ready or in hand, of each stage no more than its cap lets run at
// once, and no more than there is room for. slots is what one process takes at
// once, room below 0 is not known. While anything is to come there is at least one, although nothing may be
// ready for a moment, and although it may have to share its sessions; while the
// run is paused, or does not run, there is none.
func (s RunStatus) Muster(slots, caps map[Stage]int, room int) Crew {
	crew := Crew{Room: room}
	if s.Paused || s.State != RunRunning || s.Tasks[Ready]+s.Tasks[Pending] == 0 {
		return crew
	}
	work := map[Stage]int{}
	for _, k := range s.Kinds {
		work[k.Kind.Stage()] += k.Tasks[Ready] // a task stays ready until it is done
	}
	for stage, n := range work {
		if slots[stage] > 0 {
			crew.Desired = max(crew.Desired, (min(n, caps[stage])+slots[stage]-1)/slots[stage])
		}
	}
	if room >= 0 {
		crew.Desired = min(crew.Desired, room)
	}
	crew.Desired = max(crew.Desired, 1)
	return crew
}
