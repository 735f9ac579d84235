package web

import (
	"cmp"
	"slices"
	"time"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// timeline is what timeline.js draws; times are in nanoseconds since the run began.
type timeline struct {
	Lanes []string `json:"lanes"` // the workers, each as often as it had tasks at once
	Spans []span   `json:"spans"`
	End   int64    `json:"end"`
}

type span struct {
	Task    tasks.ID    `json:"task"`
	Stage   tasks.Stage `json:"stage"`
	Lane    int         `json:"lane"`
	Start   int64       `json:"start"`
	Took    int64       `json:"took"`
	Rows    int64       `json:"rows,omitempty"`
	Bytes   int64       `json:"bytes,omitempty"`
	Retries int         `json:"retries"`
}

// timelineOf gives every task a lane of its worker that is free while it runs.
func timelineOf(list []tasks.Span) timeline {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(x, y tasks.Span) int {
		return cmp.Or(cmp.Compare(x.Worker, y.Worker), cmp.Compare(x.Start, y.Start))
	})
	t := timeline{Lanes: []string{}, Spans: make([]span, 0, len(list))}
	var free []time.Duration // when each lane of the worker is free again
	first := 0               // lane of the worker
	for i, s := range list {
		if i == 0 || s.Worker != list[i-1].Worker {
			free, first = nil, len(t.Lanes)
		}
		lane := slices.IndexFunc(free, func(at time.Duration) bool { return at <= s.Start })
		if lane < 0 {
			lane = len(free)
			free = append(free, 0)
			t.Lanes = append(t.Lanes, s.Worker)
		}
		free[lane] = s.Start + s.Took
		t.End = max(t.End, int64(free[lane]))
		t.Spans = append(t.Spans, span{
			Task: s.Task, Stage: s.Kind.Stage(), Lane: first + lane, Start: int64(s.Start), Took: int64(s.Took),
			Rows: s.Rows, Bytes: s.Bytes, Retries: s.Retries,
		})
	}
	return t
}
