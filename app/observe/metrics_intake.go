package observe

import "github.com/prometheus/client_golang/prometheus"

// Intake counts log records that are taken in, by their declared sources.
type Intake struct {
	records, bytes *prometheus.CounterVec
	refused        *prometheus.CounterVec
}

// Intake registers the series of the intake. It is called once.
func (m *Metrics) Intake() *Intake {
	in := &Intake{
		records: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "palisade_intake_records_total", Help: "Log records taken in, by source."}, []string{"source"}),
		bytes:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "palisade_intake_bytes_total", Help: "Bytes of log records taken in, by source."}, []string{"source"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "palisade_intake_refusals_total", Help: "Messages with log records that were refused or had to wait, by source and reason; an empty source is nobody who is declared."}, []string{"source", "reason"}),
	}
	m.registry.MustRegister(in.records, in.bytes, in.refused)
	return in
}

// Took counts records of a source.
func (in *Intake) Took(source string, records int, bytes int64) {
	in.records.WithLabelValues(source).Add(float64(records))
	in.bytes.WithLabelValues(source).Add(float64(bytes))
}

// Refused counts a refusal.
func (in *Intake) Refused(source, reason string) { in.refused.WithLabelValues(source, reason).Inc() }
