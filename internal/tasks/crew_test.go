package tasks

import (
	"cmp"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMuster(t *testing.T) {
	t.Parallel()
	ready := func(n int) map[State]int { return map[State]int{Ready: n, Done: 1000} }
	for name, c := range map[string]struct {
		kinds   []KindStatus
		pending int
		state   RunState
		paused  bool
		caps    map[Stage]int
		room    int // 0 stands for one that is not known
		want    int
	}{
		"one task":                          {kinds: []KindStatus{{Kind: KindCopy, Tasks: ready(1)}}, caps: map[Stage]int{StageCopy: 100}, want: 1},
		"rounded up":                        {kinds: []KindStatus{{Kind: KindCopy, Tasks: ready(9)}}, caps: map[Stage]int{StageCopy: 100}, want: 3},
		"kinds of one stage are added":      {kinds: []KindStatus{{Kind: KindCopy, Tasks: ready(4)}, {Kind: KindBundle, Tasks: ready(1)}}, caps: map[Stage]int{StageCopy: 100}, want: 2},
		"stages go on side by side":         {kinds: []KindStatus{{Kind: KindCopy, Tasks: ready(8)}, {Kind: KindIndex, Tasks: ready(9)}}, caps: map[Stage]int{StageCopy: 100, StageIndex: 100}, want: 3},
		"no more than the cap lets run":     {kinds: []KindStatus{{Kind: KindCopy, Tasks: ready(1000)}}, caps: map[Stage]int{StageCopy: 10}, want: 3},
		"no more than the servers let in":   {kinds: []KindStatus{{Kind: KindCopy, Tasks: ready(1000)}}, caps: map[Stage]int{StageCopy: 100}, room: 7, want: 7},
		"a stage that others do":            {kinds: []KindStatus{{Kind: KindFKeyAdd, Tasks: ready(50)}}, caps: map[Stage]int{StageFKey: 100}, want: 1},
		"a stage that is capped at nothing": {kinds: []KindStatus{{Kind: KindCopy, Tasks: ready(50)}}, want: 1},
		"nothing ready, something to come":  {kinds: []KindStatus{{Kind: KindIndex, Tasks: map[State]int{Pending: 5}}}, pending: 5, want: 1},
		"all done":                          {kinds: []KindStatus{{Kind: KindCopy, Tasks: ready(0)}}, want: 0},
		"what has failed needs nobody":      {kinds: []KindStatus{{Kind: KindCopy, Tasks: map[State]int{Failed: 3}}}, want: 0},
		"paused":                            {kinds: []KindStatus{{Kind: KindCopy, Tasks: ready(9)}}, paused: true, caps: map[Stage]int{StageCopy: 100}, want: 0},
		"planning":                          {state: RunPlanning, want: 0},
		"ended with work left":              {kinds: []KindStatus{{Kind: KindCopy, Tasks: ready(9)}}, state: RunComplete, want: 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := RunStatus{State: RunRunning, Paused: c.paused, Kinds: c.kinds, Tasks: map[State]int{Pending: c.pending}}
			if c.state != "" {
				s.State = c.state
			}
			for _, k := range c.kinds {
				s.Tasks[Ready] += k.Tasks[Ready]
			}
			room := cmp.Or(c.room, -1)
			require.Equal(t, Crew{Desired: c.want, Room: room}, s.Muster(map[Stage]int{StageCopy: 4, StageIndex: 4}, c.caps, room))
		})
	}
	one := RunStatus{State: RunRunning, Tasks: map[State]int{Ready: 9}, Kinds: []KindStatus{{Kind: KindCopy, Tasks: ready(9)}}}
	require.Equal(t, Crew{Desired: 1}, one.Muster(map[Stage]int{StageCopy: 1}, map[Stage]int{StageCopy: 9}, 0), "one shares its sessions rather than none works")
}
