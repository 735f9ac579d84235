package config

import (
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"
)

// Limits bound what a run asks of the servers and what it may do to them. 0 is no
// limit. docs/throttling.md says more.
type Limits struct {
	Source SourceLimits `yaml:"source"`
	Target TargetLimits `yaml:"target"`
	// Automatic sets a bound for what is not set, where there is one that suits
	// most servers, and copies only slow down beyond those.
	Automatic bool `yaml:"automatic"`
}

// SourceLimits are those of the source.
type SourceLimits struct {
	// BytesPerSecond bounds the rows that all workers together move.
	BytesPerSecond Bytes `yaml:"bytes_per_second" split_words:"true"`
	// Connections bounds the sessions that all tasks together have at the same time.
	Connections int `yaml:"connections"`
	// Copies stand still while one of these is exceeded.
	MaxReplicaLag     Bytes `yaml:"max_replica_lag" split_words:"true"`
	MaxLockWaits      int   `yaml:"max_lock_waits" split_words:"true"`
	MaxActiveSessions int   `yaml:"max_active_sessions" split_words:"true"`
}

// TargetLimits are those of the target.
type TargetLimits struct {
	Connections int `yaml:"connections"`
	// Copies stand still while one of these is exceeded.
	MaxReplicaLag        Bytes `yaml:"max_replica_lag" split_words:"true"`
	MaxWALArchiveBacklog Bytes `yaml:"max_wal_archive_backlog" split_words:"true"`
	MaxCheckpoints       int   `yaml:"max_checkpoints" split_words:"true"`
	MaxLockWaits         int   `yaml:"max_lock_waits" split_words:"true"`
	MaxActiveSessions    int   `yaml:"max_active_sessions" split_words:"true"`
}

const (
	limitsPrefix = "limits."
	// minRate is some pieces of rows per second, for several streams.
	minRate = MB
	// Every stage needs a session of its own on the target, and three of them one on the source.
	minSourceConnections, minTargetConnections = 3, 7
)

// All yields every limit's name below limits, and its number; true is 1.
func (l Limits) All() iter.Seq2[string, int64] {
	return func(yield func(string, int64) bool) {
		for _, s := range settingsIn(reflect.ValueOf(&l).Elem(), "") {
			if !yield(s.path, number(s.value)) {
				return
			}
		}
	}
}

func number(v reflect.Value) int64 {
	switch {
	case v.Kind() != reflect.Bool:
		return v.Int()
	case v.Bool():
		return 1
	}
	return 0
}

// ParseLimits reads limits in the form source.bytes_per_second=50MB, and returns
// those that it was given by name. All that is wrong is in one *ValidationError.
func ParseLimits(texts []string) (map[string]int64, error) {
	cfg := Default()
	l := loader{settings: settingsOf(&cfg), origins: map[string]string{}}
	given := map[string]int64{}
	for _, text := range texts {
		name, value, found := strings.Cut(text, "=")
		i := slices.IndexFunc(l.settings, func(s setting) bool { return s.path == limitsPrefix+name })
		switch {
		case i < 0:
			l.problems.add(text, fmt.Sprintf("no limit is called %q", name), "there are "+strings.Join(limitNames(), ", "))
			continue
		case !found:
			l.problems.add(text, "it has no value", "write "+name+"=VALUE; 0 lifts the limit")
			continue
		}
		l.override(Override{Flag: text, Key: limitsPrefix + name, Value: value})
		given[name] = number(l.settings[i].value)
	}
	var p problems
	cfg.limits(&p)
	l.rule(p.err())
	return given, l.problems.err()
}

func limitNames() []string {
	var names []string
	for name := range (Limits{}).All() {
		names = append(names, name)
	}
	return names
}

// limits holds the rules for limits.
func (c Config) limits(p *problems) {
	for name, n := range c.Limits.All() {
		least, why := int64(0), "0 is no limit"
		switch name {
		case "source.bytes_per_second":
			least, why = int64(minRate), "less than 1MB is as good as nothing; planner pause stops a run"
		case "source.connections":
			least, why = minSourceConnections, "copies, large objects and the rest need one each"
		case "target.connections":
			least, why = minTargetConnections, "each of the stages needs one"
		}
		if n < 0 || n > 0 && n < least {
			value, bound := fmt.Sprint(n), fmt.Sprint(least)
			if name == "source.bytes_per_second" {
				value, bound = Bytes(n).String(), minRate.String()
			}
			p.add(limitsPrefix+name, fmt.Sprintf("%s is less than %s", value, bound), why)
		}
	}
}
