package observe

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// expiry shows when SVIDs end.
type expiry struct {
	description *prometheus.Desc
	ends        func() map[string]time.Time
}

// Describe implements prometheus.Collector.
func (e *expiry) Describe(ch chan<- *prometheus.Desc) { ch <- e.description }

// Collect implements prometheus.Collector.
func (e *expiry) Collect(ch chan<- prometheus.Metric) {
	for id, at := range e.ends() {
		ch <- prometheus.MustNewConstMetric(e.description, prometheus.GaugeValue, time.Until(at).Seconds(), id)
	}
}

// SVIDs shows how long the SVID of each identity is still good. Ends is asked at every scrape, and must be safe for
// concurrent use.
func (m *Metrics) SVIDs(ends func() map[string]time.Time) {
	m.registry.MustRegister(&expiry{
		prometheus.NewDesc("palisade_svid_expiry_seconds", "Seconds until the SVID of an identity ends; less than zero: it has ended.", []string{"identity"}, nil), ends,
	})
}
