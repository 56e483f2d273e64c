package mesh

import (
	"errors"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/identity/workload"
)

// TestExpiry goes through the life of an SVID whose renewal fails, and of one that is renewed.
func TestExpiry(t *testing.T) {
	id, err := workload.ParseID("spiffe://shop.example/service/orders")
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	away := errors.New("the authority is away")
	w := expiry{}
	for _, step := range []struct {
		at       time.Duration // since begin
		expires  time.Duration // since begin; 0: there is none
		failures int
		want     []event.Kind
	}{
		{0, 0, 0, nil},
		{time.Second, time.Hour, 0, nil},
		{29 * time.Minute, time.Hour, 0, nil},
		{31 * time.Minute, time.Hour, 1, []event.Kind{event.KindRenewal}},
		{32 * time.Minute, time.Hour, 5, nil},
		{46 * time.Minute, time.Hour, 9, []event.Kind{event.KindEnding}},
		{47 * time.Minute, time.Hour, 10, nil},
		{60 * time.Minute, time.Hour, 12, []event.Kind{event.KindExpired}},
		{61 * time.Minute, time.Hour, 13, nil},
		{62 * time.Minute, 2 * time.Hour, 0, []event.Kind{event.KindRenewal}},
		{108 * time.Minute, 3 * time.Hour, 0, nil},
		{4 * time.Hour, 3 * time.Hour, 0, []event.Kind{event.KindExpired}}, // the clock has jumped
		{4 * time.Hour, 5 * time.Hour, 0, nil},
	} {
		h := workload.Held{ID: id, Failures: step.failures}
		if step.expires > 0 {
			h.Expires = begin.Add(step.expires)
		}
		if step.failures > 0 {
			h.Err = away
		}
		got := w.look([]workload.Held{h}, begin.Add(step.at))
		if len(got) != len(step.want) {
			t.Fatalf("at %s: %d events, want %v", step.at, len(got), step.want)
		}
		for i, e := range got {
			if e.Act.Kind != step.want[i] || e.Act.Proxy != "orders" || e.Act.Who != id.String() {
				t.Errorf("at %s: %+v", step.at, *e.Act)
			}
		}
	}
	if w.look(nil, begin); len(w) != 0 {
		t.Error("what is no longer held is remembered")
	}
}
