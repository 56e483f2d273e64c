// Package observe turns events into what operators look at: Prometheus metrics, OpenTelemetry spans and a
// readable line on the terminal. It is not the record; package store/journal keeps that.
package observe

import (
	"net/http"
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/palisade-security/palisade/event"
)

// Metrics are the palisade_* series. Every label has a bounded set of values: routes and services of the
// model, standard methods, statuses, stages and problem slugs.
type Metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	denials  *prometheus.CounterVec
	took     *prometheus.HistogramVec
	upstream *prometheus.HistogramVec
	bytes    *prometheus.CounterVec
	lost     prometheus.Counter
	reloads  *prometheus.CounterVec
	snapshot *prometheus.GaugeVec
	acts     *prometheus.CounterVec
	streams  connections
	bound    sync.Map // series to *bound: looking labels up costs more than counting
}

// series is what the metrics of an ordinary request are bound by. Its values are bounded as the labels are.
type series struct {
	service, route, method string
	status                 int
	side                   event.Side
}

// bound are the metrics of one series.
type bound struct {
	requests       prometheus.Counter
	took, upstream prometheus.Observer
	in, out        prometheus.Counter
}

func (m *Metrics) of(e *event.Event) *bound {
	key := series{e.Service, e.Route, method(e.Method), e.Status, e.Side}
	if b, ok := m.bound.Load(key); ok {
		return b.(*bound) //nolint:forcetypeassert // the map holds nothing else
	}
	at := sideOf(key.side)
	b := &bound{
		requests: m.requests.WithLabelValues(key.service, key.route, key.method, strconv.Itoa(key.status), at),
		took:     m.took.WithLabelValues(key.service, at), upstream: m.upstream.WithLabelValues(key.service, at),
		in: m.bytes.WithLabelValues(key.service, "in", at), out: m.bytes.WithLabelValues(key.service, "out", at),
	}
	m.bound.Store(key, b)
	return b
}

// NewMetrics registers the series. InFlight is read at every scrape.
func NewMetrics(inFlight func() float64) *Metrics {
	buckets := []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "palisade_requests_total", Help: "Requests by route, method and status; an empty route matched none."}, []string{"service", "route", "method", "status", "side"}),
		denials:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "palisade_denials_total", Help: "Refusals by route, stage and problem; dry_run ones were not enforced."}, []string{"route", "stage", "problem", "dry_run", "side"}),
		took:     prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "palisade_request_duration_seconds", Help: "From the request's head to the end of the answer.", Buckets: buckets}, []string{"service", "side"}),
		upstream: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "palisade_upstream_duration_seconds", Help: "Until the head of the service's answer.", Buckets: buckets}, []string{"service", "side"}),
		bytes:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "palisade_body_bytes_total", Help: "Body bytes by service and direction."}, []string{"service", "direction", "side"}),
		lost:     prometheus.NewCounter(prometheus.CounterOpts{Name: "palisade_events_lost_total", Help: "Events that could not be recorded."}),
		reloads:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "palisade_reloads_total", Help: "Attempts to replace the snapshot."}, []string{"result"}),
		snapshot: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "palisade_snapshot_info", Help: "The snapshot in force."}, []string{"version"}),
		acts:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "palisade_acts_total", Help: "Acts on the fleet and its identities by kind and outcome, those left out of the record included."}, []string{"kind", "outcome"}),
	}
	m.streams = newConnections(m.registry)
	m.registry.MustRegister(m.requests, m.denials, m.took, m.upstream, m.bytes, m.lost, m.reloads, m.snapshot, m.acts,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "palisade_requests_in_flight", Help: "Requests being served, tunnels included."}, inFlight))
	return m
}

// Handler serves the exposition format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Lost counts events that could not be recorded.
func (m *Metrics) Lost(n int) { m.lost.Add(float64(n)) }

// Reloaded counts an attempt to replace the snapshot; version is the one in force now.
func (m *Metrics) Reloaded(ok bool, version string) {
	if !ok {
		m.reloads.WithLabelValues("refused").Inc()
		return
	}
	m.reloads.WithLabelValues("applied").Inc()
	m.snapshot.Reset()
	m.snapshot.WithLabelValues(version).Set(1)
}

// Observe counts one event.
func (m *Metrics) Observe(e *event.Event) {
	switch {
	case e.Log != nil: // counted by its source
		return
	case e.Act != nil:
		m.acts.WithLabelValues(string(e.Act.Kind.Known()), string(e.Act.Outcome.Known())).Add(float64(e.Act.Omitted + 1))
		return
	case e.Connection != nil:
		m.streams.observe(e)
		return
	}
	b := m.of(e)
	b.requests.Inc()
	if e.Side != event.SideEgress { // whose answers nobody reads
		b.took.Observe(e.Took.Seconds())
	}
	if e.Upstream != "" {
		b.upstream.Observe(e.UpstreamTook.Seconds())
	}
	b.in.Add(float64(e.BytesIn))
	b.out.Add(float64(e.BytesOut))
	if e.Problem == "" && !e.DryRun {
		return
	}
	for i := range e.Trail {
		if s := &e.Trail[i]; s.Outcome == event.OutcomeDeny || s.Outcome == event.OutcomeError {
			m.denials.WithLabelValues(e.Route, s.Name, e.Problem, strconv.FormatBool(s.DryRun), sideOf(e.Side)).Inc()
		}
	}
}

// sideOf names where a request was seen: each hop of the mesh sees it twice, and the edge once.
func sideOf(s event.Side) string {
	if s == event.SideUnknown {
		return "edge"
	}
	return s.String()
}

// method keeps the label bounded: anyone can send any token as a method.
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	}
	return "other"
}
