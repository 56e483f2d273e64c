package observe

import "github.com/prometheus/client_golang/prometheus"

// Export is how handing events on to one server stands. The counts begin when the process does.
type Export struct {
	Name, Kind string
	Behind     uint64 // events that wait
	Sent       uint64
	Refused    uint64 // by the server, for good
	Lost       uint64 // gone from the record before they were sent
	Failures   uint64 // of sending
	Failing    bool
}

// exports shows how handing events on stands.
type exports struct {
	look func() []Export

	behind, sent, refused, lost, failures, failing *prometheus.Desc
}

// Exports shows how handing events on stands. Look is asked at every scrape, and must be safe for concurrent use.
func (m *Metrics) Exports(look func() []Export) {
	d := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("palisade_export_"+name, help, []string{"export", "kind"}, nil)
	}
	m.registry.MustRegister(&exports{
		look:     look,
		behind:   d("behind", "Events that are recorded and not yet sent to a server."),
		sent:     d("sent_total", "Events that a server has taken."),
		refused:  d("refused_total", "Events that a server refused for good; they are dead letters."),
		lost:     d("lost_total", "Events that were gone from the record before they could be sent."),
		failures: d("failures_total", "Attempts to send that failed."),
		failing:  d("failing", "1 while sending fails."),
	})
}

// Describe implements prometheus.Collector.
func (x *exports) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{x.behind, x.sent, x.refused, x.lost, x.failures, x.failing} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (x *exports) Collect(ch chan<- prometheus.Metric) {
	for _, e := range x.look() {
		put := func(d *prometheus.Desc, kind prometheus.ValueType, v float64) {
			ch <- prometheus.MustNewConstMetric(d, kind, v, e.Name, e.Kind)
		}
		put(x.behind, prometheus.GaugeValue, float64(e.Behind))
		put(x.sent, prometheus.CounterValue, float64(e.Sent))
		put(x.refused, prometheus.CounterValue, float64(e.Refused))
		put(x.lost, prometheus.CounterValue, float64(e.Lost))
		put(x.failures, prometheus.CounterValue, float64(e.Failures))
		put(x.failing, prometheus.GaugeValue, one(e.Failing))
	}
}
