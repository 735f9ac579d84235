package throttle_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
	"github.com/pgconvoy/pgconvoy/internal/throttle"
)

// caps are those of a default configuration, with more index builds than copies.
func caps() map[tasks.Stage]int {
	return map[tasks.Stage]int{tasks.StageCopy: 4, tasks.StageIndex: 6, tasks.StageAttach: 2, tasks.StageAnalyze: 2, tasks.StageFKey: 2, tasks.StageBlob: 1, tasks.StageMisc: 2}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	require.Empty(t, throttle.Bounds(tasks.Limits{tasks.SourceRate: 1 << 20, tasks.SourceConnections: 5}), "the servers need not be looked at for these")
	require.Equal(t, []throttle.Bound{{Limit: tasks.TargetReplicaLag, Max: 7, Firm: true}}, throttle.Bounds(tasks.Limits{tasks.TargetReplicaLag: 7}))
	automatic := throttle.Bounds(tasks.Limits{tasks.Automatic: 1, tasks.TargetReplicaLag: 7, tasks.TargetActiveSessions: 3})
	require.Len(t, automatic, 7)
	for _, b := range automatic {
		require.Positive(t, b.Max)
		require.Equal(t, b.Limit == tasks.TargetReplicaLag || b.Limit == tasks.TargetActiveSessions, b.Firm, b.Limit)
	}
}

// levels lets a governor take one look after the other at a value whose bound is 100.
func levels(b throttle.Bound, soft bool, values ...int64) []int {
	g := throttle.NewGovernor()
	var list []int
	for _, v := range values {
		look := throttle.Look{Values: map[tasks.Limit]int64{b.Limit: v}, Soft: map[tasks.Limit]bool{b.Limit: soft}}
		if v < 0 {
			look = throttle.Look{Silent: true}
		}
		level := g.Decide([]throttle.Bound{b}, look, caps()).Level
		if level == throttle.Free {
			level = -1
		}
		list = append(list, level)
	}
	return list
}

func TestGovernor(t *testing.T) {
	t.Parallel()
	const free = -1
	firm, slow := throttle.Bound{Limit: tasks.TargetReplicaLag, Max: 100, Firm: true}, throttle.Bound{Limit: tasks.TargetReplicaLag, Max: 100}
	for name, c := range map[string]struct {
		bound  throttle.Bound
		soft   bool
		values []int64
		want   []int
	}{
		"nothing near":              {firm, false, []int64{0, 80, 80}, []int{free, free, free}},
		"near is not over":          {firm, false, []int64{100, 81}, []int{free, free}},
		"halved down to nothing":    {firm, false, []int64{101, 500, 500, 500}, []int{2, 1, 0, 0}},
		"near keeps it":             {firm, false, []int64{101, 90, 90, 90, 90, 90}, []int{2, 2, 2, 2, 2, 2}},
		"comes back slowly":         {firm, false, []int64{101, 0, 0, 0, 0, 0, 0}, []int{2, 2, 2, 3, 3, 3, 4}},
		"up to the largest cap":     {firm, false, []int64{101, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, []int{2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5, free}},
		"near begins to count anew": {firm, false, []int64{101, 0, 0, 90, 0, 0, 0}, []int{2, 2, 2, 2, 2, 2, 3}},
		"held until it is not near": {firm, false, []int64{101, 101, 101, 90, 81, 80, 80}, []int{2, 1, 0, 0, 0, 1, 1}},
		"automatic never holds":     {slow, false, []int64{101, 500, 500, 500}, []int{2, 1, 1, 1}},
		"own doing never holds":     {firm, true, []int64{101, 500, 500, 500}, []int{2, 1, 1, 1}},
		"silence slows":             {firm, false, []int64{-1, -1, -1}, []int{2, 1, 1}},
		"silence does not let go":   {firm, false, []int64{101, 101, 101, -1, 0}, []int{2, 1, 0, 0, 1}},
	} {
		require.Equal(t, c.want, levels(c.bound, c.soft, c.values...), name)
	}
}

func TestGovernorSaysWhy(t *testing.T) {
	t.Parallel()
	g := throttle.NewGovernor()
	bounds := throttle.Bounds(tasks.Limits{tasks.SourceLockWaits: 3, tasks.TargetReplicaLag: 1 << 30, tasks.TargetArchiveBacklog: 1 << 20})
	v := g.Decide(bounds, throttle.Look{Values: map[tasks.Limit]int64{tasks.SourceLockWaits: 9}}, caps())
	require.Equal(t, []tasks.Stage{tasks.StageCopy, tasks.StageBlob}, v.Stages, "index builds do nothing to the source")
	v = g.Decide(bounds, throttle.Look{Values: map[tasks.Limit]int64{tasks.SourceLockWaits: 0, tasks.TargetReplicaLag: 5 << 28}}, caps())
	require.Equal(t, []tasks.Stage{tasks.StageCopy, tasks.StageBlob, tasks.StageIndex}, v.Stages)
	require.Equal(t, 1, v.Level)
	now := tasks.Throttle{Over: v.Over, Lowered: []tasks.Lowered{{Stage: tasks.StageCopy, From: 4, To: 1}}}
	require.Equal(t, "throttled: target replica lag 1.25 GB > 1.00 GB, copy 4 → 1", now.Describe())
	require.Empty(t, tasks.Throttle{Over: v.Over}.Describe(), "nothing is lowered")
	now.Over = nil
	require.Equal(t, "throttled: copy 4 → 1; it comes back step by step", now.Describe())
	now.Silent = g.Decide(bounds, throttle.Look{Silent: true}, caps()).Silent
	require.Equal(t, "throttled: the source does not answer in time, copy 4 → 1", now.Describe())
	require.Equal(t, throttle.Free, g.Decide(nil, throttle.Look{}, caps()).Level, "limits that are lifted hold nothing back")
}

// TestHeldForOneIsNotHeldForAnother: a bound that does not hold copies does not keep
// them held.
func TestHeldForOneIsNotHeldForAnother(t *testing.T) {
	t.Parallel()
	bounds := []throttle.Bound{{Limit: tasks.TargetReplicaLag, Max: 100, Firm: true}, {Limit: tasks.TargetLockWaits, Max: 5}}
	g := throttle.NewGovernor()
	look := throttle.Look{Values: map[tasks.Limit]int64{tasks.TargetReplicaLag: 200, tasks.TargetLockWaits: 50}}
	for range 4 {
		g.Decide(bounds, look, caps())
	}
	require.Zero(t, g.Decide(bounds, look, caps()).Level)
	look.Values[tasks.TargetReplicaLag] = 0
	require.Equal(t, 1, g.Decide(bounds, look, caps()).Level)
	require.Equal(t, 1, g.Decide(bounds, look, caps()).Level)
}

func TestFit(t *testing.T) {
	t.Parallel()
	all := func(ready, open int) map[tasks.Stage]throttle.Work {
		work := map[tasks.Stage]throttle.Work{}
		for _, s := range tasks.Stages() {
			work[s] = throttle.Work{Ready: ready, Open: open}
		}
		return work
	}
	sum := func(caps map[tasks.Stage]int, stages ...tasks.Stage) (n int) {
		for _, s := range stages {
			n += caps[s]
		}
		return n
	}
	require.Equal(t, caps(), throttle.Fit(caps(), nil, nil))
	require.Equal(t, caps(), throttle.Fit(caps(), tasks.Limits{tasks.SourceConnections: 7, tasks.TargetConnections: 19}, nil), "they fit")
	for target := 7; target < 19; target++ {
		for source := 3; source < 7; source++ {
			for _, work := range []map[tasks.Stage]throttle.Work{nil, all(9, 9), all(0, 9)} {
				got := throttle.Fit(caps(), tasks.Limits{tasks.SourceConnections: int64(source), tasks.TargetConnections: int64(target)}, work)
				require.LessOrEqual(t, sum(got, tasks.Stages()...), target)
				require.LessOrEqual(t, sum(got, tasks.StageCopy, tasks.StageBlob, tasks.StageMisc), source)
				for s, n := range got {
					require.Positive(t, n, s)
					require.LessOrEqual(t, n, caps()[s], s)
				}
			}
		}
	}
	copying := all(0, 5)
	copying[tasks.StageCopy] = throttle.Work{Ready: 100, Open: 100}
	got := throttle.Fit(caps(), tasks.Limits{tasks.TargetConnections: 10}, copying)
	require.Equal(t, 4, got[tasks.StageCopy], "what is ready comes first")
	indexing := all(0, 0)
	indexing[tasks.StageIndex] = throttle.Work{Ready: 100, Open: 100}
	got = throttle.Fit(caps(), tasks.Limits{tasks.TargetConnections: 7}, indexing)
	require.Equal(t, 6, got[tasks.StageIndex], "stages that have nothing left need no session")
}

func TestShares(t *testing.T) {
	t.Parallel()
	busy, idle := throttle.Mover{BytesPerSecond: 500, Slowed: true}, throttle.Mover{}
	for name, c := range map[string]struct {
		movers []throttle.Mover
		want   []int64
	}{
		"none":                 {nil, []int64{}},
		"one":                  {[]throttle.Mover{busy}, []int64{1000}},
		"two":                  {[]throttle.Mover{busy, busy}, []int64{500, 500}},
		"nobody moves":         {[]throttle.Mover{idle, idle}, []int64{500, 500}},
		"one of two moves":     {[]throttle.Mover{busy, idle}, []int64{975, 25}},
		"one takes little":     {[]throttle.Mover{busy, {BytesPerSecond: 100}}, []int64{850, 150}},
		"all take little":      {[]throttle.Mover{{BytesPerSecond: 100}, {BytesPerSecond: 300}}, []int64{375, 625}},
		"more than they may":   {[]throttle.Mover{{BytesPerSecond: 900}, {BytesPerSecond: 900}}, []int64{500, 500}},
		"three, one satisfied": {[]throttle.Mover{busy, {BytesPerSecond: 80}, busy}, []int64{441, 116, 441}},
	} {
		got := throttle.Shares(1000, c.movers)
		require.Equal(t, c.want, got, name)
		var sum int64
		for _, n := range got {
			sum += n
		}
		require.LessOrEqual(t, sum, int64(1000), name)
	}
	require.Equal(t, []int64{1, 1, 1}, throttle.Shares(2, []throttle.Mover{busy, busy, busy}), "nobody is left without anything")
}

func TestWindow(t *testing.T) {
	t.Parallel()
	var w throttle.Window
	at := time.Unix(0, 0)
	require.Zero(t, w.Add(at, 1000))
	require.EqualValues(t, 2, w.Add(at.Add(30*time.Second), 1002))
	require.EqualValues(t, 3, w.Add(at.Add(60*time.Second), 1003))
	require.EqualValues(t, 1, w.Add(at.Add(70*time.Second), 1003), "since 40 s ago")
	require.Zero(t, w.Add(at.Add(80*time.Second), 2), "statistics were reset")
	require.EqualValues(t, 1, w.Add(at.Add(90*time.Second), 3))
}
