package control

import (
	"testing"
	"time"

	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/store/table"
)

// TestOver: a process that ended is forgotten when another stands in its place, and never one that may come back.
func TestOver(t *testing.T) {
	store, err := table.Open(t.Context(), "sqlite:"+t.TempDir()+"/truth.db")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	begun := time.Now().Add(-time.Hour)
	for name, c := range map[string]struct {
		others  []wire.Report // heard of at the end
		leaving bool
		after   time.Duration
		left    int
	}{
		"silent":              {after: time.Hour, left: 1},
		"another host":        {others: []wire.Report{{Instance: "b", Node: "other", Started: begun.Add(time.Minute)}}, after: time.Hour, left: 2},
		"in its place":        {others: []wire.Report{{Instance: "b", Node: "host", Started: begun.Add(time.Minute)}}, after: time.Hour, left: 1},
		"just now":            {others: []wire.Report{{Instance: "b", Node: "host", Started: begun.Add(time.Second)}}, after: 2 * time.Second, left: 2},
		"beside it from then": {others: []wire.Report{{Instance: "b", Node: "host", Started: begun.Add(-time.Minute)}}, after: time.Hour, left: 2},
		"goodbye":             {leaving: true, after: leftFor + time.Second, left: 0},
		"goodbye, just now":   {leaving: true, after: time.Minute, left: 1},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(store)
			hear := func(r wire.Report, at time.Time) {
				if _, _, err := d.receive("spiffe://shop.example/service/a", r, at); err != nil {
					t.Fatal(err)
				}
			}
			hear(wire.Report{Instance: "a", Node: "host", Started: begun.Add(-time.Minute), Leaving: c.leaving}, begun)
			now := begun.Add(c.after)
			for _, r := range c.others {
				hear(r, now)
			}
			d.mu.Lock()
			d.tidyUp(now)
			gone := len(d.gone)
			d.mu.Unlock()
			if n := len(d.entries()); n != c.left || gone != 1+len(c.others)-c.left {
				t.Errorf("%d are left, %d rows go", n, gone)
			}
		})
	}
}
