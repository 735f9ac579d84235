package metrics

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Process is what a process tells of itself.
type Process struct {
	Run     string // the label run of what is measured
	Version string
	Planner *Planner // nil unless it plans
	Worker  *Worker  // nil unless it does tasks
	Log     *slog.Logger
}

// Register adds /metrics, /healthz, /readyz and, of a planner, /desired_workers. They
// ask no server, and need no token: they name neither tables nor hosts.
func (p Process) Register(mux *http.ServeMux) error {
	registry, err := p.registry()
	if err != nil {
		return err
	}
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(p.Log.Handler(), slog.LevelWarn)}))
	mux.Handle("GET /healthz", verdict(p.alive))
	mux.Handle("GET /readyz", verdict(p.ready))
	if p.Planner != nil {
		mux.HandleFunc("GET /desired_workers", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(map[string]int{"desired_workers": p.Planner.desired()}) // whoever asked is gone
		})
	}
	return nil
}

// registry returns what is measured. What is ours has the run as a label, what every
// Go program has is named as everywhere.
func (p Process) registry() (*prometheus.Registry, error) {
	registry := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "pgconvoy_build_info", Help: "1; the label says which build this is.", ConstLabels: prometheus.Labels{"version": p.Version},
	})
	build.Set(1)
	ours := prometheus.WrapRegistererWith(prometheus.Labels{"run": p.Run}, registry)
	list := []prometheus.Collector{build}
	if p.Planner != nil {
		list = append(list, p.Planner)
	}
	if p.Worker != nil {
		list = append(list, p.Worker)
	}
	for _, c := range list {
		if err := ours.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	for _, c := range []prometheus.Collector{collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return registry, nil
}

// alive returns why the process should be started anew, "" if it need not.
func (p Process) alive() string {
	if p.Planner != nil {
		if why := p.Planner.alive(time.Now()); why != "" {
			return why
		}
	}
	if p.Worker != nil {
		return p.Worker.alive(time.Now())
	}
	return ""
}

// ready returns why the process does not do its part, "" if it does. A planner that
// does tasks, too, is ready as a planner.
func (p Process) ready() string {
	if p.Planner != nil {
		return p.Planner.ready()
	}
	return p.Worker.ready(time.Now())
}

// verdict answers 200 if there is no reason not to, and 503 with the reason otherwise.
func verdict(reason func() string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if why := reason(); why != "" {
			http.Error(w, why, http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(w, "ok")
	})
}
