package app

import (
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/store/query"
	"github.com/palisade-security/palisade/store/segment"
)

// TestRetention: what services hold says how long their events are kept, at least.
func TestRetention(t *testing.T) {
	year, decade := 365*24*time.Hour, 10*365*24*time.Hour
	got := retention(&model.Snapshot{
		Audit: model.Audit{Retain: model.Retain{Requests: model.Duration(48 * time.Hour)}},
		Services: []model.ResolvedService{
			{Name: "ledger", Retain: model.Duration(decade)}, {Name: "orders", Retain: model.Duration(year)}, {Name: "payments", Retain: model.Duration(year)}, {Name: "web"},
		},
	})
	for class, want := range map[string]time.Duration{segment.ClassRequest: 48 * time.Hour, segment.ClassConnection: model.DefaultRetain.Std(), segment.ClassAct: model.DefaultRetainActs.Std()} {
		if got.Class[class] != want {
			t.Errorf("%s are kept %s, want %s", class, got.Class[class], want)
		}
	}
	for service, want := range map[string]time.Duration{"ledger": decade, "orders": year, "payments": year, "web": 0, "": 0} {
		longest := time.Duration(0)
		for _, l := range got.Longer {
			if q := (query.Query{Where: l.Where}); q.Match(&event.Event{Time: time.Now(), ID: "id", Service: service}) {
				longest = max(longest, l.Keep)
			}
		}
		if longest != want {
			t.Errorf("events of %q are kept %s, want %s", service, longest, want)
		}
	}
	if len(got.Longer) != 2 {
		t.Errorf("%d queries for two times", len(got.Longer))
	}
}
