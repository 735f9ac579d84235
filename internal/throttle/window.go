package throttle

import "time"

// windowOver is how far back a [Window] looks.
const windowOver = time.Minute

// Window says how much a counter has grown within the last minute, or since it is
// looked at.
type Window struct{ seen []reading }

type reading struct {
	at time.Time
	n  int64
}

// Add takes a reading, and returns the growth. A counter that was reset begins anew.
func (w *Window) Add(at time.Time, n int64) int64 {
	if k := len(w.seen); k > 0 && n < w.seen[k-1].n {
		w.seen = nil
	}
	w.seen = append(w.seen, reading{at, n})
	for len(w.seen) > 1 && at.Sub(w.seen[0].at) > windowOver {
		w.seen = w.seen[1:]
	}
	return n - w.seen[0].n
}
