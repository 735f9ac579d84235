package tasks

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Limit is the name of a bound on what a run asks of the servers, or on what it may
// do to them, as people write it.
type Limit string

// The limits. Those that begin with max_ are about how the servers are; the run
// gives way when one is exceeded. See docs/throttling.md for what each counts.
const (
	SourceRate           Limit = "source.bytes_per_second"
	SourceConnections    Limit = "source.connections"
	SourceReplicaLag     Limit = "source.max_replica_lag"
	SourceLockWaits      Limit = "source.max_lock_waits"
	SourceActiveSessions Limit = "source.max_active_sessions"
	TargetConnections    Limit = "target.connections"
	TargetReplicaLag     Limit = "target.max_replica_lag"
	TargetArchiveBacklog Limit = "target.max_wal_archive_backlog"
	TargetCheckpoints    Limit = "target.max_checkpoints"
	TargetLockWaits      Limit = "target.max_lock_waits"
	TargetActiveSessions Limit = "target.max_active_sessions"
	Automatic            Limit = "automatic" // other than 0: those with max_ that are not set have a bound, too
)

// OnTarget reports whether the limit is about the target.
func (l Limit) OnTarget() bool { return strings.HasPrefix(string(l), SideTarget+".") }

// show writes a value of the limit as people do.
func (l Limit) show(n int64) string {
	switch l {
	case SourceRate:
		return Size(n) + "/s"
	case SourceReplicaLag, TargetReplicaLag, TargetArchiveBacklog:
		return Size(n)
	case TargetCheckpoints:
		return fmt.Sprintf("%d per minute", n)
	case Automatic:
		return fmt.Sprint(n != 0)
	}
	return fmt.Sprint(n)
}

// about says what is counted.
func (l Limit) about() string {
	side, what, _ := strings.Cut(string(l), ".")
	what = strings.ReplaceAll(strings.TrimPrefix(what, "max_"), "_", " ")
	return side + " " + strings.Replace(what, "wal", "WAL", 1)
}

// Limits are the bounds of a run by name. One that is 0, or not there, is none.
type Limits map[Limit]int64

// Excess is a limit that is exceeded.
type Excess struct {
	Limit Limit `json:"limit"`
	Value int64 `json:"value"` // as it was found
	Bound int64 `json:"bound"`
}

// String says so in a person's words.
func (e Excess) String() string {
	return fmt.Sprintf("%s %s > %s", e.Limit.about(), e.Limit.show(e.Value), e.Limit.show(e.Bound))
}

// Lowered is the cap of a stage that is not what people have set.
type Lowered struct {
	Stage Stage `json:"stage"`
	From  int   `json:"from"`
	To    int   `json:"to"` // 0: none is given out
}

// Throttle is what limits do to a run at the moment.
type Throttle struct {
	Limits  Limits    `json:"limits,omitempty"`  // those that are set
	Held    bool      `json:"held,omitempty"`    // copies stand still, also those in hand
	Over    []Excess  `json:"over,omitempty"`    // why
	Silent  bool      `json:"silent,omitempty"`  // why, too: the source does not answer in time
	Lowered []Lowered `json:"lowered,omitempty"` // for that reason; what limits on connections do is not here
	Unknown []string  `json:"unknown,omitempty"` // limits that nobody can look after, and why
	Text    string    `json:"text,omitempty"`    // see [Throttle.Describe]
}

// Describe says how the servers hold the run back, "" if they do not.
func (t Throttle) Describe() string {
	if !t.Held && len(t.Lowered) == 0 {
		return ""
	}
	var parts []string
	for _, e := range t.Over {
		parts = append(parts, e.String())
	}
	if t.Silent {
		parts = append(parts, "the source does not answer in time")
	}
	for _, l := range t.Lowered {
		parts = append(parts, fmt.Sprintf("%s %d → %d", l.Stage, l.From, l.To))
	}
	text := "throttled: " + strings.Join(parts, ", ")
	switch {
	case t.Held:
		text += "; copies stand still until that is over"
	case len(t.Over) == 0 && !t.Silent:
		text += "; it comes back step by step"
	}
	return text
}

// Same reports whether nothing but figures has changed.
func (t Throttle) Same(other Throttle) bool {
	return maps.Equal(t.Limits, other.Limits) && t.Held == other.Held && t.Silent == other.Silent && slices.Equal(t.Lowered, other.Lowered) && slices.Equal(t.Unknown, other.Unknown) &&
		slices.EqualFunc(t.Over, other.Over, func(x, y Excess) bool { return x.Limit == y.Limit && x.Bound == y.Bound })
}

// Warnings are what a person should know of the limits.
func (t *Throttle) Warnings() []string {
	if t == nil {
		return nil
	}
	var list []string
	if t.Text != "" {
		list = append(list, t.Text)
	}
	for _, u := range t.Unknown {
		list = append(list, "limit is not kept: "+u)
	}
	return list
}

// String lists the limits as people write them.
func (l Limits) String() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(l)) {
		parts = append(parts, fmt.Sprintf("%s %s", name, name.show(l[name])))
	}
	return strings.Join(parts, ", ")
}

// Pace is how fast a process may move rows.
type Pace struct {
	BytesPerSecond int64 // 0: as fast as it can
	Held           bool  // not at all, for now
}

// Size shows a number of bytes with three significant digits: 1.23 GB.
func Size(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, prefix := float64(n)/unit, 0
	for value >= 999.5 && prefix < 4 {
		value /= unit
		prefix++
	}
	switch {
	case value < 9.995:
		return fmt.Sprintf("%.2f %cB", value, "kMGTP"[prefix])
	case value < 99.95:
		return fmt.Sprintf("%.1f %cB", value, "kMGTP"[prefix])
	}
	return fmt.Sprintf("%.0f %cB", value, "kMGTP"[prefix])
}
