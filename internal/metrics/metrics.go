// Package metrics is what a process says of itself over HTTP, to Prometheus and to
// whoever runs it: what it measures, whether it is alive and ready, and how many
// workers are of use. planner.go has what the planner knows of its run, worker.go
// what a process that does tasks measures, handler.go where all of it is served.
//
// A new measure is one line in the list of its file, and one in docs/metrics.md,
// which a test compares. Names begin with pgconvoy_, units are seconds and bytes. No
// label holds a name from a database, or of a task: there may be a million of them,
// and whoever scrapes need not know them.
package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
)

// measure is a metric whose values are read from a state of type S when it is
// scraped.
type measure[S any] struct {
	name   string
	help   string
	labels []string
	read   func(s S, set setter)
}

// setter is told a value, with those of the labels.
type setter func(value float64, labels ...string)

// described is a measure with what Prometheus wants to know of it.
type described[S any] struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(s S, set setter)
}

// describe prepares measures of one type.
func describe[S any](kind prometheus.ValueType, list []measure[S]) []described[S] {
	all := make([]described[S], len(list))
	for i, m := range list {
		all[i] = described[S]{prometheus.NewDesc(m.name, m.help, m.labels, nil), kind, m.read}
	}
	return all
}

// collect sends what the measures read from the state.
func collect[S any](ch chan<- prometheus.Metric, list []described[S], s S) {
	for _, m := range list {
		m.read(s, func(value float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(m.desc, m.kind, value, labels...)
		})
	}
}

// one is 1 if it is so, and 0 if not.
func one(so bool) float64 {
	if so {
		return 1
	}
	return 0
}
