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

// Bucket is what is due in object storage and is not there yet.
type Bucket struct {
	Segments int
	Bytes    int64
	Behind   time.Duration // age of the oldest event of them; 0: nothing waits
}

// bucket shows what waits to be brought to object storage.
type bucket struct {
	look func() (Bucket, bool)

	segments, bytes, behind *prometheus.Desc
}

// Bucket shows what waits to be brought to object storage, and nothing while look returns false. Look is asked at every scrape, and must
// be safe for concurrent use.
func (m *Metrics) Bucket(look func() (Bucket, bool)) {
	d := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("palisade_events_bucket_"+name, help, nil, nil)
	}
	m.registry.MustRegister(&bucket{
		look:     look,
		segments: d("waiting_segments", "Segments of events that are due in object storage and not there yet."),
		bytes:    d("waiting_bytes", "Their bytes."),
		behind:   d("behind_seconds", "Age of the oldest event in them; 0: all are there."),
	})
}

// Describe implements prometheus.Collector.
func (b *bucket) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{b.segments, b.bytes, b.behind} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (b *bucket) Collect(ch chan<- prometheus.Metric) {
	now, ok := b.look()
	if !ok {
		return
	}
	ch <- prometheus.MustNewConstMetric(b.segments, prometheus.GaugeValue, float64(now.Segments))
	ch <- prometheus.MustNewConstMetric(b.bytes, prometheus.GaugeValue, float64(now.Bytes))
	ch <- prometheus.MustNewConstMetric(b.behind, prometheus.GaugeValue, now.Behind.Seconds())
}
