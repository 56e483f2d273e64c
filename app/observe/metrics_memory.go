package observe

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Behind shows how old the oldest event is that is in the record and not yet where the fleet's are kept. It is asked at every
// scrape, and must be safe for concurrent use.
func (m *Metrics) Behind(of func() time.Duration) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "palisade_events_behind_seconds", Help: "Age of the oldest recorded event that is not yet where the fleet's events are kept; 0: all are.",
	}, func() float64 { return of().Seconds() }))
}
