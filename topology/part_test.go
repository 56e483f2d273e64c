package topology

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/policy"
)

// someEvent is of any kind that a map is made of.
func someEvent(r *rand.Rand) *event.Event {
	names := []string{"orders", "catalog", "web", "payments", "edge", "gone", "orders.mesh.internal"}
	pick := func() string { return names[r.IntN(len(names))] }
	e := call(event.Side(r.IntN(4)), pick(), pick(), func(e *event.Event) {
		e.Time = noon.Add(time.Duration(r.IntN(72*3600)) * time.Second)
		e.Allowed, e.Status, e.Took = r.IntN(4) > 0, 200+100*r.IntN(4), time.Duration(r.IntN(1e9))
		e.BytesIn, e.BytesOut = r.Int64N(100), r.Int64N(100)
		e.Trail = []event.Stage{{Name: event.StageAuthorise, Reasons: []event.Reason{{Code: policy.CodePermit, Policy: fmt.Sprint("p", r.IntN(5))}}}}
		if r.IntN(2) == 0 {
			e.User = &event.User{Subject: "u", Roles: []string{[]string{"customer", "admin"}[r.IntN(2)]}}
		}
		if r.IntN(3) == 0 {
			e.TLSVersion = ""
		}
	})
	switch r.IntN(6) {
	case 0:
		e.Connection, e.Host = &event.Connection{Side: event.Side(r.IntN(4)), Protocol: "tcp"}, fmt.Sprintf("h%d.example:443", r.IntN(3))
	case 1:
		e.Log = &event.Log{Attributes: map[string]string{"peer.service": pick(), "server.address": "api.example", "server.port": "443"}}
	case 2:
		e.Act = &event.Act{Kind: []event.Kind{event.KindRefused, event.KindBypass, event.KindLost}[r.IntN(3)], Who: e.Workload, Proxy: pick(), Object: "tcp 192.0.2.1:25", Omitted: r.Int64N(4)}
	}
	return e
}

// TestPartsAreWhatTheirEventsWere keeps random events by hour and by day, and wants the map that folding all of them gives.
func TestPartsAreWhatTheirEventsWere(t *testing.T) {
	base := declared(t, "../examples/shop")
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 8))
		whole, hours := NewFold(base), map[time.Time]*Fold{}
		for range 1 + r.IntN(400) {
			e := someEvent(r)
			whole.Event(e)
			at := e.Time.Truncate(time.Hour)
			if hours[at] == nil {
				hours[at] = NewFold(base)
			}
			hours[at].Event(e)
		}
		again, days := NewFold(base), map[time.Time]*Fold{}
		for at, hour := range hours { // in any order
			p := kept(t, hour.Part())
			again.Add(p)
			day := at.Truncate(24 * time.Hour)
			if days[day] == nil {
				days[day] = NewFold(base)
			}
			days[day].Add(p)
		}
		byDay := NewFold(base)
		for _, day := range days {
			byDay.Add(kept(t, day.Part()))
		}
		want := text(t, whole.Map())
		for what, got := range map[string]string{"hours": text(t, again.Map()), "days": text(t, byDay.Map())} {
			if got != want {
				t.Fatalf("seed %d, by %s:\n%s\nwant\n%s", seed, what, got, want)
			}
		}
	}
}

// kept is a part that was written and read.
func kept(t *testing.T, p *Part) *Part {
	t.Helper()
	var back Part
	if err := json.Unmarshal([]byte(text(t, p)), &back); err != nil {
		t.Fatal(err)
	}
	if err := back.Check(); err != nil {
		t.Fatal(err)
	}
	return &back
}

func text(t *testing.T, of any) string {
	t.Helper()
	b, err := json.MarshalIndent(of, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestPartsAreBounded adds up what more than a map holds was seen in.
func TestPartsAreBounded(t *testing.T) {
	base := declared(t, "../examples/shop")
	all := NewFold(base)
	for part := range 3 {
		f := NewFold(base)
		for i := range mostUndeclared {
			f.Event(&event.Event{Time: noon, Workload: domain + "/service/web", Host: fmt.Sprintf("%d-%d.example:443", part, i), Connection: &event.Connection{Side: event.SideEgress}})
			f.Event(&event.Event{Time: noon, Service: "web", Log: &event.Log{Attributes: map[string]string{"destination.domain": fmt.Sprintf("l%d-%d.example", part, i), "destination.port": "443"}}})
		}
		if p := f.Part(); p.Omitted != mostUndeclared-mostForeign {
			t.Fatalf("%d omitted of a part", p.Omitted)
		}
		all.Add(f.Part())
	}
	m := all.Map()
	if want := int64(3*(mostUndeclared-mostForeign) + 2*mostUndeclared + 2*mostForeign); m.Omitted != want || len(m.Edges) != len(base.Edges)+mostUndeclared+mostForeign {
		t.Errorf("%d omitted, want %d; %d edges", m.Omitted, want, len(m.Edges))
	}
}

func TestForeign(t *testing.T) {
	m := declared(t, "../examples/shop")
	m.Node("orders").Places = []string{"10.0.0.5:8080"}
	log := func(service string, attributes ...string) *event.Event {
		e := &event.Event{Time: noon, Service: service, Log: &event.Log{Attributes: map[string]string{}}}
		for i := 0; i < len(attributes); i += 2 {
			e.Log.Attributes[attributes[i]] = attributes[i+1]
		}
		return e
	}
	act := func(kind event.Kind, who, proxy, object string, more int64) *event.Event {
		return &event.Event{Time: noon, Act: &event.Act{Kind: kind, Who: who, Proxy: proxy, Object: object, Omitted: more}}
	}
	for name, tt := range map[string]struct {
		e       *event.Event
		to      string
		kind    EdgeKind
		foreign int64
		refused int64
	}{
		"peer service":            {e: log("web", "peer.service", "payments"), to: "payments", kind: Call, foreign: 1},
		"its name in the mesh":    {e: log("web", "server.address", "Payments.mesh.internal", "server.port", "80"), to: "payments", kind: Call, foreign: 1},
		"where it runs":           {e: log("web", "destination.ip", "10.0.0.5", "destination.port", "8080"), to: "orders", kind: Call, foreign: 1},
		"a host outside":          {e: log("web", "peer.service", "stripe", "server.address", "api.stripe.example", "server.port", "443"), to: "api.stripe.example:443", kind: Egress, foreign: 1},
		"no port":                 {e: log("web", "server.address", "api.stripe.example")},
		"no port number":          {e: log("web", "server.address", "api.stripe.example", "server.port", "99999")},
		"this host":               {e: log("web", "server.address", "127.0.0.1", "server.port", "5432")},
		"itself":                  {e: log("web", "peer.service", "web")},
		"no service":              {e: log("stranger", "peer.service", "payments")},
		"nobody":                  {e: log("web", "text", "payments")},
		"refused at the door":     {e: act(event.KindRefused, domain+"/service/web", "payments", "", 4), to: "payments", kind: Call, refused: 5},
		"refused, by whom?":       {e: act(event.KindRefused, "", "payments", "", 0)},
		"past its sidecar":        {e: act(event.KindBypass, domain+"/service/web", "web", "udp 192.0.2.1:53", 0), to: "192.0.2.1:53", kind: Egress, refused: 1},
		"past it, to a service":   {e: act(event.KindBypass, domain+"/service/web", "web", "tcp 10.0.0.5:8080", 1), to: "orders", kind: Call, refused: 2},
		"several kinds":           {e: act(event.KindBypass, domain+"/service/web", "web", "packets of several kinds", 1)},
		"an act of another kind":  {e: act(event.KindRevoked, domain+"/service/web", "web", "192.0.2.1:53", 1)},
		"a user past its service": {e: act(event.KindBypass, "user 7", "web", "tcp 10.0.0.5:8080", 1)},
	} {
		t.Run(name, func(t *testing.T) {
			f := NewFold(m)
			f.Event(tt.e)
			got := f.Map()
			var seen []*Edge
			for i := range got.Edges {
				if got.Edges[i].Seen != nil {
					seen = append(seen, &got.Edges[i])
				}
			}
			if tt.to == "" {
				if len(seen) > 0 || got.Omitted > 0 || got.Events > 0 {
					t.Errorf("%+v", got.Edges)
				}
				return
			}
			e := got.Edge("web", tt.to, tt.kind)
			if e == nil || len(seen) != 1 || e.Used() || e.Seen.Foreign != tt.foreign || e.Seen.Refused != tt.refused || e.Seen.Calls != tt.refused {
				t.Fatalf("%+v", seen)
			}
			if got.Observed() != (tt.foreign == 0) {
				t.Errorf("observed: %t", got.Observed())
			}
			if l := got.Analyse().Undeclared; !slices.ContainsFunc(l, func(l Link) bool { return l.To == tt.to && l.Told == tt.foreign && l.Tried == tt.refused }) {
				t.Errorf("undeclared: %+v", l)
			}
		})
	}
}

func TestPolicies(t *testing.T) {
	m, set := declaredWithPolicies(t, "../examples/shop")
	m.SetPolicies(set)
	all := set.Policies()
	for i := range m.Edges {
		e := &m.Edges[i]
		if len(e.Routes) == 0 || e.Kind != Call {
			continue
		}
		if len(e.Permits) == 0 {
			t.Errorf("%s: nothing permits what is declared", e)
		}
		if !slices.IsSortedFunc(e.Permits, func(a, b string) int { return slices.Index(all, a) - slices.Index(all, b) }) {
			t.Errorf("%s: %q", e, e.Permits)
		}
		for _, p := range slices.Concat(e.Permits, e.Forbids) {
			if route, ok := strings.CutPrefix(p, "grant:"); ok && !slices.ContainsFunc(e.Routes, func(r string) bool { return strings.HasPrefix(route, r+"#") }) {
				t.Errorf("%s: %s is of none of its routes %q", e, p, e.Routes)
			}
		}
	}
}

func TestCheckPart(t *testing.T) {
	for bad, why := range map[string]string{
		`{"format":9}`: "is 9",
		`{"format":1,"edges":[{"from":"a","to":"b","caller":{"latency":{"first":-1}}}]}`: "cannot be",
	} {
		var p Part
		if err := json.Unmarshal([]byte(bad), &p); err != nil {
			t.Fatal(err)
		}
		if err := p.Check(); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
