package engine_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/proxy/engine"
	"github.com/palisade-security/palisade/proxy/upstream"
)

// TestCircuit forwards to a service that fails: once that shows, the gateway answers by itself.
func TestCircuit(t *testing.T) {
	b := upstream.NewBalancer(upstream.Options{}, upstream.HTTP1, "127.0.0.1:1")
	t.Cleanup(b.Close)
	r := plain("/orders")
	r.Service = engine.NewService("orders", "127.0.0.1:1", b, 16)
	h := newHouse(t, http.NotFoundHandler(), []*engine.Route{r}, func(t *engine.Table) { t.Dev = true })
	resp, body := h.get(t, "/orders")
	if resp.StatusCode != http.StatusBadGateway || !strings.Contains(body, "upstream-unreachable") {
		t.Fatalf("at first: %d %s", resp.StatusCode, body)
	}
	for b.State().Circuit == upstream.CircuitClosed {
		h.get(t, "/orders")
	}
	resp, body = h.get(t, "/orders")
	if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "circuit-open") || !strings.Contains(body, "upstream-unreachable") || resp.Header.Get("Retry-After") == "" {
		t.Errorf("with the circuit open: %d %s", resp.StatusCode, body)
	}
	if e := h.events.last(t); e.Attempts != 0 || e.Status != http.StatusServiceUnavailable {
		t.Errorf("event: %+v", e)
	}
}
