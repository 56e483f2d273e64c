package reliability

import (
	"path/filepath"
	"testing"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/journal"
)

// trail is what one proxy recorded of one request at one side.
type trail struct{ open, closed int }

// key is where a record belongs.
type key struct {
	proxy, trace string
	side         event.Side
}

// records reads the journals of all proxies.
func (f *fleet) records() map[key]trail {
	f.t.Helper()
	out := map[key]trail{}
	for _, n := range []*node{f.edge, f.front, f.back} {
		for rec, err := range journal.Read(n.Inside(filepath.Join(n.state, "events")), 0) {
			if err != nil {
				f.t.Errorf("the record of %s: %v", n.Name, err)
				continue
			}
			e, err := event.Parse(rec.Data)
			if err != nil || e.TraceID == "" {
				continue // an act
			}
			k := key{n.Name, e.TraceID, e.Side}
			t := out[k]
			if e.Open {
				t.open++
			} else {
				t.closed++
			}
			out[k] = t
		}
	}
	return out
}

// sides are all who must have recorded a request that was answered. Under audit strict each has acknowledged it, which
// means on disk, before the request went on.
var sides = []key{
	{"edge", "", event.SideUnknown}, {"front", "", event.SideInbound}, {"front", "", event.SideOutbound}, {"back", "", event.SideInbound},
}

// missing counts acknowledged records and those of them that are not there. More than one record of a kind is an error; so is
// a request whose end is not recorded, but at proxies that were killed.
func (f *fleet) missing(t *testing.T, all []request, killed ...*node) (acknowledged, gone int) {
	t.Helper()
	dead := map[string]bool{}
	for _, n := range killed {
		dead[n.Name] = true
	}
	found := f.records()
	unended := 0
	for _, r := range all {
		if !r.ok {
			continue
		}
		for _, s := range sides {
			s.trace = r.trace
			got := found[s]
			acknowledged++
			if got.open == 0 {
				gone++
				t.Errorf("%s: no record of a request that was answered (%s)", s.proxy, r.trace)
			}
			if got.closed == 0 && !dead[s.proxy] {
				unended++
			}
			if got.open > 1 || got.closed > 1 {
				t.Errorf("%s, %v: recorded %d and %d times (%s)", s.proxy, s.side, got.open, got.closed, r.trace)
			}
		}
	}
	if unended > 0 {
		t.Errorf("%d requests have no end in the record of a proxy that went on", unended)
	}
	return acknowledged, gone
}
