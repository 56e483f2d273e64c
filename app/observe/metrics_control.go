package observe

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Fleet is what a control knows of its fleet.
type Fleet struct {
	Version string // in force; empty: none
	Leads   bool
	Bus     bool           // it is connected
	Proxies map[string]int // by state
	Lag     time.Duration  // the longest from a push to its confirmation
	Ending  int            // SVIDs that should have been renewed
	Ended   int            // SVIDs that have ended
	List    uint64         // sequence number of the revocation list
	Ends    time.Time      // of the last intermediate; zero: another issues

	Enrolled, Renewed, Refused uint64 // since the start
	Kept, Forged               uint64 // events of proxies, since the start
}

// fleet shows how a fleet stands, as its control knows it.
type fleet struct {
	look func() Fleet

	proxies, lag, svids, leads, bus, list, ends, enrolled, renewed, refused, kept, forged, snapshot *prometheus.Desc
}

// Fleet shows how a fleet stands. Look is asked at every scrape, and must be safe for concurrent use.
func (m *Metrics) Fleet(look func() Fleet) {
	m.registry.Unregister(m.snapshot) // that of one proxy
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("palisade_"+name, help, labels, nil)
	}
	m.registry.MustRegister(&fleet{
		look:     look,
		proxies:  d("control_proxies", "Proxies by state: current, behind, rejecting, stale or away.", "state"),
		lag:      d("control_lag_seconds", "The longest time that a proxy which is there took from the push of its slice to its confirmation."),
		svids:    d("control_svids", "SVIDs of proxies that should have been renewed (ending) or have ended (ended).", "state"),
		leads:    d("control_leads", "1 if this control leads."),
		bus:      d("control_bus_connected", "1 if this control is connected to the bus."),
		list:     d("control_revocation_list", "Sequence number of the revocation list."),
		ends:     d("control_authority_expiry_seconds", "Seconds until no more identities can be issued."),
		enrolled: d("control_enrolments_total", "Proxies that this control has let in."),
		renewed:  d("control_renewals_total", "SVIDs that this control has renewed."),
		refused:  d("control_refusals_total", "Requests of proxies, or of those who wanted to be one, that this control has denied."),
		kept:     d("control_events_total", "Events that proxies delivered and this control has kept, repeated ones included."),
		forged:   d("control_events_refused_total", "Events that this control has refused since the proxy that delivered them cannot have made them."),
		snapshot: d("snapshot_info", "The snapshot in force.", "version"),
	})
}

// Describe implements prometheus.Collector.
func (f *fleet) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{f.proxies, f.lag, f.svids, f.leads, f.bus, f.list, f.ends, f.enrolled, f.renewed, f.refused, f.kept, f.forged, f.snapshot} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (f *fleet) Collect(ch chan<- prometheus.Metric) {
	s := f.look()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v uint64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v))
	}
	for state, n := range s.Proxies {
		gauge(f.proxies, float64(n), state)
	}
	gauge(f.lag, s.Lag.Seconds())
	gauge(f.svids, float64(s.Ending), "ending")
	gauge(f.svids, float64(s.Ended), "ended")
	gauge(f.leads, one(s.Leads))
	gauge(f.bus, one(s.Bus))
	gauge(f.list, float64(s.List))
	if !s.Ends.IsZero() {
		gauge(f.ends, time.Until(s.Ends).Seconds())
	}
	count(f.enrolled, s.Enrolled)
	count(f.renewed, s.Renewed)
	count(f.refused, s.Refused)
	count(f.kept, s.Kept)
	count(f.forged, s.Forged)
	if s.Version != "" {
		gauge(f.snapshot, 1, s.Version)
	}
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
