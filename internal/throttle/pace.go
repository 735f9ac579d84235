package throttle

// Mover is a worker process that moves rows, or may begin to.
type Mover struct {
	BytesPerSecond int64 // lately
	Slowed         bool  // it could have moved more
}

// A worker that was not slowed gets so much more than it took, that it can grow, and
// one that moves nothing so small a part, that it can begin.
const (
	growth = 1.25
	crumb  = 20 // parts of an equal share
)

// Shares divides a rate among workers, so that the sum is never more: who could use
// more gets what the others leave, in equal parts.
func Shares(rate int64, movers []Mover) []int64 {
	shares := make([]int64, len(movers))
	if len(movers) == 0 {
		return shares
	}
	demands := make([]float64, len(movers))
	for i, m := range movers {
		demands[i] = float64(rate) / float64(crumb*len(movers))
		switch {
		case m.Slowed:
			demands[i] = float64(rate)
		case m.BytesPerSecond > 0:
			demands[i] += growth * float64(m.BytesPerSecond)
		}
	}
	// The smallest demands are met first, each up to an equal part of what is left.
	left, open := float64(rate), len(movers)
	given := make([]float64, len(movers))
	met := make([]bool, len(movers))
	for open > 0 {
		fair, progress := left/float64(open), false
		for i := range movers {
			if !met[i] && demands[i] <= fair {
				given[i], met[i], progress = demands[i], true, true
				left -= demands[i]
				open--
			}
		}
		if !progress {
			for i := range movers {
				if !met[i] {
					given[i] = fair
				}
			}
			left = 0
			break
		}
	}
	for i := range shares { // nobody wants the rest now, somebody may in a moment
		shares[i] = max(int64(given[i]+left/float64(len(movers))), 1)
	}
	return shares
}
