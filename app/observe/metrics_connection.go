package observe

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/palisade-security/palisade/event"
)

// connections are the series of connections that are no HTTP. They are not requests and count as none.
type connections struct {
	ended *prometheus.CounterVec
	bytes *prometheus.CounterVec
}

func newConnections(r prometheus.Registerer) connections {
	c := connections{
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "palisade_connections_total", Help: "Connections that have ended, by service, side and result: carried, broken, failed or refused; an empty service lies outside the fleet."}, []string{"service", "side", "result"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "palisade_connection_bytes_total", Help: "Bytes of connections by service, side and direction."}, []string{"service", "side", "direction"}),
	}
	r.MustRegister(c.ended, c.bytes)
	return c
}

func (c *connections) observe(e *event.Event) {
	side, result := e.Connection.Side.String(), "carried"
	switch {
	case !e.Allowed:
		result = "refused"
	case e.Problem != "":
		result = "failed"
	case e.Aborted != "":
		result = "broken"
	}
	c.ended.WithLabelValues(e.Service, side, result).Inc()
	if e.BytesIn+e.BytesOut > 0 {
		c.bytes.WithLabelValues(e.Service, side, "in").Add(float64(e.BytesIn))
		c.bytes.WithLabelValues(e.Service, side, "out").Add(float64(e.BytesOut))
	}
}
