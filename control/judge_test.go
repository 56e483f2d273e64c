package control

import (
	"testing"
	"time"

	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/control/wire"
)

func TestRegression(t *testing.T) {
	rates := func(requests, errors, refused uint64) admin.Rates {
		return admin.Rates{Requests: requests, Errors: errors, Refused: refused}
	}
	for name, c := range map[string]struct {
		before, after   admin.Rates
		errors, refused bool
	}{
		"nothing yet":           {rates(1000, 0, 0), rates(0, 0, 0), false, false},
		"too few":               {rates(1000, 0, 0), rates(19, 19, 0), false, false},
		"the same":              {rates(1000, 10, 50), rates(1000, 10, 50), false, false},
		"better":                {rates(1000, 100, 0), rates(1000, 1, 0), false, false},
		"all fail":              {rates(1000, 0, 0), rates(20, 20, 0), true, false},
		"five in a hundred":     {rates(10000, 10, 0), rates(1000, 50, 0), true, false},
		"chance":                {rates(1000, 10, 0), rates(100, 3, 0), false, false},
		"always bad":            {rates(1000, 500, 0), rates(200, 110, 0), false, false},
		"refuses":               {rates(1000, 0, 10), rates(1000, 0, 300), false, true},
		"nothing before, fails": {rates(0, 0, 0), rates(200, 100, 0), true, false},
		"nothing before, well":  {rates(0, 0, 0), rates(200, 1, 0), false, false},
	} {
		if words, got := regression(c.before, c.after); got.errors != c.errors || got.refused != c.refused {
			t.Errorf("%s: %+v: %s", name, got, words)
		}
	}
}

// TestTrial holds what a trial comes to, report by report.
func TestTrial(t *testing.T) {
	begun := time.Now()
	started := begun.Add(-time.Hour)
	at := func(after time.Duration, change func(*wire.Report)) *entry {
		r := wire.Report{Instance: "a", Started: started, Version: "new", Accepted: true, Order: wire.Order{Term: 1, Number: 9}, Traffic: wire.Traffic{Requests: 10_000}}
		if change != nil {
			change(&r)
		}
		return &entry{ID: "x", Report: r, Seen: begun.Add(after)}
	}
	old := func(r *wire.Report) { r.Version, r.Order = "old", wire.Order{Term: 1, Number: 3} }
	worse := func(r *wire.Report) { r.Traffic.Requests += 1000; r.Traffic.Errors += 500 }
	refusing := func(r *wire.Report) { r.Traffic.Requests += 1000; r.Traffic.Refused += 500 }
	for name, c := range map[string]struct {
		narrows      bool
		reports      []*entry
		open, failed bool
	}{
		"not yet":              {false, []*entry{at(time.Second, old)}, true, false},
		"never":                {false, []*entry{at(16*time.Second, old)}, false, true},
		"taken":                {false, []*entry{at(time.Second, nil)}, true, false},
		"through":              {false, []*entry{at(time.Second, nil), at(12*time.Second, nil)}, false, false},
		"worse":                {false, []*entry{at(time.Second, nil), at(3*time.Second, worse)}, false, true},
		"refuses":              {false, []*entry{at(time.Second, nil), at(3*time.Second, refusing)}, false, true},
		"refuses as it should": {true, []*entry{at(time.Second, nil), at(12*time.Second, refusing)}, false, false},
		"rejected":             {false, []*entry{at(time.Second, func(r *wire.Report) { r.Accepted, r.Version = false, "old" })}, false, true},
		"leaves":               {false, []*entry{at(time.Second, func(r *wire.Report) { r.Leaving = true })}, false, true},
		"restarted":            {false, []*entry{at(time.Second, func(r *wire.Report) { r.Started = begun })}, false, true},
		"gone":                 {false, []*entry{nil}, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := &trialWatch{before: at(-time.Second, old), version: "new", order: wire.Order{Term: 1, Number: 9}, narrows: c.narrows, begun: begun, watch: 10 * time.Second}
			var v verdict
			for _, e := range c.reports {
				now := begun
				if e != nil {
					now = e.Seen
				}
				v = w.look(e, now)
			}
			if v.open != c.open || v.failed != c.failed {
				t.Errorf("%+v", v)
			}
		})
	}
	w := &trialWatch{before: at(-time.Second, old), version: "new", order: wire.Order{Term: 1, Number: 9}, begun: begun, watch: time.Minute}
	if v := w.look(at(0, nil), begun.Add(awayAfter+time.Second)); !v.failed {
		t.Errorf("silent: %+v", v)
	}
}
