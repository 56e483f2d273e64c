package observe

import (
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
)

func carried() *event.Event {
	return &event.Event{
		Time: time.Date(2026, 11, 22, 10, 30, 0, 0, time.UTC), ID: "id-1", Workload: "spiffe://shop.example/service/orders", Service: "db",
		Host: "db:5432", Allowed: true, BytesIn: 5 << 20, BytesOut: 77, Took: 61 * time.Second, Upstream: "127.0.0.1:5432",
		Connection: &event.Connection{Side: event.SideInbound, Protocol: "tcp"},
	}
}

func TestConnectionLine(t *testing.T) {
	refused := carried()
	refused.Allowed, refused.BytesIn, refused.BytesOut, refused.Took, refused.Workload = false, 0, 0, time.Millisecond, "spiffe://shop.example/x\x1b[2J"
	refused.Trail = []event.Stage{{Name: event.StageAuthorise, Outcome: event.OutcomeDeny, Reasons: []event.Reason{{Code: "call-not-declared"}}}}
	outside := carried()
	outside.Host, outside.Service, outside.Upstream, outside.Aborted = "api.example.com:443", "", "192.0.2.7:443", "timeout"
	outside.Connection = &event.Connection{Side: event.SideEgress, Protocol: "tls"}
	for want, e := range map[string]*event.Event{
		"10:30:00 ✓ tcp  inbound  orders → db:5432  ↑5.0MiB ↓77B 1m1s  id-1":                                                    carried(),
		"10:30:00 ✗ tcp  inbound  spiffe://shop.example/x?[2J → db:5432  ↑0B ↓0B 1ms  authorise: call-not-declared  id-1":       refused,
		"10:30:00 ! tls  egress   orders → api.example.com:443 (192.0.2.7:443)  ↑5.0MiB ↓77B 1m1s  broken off by timeout  id-1": outside,
		"00:00:00 ✗      unknown  - → -  ↑0B ↓0B 0s  ":                                                                          {Connection: &event.Connection{}, Time: time.Unix(0, 0).UTC()},
	} {
		if got := Line(e, Style{}); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}

// TestConnectionsAreNoRequests holds that the series of requests stay those of requests.
func TestConnectionsAreNoRequests(t *testing.T) {
	m := NewMetrics(func() float64 { return 0 })
	m.Observe(carried())
	refused := carried()
	refused.Allowed, refused.BytesIn, refused.BytesOut = false, 0, 0
	m.Observe(refused)
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	b, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`palisade_connections_total{result="carried",service="db",side="inbound"} 1`,
		`palisade_connections_total{result="refused",service="db",side="inbound"} 1`,
		`palisade_connection_bytes_total{direction="in",service="db",side="inbound"} 5.24288e+06`,
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%s is missing", want)
		}
	}
	if strings.Contains(string(b), "palisade_requests_total{") {
		t.Error("a connection counts as a request")
	}
}
