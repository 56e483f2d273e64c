package observe

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
)

func TestActLine(t *testing.T) {
	at := time.Date(2026, 11, 22, 10, 30, 0, 0, time.UTC)
	for want, e := range map[string]*event.Event{
		"10:30:00 ✓ act  revoked  alice (operator) → service/payments  stolen; 3 connections cut  id-1": {
			Act: &event.Act{Kind: event.KindRevoked, Who: "alice", Role: "operator", Object: "service/payments", Outcome: event.Done, Text: "stolen; 3 connections cut"},
		},
		"10:30:00 ✗ act  connection-refused  web at 10.0.0.7 → catalog  revoked  and 12 like it  id-1": {
			Client: "10.0.0.7",
			Act:    &event.Act{Kind: event.KindRefused, Who: "spiffe://shop.example/service/web", Proxy: "catalog", Outcome: event.Denied, Reason: "revoked", Omitted: 12},
		},
		"10:30:00 ! act  applied  - → -  a?[2Jb  id-1": {Act: &event.Act{Kind: event.KindApplied, Outcome: event.Failed, Text: "a\x1b[2Jb"}},
	} {
		e.Time, e.ID = at, "id-1"
		if got := Line(e, Style{}); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}

// TestActsAreCounted holds that acts have a series of their own, whose labels nobody can make up.
func TestActsAreCounted(t *testing.T) {
	m := NewMetrics(func() float64 { return 0 })
	m.Observe(&event.Event{Act: &event.Act{Kind: event.KindRefused, Outcome: event.Denied, Omitted: 4}})
	m.Observe(&event.Event{Act: &event.Act{Kind: "made up", Outcome: "made up"}})
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	for _, want := range []string{`palisade_acts_total{kind="connection-refused",outcome="denied"} 5`, `palisade_acts_total{kind="other",outcome="failed"} 1`} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s is missing", want)
		}
	}
	if strings.Contains(w.Body.String(), "palisade_requests_total{") {
		t.Error("an act is counted as a request")
	}
}
